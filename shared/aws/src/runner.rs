//! Carrying a message out: doing against AWS and the endpoint what [`domain::delivery::worker`] says, until it says that
//! nothing is left to do.
//!
//! Nothing is decided here. `commands.rs` has what each command is, `attempt.rs` how a request is made and watched.

mod attempt;
mod commands;
mod dispatch;
mod settings;

use aws_config::SdkConfig;
use bytes::Bytes;
use domain::deadline::Deadline;
use domain::delivery::ledger::{ClaimId, Message};
use domain::delivery::payload::StoredPayload;
use domain::delivery::retry_message::RetryMessage;
use domain::delivery::worker::{AttemptMode, FollowUp, Intent, Job, Reason, Reply, Turn, Worker};
use domain::delivery::{CancelReason, DeliveryKey, Identity};
use domain::ids::OrganizationId;
use domain::integration::Integration;
use domain::integration::health::{Health, Lane};
use jiff::Timestamp;
use sender::{NoTrustedRoots, Sender, SenderConfig};

use crate::dynamodb::conditional::pause;
use crate::dynamodb::deliveries_table::DeliveriesTable;
use crate::dynamodb::integrations_table::IntegrationsTable;
use crate::fault::Fault;
use crate::kms::vault::{Vault, random};
use crate::log;
use crate::long_wait::LongWait;
use crate::scheduler::Scheduler;
use crate::sqs::queues::RetryMessages;
use commands::Run;

pub use dispatch::{Dispatch, attempt_made};
pub use settings::{MESSAGES_KEPT, Policy, Settings};

/// How many conflicts about one message are gone on from. After as many the item is not what it should be, rather than that
/// others are always faster.
const MAX_CONFLICTS: u32 = 5;

/// What is to become of a delivery.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// It goes to the endpoint of this integration; its first attempt is made there.
    Send(&'a Integration, AttemptMode),
    /// It is not wanted any more.
    Cancel(CancelReason),
}

impl Action<'_> {
    fn intent(&self) -> Intent {
        match *self {
            Self::Send(_, place) => Intent::Send(place),
            Self::Cancel(reason) => Intent::Cancel(reason),
        }
    }
}

/// A delivery that may have to be created.
#[derive(Clone, Debug)]
pub struct NewDelivery<'a> {
    pub identity: Identity,
    pub body: Bytes,
    /// The same, as the ledger keeps it: made once for all deliveries of an alert event.
    pub kept: &'a StoredPayload,
    pub expires_at: Timestamp,
}

/// One message, about one delivery.
#[derive(Clone, Debug)]
pub enum Task<'a> {
    Alert(NewDelivery<'a>),
    Due(RetryMessage),
}

impl Task<'_> {
    fn message(&self) -> Message {
        match self {
            Self::Alert(_) => Message::AlertEvent,
            Self::Due(message) => Message::Due { attempt: message.attempt },
        }
    }

    fn key(&self) -> DeliveryKey {
        match self {
            Self::Alert(new_delivery) => new_delivery.identity.key(),
            Self::Due(message) => {
                DeliveryKey { integration_id: message.integration_id, delivery_id: message.delivery_id }
            }
        }
    }

    /// Whose delivery it has to be.
    fn owner(&self) -> OrganizationId {
        match self {
            Self::Alert(new_delivery) => new_delivery.identity.organization_id,
            Self::Due(message) => message.organization_id,
        }
    }

    /// The message by which an attempt of the delivery is made.
    fn message_of(&self, attempt: u32) -> RetryMessage {
        let DeliveryKey { integration_id, delivery_id } = self.key();
        RetryMessage { organization_id: self.owner(), integration_id, delivery_id, attempt }
    }
}

/// What is left to do before a message may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeforeAck {
    Nothing,
    /// A first attempt was handed off: its message has to be sent, to where that lane's are.
    HandOff {
        message: RetryMessage,
        lane: Lane,
    },
}

/// What both functions deliver with.
pub struct Runner {
    deliveries: DeliveriesTable,
    integrations: IntegrationsTable,
    dispatch: Dispatch,
    scheduler: Scheduler,
    policy: Policy,
}

