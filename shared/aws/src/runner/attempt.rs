//! One attempt's request, sent and watched; and what it tells of its endpoint.

use std::pin::pin;

use bytes::Bytes;
use domain::attempt::Attempt;
use domain::deadline::Deadline;
use domain::delivery::ledger::whole_milliseconds;
use domain::delivery::{DeliveryKey, Identity, Record};
use domain::integration::Integration;
use domain::integration::health::{Health, Observation, Speed, slow_threshold};
use domain::request::Subject;
use jiff::Timestamp;
use sender::Exchange;
use tokio::time::{sleep, timeout};

use super::{Runner, attempt_made};
use crate::dynamodb::integrations_table::HealthUpdate;
use crate::fault::Fault;
use crate::kms::vault::OpenSecrets;
use crate::log;

/// An attempt that was made.
pub(super) struct FinishedAttempt {
    pub(super) attempt: Attempt,
    pub(super) exchange: Exchange,
    speed: Speed,
    /// The endpoint's health as it was seen last.
    pub(super) health: Option<Health>,
    pub(super) health_recording: HealthRecording,
    pub(super) ended_at: Timestamp,
}

/// Whether what an attempt tells of its endpoint is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthRecording {
    Pending,
    Done,
}

impl FinishedAttempt {
    /// What it shows of its endpoint, now that it is over.
    pub(super) fn observation(&self) -> Observation<'_> {
        Observation::Over { outcome: &self.exchange.outcome, speed: self.speed }
    }
}

impl Runner {
    /// Sends the request. While it goes unanswered for long, that is noted: the next alerts need not wait for its end.
    ///
    /// # Errors
    /// [`Fault`] says that nothing was sent.
    pub(super) async fn make(
        &self,
        integration: &Integration,
        secrets: &OpenSecrets,
        record: &Record,
        body: Bytes,
    ) -> Result<FinishedAttempt, Fault> {
        let started_at = whole_milliseconds(Timestamp::now());
        let Identity { event_type, delivery_id: delivery, .. } = record.identity;
        let subject = Subject { event_type, delivery, attempt: record.attempt, sent_at: started_at };
        let slow_threshold = slow_threshold(self.policy.request_timeout);
        let mut request = pin!(self.dispatch.send(integration, secrets, &subject, body));
        let mut unanswered = pin!(async {
            sleep(slow_threshold).await;
            self.integrations
                .update_health(integration, integration.health.clone(), Observation::Unanswered, Timestamp::now())
                .await
        });
        let (exchange, noted) = tokio::select! {
            biased;
            // What was being noted is given up: nobody waits for it.
            exchange = &mut request => (exchange?, None),
            noted = &mut unanswered => (request.await?, Some(noted)),
        };
        let (speed, health) = match noted {
            Some(Ok(HealthUpdate::Recorded(health))) => (Speed::SlowAndRecorded, health),
            // It is noted at its end instead.
            Some(Ok(HealthUpdate::Conflict(health))) => (Speed::Slow, health),
            Some(Ok(HealthUpdate::Superseded) | Err(_)) | None => (Speed::Slow, integration.health.clone()),
        };
        // All that took longer was the answer's body.
        let speed = if exchange.duration < slow_threshold { Speed::Quick } else { speed };
        let attempt = attempt_made(&exchange, record.attempt, started_at, record.freshness());
        let health_recording = HealthRecording::Pending;
        Ok(FinishedAttempt { attempt, exchange, speed, health, health_recording, ended_at: Timestamp::now() })
    }

    /// Notes what an attempt that is over tells of its endpoint, in what is left of the invocation's time. The next one
    /// notes it as well; no delivery depends on it.
    pub(super) async fn record_outcome_health(
        &self,
        integration: &Integration,
        made: &FinishedAttempt,
        key: DeliveryKey,
        deadline: Deadline,
    ) {
        if made.health_recording == HealthRecording::Done {
            return;
        }
        let observed =
            self.integrations.update_health(integration, made.health.clone(), made.observation(), made.ended_at);
        let fault = match timeout(deadline.remaining_before_response(Timestamp::now()), observed).await {
            Ok(Ok(_)) => return,
            Ok(Err(fault)) => fault,
            Err(_elapsed) => Fault::NoTimeLeft,
        };
        log::health_not_recorded(key, &fault);
    }
}
