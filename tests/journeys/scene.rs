//! What every journey starts with: an organization of its own, an endpoint of its own, alert events that are unlike all
//! others.
//!
//! Whatever must never be shown holds a canary, here: secrets, header values, payloads, URLs. At the end the logs are
//! searched for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use domain::alert::event::AlertEvent;
use domain::attempt::Attempt;
use domain::delivery::ledger::State;
use domain::delivery::payload::{StoredPayload, compress};
use domain::delivery::{DeliveryKey, Identity, Record, Status};
use domain::ids::OrganizationId;
use domain::integration::Integration;
use harness::api::Api;
use harness::receiver::{Answer, Arrival, Receiver};
use harness::stack::{NewIntegration, Stack};
use jiff::Timestamp;
use libtest_mimic::Failed;
use serde_json::{Value, json};

/// Part of everything that must not be shown.
pub const CANARY: &str = "canary";

/// The same within a `whsec_` secret, whose bytes begin with it.
pub const CANARY_IN_BASE64: &str = "Y2FuYXJ5";

/// Part of the bodies of bad retry messages, which nobody else writes. They are found again where they were buried, and
/// nowhere else.
pub const INTRUDER: &str = "magpie";

/// A secret in the form of ours.
pub const STANDARD_SECRET: &str = "whsec_Y2FuYXJ5LXNpbmdzLWluLXRoZS1taW5lLTAxMjM=";

/// The path of an endpoint, unless a journey needs several. URLs are as secret as their owners make them.
pub const PATH: &str = "/hooks/canary";

/// Within that time happens what is due at once. A loaded machine is slow; a healthy one never waits for it.
pub const SOON: Duration = Duration::from_secs(45);

static ORGANIZATIONS: AtomicU64 = AtomicU64::new(1_000);
static ALERTS: AtomicU64 = AtomicU64::new(1);

/// A journey's surroundings.
pub struct Scene {
    pub stack: Arc<Stack>,
    pub organization: OrganizationId,
    pub receiver: Receiver,
}

impl Scene {
    pub async fn open(stack: &Arc<Stack>) -> Result<Self, Failed> {
        let number = ORGANIZATIONS.fetch_add(1, Ordering::Relaxed);
        let organization = OrganizationId::new(number).ok_or("an organization's number is positive")?;
        Ok(Self { stack: Arc::clone(stack), organization, receiver: Receiver::start().await? })
    }

    /// An integration to be created, which points at this journey's endpoint.
    pub fn here(&self) -> NewIntegration {
        NewIntegration::to(self.receiver.url(PATH))
    }

    /// Sets what the endpoint answers, and creates an integration that points at it.
    pub async fn integration_that_meets(
        &self,
        answers: impl IntoIterator<Item = Answer>,
    ) -> Result<Integration, Failed> {
        self.receiver.script(PATH, answers);
        self.create(self.here()).await
    }

    /// The API, used by a user of this organization.
    pub async fn api(&self) -> Result<Api, Failed> {
        Ok(self.stack.api(self.organization).await?)
    }

    pub async fn create(&self, new: NewIntegration) -> Result<Integration, Failed> {
        Ok(self.stack.create(self.organization, new).await?)
    }

    /// An alert event of this organization.
    pub fn alert(&self) -> Value {
        let number = ALERTS.fetch_add(1, Ordering::Relaxed);
        json!({
            "event_type": "alert.triggered",
            "timestamp": Timestamp::now().to_string(),
            "alert": {
                "id": number,
                "name": format!("{CANARY} stopped singing ({number})"),
                "severity": "critical",
                "status": "active",
                "message": "Device has not sent a heartbeat in 5 minutes",
                "rule_id": 456,
                "triggered_at": "2025-01-10T10:23:45Z",
            },
            "device": { "id": 789, "name": format!("{CANARY}-robot-01"), "type": "robot", "status": "offline" },
            "project": { "id": 10, "name": "Warehouse Operations", "slug": "warehouse" },
            "organization": { "id": self.organization.get(), "name": "Acme Corp", "slug": "acme" },
            "links": { "alert": format!("https://app.roboticks.io/alerts/{number}") },
        })
    }