impl Runner {
    /// # Errors
    /// [`NoTrustedRoots`] when the system has no certificate authorities to trust.
    pub fn new(settings: Settings, aws: &SdkConfig) -> Result<Self, NoTrustedRoots> {
        let dynamodb = aws_sdk_dynamodb::Client::new(aws);
        let retry_queue = RetryMessages::new(aws_sdk_sqs::Client::new(aws), settings.retry_queue_url);
        let long_wait = LongWait::new(aws_sdk_sfn::Client::new(aws), settings.long_wait_arn);
        Ok(Self {
            deliveries: DeliveriesTable::new(dynamodb.clone(), settings.deliveries_table),
            integrations: IntegrationsTable::new(dynamodb, settings.integrations_table),
            dispatch: Dispatch::new(
                Vault::new(aws_sdk_kms::Client::new(aws)),
                Sender::new(SenderConfig {
                    request_timeout: settings.policy.request_timeout,
                    allowed_networks: settings.allowed_networks,
                })?,
            ),
            scheduler: Scheduler::new(retry_queue, long_wait),
            policy: settings.policy,
        })
    }

    /// The integrations that messages are about.
    pub fn integrations(&self) -> &IntegrationsTable {
        &self.integrations
    }

    /// Where messages about attempts that are due now are sent.
    pub fn retry_queue(&self) -> &RetryMessages {
        self.scheduler.retry_queue()
    }

    /// Carries a message out. On `Ok` the caller does what is left to do, if anything, and may then acknowledge the message.
    ///
    /// # Errors
    /// [`Fault`] when the message must come back: the failure was ours, or another worker is at it.
    pub async fn run(&self, task: &Task<'_>, action: Action<'_>, deadline: Deadline) -> Result<BeforeAck, Fault> {
        let job = Job {
            message: task.message(),
            intent: action.intent(),
            claim_id: ClaimId::new(random()),
            claim_by: deadline.latest_start(self.policy.claim_and_attempt_take()),
            send_by: deadline.latest_start(self.policy.attempt_takes()),
        };
        let worker = Worker { job, schedule: &self.policy.schedule, lease: self.policy.lease };
        let mut run = Run::new(task, action, job);
        let mut conflicts = 0;
        let mut turn = worker.start(Timestamp::now());
        loop {
            turn = match turn {
                Turn::Do(command) => {
                    let reply = self.perform(&mut run, command).await;
                    if matches!(reply, Reply::Refused(_)) {
                        conflicts = meet_conflict(conflicts).await?;
                    }
                    worker.next(command, reply, Timestamp::now())
                }
                Turn::Acknowledge(follow_up) => {
                    self.record_health(&run, deadline).await;
                    return run.before_ack(follow_up);
                }
                Turn::ReturnToQueue(reason) => {
                    // What fails is not added to.
                    if reason != Reason::Failed {
                        self.record_health(&run, deadline).await;
                    }
                    return Err(run.fault(reason));
                }
            }
        }
    }

    async fn record_health(&self, run: &Run<'_>, deadline: Deadline) {
        if let (Some(made), Action::Send(integration, _)) = (&run.made, run.action) {
            self.record_outcome_health(integration, made, run.task.key(), deadline).await;
        }
    }
}

/// Counts a conflict. The first tells what is in the ledger, which was only presumed; after any further one somebody else is
/// at it, and goes first.
async fn meet_conflict(before: u32) -> Result<u32, Fault> {
    match before {
        0 => {}
        MAX_CONFLICTS.. => return Err(Fault::Contended),
        _ => pause(before).await,
    }
    Ok(before + 1)
}

impl Run<'_> {
    fn before_ack(&self, follow_up: FollowUp) -> Result<BeforeAck, Fault> {
        match (follow_up, self.action) {
            (FollowUp::Nothing, _) => Ok(BeforeAck::Nothing),
            (FollowUp::Drop(stale), _) => {
                log::dropped(self.task.key(), self.task.message().attempt(), stale);
                Ok(BeforeAck::Nothing)
            }
            // On the lane that its endpoint's attempts are made on.
            (FollowUp::HandOff, Action::Send(integration, _)) => Ok(BeforeAck::HandOff {
                message: self.task.message_of(1),
                lane: Health::lane(integration.health.as_ref()),
            }),
            (FollowUp::HandOff, Action::Cancel(_)) => Err(Fault::UnexpectedReply),
        }
    }

    fn fault(self, reason: Reason) -> Fault {
        match reason {
            Reason::Failed => self.failed.unwrap_or(Fault::UnexpectedReply),
            Reason::Busy { lease_until } => Fault::Busy { lease_until },
            Reason::NoTimeLeft => Fault::NoTimeLeft,
            Reason::Impossible => Fault::Impossible,
            Reason::WrongOrganization => Fault::WrongOrganization,
            Reason::UnexpectedReply => Fault::UnexpectedReply,
        }
    }
}
