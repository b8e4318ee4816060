//! Carries out each command of the worker.

use std::sync::Arc;

use bytes::Bytes;
use domain::attempt::retry_after;
use domain::delivery::ledger::{Entry, State};
use domain::delivery::misdated::is_misdated;
use domain::delivery::payload::StoredPayload;
use domain::delivery::transitions::{Condition, Transition, Write};
use domain::delivery::worker::{Command, Job, Reply};
use domain::delivery::{CancelReason, Record};
use domain::integration::health::Health;
use domain::integration::{DisabledReason, Integration};
use jiff::Timestamp;

use super::attempt::{FinishedAttempt, HealthRecording};
use super::{Action, NewDelivery, Runner, Task};
use crate::dynamodb::conditional::Conditional;
use crate::dynamodb::deliveries_table::Written;
use crate::fault::Fault;
use crate::kms::vault::OpenSecrets;
use crate::log;
use crate::scheduler::DueAttempt;

/// A message that is being processed, with the results of the commands so far.
pub(super) struct Run<'a> {
    pub(super) task: &'a Task<'a>,
    pub(super) action: Action<'a>,
    job: Job,
    /// The delivery as last read or written.
    record: Option<Box<Record>>,
    secrets: Option<Arc<OpenSecrets>>,
    body: Option<Bytes>,
    pub(super) finished: Option<FinishedAttempt>,
    /// The first failure.
    pub(super) failed: Option<Fault>,
}

impl<'a> Run<'a> {
    pub(super) fn new(task: &'a Task<'a>, action: Action<'a>, job: Job) -> Self {
        Self { task, action, job, record: None, secrets: None, body: None, finished: None, failed: None }
    }

    /// The integration, for commands that only occur when a delivery is sent.
    pub(super) fn integration(&self) -> Result<&'a Integration, Fault> {
        match self.action {
            Action::Send(integration, _) => Ok(integration),
            Action::Cancel(_) => Err(Fault::UnexpectedReply),
        }
    }

    fn new_delivery(&self) -> Result<&'a NewDelivery<'a>, Fault> {
        match self.task {
            Task::Alert(new_delivery) => Ok(new_delivery),
            Task::Due(_) => Err(Fault::UnexpectedReply),
        }
    }

    /// The write that a command stands for.
    fn write(&self, command: Command) -> Result<(Condition, Transition), Fault> {
        command.write(&self.job).ok_or(Fault::UnexpectedReply)
    }

    /// Remembers the record that was found, and checks whose it is.
    fn accept_found(&mut self, record: Option<Box<Record>>) -> Result<Found, Fault> {
        self.record = record;
        match &self.record {
            Some(record) if record.identity.organization_id != self.task.owner() => Ok(Found::WrongOrganization),
            Some(record) => Ok(Found::Ours(Some(record.entry()?))),
            None => Ok(Found::Ours(None)),
        }
    }

    fn refused(&mut self, record: Option<Box<Record>>) -> Result<Reply, Fault> {
        Ok(match self.accept_found(record)? {
            Found::Ours(entry) => Reply::Refused(entry),
            Found::WrongOrganization => Reply::WrongOrganization,
        })
    }

    fn written(&mut self, record: Box<Record>) -> Result<Reply, Fault> {
        let entry = record.entry()?;
        self.record = Some(record);
        Ok(Reply::Written(entry))
    }
}

/// What was found in the ledger.
enum Found {
    Ours(Option<Entry>),
    WrongOrganization,
}

