//! Reading an alert event: what a producer puts on the alerts queue.
//!
//! Only what delivery acts upon is read and required; the rest of the payload is the customer's and passes through
//! byte for byte. Whatever is wrong with an event is told in one sentence that names the field, without quoting the
//! producer's data.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ids::OrganizationId;

/// The largest alert event, in bytes: 256 KiB, the documented limit. (SQS itself would carry 1 MiB.)
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// The longest severity name, in bytes. The documented ones are a word; a filter compares it whole.
pub const MAX_SEVERITY_BYTES: usize = 64;

/// The field name that stands for the message as a whole.
pub const WHOLE_BODY: &str = "$";

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

/// A text that is none of the documented event types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `alert.triggered`, `alert.resolved` or `alert.acknowledged`")]
pub struct UnknownEventType;

impl FromStr for EventType {
    type Err = UnknownEventType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|known| known.as_str() == text).ok_or(UnknownEventType)
    }
}

/// What delivery needs to know of an alert event; the payload itself stays the bytes that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertEvent {
    pub event_type: EventType,
    /// When it happened, by the producer's clock. Not before 1970.
    pub timestamp: Timestamp,
    pub alert_id: u64,
    pub severity: String,
    pub project_id: u64,
    pub organization_id: OrganizationId,
}

/// Why a message is not an alert event. Goes to the dead-letter queue with the untouched message, as the attributes
/// `field` and `error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct BadAlert {
    /// The path of the field at fault, such as `organization.id`; [`WHOLE_BODY`] when it is no single field.
    pub field: &'static str,
    /// One sentence that says what is wrong and what would be right. Holds nothing of the message's content.
    pub sentence: String,
}

impl BadAlert {
    fn new(field: &'static str, sentence: impl Into<String>) -> Self {
        Self { field, sentence: sentence.into() }
    }

    fn missing(field: &'static str, wanted: &Wanted) -> Self {
        Self::new(field, format!("`{field}` is missing or null: it must be {}.", wanted.words))
    }

    fn wrong(field: &'static str, value: &RawValue, wanted: &Wanted) -> Self {
        let found = match Kind::of(value) {
            kind if kind == wanted.kind => "out of range or malformed",
            Kind::Object => "an object",
            Kind::List => "a list",
            Kind::Text => "a string",
            Kind::Boolean => "true or false",
            Kind::Number => "a number",
        };
        Self::new(field, format!("`{field}` is {found}: it must be {}.", wanted.words))
    }
}

impl AlertEvent {
    /// Reads an alert event.
    ///
    /// # Errors
    /// [`BadAlert`] for the first thing that is wrong: size, JSON, then the fields in the documented order.
    pub fn parse(body: &str) -> Result<Self, BadAlert> {
        if body.len() > MAX_EVENT_BYTES {
            return Err(BadAlert::new(
                WHOLE_BODY,
                format!("The message has {} bytes: an alert event has at most {MAX_EVENT_BYTES}.", body.len()),
            ));
        }
        let event: EventFields = read_message(body)?;

        let event_type =
            read(event.event_type, "event_type", &AN_EVENT_TYPE, text)?.parse().map_err(|UnknownEventType| {
                BadAlert::new("event_type", format!("`event_type` is not known: it must be {}.", AN_EVENT_TYPE.words))
            })?;
        let timestamp = read(event.timestamp, "timestamp", &AN_INSTANT, instant)?;
        if timestamp < Timestamp::UNIX_EPOCH {
            return Err(BadAlert::new("timestamp", "`timestamp` lies before 1970: it must be the time of the event."));
        }

        let alert: AlertFields = read_object(event.alert, "alert")?;
        let alert_id = read(alert.id, "alert.id", &A_WHOLE_NUMBER, whole_number)?;
        let severity = read(alert.severity, "alert.severity", &A_SEVERITY, severity)?;

        let project: IdField = read_object(event.project, "project")?;
        let project_id = read(project.id, "project.id", &A_WHOLE_NUMBER, whole_number)?;

        let organization: IdField = read_object(event.organization, "organization")?;
        let organization_id = read(organization.id, "organization.id", &A_POSITIVE_NUMBER, organization_number)?;

        Ok(Self { event_type, timestamp, alert_id, severity, project_id, organization_id })
    }
}

