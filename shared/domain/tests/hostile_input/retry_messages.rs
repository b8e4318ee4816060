//! Retry messages: valid ones, and the same with one error.

use domain::delivery::retry_message::{MAX_ATTEMPT, RetryMessage};
use domain::ids::{DeliveryId, IntegrationId, OrganizationId};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

use crate::alert_events::Json;
use crate::oracles;

fn messages() -> impl Strategy<Value = RetryMessage> {
    let time =
        || (0_i64..253_402_300_799_000).prop_map(|ms| Timestamp::from_millisecond(ms).expect("within the range"));
    let ids = (1..=u64::MAX, time(), any::<[u8; 10]>(), time(), any::<[u8; 10]>(), 1..=MAX_ATTEMPT);
    ids.prop_map(|(organization, made, integration, happened, delivery, attempt)| RetryMessage {
        organization_id: OrganizationId::new(organization).expect("it is positive"),
        integration_id: IntegrationId::new(made, integration),
        delivery_id: DeliveryId::new(happened, delivery),
        attempt,
    })
}

fn fields(message: &RetryMessage) -> Json {
    Json::object([
        ("organization_id", Json::raw(message.organization_id.to_string())),
        ("integration_id", Json::text(&message.integration_id.to_string())),
        ("delivery_id", Json::text(&message.delivery_id.to_string())),
        ("attempt", Json::raw(message.attempt.to_string())),
    ])
}

/// A field, and values that are not allowed.
const WRONG: [(&str, &[&str]); 4] = [
    ("organization_id", &["0", "-1", "1.5", "\"1\"", "null", "[1]", "18446744073709551616"]),
    ("integration_id", &["\"\"", "\"int_\"", "\"int_01jh7z5a8m0000000000000001\"", "1", "null", "{}"]),
    ("delivery_id", &["\"int_01JH7Z5A8M0000000000000001\"", "\"dlv_8ZZZZZZZZZZZZZZZZZZZZZZZZZ\"", "[]", "null"]),
    ("attempt", &["0", "-1", "106", "4294967296", "1.0", "\"1\"", "null", "[]"]),
];

fn broken_texts() -> impl Strategy<Value = (&'static str, String)> {
    let wrong = select(WRONG.to_vec()).prop_flat_map(|(name, values)| (Just(name), select(values.to_vec())));
    (messages(), wrong).prop_map(|(message, (name, value))| {
        let mut message = fields(&message);
        let field = message.fields("").iter_mut().find(|(known, _)| known == name).expect("a known field");
        field.1 = Json::raw(value);
        (name, message.write(" "))
    })
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn a_valid_message_is_accepted(message in messages()) {
        prop_assert_eq!(RetryMessage::parse(&message.to_json()), Ok(message));
        prop_assert_eq!(RetryMessage::parse(&fields(&message).write("\n ")), Ok(message));
        oracles::retry_message(&message.to_json());
    }

    #[test]
    fn an_invalid_field_is_named((name, text) in broken_texts()) {
        let bad = RetryMessage::parse(&text).expect_err("it is broken");
        prop_assert_eq!(bad.field.as_str(), name);
        oracles::retry_message(&text);
    }

    #[test]
    fn nearly_valid_messages(message in messages(), at in any::<prop::sample::Index>(), extra in "\\PC{0,3}") {
        let text = message.to_json();
        let at = at.index(text.len() + 1);
        oracles::retry_message(&format!("{}{extra}", &text[..at]));
        oracles::retry_message(&format!("{}{extra}{}", &text[..at], &text[at..]));
        oracles::retry_message(&format!("{text}{extra}"));
    }

    #[test]
    fn arbitrary_texts(text in any::<String>()) {
        oracles::retry_message(&text);
    }
}

#[track_caller]
fn refused(text: &str, field: &str) {
    assert_eq!(RetryMessage::parse(text).map_err(|bad| bad.field), Err(field.to_owned()), "{text}");
    oracles::retry_message(text);
}

#[test]
fn lists_trailing_text_and_duplicate_fields_are_refused() {
    let message = r#"{"organization_id":1,"integration_id":"int_01JH7Z5A8M0000000000000001","delivery_id":"dlv_01JH7VVHV81KJMEKY94GFHBBTY","attempt":2}"#;
    let list = r#"[1,"int_01JH7Z5A8M0000000000000001","dlv_01JH7VVHV81KJMEKY94GFHBBTY",2]"#;
    refused(list, "$");
    refused(&list.replace("int_", ""), "$");
    refused(&format!("{message}{message}"), "$");
    refused(&format!("{message} and more"), "$");
    refused(&message.replacen('{', r#"{"attempt":1,"#, 1), "attempt");
}
