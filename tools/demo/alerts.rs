//! What the demo sends to the alerts queue: the files of `events/` with the current time, and one invalid alert.

use anyhow::Context;
use jiff::{Timestamp, Unit};
use serde_json::{Value, json};
use support::project::Project;

const FILES: [&str; 3] = ["alert-triggered.json", "alert-acknowledged.json", "alert-resolved.json"];

/// The messages to send.
#[derive(Clone, Debug)]
pub struct Alerts {
    pub valid: Vec<String>,
    pub invalid: String,
}

impl Alerts {
    /// Reads the files, and sets the time of each alert.
    ///
    /// # Errors
    /// When a file cannot be read or is not an alert event.
    pub fn read(project: &Project, now: Timestamp) -> anyhow::Result<Self> {
        let read = |file| {
            let text = std::fs::read_to_string(project.event(file)).context(file)?;
            set_timestamp(&text, now).with_context(|| format!("{file} has to be a JSON object with a `timestamp`"))
        };
        let valid = FILES.into_iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
        let invalid = make_invalid(&valid[0]);
        Ok(Self { valid, invalid })
    }
}

/// Replaces the event's own `timestamp`, in whole seconds as producers write it, and no other byte.
fn set_timestamp(event: &str, now: Timestamp) -> Option<String> {
    let value: Value = serde_json::from_str(event).ok()?;
    let old = value.get("timestamp")?.as_str()?;
    let now = now.round(Unit::Second).ok()?;
    let changed = event.replacen(&format!("\"timestamp\": \"{old}\""), &format!("\"timestamp\": \"{now}\""), 1);
    (changed != event).then_some(changed)
}

/// Makes a mistake that producers often make: a number becomes a string.
fn make_invalid(event: &str) -> String {
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
    fn only_the_timestamp_changes() {
        let event =
            r#"{ "timestamp": "2025-01-10T10:23:45Z", "alert": {"triggered_at":"2025-01-10T10:23:45Z", "n": 1.0} }"#;
        let now = "2026-02-03T04:05:06.400Z".parse().unwrap();
        let expected = event.replacen("2025-01-10T10:23:45Z", "2026-02-03T04:05:06Z", 1);
        assert_eq!(set_timestamp(event, now), Some(expected));
    }

    #[test]
    fn a_text_without_a_timestamp_is_refused() {
        for text in ["", "[]", "{}", r#"{"timestamp": 7}"#] {
            assert_eq!(set_timestamp(text, Timestamp::UNIX_EPOCH), None, "{text}");
        }
    }

    #[test]
    fn the_sample_events_are_valid_and_the_invalid_one_is_not() {
        let alerts = Alerts::read(&Project::source(), Timestamp::now()).unwrap();
        for alert in &alerts.valid {
            AlertEvent::parse(alert).unwrap();
        }
        assert_eq!(AlertEvent::parse(&alerts.invalid).unwrap_err().field, "organization.id");
    }
}
