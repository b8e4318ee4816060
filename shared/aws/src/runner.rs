//! Processes one message: carries out the commands of [`domain::delivery::worker`] against AWS and the endpoint, one
//! after another, until the worker is done with the message.
//!
//! The worker makes the decisions, not this module. `commands.rs` carries out each command; `attempt.rs` makes the
//! request.

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

pub use dispatch::{Dispatch, build_attempt};
pub use settings::{MESSAGE_RETENTION, Policy, Settings};

/// How many conflicts are tolerated while one message is processed. More than that point to a bad item rather than to
/// other workers that always win the race.
const MAX_CONFLICTS: u32 = 5;

/// What to do with a delivery.
#[derive(Clone, Copy, Debug)]
pub enum Action<'a> {
    /// Send it to this integration's endpoint. The mode says where a first attempt is made.
    Send(&'a Integration, AttemptMode),
    /// Cancel it, because it is no longer wanted.
    Cancel(CancelReason),
}

impl Action<'_> {
    fn intent(&self) -> Intent {
        match *self {
            Self::Send(_, mode) => Intent::Send(mode),
            Self::Cancel(reason) => Intent::Cancel(reason),
        }
    }
}

/// A delivery to create, unless it exists already.
#[derive(Clone, Debug)]
pub struct NewDelivery<'a> {
    pub identity: Identity,
    pub body: Bytes,
    /// The body as the ledger stores it; compressed once for all deliveries of an alert event.
    pub payload: &'a StoredPayload,
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

    /// The organization that the delivery must belong to.
    fn owner(&self) -> OrganizationId {
        match self {
            Self::Alert(new_delivery) => new_delivery.identity.organization_id,
            Self::Due(message) => message.organization_id,
        }
    }

    /// The message that has an attempt of the delivery made.
    fn message_for(&self, attempt: u32) -> RetryMessage {
        let DeliveryKey { integration_id, delivery_id } = self.key();
        RetryMessage { organization_id: self.owner(), integration_id, delivery_id, attempt }
    }
}

/// What the caller must do before it acknowledges a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeforeAck {
    Nothing,
    /// A first attempt was handed off: send this message to the lane's queue.
    HandOff {
        message: RetryMessage,
        lane: Lane,
    },
}

/// Processes messages; shared by `deliver` and `retry`.
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

    pub fn integrations(&self) -> &IntegrationsTable {
        &self.integrations
    }

    /// The queue for attempts that are due.
    pub fn retry_queue(&self) -> &RetryMessages {
        self.scheduler.retry_queue()
    }

    /// Processes one message. On `Ok` the caller performs the returned follow-up, if any, and may then acknowledge the
    /// message.
    ///
    /// # Errors
    /// On a [`Fault`] the message must return to its queue: the failure was ours, or another worker has claimed the
    /// attempt.
    pub async fn run(&self, task: &Task<'_>, action: Action<'_>, deadline: Deadline) -> Result<BeforeAck, Fault> {
        let job = Job {
            message: task.message(),
            intent: action.intent(),
            claim_id: ClaimId::new(random()),
            claim_by: deadline.latest_start(self.policy.max_claim_and_attempt_time()),
            send_by: deadline.latest_start(self.policy.max_attempt_time()),
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
                        conflicts = count_conflict(conflicts).await?;
                    }
                    worker.next(command, reply, Timestamp::now())
                }
                Turn::Acknowledge(follow_up) => {
                    self.record_health(&run, deadline).await;
                    return run.before_ack(follow_up);
                }
                Turn::ReturnToQueue(reason) => {
                    // After a failure of ours, no further AWS call is added.
                    if reason != Reason::Failed {
                        self.record_health(&run, deadline).await;
                    }
                    return Err(run.fault(reason));
                }
            }
        }
    }

    async fn record_health(&self, run: &Run<'_>, deadline: Deadline) {
        if let (Some(finished), Action::Send(integration, _)) = (&run.finished, run.action) {
            self.record_outcome_health(integration, finished, run.task.key(), deadline).await;
        }
    }
}

/// Counts a conflict. The first one only corrects what the worker assumed about the ledger. Any further one means that
/// another worker is changing the delivery, so this one pauses.
async fn count_conflict(before: u32) -> Result<u32, Fault> {
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
            (FollowUp::HandOff, Action::Send(integration, _)) => Ok(BeforeAck::HandOff {
                message: self.task.message_for(1),
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
