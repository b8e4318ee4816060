//! What the functions log: one JSON line for each attempt and for each failure of our own, and a few others.
//!
//! No line contains a secret, a header value, a payload, a response or a URL. `level` is `ERROR` for what a person
//! should look at: a delivery that ended `failed`, a message sent to a dead-letter queue, a failure of our own.

use std::io::Write;
use std::time::Duration;

use domain::alert::event::EventType;
use domain::attempt::Attempt;
use domain::delivery::ledger::Stale;
use domain::delivery::{CancelReason, DeliveryKey, Identity, Record, Status};
use domain::ids::{DeliveryId, IntegrationId, OrganizationId};
use domain::integration::Integration;
use jiff::Timestamp;
use serde::Serialize;

use crate::fault::Fault;

/// How urgent a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    Info,
    Warn,
    Error,
}

#[derive(Debug, Serialize)]
struct AttemptLine<'a> {
    level: Level,
    message: &'static str,
    organization_id: OrganizationId,
    integration_id: IntegrationId,
    delivery_id: DeliveryId,
    event_type: EventType,
    alert_id: u64,
    attempt: u32,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    possible_duplicate: bool,
}

/// Logs an attempt that was recorded. `record` is the delivery after it.
pub fn attempt(record: &Record, attempt: &Attempt) {
    write(&attempt_line(record, attempt));
}

/// Logs an attempt that was made but could not be recorded, because another worker had changed the delivery meanwhile.
/// `record` is the delivery before the attempt.
pub fn unrecorded_attempt(record: &Record, attempt: &Attempt) {
    let message = "attempt made, but its claim had been lost";
    write(&AttemptLine { level: Level::Warn, message, ..attempt_line(record, attempt) });
}

/// The status by which an endpoint asks for no more webhooks.
const GONE: u16 = 410;

fn attempt_line<'a>(record: &Record, attempt: &'a Attempt) -> AttemptLine<'a> {
    let Identity { integration_id, delivery_id, organization_id, event_type, alert_id, .. } = record.identity;
    let (level, message) = match record.status {
        Status::Delivered => (Level::Info, "delivered"),
        Status::Failed if attempt.status_code == Some(GONE) => {
            (Level::Error, "delivery failed: the endpoint answered 410 Gone, so its integration was disabled")
        }
        Status::Failed => (Level::Error, "delivery failed: no attempts left"),
        _ => (Level::Warn, "attempt failed, will retry"),
    };
    AttemptLine {
        level,
        message,
        organization_id,
        integration_id,
        delivery_id,
        event_type,
        alert_id,
        attempt: attempt.number,
        outcome: &attempt.outcome,
        status_code: attempt.status_code,
        error: attempt.error.as_ref().map(|error| error.code.as_str()),
        duration_ms: attempt.duration_ms,
        status: record.status,
        next_attempt_at: record.due_at,
        possible_duplicate: attempt.possible_duplicate,
    }
}

#[derive(Serialize)]
struct CancelledLine {
    level: Level,
    message: &'static str,
    organization_id: OrganizationId,
    integration_id: IntegrationId,
    delivery_id: DeliveryId,
    attempt: u32,
    status: Status,
    reason: CancelReason,
}

/// Logs a delivery that was cancelled.
pub fn cancelled(record: &Record, reason: CancelReason) {
    write(&CancelledLine {
        level: Level::Info,
        message: "delivery cancelled",
        organization_id: record.identity.organization_id,
        integration_id: record.identity.integration_id,
        delivery_id: record.identity.delivery_id,
        attempt: record.attempt,
        status: record.status,
        reason,
    });
}

#[derive(Serialize)]
struct DroppedLine {
    level: Level,
    message: &'static str,
    integration_id: IntegrationId,
    delivery_id: DeliveryId,
    attempt: u32,
}