impl Runner {
    /// Carries out a command. A failure of ours becomes [`Reply::Failed`]; the fault itself is kept in `run`.
    pub(super) async fn perform(&self, run: &mut Run<'_>, command: Command) -> Reply {
        let reply = match command {
            Command::Read => self.read(run).await,
            Command::OpenSecrets(_) => self.open_secrets(run).await,
            Command::StorePayload(_) => self.store_payload(run).await,
            Command::Create(state) => self.create(run, &state).await,
            Command::Claim { .. } | Command::Unclaim { .. } => self.advance(run, command).await,
            Command::ReadPayload(_) => self.read_payload(run).await,
            Command::Request(_) => self.request(run).await,
            Command::Disable(_) => self.disable(run).await,
            Command::Record { .. } => self.record(run, command).await,
            Command::Cancel { reason, .. } => self.cancel(run, command, reason).await,
            Command::Schedule { attempt, due_at } => self.schedule(run, attempt, due_at).await,
        };
        reply.unwrap_or_else(|fault| {
            // The first one is the cause. That the claim could not be taken back afterwards adds nothing.
            run.failed.get_or_insert(fault);
            Reply::Failed
        })
    }

    async fn read(&self, run: &mut Run<'_>) -> Result<Reply, Fault> {
        let found = self.deliveries.find(run.task.key()).await?;
        Ok(match run.accept_found(found)? {
            Found::Ours(entry) => Reply::Found(entry),
            Found::WrongOrganization => Reply::WrongOrganization,
        })
    }

    async fn open_secrets(&self, run: &mut Run<'_>) -> Result<Reply, Fault> {
        run.secrets = Some(self.dispatch.secrets(run.integration()?).await?);
        Ok(Reply::Done)
    }

    /// Also stores the item by which a misdated delivery is found: like a payload's, it is there before its delivery.
    async fn store_payload(&self, run: &mut Run<'_>) -> Result<Reply, Fault> {
        let new_delivery = run.new_delivery()?;
        let identity = &new_delivery.identity;
        if is_misdated(identity.delivery_id, identity.created_at) {
            self.deliveries.put_misdated(identity, new_delivery.expires_at).await?;
        }
        if let StoredPayload::Separate(deflated) = new_delivery.payload {
            self.deliveries.put_payload(run.task.key(), deflated.clone(), new_delivery.expires_at).await?;
        }
        Ok(Reply::Done)
    }

    async fn create(&self, run: &mut Run<'_>, state: &State) -> Result<Reply, Fault> {
        let new_delivery = run.new_delivery()?;
        let mut record = Box::new(Record::new(new_delivery.identity.clone(), state, new_delivery.expires_at));
        if let StoredPayload::Inline(deflated) = new_delivery.payload {
            record.payload = Some(deflated.clone().into());
        }
        match self.deliveries.create(record).await? {
            Written::Applied(record) => run.written(record),
            Written::Refused(found) => run.refused(found),
        }
    }

    /// Makes a write that changes only the entry. The response brings the rest of the record, which was not read
    /// before.
    async fn advance(&self, run: &mut Run<'_>, command: Command) -> Result<Reply, Fault> {
        let (from, to) = run.write(command)?;
        let write = Write { from, to, attempts: None, expires_at: None };
        self.write(run, &write).await
    }

    async fn cancel(&self, run: &mut Run<'_>, command: Command, reason: CancelReason) -> Result<Reply, Fault> {
        let (from, to) = run.write(command)?;
        let interrupted = run.record.as_ref().and_then(|record| record.with_interrupted_attempt(self.begun_at(record)));
        let write = Write { from, to, attempts: interrupted.as_deref(), expires_at: None };
        let reply = self.write(run, &write).await?;
        if let (Reply::Written(_), Some(record)) = (&reply, &run.record) {
            log::cancelled(record, reason);
        }
        Ok(reply)
    }

    async fn write(&self, run: &mut Run<'_>, write: &Write<'_>) -> Result<Reply, Fault> {
        match self.deliveries.advance(run.task.key(), run.task.owner(), write).await? {
            Written::Applied(record) => run.written(record),
            Written::Refused(found) => run.refused(found),
        }
    }

