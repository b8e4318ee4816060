//! Carrying a message out: the ledger's decision, then what it says, until nothing is left to do.
//!
//! Works optimistically. It presumes the state that the healthy path finds, decides, and writes on that condition; a
//! write that is refused answers with the true state, which goes through the same decision. So the healthy path never
//! reads before it writes, and every other path is the same few lines.
//!
//! The order within an attempt is what makes a crash harmless: claim, send, *record*, schedule, and only then does the
//! caller acknowledge its message.

mod dispatch;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use jiff::Timestamp;

use crate::delivery::{Attempt, CancelReason, DeliveryKey, Identity, Record};
use crate::integration::{DisabledReason, Integration};
use crate::io::deliveries_table::{DeliveriesTable, Move, Prior, Written};
use crate::io::fault::Fault;
use crate::io::integrations_table::IntegrationsTable;
use crate::io::log;
use crate::io::long_wait::LongWait;
use crate::io::queues::RetryMessages;
use crate::io::scheduler::{DueAttempt, Scheduler};
use crate::io::sender::{NoTrustedRoots, Sender, SenderConfig};
use crate::io::vault::{OpenSecrets, Vault, random};
use crate::ledger::{ClaimId, Decision, End, Freshness, Message, State, decide, lease_until};
use crate::next_step::{NextStep, next_step};
use crate::payload::{Kept, keep};
use crate::request::Subject;
use crate::retry_after;
use crate::retry_message::RetryMessage;

pub use dispatch::{Dispatch, attempt_made};
pub use settings::{Policy, Settings};

/// How often a delivery may turn out to be in another state than presumed before we stop believing in races.
const MAX_SURPRISES: usize = 6;

/// When the invocation ends, whether or not we have.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Timestamp);

impl Deadline {
    /// Whether something that takes so long, begun now, ends in time.
    pub fn leaves(self, duration: Duration, now: Timestamp) -> bool {
        now.saturating_add(duration).is_ok_and(|end| end <= self.0)
    }
}

/// What is to become of a delivery.
#[derive(Clone, Copy, Debug)]
pub enum Course<'a> {
    /// It goes to the endpoint of this integration.
    Send(&'a Integration),
    /// It is not wanted any more.
    Cancel(CancelReason),
}

/// How a new delivery begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Claimed, its first attempt made here and now.
    Claimed,
    /// Handed off to the slow lane.
    HandedOff,
    /// Not at all: only a delivery that exists already is of interest.
    Never,
}

/// A delivery that may have to be created.
#[derive(Clone, Debug)]
pub struct Creation<'a> {
    pub identity: Identity,
    pub body: &'a [u8],
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

/// What one step of carrying a message out came to.
enum Step {
    /// Nothing is left to do, but to schedule that.
    Finished(Option<DueAttempt>),
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

    /// Makes sure that the message of an attempt arrives when it is due.
    ///
    /// # Errors
    /// [`Fault`] when SQS or Step Functions fails; the attempt may then be scheduled or not.
    pub async fn schedule(&self, due: &DueAttempt) -> Result<(), Fault> {
        self.scheduler.schedule(due, Timestamp::now()).await
    }

