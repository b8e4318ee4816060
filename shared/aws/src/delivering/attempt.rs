//! One attempt: its request sent and watched, what follows decided, recorded, scheduled; then what it tells of its
//! endpoint noted.

use std::pin::pin;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::{sleep, timeout};

use super::{Delivering, Left, Step, Task, Work, attempt_made, due_attempt};
use crate::dynamodb::deliveries_table::Written;
use crate::dynamodb::integrations_table::Observed;
use crate::fault::Fault;
use crate::kms::vault::OpenSecrets;
use crate::log;
use domain::attempt::Attempt;
use domain::attempt::next_step::{NextStep, next_step};
use domain::attempt::retry_after;
use domain::delivery::ledger::{End, State};
use domain::delivery::moves::{Move, Prior};
use domain::delivery::{Identity, Record};
use domain::integration::health::{Health, Pace, Sign, suspicion};
use domain::integration::{DisabledReason, Integration};
use domain::request::Subject;
use sender::Exchange;

/// An attempt that was made, and is not recorded yet.
struct Made {
    attempt: Attempt,
    exchange: Exchange,
    pace: Pace,
    /// The endpoint's health as it was seen last.
    health: Option<Health>,
    ended_at: Timestamp,
}

impl Made {
    /// What it shows of its endpoint, now that it is over.
    fn sign(&self) -> Sign<'_> {
        Sign::Over { outcome: &self.exchange.outcome, pace: self.pace }
    }
}

impl Delivering {
    /// Makes an attempt, up to where its message may be acknowledged. The record is the one that holds our claim.
    pub(super) async fn attempt(
        &self,
        work: &Work<'_>,
        integration: &Integration,
        secrets: &OpenSecrets,
        mut record: Box<Record>,
    ) -> Result<Step, Fault> {
        let made = self.request(work, integration, secrets, &record).await;
        let made = self.or_take_back(work, made).await?;
        let state = record.state()?;
        let Some(from @ Prior::Sending { .. }) = Prior::seen(&state) else { return Err(Fault::Contended) };
        let asked_for = made.exchange.retry_after.as_deref().and_then(|value| retry_after::parse(value, made.ended_at));
        let step = next_step(&made.exchange.outcome, state.index(), &self.policy.schedule, asked_for);
        record.remember(made.attempt.clone());

        let written = self.record(integration, &record, from, step, &made).await?;
        let next = match written {
            Written::Applied(recorded) => {
                log::attempt(&recorded, &made.attempt);
                if let Some(due_at) = recorded.due_at {
                    let key = recorded.identity.key();
                    self.schedule(&due_attempt(integration, key, recorded.attempt, due_at)).await?;
                }
                Step::Finished(Left::Nothing)
            }
            Written::Refused(found) => {
                match &found {
                    // It was ours that was made first: only the answer to it was lost.
                    Some(recorded) if recorded.attempts.contains(&made.attempt) => {
                        log::attempt(recorded, &made.attempt)
                    }
                    _ => log::unrecorded_attempt(&record, &made.attempt),
                }
                Step::Surprised(found)
            }
        };
        // With the switch it was noted already.
        if step != NextStep::DisableIntegration {
            self.note_end(work, integration, &record, &made).await;
        }
        Ok(next)
    }

    /// Reads what is to be sent, and sends it if there is time. A fault says that nothing was sent.
    async fn request(
        &self,
        work: &Work<'_>,
        integration: &Integration,
        secrets: &OpenSecrets,
        record: &Record,
    ) -> Result<Made, Fault> {
        let body = match work.task {
            Task::Alert(creation) => creation.body.clone(),
            Task::Due(_) => self.deliveries.payload(record).await?.into(),
        };
        // Claiming and reading took as long as they took. What cannot be recorded any more must not be sent.
        if !work.deadline.leaves(self.policy.attempt_takes(), Timestamp::now()) {
            return Err(Fault::NoTimeLeft);
        }
        self.make(integration, secrets, record, body).await
    }

