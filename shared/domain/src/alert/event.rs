//! Parsing an alert event: what a producer puts on the alerts queue.
//!
//! Only the fields that delivery uses are parsed and required. The payload itself is delivered byte for byte.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ids::OrganizationId;
use crate::json::{self, Expected, Fields, InvalidField, Kind, Object, Others, WHOLE_BODY};

/// The largest alert event, in bytes: 256 KiB, the documented limit. (SQS itself would carry 1 MiB.)
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// The longest severity name, in bytes. The documented ones are single words.
pub const MAX_SEVERITY_BYTES: usize = 64;

/// What happened to the alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventType {
    #[serde(rename = "alert.triggered")]
    Triggered,
    #[serde(rename = "alert.resolved")]
    Resolved,
    #[serde(rename = "alert.acknowledged")]
    Acknowledged,
}

impl EventType {
    pub const ALL: [Self; 3] = [Self::Triggered, Self::Resolved, Self::Acknowledged];

    /// What an event type must be in JSON.
    pub const EXPECTED: Expected<Self> = Expected {
        kind: Kind::String,
        words: "`alert.triggered`, `alert.resolved` or `alert.acknowledged`",
        read: json::parse_string,
    };

    /// The documented name, as in the payload's `event_type` and the header `X-Roboticks-Event`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Triggered => "alert.triggered",
            Self::Resolved => "alert.resolved",
            Self::Acknowledged => "alert.acknowledged",
        }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a documented event type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `alert.triggered`, `alert.resolved` or `alert.acknowledged`")]
pub struct UnknownEventType;

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or(UnknownEventType)
    }
}

/// The fields of an alert event that delivery uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertEvent {
    pub event_type: EventType,
    /// When it happened, by the producer's clock; 1970 or later.
    pub timestamp: Timestamp,
    pub alert_id: u64,
    pub severity: String,
    pub project_id: u64,
    pub organization_id: OrganizationId,
}

const EVENT: Fields = Fields {
    names: &["event_type", "timestamp", "alert", "project", "organization", "TopicArn", "detail-type"],
    others: Others::Ignored,
};
const ALERT: Fields = Fields { names: &["id", "severity"], others: Others::Ignored };
const PROJECT: Fields = Fields { names: &["id"], others: Others::Ignored };
const ORGANIZATION: Fields = Fields { names: &["id"], others: Others::Ignored };

const SEVERITY: Expected<String> =
    Expected { kind: Kind::String, words: "a string of 1 to 64 bytes", read: read_severity };

fn read_severity(value: &RawValue) -> Option<String> {
    json::parse::<String>(value).filter(|name| (1..=MAX_SEVERITY_BYTES).contains(&name.len()))
}

impl AlertEvent {
    /// Parses an alert event.
    ///
    /// # Errors
    /// The first problem found: size, then JSON, then the fields in the documented order. The caller sends the
    /// untouched message to the dead-letter queue, with this as the attributes `field` and `error`.
    pub fn parse(body: &str) -> Result<Self, InvalidField> {
        if body.len() > MAX_EVENT_BYTES {
            let message =
                format!("The message has {} bytes: an alert event may have at most {MAX_EVENT_BYTES}.", body.len());
            return Err(InvalidField::new(WHOLE_BODY, message));
        }
        let event = Object::parse(body, &EVENT)?;
        if let (None, Some(message)) = (event.value("event_type"), envelope(&event)) {
            return Err(InvalidField::new(WHOLE_BODY, message));
        }
        let event_type = event.required("event_type", &EventType::EXPECTED)?;
        let timestamp = event.required("timestamp", &json::TIME)?;
        if timestamp < Timestamp::UNIX_EPOCH {
            let message = "`timestamp` is before 1970: it must be the time of the event.";
            return Err(InvalidField::new("timestamp", message));
        }
        let alert = event.required_object("alert", &ALERT)?;
        let alert_id = alert.required("id", &json::WHOLE_NUMBER)?;
        let severity = alert.required("severity", &SEVERITY)?;
        let project_id = event.required_object("project", &PROJECT)?.required("id", &json::WHOLE_NUMBER)?;
        let organization = event.required_object("organization", &ORGANIZATION)?;
        let organization_id = organization.required("id", &OrganizationId::EXPECTED)?;
        Ok(Self { event_type, timestamp, alert_id, severity, project_id, organization_id })
    }
}