/// What a field must be: its kind of JSON value, and the words for the rest.
struct Wanted {
    kind: Kind,
    words: &'static str,
}

const AN_OBJECT: Wanted = Wanted { kind: Kind::Object, words: "an object" };
const AN_EVENT_TYPE: Wanted =
    Wanted { kind: Kind::Text, words: "`alert.triggered`, `alert.resolved` or `alert.acknowledged`" };
const AN_INSTANT: Wanted =
    Wanted { kind: Kind::Text, words: "an RFC 3339 time with its offset, such as `2025-01-10T10:23:45Z`" };
const A_SEVERITY: Wanted = Wanted { kind: Kind::Text, words: "a string of 1 to 64 bytes" };
const A_WHOLE_NUMBER: Wanted = Wanted { kind: Kind::Number, words: "a whole number, 0 or more" };
const A_POSITIVE_NUMBER: Wanted = Wanted { kind: Kind::Number, words: "a whole number, 1 or more" };

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Object,
    List,
    Text,
    Boolean,
    Number,
}

impl Kind {
    fn of(value: &RawValue) -> Self {
        match value.get().as_bytes().first() {
            Some(b'{') => Self::Object,
            Some(b'[') => Self::List,
            Some(b'"') => Self::Text,
            Some(b't' | b'f') => Self::Boolean,
            _ => Self::Number,
        }
    }
}

// Every field is kept as raw JSON first, so that a wrong type is our sentence about that field and not the parser's.
#[derive(Deserialize)]
struct EventFields<'a> {
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    alert: Option<&'a RawValue>,
    #[serde(borrow)]
    project: Option<&'a RawValue>,
    #[serde(borrow)]
    organization: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct AlertFields<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    severity: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct IdField<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

fn read_message<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, BadAlert> {
    let not_json = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        BadAlert::new(WHOLE_BODY, format!("The message is not valid JSON (line {line}, column {column})."))
    };
    if !is_object(body) {
        serde_json::from_str::<&RawValue>(body).map_err(not_json)?;
        return Err(BadAlert::new(WHOLE_BODY, "The message is JSON, but not an object: it must be an alert event."));
    }
    serde_json::from_str(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => repeated_field(WHOLE_BODY),
        _ => not_json(error),
    })
}

fn read_object<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>, field: &'static str) -> Result<T, BadAlert> {
    let value = value.ok_or_else(|| BadAlert::missing(field, &AN_OBJECT))?;
    if !is_object(value.get()) {
        return Err(BadAlert::wrong(field, value, &AN_OBJECT));
    }
    serde_json::from_str(value.get()).map_err(|_| repeated_field(field))
}

/// Raw fields of an object can be wrong in one way only: by standing there twice. Which one counts is then anybody's
/// guess, ours and the receiver's might differ.
fn repeated_field(field: &'static str) -> BadAlert {
    BadAlert::new(field, format!("`{field}` holds the same field twice: each must stand there once."))
}

