//! Carrying a message out: the ledger's decision, then what it says, until nothing is left to do.
//!
//! Works optimistically. It presumes the state that the healthy path finds, decides, and writes on that condition; a
//! write that is refused answers with the true state, which goes through the same decision. So the healthy path never
//! reads before it writes, and every other path is the same few lines.
//!
//! The order within an attempt is what makes a crash harmless: claim, send, *record*, schedule, and only then does the
//! caller acknowledge its message.

mod attempt;
mod dispatch;
mod settings;

use aws_config::SdkConfig;
use bytes::Bytes;
use jiff::Timestamp;

use crate::dynamodb::deliveries_table::{DeliveriesTable, Written};
use crate::dynamodb::integrations_table::IntegrationsTable;
use crate::fault::Fault;
use crate::kms::vault::{Vault, random};
use crate::log;
use crate::long_wait::LongWait;
use crate::scheduler::{DueAttempt, Scheduler};
use crate::sqs::queues::RetryMessages;
use domain::deadline::Deadline;
use domain::delivery::ledger::{ClaimId, Decision, Freshness, Message, State, decide, lease_until};
use domain::delivery::moves::{Move, Prior};
use domain::delivery::payload::Kept;
use domain::delivery::retry_message::RetryMessage;
use domain::delivery::{CancelReason, DeliveryKey, Identity, Record};
use domain::ids::OrganizationId;
use domain::integration::Integration;
use domain::integration::health::{Health, Lane};
use sender::{NoTrustedRoots, Sender, SenderConfig};

pub use dispatch::{Dispatch, attempt_made};
pub use settings::{MESSAGES_KEPT, Policy, Settings};

/// How often a delivery may turn out to be in another state than presumed before we stop believing in races.
const MAX_SURPRISES: usize = 6;

/// What is to become of a delivery.
#[derive(Clone, Copy, Debug)]
pub enum Course<'a> {
    /// It goes to the endpoint of this integration.
    Send(&'a Integration),
    /// It is not wanted any more.
    Cancel(CancelReason),
}

/// How a first attempt is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Claimed, and made here and now.
    Claimed,
    /// Handed off: `retry` makes it.
    HandedOff,
    /// Not at all: only a delivery that exists already is of interest.
    Never,
}

/// A delivery that may have to be created.
#[derive(Clone, Debug)]
pub struct Creation<'a> {
    pub identity: Identity,
    pub body: Bytes,
    /// The same, as the ledger keeps it: made once for all deliveries of an alert event.
    pub kept: &'a Kept,
    pub expires_at: Timestamp,
    pub beginning: Beginning,
}

/// One message, about one delivery.
#[derive(Clone, Debug)]
pub enum Task<'a> {
    Alert(Creation<'a>),
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
            Self::Alert(creation) => creation.identity.key(),
            Self::Due(message) => {
                DeliveryKey { integration_id: message.integration_id, delivery_id: message.delivery_id }
            }
        }
    }

    /// Whose delivery it has to be.
    fn owner(&self) -> OrganizationId {
        match self {
            Self::Alert(creation) => creation.identity.organization_id,
            Self::Due(message) => message.organization_id,
        }
    }
}

/// What is left to do before a message may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    Nothing,
    /// A first attempt was handed off: its message has to be sent, to where that lane's are.
    HandOff {
        message: RetryMessage,
        lane: Lane,
    },
}

/// What both functions deliver with.
pub struct Delivering {
    deliveries: DeliveriesTable,
    integrations: IntegrationsTable,
    dispatch: Dispatch,
    scheduler: Scheduler,
    policy: Policy,
}

/// A message being carried out.
struct Work<'a> {
    task: &'a Task<'a>,
    course: Course<'a>,
    deadline: Deadline,
    /// What this worker claims with, whatever it has to claim on the way.
    own: ClaimId,
}

/// What the ledger is believed to hold.
enum Belief {
    /// What the healthy path finds; not looked at yet.
    Presumed(Option<State>),
    /// What was found.
    Seen(Option<Box<Record>>),
}