/// Logs a message that was dropped because there was nothing left to do.
pub fn dropped(key: DeliveryKey, attempt: u32, stale: Stale) {
    write(&DroppedLine {
        level: Level::Info,
        message: match stale {
            Stale::NoSuchDelivery => "message dropped: there is no such delivery",
            Stale::Superseded => "message dropped: its attempt is over",
        },
        integration_id: key.integration_id,
        delivery_id: key.delivery_id,
        attempt,
    });
}

#[derive(Serialize)]
struct DeadLetterLine<'a> {
    level: Level,
    message: &'static str,
    message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    error: &'a str,
}

/// Logs a message that was sent to the dead-letter queue. `field` is the one that is wrong, if a particular one is.
pub fn dead_lettered(message_id: &str, field: Option<&str>, error: &str) {
    let message = "message sent to the dead-letter queue";
    write(&DeadLetterLine { level: Level::Error, message, message_id, field, error });
}

#[derive(Serialize)]
struct ReturnedLine<'a> {
    level: Level,
    message: &'static str,
    message_id: &'a str,
    error: String,
    /// Absent when the queue's own visibility timeout decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    again_in_seconds: Option<u64>,
}

/// Logs a message that was returned to its queue, and how long it stays hidden there.
pub fn returned(message_id: &str, fault: &Fault, hidden: Option<Duration>) {
    let level = match fault {
        Fault::Busy { .. } => Level::Info,
        Fault::NoTimeLeft | Fault::Contended => Level::Warn,
        _ => Level::Error,
    };
    let message = "message returned to its queue";
    let again_in_seconds = hidden.map(|hidden| hidden.as_secs());
    write(&ReturnedLine { level, message, message_id, error: fault.to_string(), again_in_seconds });
}

#[derive(Serialize)]
struct TestLine<'a> {
    level: Level,
    message: &'static str,
    organization_id: OrganizationId,
    integration_id: IntegrationId,
    delivery_id: DeliveryId,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// Logs a test delivery. Never as an error: the customer who pressed the button sees the result.
pub fn tested(record: &Record) {
    let Some(attempt) = record.attempts.last() else { return };
    write(&TestLine {
        level: Level::Info,
        message: "test sent",
        organization_id: record.identity.organization_id,
        integration_id: record.identity.integration_id,
        delivery_id: record.identity.delivery_id,
        outcome: &attempt.outcome,
        status_code: attempt.status_code,
        error: attempt.error.as_ref().map(|error| error.code.as_str()),
    });
}

#[derive(Serialize)]
struct HealthNotRecordedLine {
    level: Level,
    message: &'static str,
    integration_id: IntegrationId,
    delivery_id: DeliveryId,
    error: String,
}

/// Logs that an endpoint's health could not be recorded.
pub fn health_not_recorded(key: DeliveryKey, fault: &Fault) {
    write(&HealthNotRecordedLine {
        level: Level::Warn,
        message: "endpoint health could not be recorded",
        integration_id: key.integration_id,
        delivery_id: key.delivery_id,
        error: fault.to_string(),
    });
}

/// What a customer did to an integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    Created,
    Changed,
    SecretRotated,
    Deleted,
}

#[derive(Serialize)]
struct ChangeLine {
    level: Level,
    message: &'static str,
    organization_id: OrganizationId,
    integration_id: IntegrationId,
    version: u64,
}

/// Logs what a customer did to an integration. `integration` is the result, or what was deleted.
pub fn changed(what: Changed, integration: &Integration) {
    write(&ChangeLine {
        level: Level::Info,
        message: match what {
            Changed::Created => "integration created",
            Changed::Changed => "integration changed",
            Changed::SecretRotated => "integration's signing secret rotated",
            Changed::Deleted => "integration deleted",
        },
        organization_id: integration.organization_id,
        integration_id: integration.id,
        version: integration.version,
    });
}

#[derive(Serialize)]
struct RequestFailedLine {
    level: Level,
    message: &'static str,
    error: String,
}

/// Logs a fault that made an API request fail.
pub fn request_failed(fault: &Fault) {
    write(&RequestFailedLine { level: Level::Error, message: "request failed", error: fault.to_string() });
}

