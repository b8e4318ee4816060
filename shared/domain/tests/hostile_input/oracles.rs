//! What must hold for any input at all. Each function panics when it does not.
//!
//! The fuzz targets include this file too.

use std::fmt::Debug;
use std::time::Duration;

use domain::alert::event::{AlertEvent, EventType, MAX_EVENT_BYTES, MAX_SEVERITY_BYTES};
use domain::alert::filter::Filter;
use domain::attempt::excerpt::{Extent, MAX_EXCERPT_BYTES};
use domain::attempt::retry_after;
use domain::delivery::payload::{self, MAX_INLINE_BYTES, StoredPayload};
use domain::delivery::retry_message::{MAX_ATTEMPT, RetryMessage};
use domain::endpoint::address::{self, AllowedNetworks};
use domain::endpoint::headers::{CustomerHeaders, MAX_HEADER_BYTES, MAX_HEADERS};
use domain::endpoint::url::{EndpointUrl, MAX_URL_BYTES};
use domain::json::{Fields, InvalidField, Object, Others, STRING, Unreadable, WHOLE_BODY, WHOLE_NUMBER};
use http::{HeaderMap, Uri};
use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;

const ALERT_FIELDS: [&str; 10] = [
    WHOLE_BODY,
    "event_type",
    "timestamp",
    "alert",
    "alert.id",
    "alert.severity",
    "project",
    "project.id",
    "organization",
    "organization.id",
];

const RETRY_FIELDS: [&str; 5] = [WHOLE_BODY, "organization_id", "integration_id", "delivery_id", "attempt"];

/// A sentence that can be shown to anybody, and put into a message attribute.
#[track_caller]
fn assert_is_sentence(sentence: &str) {
    assert!(
        sentence.starts_with(|c: char| c.is_ascii_uppercase() || c == '`') && sentence.ends_with('.'),
        "{sentence}"
    );
    assert!(sentence.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{sentence}");
    assert!(!sentence.contains("  "), "{sentence}");
}

#[track_caller]
fn assert_names_field(bad: &InvalidField, known: &[&str]) {
    assert!(known.contains(&bad.field.as_str()), "{}", bad.field);
    assert_is_sentence(&bad.message);
    assert!(bad.field == WHOLE_BODY || bad.message.contains(&bad.field), "{bad:?}");
}

#[track_caller]
fn assert_eq_value(value: Option<&Value>, expected: impl Into<Value> + Debug) {
    assert_eq!(value, Some(&expected.into()));
}

/// Reads as an alert event or not.
pub(crate) fn alert_event(text: &str) {
    let event = match AlertEvent::parse(text) {
        Ok(event) => event,
        Err(bad) => {
            assert_names_field(&bad, &ALERT_FIELDS);
            return;
        }
    };
    assert!(text.len() <= MAX_EVENT_BYTES);
    assert!((1..=MAX_SEVERITY_BYTES).contains(&event.severity.len()));
    assert!(event.timestamp >= Timestamp::UNIX_EPOCH);
    assert!(event.organization_id.get() > 0);
    // Another reader sees the same, where it reads numbers as large as the customer's and nests as deeply.
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        assert_eq_value(value.pointer("/event_type"), event.event_type.as_str());
        assert_eq_value(value.pointer("/alert/id"), event.alert_id);
        assert_eq_value(value.pointer("/alert/severity"), event.severity);
        assert_eq_value(value.pointer("/project/id"), event.project_id);
        assert_eq_value(value.pointer("/organization/id"), event.organization_id.get());
        let timestamp = value.pointer("/timestamp").and_then(Value::as_str).and_then(|text| text.parse().ok());
        assert_eq!(timestamp, Some(event.timestamp));
    }
    kept(text.as_bytes());
}