    /// When an interrupted attempt began, as far as the record shows: when it was claimed or, if its claim was taken
    /// back, the time at which it is due.
    fn begun_at(&self, record: &Record) -> Timestamp {
        let claimed_at = record.lease_until.and_then(|lease_until| lease_until.saturating_sub(self.policy.lease).ok());
        claimed_at.or(record.due_at).unwrap_or_default()
    }

    async fn read_payload(&self, run: &mut Run<'_>) -> Result<Reply, Fault> {
        run.body = Some(match (run.task, &run.record) {
            (Task::Alert(new_delivery), _) => new_delivery.body.clone(),
            (Task::Due(_), Some(record)) => self.deliveries.payload(record).await?.into(),
            (Task::Due(_), None) => return Err(Fault::UnexpectedReply),
        });
        Ok(Reply::Done)
    }

    async fn request(&self, run: &mut Run<'_>) -> Result<Reply, Fault> {
        let (Some(record), Some(secrets), Some(body)) = (&run.record, &run.secrets, &run.body) else {
            return Err(Fault::UnexpectedReply);
        };
        let finished = self.make_attempt(run.integration()?, secrets, record, body.clone()).await?;
        let header = finished.exchange.retry_after.as_deref();
        let retry_after = header.and_then(|value| retry_after::parse(value, finished.ended_at));
        let outcome = finished.exchange.outcome.clone();
        run.finished = Some(finished);
        Ok(Reply::Answered { outcome, retry_after })
    }

    /// Records the endpoint's health in the same write.
    async fn disable(&self, run: &mut Run<'_>) -> Result<Reply, Fault> {
        let integration = run.integration()?;
        let finished = run.finished.as_mut().ok_or(Fault::UnexpectedReply)?;
        let health = Health::after(finished.health.as_ref(), finished.observation(), finished.ended_at);
        let disabled = self.integrations.disable(integration, DisabledReason::Gone, health.as_ref(), finished.ended_at);
        match disabled.await? {
            // A refusal means that the customer changed the integration since the attempt began. Their change wins.
            Conditional::Applied(()) | Conditional::Refused(()) => {}
        }
        finished.health_recording = HealthRecording::Done;
        Ok(Reply::Done)
    }

    async fn record(&self, run: &mut Run<'_>, command: Command) -> Result<Reply, Fault> {
        let (from, to) = run.write(command)?;
        let (Some(mut record), Some(finished)) = (run.record.take(), &run.finished) else {
            return Err(Fault::UnexpectedReply);
        };
        record.add_attempt(finished.attempt.clone());
        let expires_at = match to {
            Transition::Retry { due_at, .. } => self.policy.extended_expiry(record.expires_at, due_at),
            _ => None,
        };
        // Before the record is written, so that a waiting delivery always has its payload when it is due.
        if let Some(expires_at) = expires_at {
            self.deliveries.extend_payload(&record, expires_at).await?;
        }
        let attempts = record.attempts.clone();
        let write = Write { from, to, attempts: Some(&attempts), expires_at };
        match self.deliveries.record_attempt(&record, &write).await? {
            Written::Applied(recorded) => {
                log::attempt(&recorded, &finished.attempt);
                run.written(recorded)
            }
            Written::Refused(found) => {
                match &found {
                    // Our own write had succeeded; only its response was lost.
                    Some(recorded) if recorded.attempts.contains(&finished.attempt) => {
                        log::attempt(recorded, &finished.attempt);
                    }
                    _ => log::unrecorded_attempt(&record, &finished.attempt),
                }
                run.refused(found)
            }
        }
    }

    /// Uses the due time of the ledger, so that scheduling an attempt again has the same effect.
    async fn schedule(&self, run: &Run<'_>, attempt: u32, due_at: Timestamp) -> Result<Reply, Fault> {
        let due = DueAttempt { message: run.task.message_for(attempt), due_at };
        self.scheduler.schedule(&due, Timestamp::now()).await?;
        Ok(Reply::Done)
    }
}