#[derive(Serialize)]
struct UnreadableIntegrationsLine {
    level: Level,
    message: &'static str,
    organization_id: OrganizationId,
    unreadable: usize,
}

/// Logs how many of an organization's integrations could not be read and were left out of a list. Logs nothing for 0.
pub fn unreadable_integrations(organization_id: OrganizationId, unreadable: usize) {
    if unreadable > 0 {
        let message = "unreadable integrations were left out of a list";
        write(&UnreadableIntegrationsLine { level: Level::Error, message, organization_id, unreadable });
    }
}

#[derive(Serialize)]
struct SweepFailedLine {
    level: Level,
    message: &'static str,
    due_shard: u8,
    error: String,
}

/// Logs that a shard could not be swept, or not to its end.
pub fn sweep_failed(due_shard: u8, fault: &Fault) {
    let message = "some overdue deliveries were not sent again";
    write(&SweepFailedLine { level: Level::Error, message, due_shard, error: fault.to_string() });
}

#[derive(Serialize)]
struct UnreadableOverdueLine {
    level: Level,
    message: &'static str,
    due_shard: u8,
    unreadable: usize,
}

/// Logs how many entries of the index of waiting deliveries could not be read. Logs nothing for 0.
pub fn unreadable_overdue(due_shard: u8, unreadable: usize) {
    if unreadable > 0 {
        let message = "unreadable overdue deliveries were skipped";
        write(&UnreadableOverdueLine { level: Level::Error, message, due_shard, unreadable });
    }
}

#[derive(Serialize)]
struct SweptLine {
    level: Level,
    message: &'static str,
    overdue: usize,
}

/// Logs how many overdue deliveries a sweep sent again. Logs nothing for 0.
pub fn swept(overdue: usize) {
    if overdue > 0 {
        write(&SweptLine { level: Level::Warn, message: "overdue deliveries sent again", overdue });
    }
}

fn write(line: &impl Serialize) {
    let Ok(mut text) = serde_json::to_vec(line) else { return };
    text.push(b'\n');
    // Failing to log is no reason to stop delivering.
    let _ = std::io::stdout().lock().write_all(&text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::attempt::AttemptError;
    use domain::delivery::ledger::{End, State};
    use domain::fixtures::identity;

    fn record(state: &State) -> Record {
        Record::new(identity(), state, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn an_attempts_line_has_no_content() {
        let due_at = "2025-01-10T10:28:45Z".parse().unwrap();
        let failed = Attempt {
            number: 1,
            started_at: Timestamp::UNIX_EPOCH,
            duration_ms: Some(12),
            outcome: "rejected".into(),
            status_code: Some(500),
            error: Some(AttemptError { code: "server_error".into(), message: "The endpoint…".into() }),
            response_excerpt: Some("a secret".into()),
            possible_duplicate: false,
        };
        let waiting = record(&State::Waiting { attempt: 2, round_start: 1, due_at });
        assert_eq!(
            serde_json::to_string(&attempt_line(&waiting, &failed)).unwrap(),
            concat!(
                r#"{"level":"WARN","message":"attempt failed, will retry","organization_id":1,"#,
                r#""integration_id":"int_01JH7Z5A8M0000000000000001","#,
                r#""delivery_id":"dlv_01JH7VVHV81KJMEKY94GFHBBTY","event_type":"alert.triggered","alert_id":123,"#,
                r#""attempt":1,"outcome":"rejected","status_code":500,"error":"server_error","duration_ms":12,"#,
                r#""status":"waiting","next_attempt_at":"2025-01-10T10:28:45Z"}"#
            )
        );
        let ended = record(&State::Ended { attempt: 5, round_start: 1, end: End::Failed });
        assert_eq!(attempt_line(&ended, &failed).level, Level::Error);
        assert_eq!(attempt_line(&ended, &failed).message, "delivery failed: no attempts left");
        let gone = Attempt { status_code: Some(410), ..failed };
        let message = attempt_line(&ended, &gone).message;
        assert_eq!(message, "delivery failed: the endpoint answered 410 Gone, so its integration was disabled");
    }
}