    /// Sends the request. While it goes unanswered for long, that is noted: the next alerts need not wait for its end.
    async fn make(
        &self,
        integration: &Integration,
        secrets: &OpenSecrets,
        record: &Record,
        body: Bytes,
    ) -> Result<Made, Fault> {
        let started_at = whole_milliseconds(Timestamp::now());
        let Identity { event_type, delivery_id: delivery, .. } = record.identity;
        let subject = Subject { event_type, delivery, attempt: record.attempt, sent_at: started_at };
        let suspicion = suspicion(self.policy.request_timeout);
        let mut request = pin!(self.dispatch.send(integration, secrets, &subject, body));
        let mut unanswered = pin!(async {
            sleep(suspicion).await;
            self.integrations.observe(integration, integration.health.clone(), Sign::Unanswered, Timestamp::now()).await
        });
        let (exchange, noted) = tokio::select! {
            biased;
            // What was being noted is given up: nobody waits for it.
            exchange = &mut request => (exchange?, None),
            noted = &mut unanswered => (request.await?, Some(noted)),
        };
        let (pace, health) = match noted {
            Some(Ok(Observed::Noted(health))) => (Pace::NotedAsSlow, health),
            // It is noted at its end instead.
            Some(Ok(Observed::Outpaced(health))) => (Pace::Slow, health),
            Some(Ok(Observed::Outdated) | Err(_)) | None => (Pace::Slow, integration.health.clone()),
        };
        // All that took longer was the answer's body.
        let pace = if exchange.duration < suspicion { Pace::Quick } else { pace };
        let attempt = attempt_made(&exchange, record.attempt, started_at, record.freshness());
        Ok(Made { attempt, exchange, pace, health, ended_at: Timestamp::now() })
    }

    async fn record(
        &self,
        integration: &Integration,
        record: &Record,
        from: Prior,
        step: NextStep,
        made: &Made,
    ) -> Result<Written, Fault> {
        let Record { attempts, attempt, round_start, .. } = record;
        let ended =
            |end| (Move::End { end, attempts }, State::Ended { attempt: *attempt, round_start: *round_start, end });
        let (to, state) = match step {
            NextStep::Done => ended(End::Delivered),
            NextStep::GiveUp => ended(End::Failed),
            NextStep::DisableIntegration => {
                // First: once the delivery has ended, nobody would come back to do it.
                let health = Health::after(made.health.as_ref(), made.sign(), made.ended_at);
                let disabled =
                    self.integrations.disable(integration, DisabledReason::Gone, health.as_ref(), made.ended_at);
                disabled.await?;
                ended(End::Failed)
            }
            NextStep::Retry { after } => {
                let due_at = whole_milliseconds(made.ended_at.saturating_add(after).unwrap_or(Timestamp::MAX));
                let expires_at = self.policy.kept_until(record.expires_at, due_at);
                if let Some(expires_at) = expires_at {
                    self.deliveries.extend_payload(record, expires_at).await?;
                }
                let attempt = attempt.saturating_add(1);
                let due_shard = record.identity.key().due_shard();
                let to = Move::Await { attempt, due_at, due_shard, attempts, expires_at };
                (to, State::Waiting { attempt, round_start: *round_start, due_at })
            }
        };
        self.deliveries.conclude(record, from, &to, &state).await
    }

    /// Notes what an attempt that is over tells of its endpoint, in what is left of the invocation's time. The next one
    /// notes it as well; no delivery depends on it.
    async fn note_end(&self, work: &Work<'_>, integration: &Integration, record: &Record, made: &Made) {
        let observed = self.integrations.observe(integration, made.health.clone(), made.sign(), made.ended_at);
        match timeout(work.deadline.left_before_the_answer(Timestamp::now()), observed).await {
            Ok(Ok(_)) => {}
            Ok(Err(fault)) => log::unobserved(record, &fault),
            Err(_elapsed) => log::unobserved(record, &Fault::NoTimeLeft),
        }
    }
}

/// As the ledger keeps times, so that an attempt that is read back equals the one that was written.
fn whole_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