fn read<'a, T>(
    value: Option<&'a RawValue>,
    field: &'static str,
    wanted: &Wanted,
    convert: impl Fn(&'a RawValue) -> Option<T>,
) -> Result<T, BadAlert> {
    let value = value.ok_or_else(|| BadAlert::missing(field, wanted))?;
    convert(value).ok_or_else(|| BadAlert::wrong(field, value, wanted))
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn severity(value: &RawValue) -> Option<String> {
    text(value).filter(|name| (1..=MAX_SEVERITY_BYTES).contains(&name.len()))
}

fn instant(value: &RawValue) -> Option<Timestamp> {
    text(value)?.parse().ok()
}

fn whole_number(value: &RawValue) -> Option<u64> {
    serde_json::from_str(value.get()).ok()
}

fn organization_number(value: &RawValue) -> Option<OrganizationId> {
    OrganizationId::new(whole_number(value)?)
}

fn is_object(json: &str) -> bool {
    json.trim_ascii_start().starts_with('{')
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

    /// A minimal event, with `from` replaced by `to`.
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
    fn refused(from: &str, to: &str, field: &str, sentence: &str) {
        let error = AlertEvent::parse(&minimal_with(from, to)).unwrap_err();
        assert_eq!((error.field, error.sentence.as_str()), (field, sentence));
    }

    #[test]
    fn what_is_needed_is_enough() {
        assert!(AlertEvent::parse(&minimal_with("", "")).is_ok());
        // Fields nobody documented, huge numbers and escapes are the customer's business.
        let extra = r#"{"x":{"y":[1e999,-0.0,123456789012345678901234567890,"\ud83e\udd16"]},"#;
        assert!(AlertEvent::parse(&minimal_with("{", extra)).is_ok());
    }

    #[test]
    fn a_bad_field_is_named_with_what_would_be_right() {
        refused(
            r#""event_type":"alert.resolved","#,
            "",
            "event_type",
            "`event_type` is missing or null: it must be `alert.triggered`, `alert.resolved` or `alert.acknowledged`.",
        );
        refused(
            "alert.resolved",
            "alert.exploded",
            "event_type",
            "`event_type` is not known: it must be `alert.triggered`, `alert.resolved` or `alert.acknowledged`.",
        );
        refused(
            "+05:30",
            "",
            "timestamp",
            "`timestamp` is out of range or malformed: it must be an RFC 3339 time with its offset, such as \
             `2025-01-10T10:23:45Z`.",
        );
        refused("2025-01", "1969-01", "timestamp", "`timestamp` lies before 1970: it must be the time of the event.");
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
            "`organization.id` is out of range or malformed: it must be a whole number, 1 or more.",
        );
        refused(r#"{"id":7}"#, "null", "organization", "`organization` is missing or null: it must be an object.");
        refused(r#"{"id":0}"#, r#"[0]"#, "project", "`project` is a list: it must be an object.");
        refused(
            r#""id":0"#,
            r#""id":1.5"#,
            "project.id",
            "`project.id` is out of range or malformed: it must be a whole number, 0 or more.",
        );
        refused(
            r#","severity":"low""#,
            "",
            "alert.severity",
            "`alert.severity` is missing or null: it must be a string of 1 to 64 bytes.",
        );
        refused(
            r#""low""#,
            r#""""#,
            "alert.severity",
            "`alert.severity` is out of range or malformed: it must be a string of 1 to 64 bytes.",
        );
        refused(
            r#""id":0"#,
            r#""id":0,"id":1"#,
            "project",
            "`project` holds the same field twice: each must stand there once.",
        );
    }

    #[track_caller]
    fn refused_whole(body: &str, sentence: &str) {
        let error = AlertEvent::parse(body).unwrap_err();
        assert_eq!((error.field, error.sentence.as_str()), (WHOLE_BODY, sentence));
    }

    #[test]
    fn a_message_that_is_no_event_is_refused_whole() {
        refused_whole("", "The message is not valid JSON (line 1, column 0).");
        refused_whole("hello", "The message is not valid JSON (line 1, column 1).");
        refused_whole(r#"{"event_type":"#, "The message is not valid JSON (line 1, column 14).");
        refused_whole("[1,2]", "The message is JSON, but not an object: it must be an alert event.");
        refused_whole(&minimal_with("}}", "}}}"), "The message is not valid JSON (line 1, column 168).");
        refused_whole(
            &minimal_with("{", r#"{"event_type":"alert.resolved","#),
            "`$` holds the same field twice: each must stand there once.",
        );
        let long = format!("{}{}", minimal_with("", ""), " ".repeat(MAX_EVENT_BYTES));
        refused_whole(&long, &format!("The message has {} bytes: an alert event has at most 262144.", long.len()));
    }

    #[test]
    fn the_largest_event_is_accepted() {
        let mut body = minimal_with("", "");
        body.push_str(&" ".repeat(MAX_EVENT_BYTES - body.len()));
        assert!(AlertEvent::parse(&body).is_ok());
    }
}
