//! Each command of the worker's program, done.

use std::sync::Arc;

use bytes::Bytes;
use domain::attempt::retry_after;
use domain::delivery::ledger::{Entry, State};
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

/// A message being carried out: what the program's commands are about, and what they brought.
pub(super) struct Run<'a> {
    pub(super) task: &'a Task<'a>,
    pub(super) action: Action<'a>,
    job: Job,
    /// The delivery as it was found or written last.
    record: Option<Box<Record>>,
    secrets: Option<Arc<OpenSecrets>>,
    body: Option<Bytes>,
    pub(super) made: Option<FinishedAttempt>,
    /// What failed last.
    pub(super) failed: Option<Fault>,
}

impl<'a> Run<'a> {
    pub(super) fn new(task: &'a Task<'a>, action: Action<'a>, job: Job) -> Self {
        Self { task, action, job, record: None, secrets: None, body: None, made: None, failed: None }
    }

    /// The integration, for commands that only a delivery to an endpoint comes to.
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

    /// The write that a command is.
    fn write(&self, command: Command) -> Result<(Condition, Transition), Fault> {
        command.write(&self.job).ok_or(Fault::UnexpectedReply)
    }

    /// Takes what was found for what there is.
    fn found(&mut self, record: Option<Box<Record>>) -> Result<Found, Fault> {
        self.record = record;
        match &self.record {
            Some(record) if record.identity.organization_id != self.task.owner() => Ok(Found::WrongOrganization),
            Some(record) => Ok(Found::Ours(Some(record.entry()?))),
            None => Ok(Found::Ours(None)),
        }
    }

    fn refused(&mut self, record: Option<Box<Record>>) -> Result<Reply, Fault> {
        Ok(match self.found(record)? {
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
    /// Does what a command says. A failure of ours is kept for whoever has to know.
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
            // The first is why; that a claim could not be taken back then is no news.
            run.failed.get_or_insert(fault);
            Reply::Failed
        })
    }

    async fn read(&self, run: &mut Run<'_>) -> Result<Reply, Fault> {
        let found = self.deliveries.find(run.task.key()).await?;
        Ok(match run.found(found)? {
            Found::Ours(entry) => Reply::Found(entry),
            Found::WrongOrganization => Reply::WrongOrganization,
        })
    }

    async fn open_secrets(&self, run: &mut Run<'_>) -> Result<Reply, Fault> {
        run.secrets = Some(self.dispatch.secrets(run.integration()?).await?);
        Ok(Reply::Done)
    }

    async fn store_payload(&self, run: &mut Run<'_>) -> Result<Reply, Fault> {
        let new_delivery = run.new_delivery()?;
        if let StoredPayload::Separate(deflated) = new_delivery.kept {
            self.deliveries.put_payload(run.task.key(), deflated.clone(), new_delivery.expires_at).await?;
        }
        Ok(Reply::Done)
    }

    async fn create(&self, run: &mut Run<'_>, state: &State) -> Result<Reply, Fault> {
        let new_delivery = run.new_delivery()?;
        let mut record = Box::new(Record::new(new_delivery.identity.clone(), state, new_delivery.expires_at));
        if let StoredPayload::Inline(deflated) = new_delivery.kept {
            record.payload = Some(deflated.clone().into());
        }
        match self.deliveries.create(record).await? {
            Written::Applied(record) => run.written(record),
            Written::Refused(found) => run.refused(found),
        }
    }

    /// Makes a write that changes nothing but the entry. Of what is presumed to be there, the rest comes with the answer.
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

    /// When an attempt that was interrupted was begun, as far as the record tells: at its claim, or before that was taken back.
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
        let made = self.make(run.integration()?, secrets, record, body.clone()).await?;
        let asked_for = made.exchange.retry_after.as_deref();
        let retry_after = asked_for.and_then(|value| retry_after::parse(value, made.ended_at));
        let outcome = made.exchange.outcome.clone();
        run.made = Some(made);
        Ok(Reply::Answered { outcome, retry_after })
    }

    /// With the switch, the endpoint's health is noted too.
    async fn disable(&self, run: &mut Run<'_>) -> Result<Reply, Fault> {
        let integration = run.integration()?;
        let made = run.made.as_mut().ok_or(Fault::UnexpectedReply)?;
        let health = Health::after(made.health.as_ref(), made.observation(), made.ended_at);
        let disabled = self.integrations.disable(integration, DisabledReason::Gone, health.as_ref(), made.ended_at);
        match disabled.await? {
            // Somebody has changed it since the attempt began: then it is theirs to say whether it is on.
            Conditional::Applied(()) | Conditional::Refused(()) => {}
        }
        made.health_recording = HealthRecording::Done;
        Ok(Reply::Done)
    }

    async fn record(&self, run: &mut Run<'_>, command: Command) -> Result<Reply, Fault> {
        let (from, to) = run.write(command)?;
        let (Some(mut record), Some(made)) = (run.record.take(), &run.made) else {
            return Err(Fault::UnexpectedReply);
        };
        record.add_attempt(made.attempt.clone());
        let expires_at = match to {
            Transition::Retry { due_at, .. } => self.policy.kept_until(record.expires_at, due_at),
            _ => None,
        };
        // First: no delivery may wait that has no payload when it is due.
        if let Some(expires_at) = expires_at {
            self.deliveries.extend_payload(&record, expires_at).await?;
        }
        let attempts = record.attempts.clone();
        let write = Write { from, to, attempts: Some(&attempts), expires_at };
        match self.deliveries.record_attempt(&record, &write).await? {
            Written::Applied(recorded) => {
                log::attempt(&recorded, &made.attempt);
                run.written(recorded)
            }
            Written::Refused(found) => {
                match &found {
                    // It was ours that was made first: only the answer to it was lost.
                    Some(recorded) if recorded.attempts.contains(&made.attempt) => {
                        log::attempt(recorded, &made.attempt);
                    }
                    _ => log::unrecorded_attempt(&record, &made.attempt),
                }
                run.refused(found)
            }
        }
    }

    /// Works from the ledger's time, so that doing it again comes to the same.
    async fn schedule(&self, run: &Run<'_>, attempt: u32, due_at: Timestamp) -> Result<Reply, Fault> {
        let due = DueAttempt { message: run.task.message_of(attempt), due_at };
        self.scheduler.schedule(&due, Timestamp::now()).await?;
        Ok(Reply::Done)
    }
}
