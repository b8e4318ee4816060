//! What the demo puts on the alerts queue: the files of `events/`, stamped with the time of sending, and one alert that is
//! not valid.

use jiff::{Timestamp, Unit};
use serde_json::{Value, json};
use support::project::Project;

const FILES: [&str; 3] = ["alert-triggered.json", "alert-acknowledged.json", "alert-resolved.json"];

/// Why a file of `events/` cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum BadEvent {
    #[error("{file}: {error}")]
    Unreadable { file: &'static str, error: std::io::Error },
    #[error("{file}: must be a JSON object that has a `timestamp`")]
    NotAnEvent { file: &'static str },
}

/// The messages to send.
#[derive(Clone, Debug)]
pub struct Alerts {
    pub valid: Vec<String>,
    pub invalid: String,
}

impl Alerts {
    /// Reads the files, as if each alert were of now.
    ///
    /// # Errors
    /// [`BadEvent`] for a file that cannot be read or is no event.
    pub fn read(project: &Project, now: Timestamp) -> Result<Self, BadEvent> {
        let read = |file| {
            let text = std::fs::read_to_string(project.event(file));
            let text = text.map_err(|error| BadEvent::Unreadable { file, error })?;
            stamped(&text, now).ok_or(BadEvent::NotAnEvent { file })
        };
        let valid = FILES.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let invalid = spoiled(&valid[0]);
        Ok(Self { valid, invalid })
    }
}

/// The same bytes but for the event's own `timestamp`, in whole seconds as producers write it.
fn stamped(event: &str, now: Timestamp) -> Option<String> {
    let value: Value = serde_json::from_str(event).ok()?;
    let old = value.get("timestamp")?.as_str()?;
    let now = now.round(Unit::Second).ok()?;
    let stamped = event.replacen(&format!("\"timestamp\": \"{old}\""), &format!("\"timestamp\": \"{now}\""), 1);
    (stamped != event).then_some(stamped)
}

/// An alert with a producer's usual mistake: a number sent as text.
fn spoiled(event: &str) -> String {
    let mut value: Value = serde_json::from_str(event).unwrap_or_default();
    if let Some(id) = value.pointer_mut("/organization/id") {
        *id = json!("acme");
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use domain::alert::event::AlertEvent;
    use support::project::Project;

    use super::*;

    #[test]
    fn only_the_timestamp_is_new() {
        let event =
            r#"{ "timestamp": "2025-01-10T10:23:45Z", "alert": {"triggered_at":"2025-01-10T10:23:45Z", "n": 1.0} }"#;
        let now = "2026-02-03T04:05:06.400Z".parse().unwrap();
        let expected = event.replacen("2025-01-10T10:23:45Z", "2026-02-03T04:05:06Z", 1);
        assert_eq!(stamped(event, now), Some(expected));
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for text in ["", "[]", "{}", r#"{"timestamp": 7}"#] {
            assert_eq!(stamped(text, Timestamp::UNIX_EPOCH), None, "{text}");
        }
    }

    #[test]
    fn the_projects_events_are_valid_and_the_spoiled_one_is_not() {
        let alerts = Alerts::read(&Project::source(), Timestamp::now()).unwrap();
        for alert in &alerts.valid {
            AlertEvent::parse(alert).unwrap();
        }
        assert_eq!(AlertEvent::parse(&alerts.invalid).unwrap_err().field, "organization.id");
    }
}
