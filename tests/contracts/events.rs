//! The files of `events/`: what producers send, and the same as Lambda receives it from SQS.

use domain::alert::event::{AlertEvent, EventType};
use domain::delivery::retry_message::RetryMessage;
use serde_json::Value;
use support::project::Project;

fn wrapped(name: &str) -> Value {
    let path = Project::source().event(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let event: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let records = event["Records"].as_array().unwrap_or_else(|| panic!("{name} has no records"));
    assert_eq!(records.len(), 1, "{name}");
    let record = records[0].clone();
    for field in ["messageId", "receiptHandle", "body", "eventSourceARN", "md5OfBody"] {
        assert!(record[field].is_string(), "{name}: {field}");
    }
    assert_eq!(
        (&record["eventSource"], &record["attributes"]["ApproximateReceiveCount"]),
        (&"aws:sqs".into(), &"1".into())
    );
    record
}

#[track_caller]
fn check(name: &str, expected: EventType) {
    let body = Project::source().sample_alert(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let event = AlertEvent::parse(&body).unwrap_or_else(|bad| panic!("{name}: {bad}"));
    assert_eq!((event.event_type, event.organization_id.get(), event.severity.as_str()), (expected, 1, "critical"));
    assert_eq!(wrapped(&format!("sqs-alert-{name}.json"))["body"], body.as_str(), "the body is the plain event");
}

#[test]
fn sample_alert_events_parse_and_are_wrapped_as_they_are() {
    check("triggered", EventType::Triggered);
    check("resolved", EventType::Resolved);
    check("acknowledged", EventType::Acknowledged);
}

/// The reference page's example, field for field.
#[test]
fn triggered_sample_is_the_documented_payload() {
    let body = Project::source().sample_alert("triggered").expect("the sample is there");
    let sample: Value = serde_json::from_str(&body).expect("the sample is JSON");
    let documented = serde_json::json!({
        "event_type": "alert.triggered",
        "timestamp": "2025-01-10T10:23:45Z",
        "alert": {
            "id": 123,
            "name": "Device Offline",
            "severity": "critical",
            "status": "active",
            "message": "Device has not sent a heartbeat in 5 minutes",
            "rule_id": 456,
            "triggered_at": "2025-01-10T10:23:45Z"
        },
        "device": { "id": 789, "name": "warehouse-robot-01", "type": "robot", "status": "offline" },
        "project": { "id": 10, "name": "Warehouse Operations", "slug": "warehouse" },
        "organization": { "id": 1, "name": "Acme Corp", "slug": "acme" },
        "links": { "alert": "https://app.roboticks.io/alerts/123", "device": "https://app.roboticks.io/devices/789" }
    });
    assert_eq!(sample, documented);
}

#[test]
fn sample_retry_message_parses() {
    let record = wrapped("sqs-retry-message.json");
    let body = record["body"].as_str().unwrap_or_default();
    let message = RetryMessage::parse(body).unwrap_or_else(|bad| panic!("{bad}"));
    assert_eq!(message.to_json(), body, "as the functions write it");
    assert_eq!(record["attributes"]["MessageGroupId"], message.organization_id.to_string());
}
