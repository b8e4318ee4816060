//! The message on the retry queues: which attempt of which delivery is due.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::delivery::ledger::MAX_ROUNDS;
use crate::ids::{DeliveryId, IntegrationId, OrganizationId};
use crate::json::{self, Expected, Fields, InvalidField, Kind, Object, Others};

/// The most attempts that a delivery can have: every round of the longest schedule. Higher numbers are refused.
pub const MAX_ATTEMPT: u32 = MAX_ROUNDS * (crate::attempt::schedule::MAX_DELAYS as u32 + 1);

/// "This attempt of this delivery is due." Never contains payloads or secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RetryMessage {
    pub organization_id: OrganizationId,
    pub integration_id: IntegrationId,
    pub delivery_id: DeliveryId,
    pub attempt: u32,
}

const FIELDS: Fields =
    Fields { names: &["organization_id", "integration_id", "delivery_id", "attempt"], others: Others::Ignored };

const ATTEMPT: Expected<u32> =
    Expected { kind: Kind::Number, words: "a whole number from 1 to 105", read: read_attempt };

fn read_attempt(value: &RawValue) -> Option<u32> {
    json::parse(value).filter(|attempt| (1..=MAX_ATTEMPT).contains(attempt))
}

impl RetryMessage {
    /// # Errors
    /// The first problem found. The caller sends the untouched message to the dead-letter queue, with this as the
    /// attributes `field` and `error`.
    pub fn parse(body: &str) -> Result<Self, InvalidField> {
        let message = Object::parse(body, &FIELDS)?;
        Ok(Self {
            organization_id: message.required("organization_id", &OrganizationId::EXPECTED)?,
            integration_id: message.required("integration_id", &IntegrationId::EXPECTED)?,
            delivery_id: message.required("delivery_id", &DeliveryId::EXPECTED)?,
            attempt: message.required("attempt", &ATTEMPT)?,
        })
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a retry message has only strings and numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::WHOLE_BODY;

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
        if field != WHOLE_BODY {
            assert!(error.message.starts_with(&format!("`{field}` ")), "{}", error.message);
        }
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
        refused(r#","attempt":2"#, "", "attempt");
        refused(":2", ":null", "attempt");
        refused("}", "", "$");
        refused(GOOD, "[]", "$");
        refused(GOOD, r#"[1,"int_01JH7Z5A8M0000000000000001","dlv_01JH7VVHV81KJMEKY94GFHBBTY",2]"#, "$");
        refused("}", "} and more", "$");
        refused("{", r#"{"attempt":1,"#, "attempt");
        assert!(ATTEMPT.words.ends_with(&format!(" {MAX_ATTEMPT}")));
    }
}
