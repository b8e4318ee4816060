//! What every journey starts with: an organization and an endpoint of its own, and alert events unlike all others.
//!
//! Everything that must not leak holds a canary: secrets, header values, payloads, URLs. At the end, everything that
//! others may see is searched for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use domain::alert::event::AlertEvent;
use domain::attempt::Attempt;
use domain::delivery::ledger::State;
use domain::delivery::payload::{StoredPayload, compress};
use domain::delivery::{DeliveryKey, Identity, Record, Status};
use domain::ids::OrganizationId;
use domain::integration::Integration;
use harness::api::Api;
use harness::customer::NewIntegration;
use harness::receiver::{Answer, Arrival, Receiver};
use harness::stack::Stack;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A part of everything that must not leak.
pub const CANARY: &str = "canary";

/// The same in a `whsec_` secret, whose bytes start with it.
pub const CANARY_IN_BASE64: &str = "Y2FuYXJ5";

/// A part of the bodies of bad retry messages. It may be seen in those messages in the dead-letter queue, and nowhere
/// else.
pub const INTRUDER: &str = "magpie";

/// A secret in the form of those that the API generates.
pub const STANDARD_SECRET: &str = "whsec_Y2FuYXJ5LXNpbmdzLWluLXRoZS1taW5lLTAxMjM=";

/// The path of an endpoint, unless a journey needs several. URLs can hold secrets too.
pub const PATH: &str = "/hooks/canary";

/// How long anything that is due now may take. It is long for the sake of busy machines; others never wait for it.
pub const SOON: Duration = Duration::from_secs(45);

static ORGANIZATIONS: AtomicU64 = AtomicU64::new(1_000);
static ALERTS: AtomicU64 = AtomicU64::new(1);

/// A journey's stack, organization and endpoint.
pub struct Testbed {
    pub stack: Arc<Stack>,
    pub organization: OrganizationId,
    pub receiver: Receiver,
}

impl Testbed {
    pub async fn set_up(stack: &Arc<Stack>) -> anyhow::Result<Self> {
        let number = ORGANIZATIONS.fetch_add(1, Ordering::Relaxed);
        let organization = OrganizationId::new(number).context("an organization's number is positive")?;
        Ok(Self { stack: Arc::clone(stack), organization, receiver: Receiver::start().await? })
    }

    /// An integration to be created, with the URL of this journey's endpoint.
    pub fn new_integration(&self) -> NewIntegration {
        NewIntegration::to(self.receiver.url(PATH))
    }

    /// Sets what the endpoint answers, and creates an integration with its URL.
    pub async fn create_with_answers(&self, answers: impl IntoIterator<Item = Answer>) -> anyhow::Result<Integration> {
        self.receiver.script(PATH, answers);
        self.create(self.new_integration()).await
    }

    /// The API, used by a user of this organization.
    pub async fn api(&self) -> anyhow::Result<Api> {
        self.stack.api(self.organization).await
    }

    pub async fn create(&self, new: NewIntegration) -> anyhow::Result<Integration> {
        self.stack.create(self.organization, new).await
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

    /// Sends a new alert event, and returns its body.
    pub async fn send_alert(&self) -> anyhow::Result<String> {
        let body = self.alert().to_string();
        self.send(&body).await?;
        Ok(body)
    }

    /// Puts a message on the alerts queue, with the message group that producers are advised to set.
    pub async fn send(&self, body: &str) -> anyhow::Result<()> {
        self.stack.send_alert(body, Some(&self.organization.to_string())).await
    }

    /// The delivery that an alert event becomes for an integration.
    pub fn delivery(&self, integration: &Integration, body: &str) -> anyhow::Result<DeliveryKey> {
        self.stack.delivery(integration, body)
    }

    /// Writes the delivery that an alert event becomes for an integration into the ledger, in that state.
    pub async fn put_delivery(
        &self,
        integration: &Integration,
        body: &str,
        state: &State,
    ) -> anyhow::Result<DeliveryKey> {
        let key = self.delivery(integration, body)?;
        let AlertEvent { organization_id, event_type, alert_id, .. } = AlertEvent::parse(body)?;
        let DeliveryKey { integration_id, delivery_id } = key;
        let now = Timestamp::now();
        let identity = Identity { integration_id, delivery_id, organization_id, event_type, alert_id, created_at: now };
        let mut record = Record::new(identity, state, now + Duration::from_secs(24 * 60 * 60));
        let StoredPayload::Inline(payload) = compress(body.as_bytes()) else {
            bail!("a sample alert fits into its delivery's item");
        };
        record.payload = Some(payload.into());
        self.stack.put_record(record).await?;
        Ok(key)
    }

    /// Waits until a delivery has that status.
    pub async fn record(&self, key: DeliveryKey, status: Status) -> anyhow::Result<Record> {
        self.record_within(key, status, SOON).await
    }

    pub async fn record_within(&self, key: DeliveryKey, status: Status, within: Duration) -> anyhow::Result<Record> {
        let record = self.stack.record_with_status(key, status, within).await;
        record.map_err(|error| anyhow!("{error:#}. {}", self.describe_requests()))
    }

    /// Waits until a delivery waits for that attempt, which is the first one if it was handed off.
    pub async fn record_waiting_for(&self, key: DeliveryKey, attempt: u32) -> anyhow::Result<Record> {
        let waits = |record: &Record| record.status == Status::Waiting && record.attempt == attempt;
        let wanted = format!("a delivery that waits for attempt {attempt}");
        let record = self.stack.record_when(key, SOON, &wanted, waits).await;
        record.map_err(|error| anyhow!("{error:#}. {}", self.describe_requests()))
    }

    /// Waits a moment, so that a request too many would be seen.
    pub async fn wait_a_moment(&self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    /// The requests that arrived at the endpoint's usual path.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.receiver.arrivals_at(PATH)
    }

    fn describe_requests(&self) -> String {
        let arrivals = self.receiver.arrivals();
        let seen = arrivals.iter().map(|arrival| {
            let attempt = arrival.header("x-roboticks-attempt").unwrap_or("?");
            format!("{} {} attempt {attempt} at {}", arrival.method, arrival.path, arrival.at)
        });
        format!("The endpoint has received {} requests: [{}]", arrivals.len(), seen.collect::<Vec<_>>().join(", "))
    }
}

/// The number, outcome and status of each attempt of a record.
pub fn outcomes(record: &Record) -> Vec<(u32, &str, Option<u16>)> {
    record.attempts.iter().map(|attempt| (attempt.number, attempt.outcome.as_str(), attempt.status_code)).collect()
}

/// The error code of each attempt of a record, or `-`.
pub fn error_codes(record: &Record) -> Vec<&str> {
    record.attempts.iter().map(|attempt| attempt.error.as_ref().map_or("-", |error| error.code.as_str())).collect()
}

/// When an attempt ended.
pub fn ended_at(attempt: &Attempt) -> Timestamp {
    attempt.started_at + Duration::from_millis(attempt.duration_ms.unwrap_or_default())
}

/// A header's value; empty when it is absent.
pub fn header<'a>(arrival: &'a Arrival, name: &str) -> &'a str {
    arrival.header(name).unwrap_or_default()
}