/// Reads as a retry message or not.
pub(crate) fn retry_message(text: &str) {
    match RetryMessage::parse(text) {
        Ok(message) => {
            assert_eq!(RetryMessage::parse(&message.to_json()), Ok(message));
            assert!((1..=MAX_ATTEMPT).contains(&message.attempt));
            serde_json::from_str::<IgnoredAny>(text).expect("it is JSON and nothing more");
            if let Ok(value) = serde_json::from_str::<Value>(text) {
                assert_eq_value(value.get("organization_id"), message.organization_id.get());
                assert_eq_value(value.get("integration_id"), message.integration_id.to_string());
                assert_eq_value(value.get("delivery_id"), message.delivery_id.to_string());
                assert_eq_value(value.get("attempt"), message.attempt);
            }
        }
        Err(bad) => {
            assert_names_field(&bad, &RETRY_FIELDS);
        }
    }
}

/// A URL's host and port, as they are connected to.
pub(crate) struct Destination {
    pub(crate) url: EndpointUrl,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Reads as an endpoint's URL or not; where an accepted one leads to.
pub(crate) fn endpoint_url(text: &str) -> Option<Destination> {
    let nothing_private = AllowedNetworks::none();
    let url = match EndpointUrl::parse(text, &nothing_private) {
        Ok(url) => url,
        Err(refused) => {
            assert_is_sentence(&refused.message());
            return None;
        }
    };
    let normalized = url.as_str();
    assert!(normalized.len() <= MAX_URL_BYTES);
    assert!(normalized.is_ascii() && !normalized.contains([' ', '\\', '#']), "{normalized}");
    assert_eq!(EndpointUrl::parse(normalized, &nothing_private).as_ref().map(EndpointUrl::as_str), Ok(normalized));
    assert!(url.ip_literal().is_none_or(|literal| address::check(literal, &nothing_private).is_ok()), "{normalized}");

    // The client reads the normalized URL with a parser of its own.
    let uri: &Uri = url.uri();
    assert!(matches!(uri.scheme_str(), Some("http" | "https")), "{normalized}");
    let authority = uri.authority().expect("it has a host").as_str();
    assert!(!authority.contains(['@', '%']), "{normalized}");
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
    assert!(matches!(port, 80 | 443 | 1024..), "{normalized}");
    let host = uri.host().expect("it has a host").to_owned();
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    assert_eq!(literal, url.ip_literal(), "{normalized}");
    // Two URLs have the same origin if and only if they are connected to in the same way.
    let place = Url::parse(&format!("{}://{host}:{port}", uri.scheme_str().expect("it has a scheme")));
    assert_eq!(place.map(|place| place.origin().ascii_serialization()).as_deref(), Ok(url.redacted().as_str()));

    let shown = format!("{url} {url:?}");
    assert!(shown.len() <= 2 * (authority.len() + "https://".len()) + r#" EndpointUrl("")"#.len(), "{shown}");
    assert!(!shown.contains('?'), "{shown}");
    Some(Destination { url, host, port })
}

/// Reads as an integration's headers or not.
pub(crate) fn customer_headers(pairs: &[(String, String)]) {
    let headers = match CustomerHeaders::parse(pairs.iter().map(|(name, value)| (name, value.as_str()))) {
        Ok(headers) => headers,
        Err(refused) => {
            // It names the header; the rest of it is short.
            let longest = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
            assert!(refused.message().len() <= longest + 200, "{}", refused.message());
            assert_is_sentence(&refused.message());
            return;
        }
    };
    assert!(pairs.len() <= MAX_HEADERS);
    let given: Vec<_> = pairs.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let kept: Vec<_> = headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(kept, given);
    assert!(CustomerHeaders::parse(headers.iter()) == Ok(headers.clone()), "what is kept is accepted again");

    let mut request = HeaderMap::new();
    headers.insert_into(&mut request);
    assert_eq!(request.len(), pairs.len());
    assert!(request.values().all(|value| value.is_sensitive()));
    let bytes: usize = request.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    assert!(bytes <= MAX_HEADER_BYTES);
    // Nothing of it can end a header, or a head, early.
    assert!(
        request.values().all(|value| value.as_bytes().iter().all(|byte| *byte == b'\t' || (32..127).contains(byte)))
    );
}

const FILTER: Fields = Fields { names: &["event_types", "severities", "project_ids"], others: Others::Refused };

/// Reads filters as the API does.
pub(crate) fn read_filter(text: &str) -> Result<Filter, Unreadable> {
    let object = Object::parse(text, &FILTER)?;
    let lists = || {
        Ok(Filter {
            event_types: object.given("event_types", |value| value.list(&EventType::EXPECTED))?.unwrap_or_default(),
            severities: object.given("severities", |value| value.list(&STRING))?.unwrap_or_default(),
            project_ids: object.given("project_ids", |value| value.list(&WHOLE_NUMBER))?.unwrap_or_default(),
        })
    };
    lists().map_err(Unreadable::Invalid)
}

/// Reads as filters or not.
pub(crate) fn filter(text: &str) {
    match read_filter(text) {
        Ok(filter) => {
            let written = serde_json::to_string(&filter).expect("it has only lists");
            assert_eq!(serde_json::from_str::<Filter>(&written).ok(), Some(filter.clone()));
            assert_eq!(read_filter(&written), Ok(filter));
        }
        Err(Unreadable::Invalid(bad)) => {
            assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "it is JSON");
            assert!(bad.message.ends_with('.'), "{bad:?}");
            assert!(bad.field == WHOLE_BODY || bad.message.starts_with(&format!("`{}` ", bad.field)), "{bad:?}");
        }
        Err(Unreadable::NotJson(bad)) => {
            assert_eq!(bad.field, WHOLE_BODY);
            assert_is_sentence(&bad.message);
        }
    }
}

/// Reads as a time to wait or not.
pub(crate) fn retry_after(value: &str, now: Timestamp) {
    let Some(after) = retry_after::parse(value, now) else { return };
    // The latest date that can be written has a year of four digits.
    assert!(after <= Duration::from_secs(10_000 * 366 * 86_400), "{after:?}");
}

/// Makes an excerpt, in which none of these secrets can be read.
pub(crate) fn excerpt(body: &[u8], extent: Extent, secrets: &[&str]) {
    let Some(excerpt) = domain::attempt::excerpt::excerpt(body, extent, secrets.iter().copied()) else { return };
    assert!((1..=MAX_EXCERPT_BYTES).contains(&excerpt.len()));
    assert_eq!(excerpt.trim(), excerpt);
    assert!(!excerpt.contains("  ") && !excerpt.contains(char::is_control), "{excerpt:?}");
    assert!(!excerpt.contains(['\u{202e}', '\u{200b}', '\u{feff}', '\u{2066}']), "{excerpt:?}");
    for secret in secrets.iter().filter(|secret| secret.len() >= 8) {
        assert!(!excerpt.contains(secret), "{excerpt:?}");
    }
}

/// Inflates or not, and to how much.
pub(crate) fn inflate(deflated: &[u8]) {
    if let Ok(body) = payload::inflate(deflated) {
        assert!(body.len() <= MAX_EVENT_BYTES);
    }
}

/// Keeps a payload and gets it back.
pub(crate) fn kept(body: &[u8]) {
    let kept = payload::compress(body);
    let is_inline = matches!(kept, StoredPayload::Inline(_));
    let (StoredPayload::Inline(deflated) | StoredPayload::Separate(deflated)) = kept;
    assert_eq!(is_inline, deflated.len() <= MAX_INLINE_BYTES);
    assert_eq!(payload::inflate(&deflated).as_deref(), Ok(body));
}

/// Headers as a text has them, a line each: a name and a value with a colon between.
pub(crate) fn header_lines(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name.to_owned(), value.to_owned())
    };
    text.split('\n').map(pair).collect()
}