impl Belief {
    fn state(&self) -> Result<Option<State>, Fault> {
        match self {
            Self::Presumed(state) => Ok(*state),
            Self::Seen(record) => Ok(record.as_ref().map(|record| record.state()).transpose()?),
        }
    }
}

impl Work<'_> {
    /// The time, if there is enough of it left to claim an attempt and make it.
    fn time_for_an_attempt(&self, policy: &Policy) -> Option<Timestamp> {
        let now = Timestamp::now();
        self.deadline.leaves(policy.claim_and_attempt_take(), now).then_some(now)
    }

    /// How the first attempt is begun; of a later one nobody may say that it is handed off.
    fn beginning(&self) -> Beginning {
        match self.task {
            Task::Alert(creation) => creation.beginning,
            Task::Due(_) => Beginning::Claimed,
        }
    }
}

/// What one step of carrying a message out came to.
enum Step {
    Finished(Left),
    /// The ledger was not as believed; this is what it holds.
    Surprised(Option<Box<Record>>),
}

impl Delivering {
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

    /// Carries a message out, up to what is left to do before the message is acknowledged.
    ///
    /// # Errors
    /// [`Fault`] when the message must come back: the failure was ours, or another worker is at it.
    pub async fn carry_out(&self, task: &Task<'_>, course: Course<'_>, deadline: Deadline) -> Result<Left, Fault> {
        let work = Work { task, course, deadline, own: ClaimId::new(random()) };
        let mut belief = self.first_belief(task).await?;
        for _ in 0..MAX_SURPRISES {
            if let Belief::Seen(Some(record)) = &belief
                && record.identity.organization_id != task.owner()
            {
                return Err(Fault::Foreign);
            }
            let state = belief.state()?;
            let decision = decide(state.as_ref(), task.message(), work.own, Timestamp::now());
            match self.execute(decision, state, belief, &work).await? {
                Step::Finished(left) => return Ok(left),
                Step::Surprised(record) => belief = Belief::Seen(record),
            }
        }
        Err(Fault::Contended)
    }

    async fn first_belief(&self, task: &Task<'_>) -> Result<Belief, Fault> {
        match task {
            Task::Alert(Creation { beginning: Beginning::Never, identity, .. }) => {
                Ok(Belief::Seen(self.deliveries.find(identity.key()).await?))
            }
            Task::Alert(_) => Ok(Belief::Presumed(None)),
            Task::Due(message) => Ok(Belief::Presumed(Some(State::Waiting {
                attempt: message.attempt,
                round_start: message.attempt,
                due_at: Timestamp::now(),
            }))),
        }
    }

    async fn execute(
        &self,
        decision: Decision,
        state: Option<State>,
        belief: Belief,
        work: &Work<'_>,
    ) -> Result<Step, Fault> {
        let key = work.task.key();
        match (decision, work.course, work.task) {
            (Decision::Busy { lease_until }, ..) => Err(Fault::Busy { lease_until }),
            (Decision::Impossible, ..) => Err(Fault::Impossible),
            (Decision::Drop(stale), ..) => {
                log::dropped(key, work.task.message().attempt(), stale);
                Ok(Step::Finished(Left::Nothing))
            }
            (Decision::Create, Course::Send(integration), Task::Alert(creation)) => {
                self.create(work, creation, integration).await
            }
            // Nothing is created for an integration that does not want it, nor by anything but an alert event.
            (Decision::Create, ..) => Ok(Step::Finished(Left::Nothing)),
            (_, Course::Cancel(reason), _) => self.cancel(work, state, &belief, reason).await,
            (Decision::HandOff, Course::Send(integration), _) => Ok(hand_off(integration, key)),
            (Decision::Schedule { attempt, due_at }, Course::Send(integration), _) => {
                self.schedule(&due_attempt(integration, key, attempt, due_at)).await?;
                Ok(Step::Finished(Left::Nothing))
            }
            (Decision::Claim(freshness), Course::Send(integration), _) => {
                self.claim(work, integration, state, freshness).await
            }
            (Decision::GoOn, Course::Send(integration), _) => {
                let Belief::Seen(Some(record)) = belief else { return Err(Fault::Contended) };
                let secrets = self.dispatch.secrets(integration).await;
                let secrets = self.or_take_back(work, secrets).await?;
                self.attempt(work, integration, &secrets, record).await
            }
        }
    }