/// What to do about an envelope in which AWS wraps messages on their way to a queue, if this is one.
fn envelope(event: &Object<'_>) -> Option<&'static str> {
    if event.value("TopicArn").is_some() {
        return Some("This is an envelope of SNS: enable raw message delivery for the subscription of this queue.");
    }
    event.value("detail-type").map(|_| {
        "This is an envelope of EventBridge: set the rule's input path to `$.detail`, so that only the event is sent."
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../../../events/alert-triggered.json");

    #[test]
    fn the_documented_event_is_read() {
        let event = AlertEvent::parse(SAMPLE).unwrap();
        assert_eq!(
            event,
            AlertEvent {
                event_type: EventType::Triggered,
                timestamp: "2025-01-10T10:23:45Z".parse().unwrap(),
                alert_id: 123,
                severity: "critical".into(),
                project_id: 10,
                organization_id: OrganizationId::new(1).unwrap(),
            }
        );
    }

    /// A minimal event with `from` replaced by `to`.
    fn minimal_with(from: &str, to: &str) -> String {
        let minimal = concat!(
            r#"{"event_type":"alert.resolved","timestamp":"2025-01-10T10:23:45+05:30","#,
            r#""alert":{"id":18446744073709551615,"severity":"low"},"project":{"id":0},"organization":{"id":7}}"#
        );
        let changed = minimal.replacen(from, to, 1);
        assert!(from.is_empty() || changed != minimal, "nothing replaced");
        changed
    }

    #[track_caller]
    fn refused(from: &str, to: &str, field: &str, message: &str) {
        let error = AlertEvent::parse(&minimal_with(from, to)).unwrap_err();
        assert_eq!((error.field.as_str(), error.message.as_str()), (field, message));
    }

    #[test]
    fn only_the_required_fields_are_needed() {
        assert!(AlertEvent::parse(&minimal_with("", "")).is_ok());
        // Undocumented fields may hold anything that is JSON.
        let extra = r#"{"x":{"y":[1e999,-0.0,123456789012345678901234567890,"\ud83e\udd16"]},"#;
        assert!(AlertEvent::parse(&minimal_with("{", extra)).is_ok());
    }

    #[test]
    fn errors_name_the_field_and_what_it_must_be() {
        refused(
            r#""event_type":"alert.resolved","#,
            "",
            "event_type",
            "`event_type` is missing: it must be `alert.triggered`, `alert.resolved` or `alert.acknowledged`.",
        );
        refused(
            "alert.resolved",
            "alert.exploded",
            "event_type",
            "`event_type` has a value that is not allowed: it must be `alert.triggered`, `alert.resolved` or `alert.acknowledged`.",
        );
        refused(
            "+05:30",
            "",
            "timestamp",
            "`timestamp` has a value that is not allowed: it must be an RFC 3339 time with its offset, such as \
             `2025-01-10T10:23:45Z`.",
        );
        refused("2025-01", "1969-01", "timestamp", "`timestamp` is before 1970: it must be the time of the event.");
        refused(
            r#""id":7"#,
            r#""id":"7""#,
            "organization.id",
            "`organization.id` is a string: it must be a whole number, 1 or more.",
        );
        refused(
            r#""id":7"#,
            r#""id":0"#,
            "organization.id",
            "`organization.id` has a value that is not allowed: it must be a whole number, 1 or more.",
        );
        refused(r#"{"id":7}"#, "null", "organization", "`organization` is null: it must be an object.");
        refused(r#"{"id":0}"#, r#"[0]"#, "project", "`project` is a list: it must be an object.");
        refused(
            r#""id":0"#,
            r#""id":1.5"#,
            "project.id",
            "`project.id` has a value that is not allowed: it must be a whole number from 0 to 18446744073709551615.",
        );
        refused(
            r#","severity":"low""#,
            "",
            "alert.severity",
            "`alert.severity` is missing: it must be a string of 1 to 64 bytes.",
        );
        refused(
            r#""low""#,
            r#""""#,
            "alert.severity",
            "`alert.severity` has a value that is not allowed: it must be a string of 1 to 64 bytes.",
        );
        refused(
            r#"{"event_type""#,
            r#"{"event_type":"alert.resolved","event_type""#,
            "event_type",
            "`event_type` is given twice: keep one.",
        );
        refused(r#""id":0"#, r#""id":0,"id":1"#, "project.id", "`project.id` is given twice: keep one.");
    }

    #[track_caller]
    fn refused_whole(body: &str, message: &str) {
        let error = AlertEvent::parse(body).unwrap_err();
        assert_eq!((error.field.as_str(), error.message.as_str()), (WHOLE_BODY, message));
    }

    #[test]
    fn a_message_that_is_not_an_event_is_refused_as_a_whole() {
        refused_whole("hello", "This is not valid JSON: see line 1, column 1.");
        refused_whole(r#"{"event_type":"#, "This is not valid JSON: see line 1, column 14.");
        refused_whole("[1,2]", "This is a list: it must be an object.");
        refused_whole(&minimal_with("}}", "}}}"), "This is not valid JSON: see line 1, column 168.");
        let sns =
            r#"{"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:123456789012:alerts", "Message": "{}"}"#;
        refused_whole(
            sns,
            "This is an envelope of SNS: enable raw message delivery for the subscription of this queue.",
        );
        let eventbridge = r#"{"version": "0", "detail-type": "alert", "source": "fleet", "detail": {}}"#;
        let advice = "set the rule's input path to `$.detail`, so that only the event is sent.";
        refused_whole(eventbridge, &format!("This is an envelope of EventBridge: {advice}"));
        let long = format!("{}{}", minimal_with("", ""), " ".repeat(MAX_EVENT_BYTES));
        refused_whole(&long, &format!("The message has {} bytes: an alert event may have at most 262144.", long.len()));
    }

    #[test]
    fn the_largest_event_is_accepted() {
        let mut body = minimal_with("", "");
        body.push_str(&" ".repeat(MAX_EVENT_BYTES - body.len()));
        assert!(AlertEvent::parse(&body).is_ok());
    }
}