    /// Carries a message out, up to the attempt that has to be scheduled before the message is acknowledged.
    ///
    /// # Errors
    /// [`Fault`] when the message must come back: the failure was ours, or another worker is at it.
    pub async fn carry_out(
        &self,
        task: &Task<'_>,
        course: Course<'_>,
        deadline: Deadline,
    ) -> Result<Option<DueAttempt>, Fault> {
        let work = Work { task, course, deadline, own: ClaimId::new(random()) };
        let mut belief = self.first_belief(task).await?;
        for _ in 0..MAX_SURPRISES {
            let state = belief.state()?;
            let decision = decide(state.as_ref(), task.message(), work.own, Timestamp::now());
            match self.execute(decision, state, belief, &work).await? {
                Step::Finished(due) => return Ok(due),
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
            (Decision::Busy, ..) => Err(Fault::Busy),
            (Decision::Impossible, ..) => Err(Fault::Impossible),
            (Decision::Drop(stale), ..) => {
                log::dropped(key, work.task.message().attempt(), stale);
                Ok(Step::Finished(None))
            }
            (Decision::Create, Course::Send(integration), Task::Alert(creation)) => {
                self.create(work, creation, integration).await
            }
            // Nothing is created for an integration that does not want it, nor by anything but an alert event.
            (Decision::Create, ..) => Ok(Step::Finished(None)),
            (_, Course::Cancel(reason), _) => self.cancel(key, state, &belief, reason).await,
            (Decision::Schedule { attempt, due_at }, Course::Send(integration), _) => {
                Ok(Step::Finished(Some(due_attempt(integration, key, attempt, due_at))))
            }
            (Decision::Claim(freshness), Course::Send(integration), _) => {
                self.claim(work, integration, state, freshness).await
            }
            (Decision::GoOn, Course::Send(integration), _) => {
                let Belief::Seen(Some(record)) = belief else { return Err(Fault::Contended) };
                let secrets = self.dispatch.secrets(integration).await?;
                self.attempt(work.task, integration, &secrets, record).await
            }
        }
    }

    async fn create(&self, work: &Work<'_>, creation: &Creation<'_>, integration: &Integration) -> Result<Step, Fault> {
        let now = Timestamp::now();
        let inline = creation.beginning == Beginning::Claimed && work.deadline.leaves(self.policy.attempt_takes(), now);
        let state = if inline {
            State::Sending {
                attempt: 1,
                round_start: 1,
                lease_until: lease_until(now, self.policy.lease),
                claim_id: work.own,
            }
        } else {
            State::Waiting { attempt: 1, round_start: 1, due_at: now }
        };
        // Before the claim: a failure of KMS must not leave a claim behind that looks like an attempt.
        let secrets = if inline { self.dispatch.secrets(integration).await? } else { Arc::default() };

        let key = creation.identity.key();
        let mut record = Box::new(Record::new(creation.identity.clone(), &state, creation.expires_at));
        match keep(creation.body) {
            Kept::Inline(deflated) => record.payload = Some(deflated.into()),
            Kept::Apart(deflated) => self.deliveries.keep_payload(key, deflated, creation.expires_at).await?,
        }
        match self.deliveries.create(record).await? {
            Written::Refused(found) => Ok(Step::Surprised(found)),
            Written::Applied(record) if inline => {
                self.attempt_with_body(integration, &secrets, record, creation.body.to_vec()).await
            }
            Written::Applied(_) => Ok(Step::Finished(Some(due_attempt(integration, key, 1, now)))),
        }
    }

    async fn claim(
        &self,
        work: &Work<'_>,
        integration: &Integration,
        state: Option<State>,
        freshness: Freshness,
    ) -> Result<Step, Fault> {
        let from = state.as_ref().and_then(Prior::seen).ok_or(Fault::Contended)?;
        let secrets = self.dispatch.secrets(integration).await?;
        let now = Timestamp::now();
        if !work.deadline.leaves(self.policy.attempt_takes(), now) {
            return Err(Fault::NoTimeLeft);
        }
        let claim = Move::Claim { claim_id: work.own, lease_until: lease_until(now, self.policy.lease), freshness };
        match self.deliveries.advance(work.task.key(), from, &claim).await? {
            Written::Applied(record) => self.attempt(work.task, integration, &secrets, record).await,
            Written::Refused(found) => Ok(Step::Surprised(found)),
        }
    }

    async fn cancel(
        &self,
        key: DeliveryKey,
        state: Option<State>,
        belief: &Belief,
        reason: CancelReason,
    ) -> Result<Step, Fault> {
        let from = state.as_ref().and_then(Prior::seen).ok_or(Fault::Contended)?;
        let interrupted = match (from, belief) {
            // Its lease is over: whoever made this attempt died, or could not record it.
            (Prior::Sending { .. }, Belief::Seen(Some(record))) => Some(self.with_interrupted_attempt(record)),
            _ => None,
        };
        match self.deliveries.advance(key, from, &Move::Cancel { reason, interrupted: interrupted.as_deref() }).await? {
            Written::Applied(record) => {
                log::cancelled(&record, reason);
                Ok(Step::Finished(None))
            }
            Written::Refused(found) => Ok(Step::Surprised(found)),
        }
    }

    fn with_interrupted_attempt(&self, record: &Record) -> Vec<Attempt> {
        let lease_until = record.lease_until.unwrap_or_default();
        let claimed_at = lease_until.saturating_sub(self.policy.lease).unwrap_or(lease_until);
        let mut record = record.clone();
        record.remember(Attempt::interrupted(record.attempt, claimed_at, record.freshness()));
        record.attempts
    }

    async fn attempt(
        &self,
        task: &Task<'_>,
        integration: &Integration,
        secrets: &OpenSecrets,
        record: Box<Record>,
    ) -> Result<Step, Fault> {
        let body = match task {
            Task::Alert(creation) => creation.body.to_vec(),
            Task::Due(_) => self.deliveries.payload(&record).await?,
        };
        self.attempt_with_body(integration, secrets, record, body).await
    }

    /// Sends, decides, records. The record is the one that holds our claim.
    async fn attempt_with_body(
        &self,
        integration: &Integration,
        secrets: &OpenSecrets,
        mut record: Box<Record>,
        body: Vec<u8>,
    ) -> Result<Step, Fault> {
        let state = record.state()?;
        let Some(from @ Prior::Sending { .. }) = Prior::seen(&state) else { return Err(Fault::Contended) };

        let started_at = whole_milliseconds(Timestamp::now());
        let Identity { event_type, delivery_id: delivery, .. } = record.identity;
        let subject = Subject { event_type, delivery, attempt: record.attempt, sent_at: started_at };
        let exchange = self.dispatch.send(integration, secrets, &subject, body).await?;
        let ended_at = Timestamp::now();

        let asked_for = exchange.retry_after.as_deref().and_then(|value| retry_after::parse(value, ended_at));
        let step = next_step(&exchange.outcome, state.index(), &self.policy.schedule, asked_for);
        let attempt = attempt_made(&exchange, record.attempt, started_at, record.freshness());
        record.remember(attempt.clone());

        if step == NextStep::DisableIntegration {
            self.integrations.disable(integration, DisabledReason::Gone, ended_at).await?;
        }
        let key = record.identity.key();
        let written = self.deliveries.advance(key, from, &next_move(step, &record, ended_at)).await?;
        // An integration that was just switched off has no health.
        if step != NextStep::DisableIntegration
            && let Err(fault) = self.integrations.observe(integration, &exchange.outcome, ended_at).await
        {
            // The next attempt notes it as well; no delivery depends on it.
            log::unobserved(&record, &fault);
        }
        match written {
            Written::Applied(recorded) => {
                log::attempt(&recorded, &attempt);
                Ok(Step::Finished(
                    recorded.due_at.map(|due_at| due_attempt(integration, key, recorded.attempt, due_at)),
                ))
            }
            Written::Refused(found) => {
                match &found {
                    // It was ours that was made first: only the answer to it was lost.
                    Some(recorded) if recorded.attempts.contains(&attempt) => log::attempt(recorded, &attempt),
                    _ => log::unrecorded_attempt(&record, &attempt),
                }
                Ok(Step::Surprised(found))
            }
        }
    }
}

/// As the ledger keeps times, so that an attempt that is read back equals the one that was written.
fn whole_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

fn due_attempt(integration: &Integration, key: DeliveryKey, attempt: u32, due_at: Timestamp) -> DueAttempt {
    let DeliveryKey { integration_id, delivery_id } = key;
    let message = RetryMessage { organization_id: integration.organization_id, integration_id, delivery_id, attempt };
    DueAttempt { message, due_at }
}

fn next_move<'a>(step: NextStep, record: &'a Record, now: Timestamp) -> Move<'a> {
    let attempts = &record.attempts;
    match step {
        NextStep::Done => Move::End { end: End::Delivered, attempts },
        NextStep::GiveUp | NextStep::DisableIntegration => Move::End { end: End::Failed, attempts },
        NextStep::Retry { after } => Move::Await {
            attempt: record.attempt.saturating_add(1),
            due_at: now.saturating_add(after).unwrap_or(Timestamp::MAX),
            due_shard: record.identity.key().due_shard(),
            attempts,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_leaves_only_what_ends_by_it() {
        let now = Timestamp::from_second(1_736_500_000).unwrap();
        let deadline = Deadline(Timestamp::from_second(1_736_500_060).unwrap());
        assert!(deadline.leaves(Duration::from_secs(60), now));
        assert!(!deadline.leaves(Duration::from_millis(60_001), now));
        assert!(!deadline.leaves(Duration::MAX, now));
    }
}
