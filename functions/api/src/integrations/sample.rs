//! The event that a test sends: a documented sample, as if it had just happened.

use domain::alert::event::{AlertEvent, EventType};
use jiff::Timestamp;

/// The alert of the documented samples, as its JSON and its link contain it.
const DOCUMENTED_ALERT: [&str; 2] = ["\"id\": 123,", "/alerts/123\""];

/// An id for the alert of a test: 2^52 and 52 random bits. It is of no real alert, whose ids are counted from 1, and is
/// below 2^53, so that every JSON parser reads it exactly.
pub(crate) fn alert_id(random: [u8; 8]) -> u64 {
    (1 << 52) | (u64::from_be_bytes(random) >> 12)
}

/// The documented sample of this type with another alert id. It happened `now`, in whole seconds, and its other times are
/// as long before as in the documentation.
pub(crate) fn sample(event_type: EventType, alert_id: u64, now: Timestamp) -> String {
    let documented = documented(event_type);
    let happened_at = AlertEvent::parse(documented).expect("a test parses each sample").timestamp;
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let moved = |time: Timestamp| now.saturating_add(time.duration_since(happened_at)).unwrap_or(now).to_string();
    // Between quotation marks is a name or a string; the samples have none that needs escapes.
    let moved_if_time = |text: &str| text.parse().map_or(text.to_owned(), moved);
    let moved = documented.split('"').map(moved_if_time).collect::<Vec<_>>().join("\"");
    let [id, link] = DOCUMENTED_ALERT;
    moved.replacen(id, &format!("\"id\": {alert_id},"), 1).replacen(link, &format!("/alerts/{alert_id}\""), 1)
}

/// The sample without the final newline of a text file.
fn documented(event_type: EventType) -> &'static str {
    let file = match event_type {
        EventType::Triggered => include_str!("../../../../events/alert-triggered.json"),
        EventType::Resolved => include_str!("../../../../events/alert-resolved.json"),
        EventType::Acknowledged => include_str!("../../../../events/alert-acknowledged.json"),
    };
    file.trim_end()
}

#[cfg(test)]
mod tests {
    use domain::ids::OrganizationId;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn alert_ids_are_large_and_exact() {
        assert_eq!(alert_id([0; 8]), 1 << 52);
        assert_eq!(alert_id([0xff; 8]), (1 << 53) - 1);
        assert_ne!(alert_id([1; 8]), alert_id([2; 8]));
    }

    #[test]
    fn a_sample_has_just_happened_to_an_alert_of_its_own() {
        let now: Timestamp = "2026-12-01T00:00:10.987Z".parse().unwrap();
        for (event_type, triggered_at) in [
            (EventType::Triggered, "2026-12-01T00:00:10Z"),
            (EventType::Acknowledged, "2026-11-30T23:57:45Z"),
            (EventType::Resolved, "2026-11-30T23:42:50Z"),
        ] {
            let id = alert_id([7; 8]);
            let text = sample(event_type, id, now);
            let expected = AlertEvent {
                event_type,
                timestamp: "2026-12-01T00:00:10Z".parse().unwrap(),
                alert_id: id,
                severity: "critical".into(),
                project_id: 10,
                organization_id: OrganizationId::new(1).unwrap(),
            };
            assert_eq!(AlertEvent::parse(&text), Ok(expected));
            let mut json: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json["alert"]["triggered_at"], triggered_at);
            assert_eq!(json["links"]["alert"], format!("https://app.roboticks.io/alerts/{id}"));

            // Everything else is as documented.
            let mut documented: Value = serde_json::from_str(documented(event_type)).unwrap();
            for json in [&mut json, &mut documented] {
                json["timestamp"] = json!(null);
                json["alert"]["id"] = json!(null);
                json["alert"]["triggered_at"] = json!(null);
                json["links"]["alert"] = json!(null);
            }
            assert_eq!(json, documented);
        }
    }
}
