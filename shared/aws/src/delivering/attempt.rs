//! One attempt's request, sent and watched; and what it tells of its endpoint.

use std::pin::pin;

use bytes::Bytes;
use domain::attempt::Attempt;
use domain::deadline::Deadline;
use domain::delivery::ledger::whole_milliseconds;
use domain::delivery::{DeliveryKey, Identity, Record};
use domain::integration::Integration;
use domain::integration::health::{Health, Pace, Sign, suspicion};
use domain::request::Subject;
use jiff::Timestamp;
use sender::Exchange;
use tokio::time::{sleep, timeout};

use super::{Delivering, attempt_made};
use crate::dynamodb::integrations_table::Observed;
use crate::fault::Fault;
use crate::kms::vault::OpenSecrets;
use crate::log;

/// An attempt that was made.
pub(super) struct Made {
    pub(super) attempt: Attempt,
    pub(super) exchange: Exchange,
    pace: Pace,
    /// The endpoint's health as it was seen last.
    pub(super) health: Option<Health>,
    pub(super) health_note: HealthNote,
    pub(super) ended_at: Timestamp,
}

/// Whether what an attempt tells of its endpoint is noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HealthNote {
    ToMake,
    Made,
}

impl Made {
    /// What it shows of its endpoint, now that it is over.
    pub(super) fn sign(&self) -> Sign<'_> {
        Sign::Over { outcome: &self.exchange.outcome, pace: self.pace }
    }
}

impl Delivering {
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
        let health_note = HealthNote::ToMake;
        Ok(Made { attempt, exchange, pace, health, health_note, ended_at: Timestamp::now() })
    }

    /// Notes what an attempt that is over tells of its endpoint, in what is left of the invocation's time. The next one
    /// notes it as well; no delivery depends on it.
    pub(super) async fn note_end(&self, integration: &Integration, made: &Made, key: DeliveryKey, deadline: Deadline) {
        if made.health_note == HealthNote::Made {
            return;
        }
        let observed = self.integrations.observe(integration, made.health.clone(), made.sign(), made.ended_at);
        let fault = match timeout(deadline.left_before_the_answer(Timestamp::now()), observed).await {
            Ok(Ok(_)) => return,
            Ok(Err(fault)) => fault,
            Err(_elapsed) => Fault::NoTimeLeft,
        };
        log::unobserved(key, &fault);
    }
}
