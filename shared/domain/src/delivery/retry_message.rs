//! What travels through the retry queues: which attempt of which delivery is due, and nothing else.

use serde::{Deserialize, Serialize};

use crate::alert::event::WHOLE_BODY;
use crate::ids::{DeliveryId, IntegrationId, OrganizationId};

/// The most attempts a delivery can come to: five rounds of the longest schedule. Anything above is no message of ours.
pub const MAX_ATTEMPT: u32 = 5 * (crate::attempt::schedule::MAX_DELAYS as u32 + 1);

/// "This attempt of this delivery is due." Never holds payloads or secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryMessage {
    pub organization_id: OrganizationId,
    pub integration_id: IntegrationId,
    pub delivery_id: DeliveryId,
    pub attempt: u32,
}

/// Why a message is no retry message. Goes to the dead-letter queue with it, as the attributes `field` and `error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct BadRetryMessage {
    /// The field at fault, or [`WHOLE_BODY`].
    pub field: String,
    pub sentence: String,
}

impl RetryMessage {
    /// # Errors
    /// [`BadRetryMessage`] for the first thing that is wrong.
    pub fn parse(body: &str) -> Result<Self, BadRetryMessage> {
        // A list of the four values would be read as well.
        if body.trim_ascii_start().starts_with('[') {
            return Err(refused(WHOLE_BODY, "is a list"));
        }
        let mut json = serde_json::Deserializer::from_str(body);
        let message: Self = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| bad(&error.path().to_string(), error.inner()))?;
        json.end().map_err(|error| bad(".", &error))?;
        if (1..=MAX_ATTEMPT).contains(&message.attempt) {
            return Ok(message);
        }
        Err(BadRetryMessage {
            field: "attempt".to_owned(),
            sentence: format!("`attempt` is out of range: it must be a whole number from 1 to {MAX_ATTEMPT}."),
        })
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a retry message has only strings and numbers")
    }
}

fn bad(path: &str, error: &serde_json::Error) -> BadRetryMessage {
    match error.classify() {
        serde_json::error::Category::Data if path == "." => refused(WHOLE_BODY, "lacks a field or has one twice"),
        serde_json::error::Category::Data => refused(path, "is malformed"),
        _ => refused(WHOLE_BODY, "is not valid JSON"),
    }
}

fn refused(field: &str, problem: &str) -> BadRetryMessage {
    BadRetryMessage {
        field: field.to_owned(),
        sentence: format!(
            "`{field}` {problem}: a retry message has `organization_id`, `integration_id`, `delivery_id` and `attempt`."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = concat!(
        r#"{"organization_id":1,"integration_id":"int_01JH7Z5A8M0000000000000001","#,
        r#""delivery_id":"dlv_01JH7VVHV81KJMEKY94GFHBBTY","attempt":2}"#
    );

    #[test]
    fn a_message_reads_as_it_was_written() {
        assert_eq!(RetryMessage::parse(GOOD).unwrap().to_json(), GOOD);
    }

    #[track_caller]
    fn refused(from: &str, to: &str, field: &str) {
        let body = GOOD.replacen(from, to, 1);
        assert_ne!(body, GOOD);
        let error = RetryMessage::parse(&body).unwrap_err();
        assert_eq!(error.field, field);
        assert!(error.sentence.contains(field), "{}", error.sentence);
    }

    #[test]
    fn a_bad_message_names_its_field() {
        refused("dlv_", "int_", "delivery_id");
        refused("int_", "", "integration_id");
        refused(":1,", ":0,", "organization_id");
        refused(":1,", ":\"1\",", "organization_id");
        refused(":2", ":0", "attempt");
        refused(":2", ":106", "attempt");
        refused(":2", ":-1", "attempt");
        refused(r#","attempt":2"#, "", "$");
        refused("}", "", "$");
        refused(GOOD, "[]", "$");
        refused(GOOD, r#"[1,"int_01JH7Z5A8M0000000000000001","dlv_01JH7VVHV81KJMEKY94GFHBBTY",2]"#, "$");
        refused("}", "} and more", "$");
        refused("{", r#"{"attempt":1,"#, "$");
    }
}
