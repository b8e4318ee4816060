//! Makes one attempt, and records what it shows about the endpoint's health.

use std::pin::pin;

use bytes::Bytes;
use domain::attempt::Attempt;
use domain::deadline::Deadline;
use domain::delivery::ledger::whole_milliseconds;
use domain::delivery::{DeliveryKey, Identity, Record};
use domain::integration::Integration;
use domain::integration::health::{Health, Observation, Speed, slow_threshold};
use domain::request::{Occasion, Subject};
use jiff::Timestamp;
use sender::Exchange;
use tokio::time::{sleep, timeout};

use super::{Runner, build_attempt};
use crate::dynamodb::integrations_table::HealthUpdate;
use crate::fault::Fault;
use crate::kms::vault::OpenSecrets;
use crate::log;

/// An attempt that is over.
pub(super) struct FinishedAttempt {
    pub(super) attempt: Attempt,
    pub(super) exchange: Exchange,
    speed: Speed,
    /// The endpoint's health as last read or written.
    pub(super) health: Option<Health>,
    pub(super) health_recording: HealthRecording,
    pub(super) ended_at: Timestamp,
}

/// Whether an attempt's outcome is already part of the endpoint's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthRecording {
    Pending,
    Done,
}

impl FinishedAttempt {
    /// What the attempt shows about its endpoint.
    pub(super) fn observation(&self) -> Observation<'_> {
        Observation::Over { outcome: &self.exchange.outcome, speed: self.speed }
    }
}

impl Runner {
    /// Sends the request. If no response arrives for a while, records that right away, so that the next alerts already
    /// go by the slow lane.
    ///
    /// # Errors
    /// On a [`Fault`] nothing was sent.
    pub(super) async fn make_attempt(
        &self,
        integration: &Integration,
        secrets: &OpenSecrets,
        record: &Record,
        body: Bytes,
    ) -> Result<FinishedAttempt, Fault> {
        let started_at = whole_milliseconds(Timestamp::now());
        let Identity { event_type, delivery_id: delivery, .. } = record.identity;
        let occasion = Occasion::Alert;
        let subject = Subject { occasion, event_type, delivery, attempt: record.attempt, sent_at: started_at };
        let slow_threshold = slow_threshold(self.policy.request_timeout);
        let mut request = pin!(self.dispatch.send(integration, secrets, &subject, body));
        let mut unanswered = pin!(async {
            sleep(slow_threshold).await;
            self.integrations
                .update_health(integration, integration.health.clone(), Observation::Unanswered, Timestamp::now())
                .await
        });
        let (exchange, update) = tokio::select! {
            biased;
            // An update that is still under way is dropped; it is not worth waiting for.
            exchange = &mut request => (exchange?, None),
            update = &mut unanswered => (request.await?, Some(update)),
        };
        let (speed, health) = match update {
            Some(Ok(HealthUpdate::Recorded(health))) => (Speed::SlowAndRecorded, health),
            // It is recorded when the attempt has ended.
            Some(Ok(HealthUpdate::Conflict(health))) => (Speed::Slow, health),
            Some(Ok(HealthUpdate::Superseded) | Err(_)) | None => (Speed::Slow, integration.health.clone()),
        };
        // Only the response body took longer than that.
        let speed = if exchange.duration < slow_threshold { Speed::Quick } else { speed };
        let attempt = build_attempt(&exchange, record.attempt, started_at, record.freshness());
        let health_recording = HealthRecording::Pending;
        Ok(FinishedAttempt { attempt, exchange, speed, health, health_recording, ended_at: Timestamp::now() })
    }

    /// Records what the attempt shows about its endpoint, within the invocation's remaining time. A failure is only
    /// logged: the next attempt records the health anyway, and no delivery depends on it.
    pub(super) async fn record_outcome_health(
        &self,
        integration: &Integration,
        finished: &FinishedAttempt,
        key: DeliveryKey,
        deadline: Deadline,
    ) {
        if finished.health_recording == HealthRecording::Done {
            return;
        }
        let (health, observation) = (finished.health.clone(), finished.observation());
        let update = self.integrations.update_health(integration, health, observation, finished.ended_at);
        let fault = match timeout(deadline.remaining_before_response(Timestamp::now()), update).await {
            Ok(Ok(_)) => return,
            Ok(Err(fault)) => fault,
            Err(_elapsed) => Fault::NoTimeLeft,
        };
        log::health_not_recorded(key, &fault);
    }
}