    /// Makes sure that the message of an attempt arrives when it is due.
    async fn schedule(&self, due: &DueAttempt) -> Result<(), Fault> {
        self.scheduler.schedule(due, Timestamp::now()).await
    }

    async fn create(&self, work: &Work<'_>, creation: &Creation<'_>, integration: &Integration) -> Result<Step, Fault> {
        let key = creation.identity.key();
        // Before the claim: a failure of KMS must not leave a claim behind that looks like an attempt.
        let secrets = match creation.beginning {
            Beginning::Claimed => Some(self.dispatch.secrets(integration).await?),
            Beginning::HandedOff | Beginning::Never => None,
        };
        if let Kept::Apart(deflated) = creation.kept {
            self.deliveries.keep_payload(key, deflated.clone(), creation.expires_at).await?;
        }
        let inline = secrets.zip(work.time_for_an_attempt(&self.policy));
        let state = match inline {
            Some((_, now)) => State::Sending {
                attempt: 1,
                round_start: 1,
                lease_until: lease_until(now, self.policy.lease),
                claim_id: work.own,
            },
            None => State::Waiting { attempt: 1, round_start: 1, due_at: Timestamp::now() },
        };
        let mut record = Box::new(Record::new(creation.identity.clone(), &state, creation.expires_at));
        if let Kept::Inline(deflated) = creation.kept {
            record.payload = Some(deflated.clone().into());
        }
        let created = self.deliveries.create(record).await;
        let created = if inline.is_some() { self.or_take_back(work, created).await } else { created };
        match (created?, inline) {
            (Written::Refused(found), _) => Ok(Step::Surprised(found)),
            (Written::Applied(record), Some((secrets, _))) => self.attempt(work, integration, &secrets, record).await,
            (Written::Applied(_), None) => Ok(hand_off(integration, key)),
        }
    }

    async fn claim(
        &self,
        work: &Work<'_>,
        integration: &Integration,
        state: Option<State>,
        freshness: Freshness,
    ) -> Result<Step, Fault> {
        let key = work.task.key();
        // Its worker died. Whoever makes it now, an endpoint that hangs must not be waited for here.
        if work.beginning() == Beginning::HandedOff {
            return Ok(hand_off(integration, key));
        }
        let from = state.as_ref().and_then(Prior::seen).ok_or(Fault::Contended)?;
        let secrets = self.dispatch.secrets(integration).await?;
        let Some(now) = work.time_for_an_attempt(&self.policy) else {
            return match work.task {
                Task::Alert(_) => Ok(hand_off(integration, key)),
                Task::Due(_) => Err(Fault::NoTimeLeft),
            };
        };
        let claim = Move::Claim { claim_id: work.own, lease_until: lease_until(now, self.policy.lease), freshness };
        let claimed = self.deliveries.advance(key, work.task.owner(), from, &claim).await;
        match self.or_take_back(work, claimed).await? {
            Written::Applied(record) => self.attempt(work, integration, &secrets, record).await,
            Written::Refused(found) => Ok(Step::Surprised(found)),
        }
    }

    /// What came of something between a claim and its request. When it is a fault, the claim is taken back, if it was made:
    /// whoever gets the message next need not wait for its lease. If that fails too, they do.
    async fn or_take_back<T>(&self, work: &Work<'_>, result: Result<T, Fault>) -> Result<T, Fault> {
        if result.is_err() {
            let key = work.task.key();
            let claim = Prior::Sending { attempt: work.task.message().attempt(), claim_id: work.own };
            let to = Move::TakeBack { due_at: Timestamp::now(), due_shard: key.due_shard() };
            let _ = self.deliveries.advance(key, work.task.owner(), claim, &to).await;
        }
        result
    }

