//! Each command of the worker's program, done.

use std::sync::Arc;

use bytes::Bytes;
use domain::attempt::retry_after;
use domain::delivery::ledger::{Entry, State};
use domain::delivery::moves::{Move, Prior, Write};
use domain::delivery::payload::Kept;
use domain::delivery::worker::{Command, Job, Reply};
use domain::delivery::{CancelReason, Record};
use domain::integration::health::Health;
use domain::integration::{DisabledReason, Integration};
use jiff::Timestamp;

use super::attempt::{HealthNote, Made};
use super::{Course, Creation, Delivering, Task};
use crate::dynamodb::conditional::Conditional;
use crate::dynamodb::deliveries_table::Written;
use crate::fault::Fault;
use crate::kms::vault::OpenSecrets;
use crate::log;
use crate::scheduler::DueAttempt;

/// A message being carried out: what the program's commands are about, and what they brought.
pub(super) struct Carrying<'a> {
    pub(super) task: &'a Task<'a>,
    pub(super) course: Course<'a>,
    job: Job,
    /// The delivery as it was found or written last.
    record: Option<Box<Record>>,
    secrets: Option<Arc<OpenSecrets>>,
    body: Option<Bytes>,
    pub(super) made: Option<Made>,
    /// What failed last.
    pub(super) failed: Option<Fault>,
}

impl<'a> Carrying<'a> {
    pub(super) fn new(task: &'a Task<'a>, course: Course<'a>, job: Job) -> Self {
        Self { task, course, job, record: None, secrets: None, body: None, made: None, failed: None }
    }