    /// Puts an alert event on the queue, and returns it as it was sent.
    pub async fn raise(&self) -> Result<String, Failed> {
        let body = self.alert().to_string();
        self.send(&body).await?;
        Ok(body)
    }

    /// Puts a message on the alerts queue, as producers are advised to.
    pub async fn send(&self, body: &str) -> Result<(), Failed> {
        Ok(self.stack.send_alert(body, Some(&self.organization.to_string())).await?)
    }

    /// The delivery that an alert event becomes for an integration.
    pub fn delivery(&self, integration: &Integration, body: &str) -> Result<DeliveryKey, Failed> {
        Ok(self.stack.delivery(integration, body)?)
    }

    /// Writes the delivery that an alert event becomes for an integration into the ledger, as it is left in that state.
    pub async fn put(&self, integration: &Integration, body: &str, state: &State) -> Result<DeliveryKey, Failed> {
        let key = self.delivery(integration, body)?;
        let AlertEvent { organization_id, event_type, alert_id, .. } = AlertEvent::parse(body)?;
        let DeliveryKey { integration_id, delivery_id } = key;
        let now = Timestamp::now();
        let identity = Identity { integration_id, delivery_id, organization_id, event_type, alert_id, created_at: now };
        let mut record = Record::new(identity, state, now + Duration::from_secs(24 * 60 * 60));
        let StoredPayload::Inline(payload) = compress(body.as_bytes()) else {
            return Err("a sample alert fits beside its delivery".into());
        };
        record.payload = Some(payload.into());
        self.stack.put_record(record).await?;
        Ok(key)
    }

    /// Waits for a delivery's end or waiting, for what is due at once.
    pub async fn record(&self, key: DeliveryKey, status: Status) -> Result<Record, Failed> {
        self.record_within(key, status, SOON).await
    }

    pub async fn record_within(&self, key: DeliveryKey, status: Status, within: Duration) -> Result<Record, Failed> {
        let record = self.stack.record_with_status(key, status, within).await;
        record.map_err(|late| format!("{late}. {}", self.requests_seen()).into())
    }

    /// Waits until a delivery waits for that attempt. It also waits, for its first one, when it was handed off.
    pub async fn waiting_for(&self, key: DeliveryKey, attempt: u32) -> Result<Record, Failed> {
        let waits = |record: &Record| record.status == Status::Waiting && record.attempt == attempt;
        let wanted = format!("a delivery that waits for attempt {attempt}");
        let record = self.stack.record_when(key, SOON, &wanted, waits).await;
        record.map_err(|late| format!("{late}. {}", self.requests_seen()).into())
    }

    /// Gives what must not happen time to happen.
    pub async fn and_nothing_more(&self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// What arrived at the endpoint's usual path.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.receiver.arrivals_at(PATH)
    }

    fn requests_seen(&self) -> String {
        let arrivals = self.receiver.arrivals();
        let seen = arrivals.iter().map(|arrival| {
            let attempt = arrival.header("x-roboticks-attempt").unwrap_or("?");
            format!("{} {} attempt {attempt} at {}", arrival.method, arrival.path, arrival.at)
        });
        format!("The endpoint has seen {} requests: [{}]", arrivals.len(), seen.collect::<Vec<_>>().join(", "))
    }
}

/// The outcomes of a record's attempts, in short.
pub fn outcomes(record: &Record) -> Vec<(u32, &str, Option<u16>)> {
    record.attempts.iter().map(|attempt| (attempt.number, attempt.outcome.as_str(), attempt.status_code)).collect()
}

/// The error codes of a record's attempts; an attempt without one is `-`.
pub fn error_codes(record: &Record) -> Vec<&str> {
    record.attempts.iter().map(|attempt| attempt.error.as_ref().map_or("-", |error| error.code.as_str())).collect()
}

/// When an attempt was over.
pub fn ended_at(attempt: &Attempt) -> Timestamp {
    attempt.started_at + Duration::from_millis(attempt.duration_ms.unwrap_or_default())
}

/// A header as text; empty when absent.
pub fn header<'a>(arrival: &'a Arrival, name: &str) -> &'a str {
    arrival.header(name).unwrap_or_default()
}