    async fn cancel(
        &self,
        work: &Work<'_>,
        state: Option<State>,
        belief: &Belief,
        reason: CancelReason,
    ) -> Result<Step, Fault> {
        let from = state.as_ref().and_then(Prior::seen).ok_or(Fault::Contended)?;
        let interrupted = match belief {
            // If it is being sent, its lease is over: whoever made this attempt died, or could not record it.
            Belief::Seen(Some(record)) => record.with_interrupted_attempt(self.begun_at(record)),
            Belief::Seen(None) | Belief::Presumed(_) => None,
        };
        let to = Move::Cancel { reason, interrupted: interrupted.as_deref() };
        match self.deliveries.advance(work.task.key(), work.task.owner(), from, &to).await? {
            Written::Applied(record) => {
                log::cancelled(&record, reason);
                Ok(Step::Finished(Left::Nothing))
            }
            Written::Refused(found) => Ok(Step::Surprised(found)),
        }
    }

    /// When an attempt that was interrupted was begun, as far as the record tells: at its claim, or before that was taken back.
    fn begun_at(&self, record: &Record) -> Timestamp {
        let claimed_at = record.lease_until.and_then(|lease_until| lease_until.saturating_sub(self.policy.lease).ok());
        claimed_at.or(record.due_at).unwrap_or_default()
    }
}

/// The message that `retry` makes a first attempt by, on the lane that its endpoint's are made on.
fn hand_off(integration: &Integration, key: DeliveryKey) -> Step {
    let DeliveryKey { integration_id, delivery_id } = key;
    let message =
        RetryMessage { organization_id: integration.organization_id, integration_id, delivery_id, attempt: 1 };
    Step::Finished(Left::HandOff { message, lane: Health::lane(integration.health.as_ref()) })
}

fn due_attempt(integration: &Integration, key: DeliveryKey, attempt: u32, due_at: Timestamp) -> DueAttempt {
    let DeliveryKey { integration_id, delivery_id } = key;
    let message = RetryMessage { organization_id: integration.organization_id, integration_id, delivery_id, attempt };
    DueAttempt { message, due_at }
}

#[cfg(test)]
mod tests {
    use domain::integration::health::{Reason, SLOW};

    use super::*;

    #[test]
    fn a_first_attempt_is_handed_off_on_the_lane_of_its_endpoint() {
        let now = Timestamp::UNIX_EPOCH;
        let reason = || Reason { code: SLOW.to_owned(), message: None };
        let lanes = [
            (None, Lane::Usual),
            (Some(Health::Healthy { since: now, slow: 0 }), Lane::Usual),
            (Some(Health::Failing { since: now, reason: reason(), slow: 0 }), Lane::Usual),
            (Some(Health::Healthy { since: now, slow: 1 }), Lane::Slow),
            (Some(Health::Ailing { since: now, reason: reason() }), Lane::Slow),
        ];
        for (health, expected) in lanes {
            let integration = integration(health);
            let key = DeliveryKey {
                integration_id: integration.id,
                delivery_id: "dlv_01JH7VVHV81KJMEKY94GFHBBTY".parse().unwrap(),
            };
            let Step::Finished(Left::HandOff { message, lane }) = hand_off(&integration, key) else {
                panic!("a hand-off is left to do");
            };
            assert_eq!((lane, message.attempt, message.delivery_id), (expected, 1, key.delivery_id));
        }
    }

    fn integration(health: Option<Health>) -> Integration {
        Integration {
            organization_id: domain::ids::OrganizationId::new(1).unwrap(),
            id: "int_01JH7Z5A8M0000000000000001".parse().unwrap(),
            name: "Test".to_owned(),
            url: "https://example.com".to_owned(),
            method: domain::integration::Method::Post,
            enabled: true,
            disabled_reason: None,
            disabled_at: None,
            filter: domain::alert::filter::Filter::default(),
            secrets: None,
            health,
            version: 1,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            deleted_at: None,
            expires_at: None,
            format: Integration::FORMAT,
        }
    }
}