    /// The integration, for commands that only a delivery to an endpoint comes to.
    pub(super) fn integration(&self) -> Result<&'a Integration, Fault> {
        match self.course {
            Course::Send(integration, _) => Ok(integration),
            Course::Cancel(_) => Err(Fault::OutOfStep),
        }
    }

    fn creation(&self) -> Result<&'a Creation<'a>, Fault> {
        match self.task {
            Task::Alert(creation) => Ok(creation),
            Task::Due(_) => Err(Fault::OutOfStep),
        }
    }

    /// The write that a command is.
    fn write(&self, command: Command) -> Result<(Prior, Move), Fault> {
        command.write(&self.job).ok_or(Fault::OutOfStep)
    }

    /// Takes what was found for what there is.
    fn found(&mut self, record: Option<Box<Record>>) -> Result<Found, Fault> {
        self.record = record;
        match &self.record {
            Some(record) if record.identity.organization_id != self.task.owner() => Ok(Found::Foreign),
            Some(record) => Ok(Found::Ours(Some(record.entry()?))),
            None => Ok(Found::Ours(None)),
        }
    }

    fn refused(&mut self, record: Option<Box<Record>>) -> Result<Reply, Fault> {
        Ok(match self.found(record)? {
            Found::Ours(entry) => Reply::Refused(entry),
            Found::Foreign => Reply::Foreign,
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
    Foreign,
}

impl Delivering {
    /// Does what a command says. A failure of ours is kept for whoever has to know.
    pub(super) async fn perform(&self, carrying: &mut Carrying<'_>, command: Command) -> Reply {
        let reply = match command {
            Command::Read => self.read(carrying).await,
            Command::OpenSecrets(_) => self.open_secrets(carrying).await,
            Command::StorePayload(_) => self.store_payload(carrying).await,
            Command::Create(state) => self.create(carrying, &state).await,
            Command::Claim { .. } | Command::TakeBack { .. } => self.advance(carrying, command).await,
            Command::ReadPayload(_) => self.read_payload(carrying).await,
            Command::Request(_) => self.request(carrying).await,
            Command::Disable(_) => self.disable(carrying).await,
            Command::Record { .. } => self.record(carrying, command).await,
            Command::Cancel { reason, .. } => self.cancel(carrying, command, reason).await,
            Command::Schedule { attempt, due_at } => self.schedule(carrying, attempt, due_at).await,
        };
        reply.unwrap_or_else(|fault| {
            // The first is why; that a claim could not be taken back then is no news.
            carrying.failed.get_or_insert(fault);
            Reply::Failed
        })
    }

    async fn read(&self, carrying: &mut Carrying<'_>) -> Result<Reply, Fault> {
        let found = self.deliveries.find(carrying.task.key()).await?;
        Ok(match carrying.found(found)? {
            Found::Ours(entry) => Reply::Found(entry),
            Found::Foreign => Reply::Foreign,
        })
    }

    async fn open_secrets(&self, carrying: &mut Carrying<'_>) -> Result<Reply, Fault> {
        carrying.secrets = Some(self.dispatch.secrets(carrying.integration()?).await?);
        Ok(Reply::Done)
    }

    async fn store_payload(&self, carrying: &mut Carrying<'_>) -> Result<Reply, Fault> {
        let creation = carrying.creation()?;
        if let Kept::Apart(deflated) = creation.kept {
            self.deliveries.keep_payload(carrying.task.key(), deflated.clone(), creation.expires_at).await?;
        }
        Ok(Reply::Done)
    }

    async fn create(&self, carrying: &mut Carrying<'_>, state: &State) -> Result<Reply, Fault> {
        let creation = carrying.creation()?;
        let mut record = Box::new(Record::new(creation.identity.clone(), state, creation.expires_at));
        if let Kept::Inline(deflated) = creation.kept {
            record.payload = Some(deflated.clone().into());
        }
        match self.deliveries.create(record).await? {
            Written::Applied(record) => carrying.written(record),
            Written::Refused(found) => carrying.refused(found),
        }
    }

    /// Makes a write that changes nothing but the entry. Of what is presumed to be there, the rest comes with the answer.
    async fn advance(&self, carrying: &mut Carrying<'_>, command: Command) -> Result<Reply, Fault> {
        let (from, to) = carrying.write(command)?;
        let write = Write { from, to, attempts: None, expires_at: None };
        self.write(carrying, &write).await
    }

    async fn cancel(
        &self,
        carrying: &mut Carrying<'_>,
        command: Command,
        reason: CancelReason,
    ) -> Result<Reply, Fault> {
        let (from, to) = carrying.write(command)?;
        let interrupted =
            carrying.record.as_ref().and_then(|record| record.with_interrupted_attempt(self.begun_at(record)));
        let write = Write { from, to, attempts: interrupted.as_deref(), expires_at: None };
        let reply = self.write(carrying, &write).await?;
        if let (Reply::Written(_), Some(record)) = (&reply, &carrying.record) {
            log::cancelled(record, reason);
        }
        Ok(reply)
    }

    async fn write(&self, carrying: &mut Carrying<'_>, write: &Write<'_>) -> Result<Reply, Fault> {
        match self.deliveries.advance(carrying.task.key(), carrying.task.owner(), write).await? {
            Written::Applied(record) => carrying.written(record),
            Written::Refused(found) => carrying.refused(found),
        }
    }

    /// When an attempt that was interrupted was begun, as far as the record tells: at its claim, or before that was taken back.
    fn begun_at(&self, record: &Record) -> Timestamp {
        let claimed_at = record.lease_until.and_then(|lease_until| lease_until.saturating_sub(self.policy.lease).ok());
        claimed_at.or(record.due_at).unwrap_or_default()
    }

    async fn read_payload(&self, carrying: &mut Carrying<'_>) -> Result<Reply, Fault> {
        carrying.body = Some(match (carrying.task, &carrying.record) {
            (Task::Alert(creation), _) => creation.body.clone(),
            (Task::Due(_), Some(record)) => self.deliveries.payload(record).await?.into(),
            (Task::Due(_), None) => return Err(Fault::OutOfStep),
        });
        Ok(Reply::Done)
    }

    async fn request(&self, carrying: &mut Carrying<'_>) -> Result<Reply, Fault> {
        let (Some(record), Some(secrets), Some(body)) = (&carrying.record, &carrying.secrets, &carrying.body) else {
            return Err(Fault::OutOfStep);
        };
        let made = self.make(carrying.integration()?, secrets, record, body.clone()).await?;
        let asked_for = made.exchange.retry_after.as_deref();
        let retry_after = asked_for.and_then(|value| retry_after::parse(value, made.ended_at));
        let outcome = made.exchange.outcome.clone();
        carrying.made = Some(made);
        Ok(Reply::Answered { outcome, retry_after })
    }

    /// With the switch, the endpoint's health is noted too.
    async fn disable(&self, carrying: &mut Carrying<'_>) -> Result<Reply, Fault> {
        let integration = carrying.integration()?;
        let made = carrying.made.as_mut().ok_or(Fault::OutOfStep)?;
        let health = Health::after(made.health.as_ref(), made.sign(), made.ended_at);
        let disabled = self.integrations.disable(integration, DisabledReason::Gone, health.as_ref(), made.ended_at);
        match disabled.await? {
            // Somebody has changed it since the attempt began: then it is theirs to say whether it is on.
            Conditional::Applied(()) | Conditional::Refused(()) => {}
        }
        made.health_note = HealthNote::Made;
        Ok(Reply::Done)
    }

    async fn record(&self, carrying: &mut Carrying<'_>, command: Command) -> Result<Reply, Fault> {
        let (from, to) = carrying.write(command)?;
        let (Some(mut record), Some(made)) = (carrying.record.take(), &carrying.made) else {
            return Err(Fault::OutOfStep);
        };
        record.remember(made.attempt.clone());
        let expires_at = match to {
            Move::Retry { due_at, .. } => self.policy.kept_until(record.expires_at, due_at),
            _ => None,
        };
        // First: no delivery may wait that has no payload when it is due.
        if let Some(expires_at) = expires_at {
            self.deliveries.extend_payload(&record, expires_at).await?;
        }
        let attempts = record.attempts.clone();
        let write = Write { from, to, attempts: Some(&attempts), expires_at };
        match self.deliveries.conclude(&record, &write).await? {
            Written::Applied(recorded) => {
                log::attempt(&recorded, &made.attempt);
                carrying.written(recorded)
            }
            Written::Refused(found) => {
                match &found {
                    // It was ours that was made first: only the answer to it was lost.
                    Some(recorded) if recorded.attempts.contains(&made.attempt) => {
                        log::attempt(recorded, &made.attempt);
                    }
                    _ => log::unrecorded_attempt(&record, &made.attempt),
                }
                carrying.refused(found)
            }
        }
    }

    /// Works from the ledger's time, so that doing it again comes to the same.
    async fn schedule(&self, carrying: &Carrying<'_>, attempt: u32, due_at: Timestamp) -> Result<Reply, Fault> {
        let due = DueAttempt { message: carrying.task.message_of(attempt), due_at };
        self.scheduler.schedule(&due, Timestamp::now()).await?;
        Ok(Reply::Done)
    }
}
