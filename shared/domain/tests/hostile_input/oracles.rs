//! Properties that must hold for any input. Each function panics if one does not.
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

/// A message in a form that can be shown to customers and put into a message attribute.
#[track_caller]
fn assert_is_sentence(message: &str) {
    assert!(message.starts_with(|c: char| c.is_ascii_uppercase() || c == '`') && message.ends_with('.'), "{message}");
    assert!(message.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{message}");
    assert!(!message.contains("  "), "{message}");
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

/// Any text as an alert event.
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
    // Another parser finds the same, unless the customer's numbers are too large or nested too deeply for it.
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        assert_eq_value(value.pointer("/event_type"), event.event_type.as_str());
        assert_eq_value(value.pointer("/alert/id"), event.alert_id);
        assert_eq_value(value.pointer("/alert/severity"), event.severity);
        assert_eq_value(value.pointer("/project/id"), event.project_id);
        assert_eq_value(value.pointer("/organization/id"), event.organization_id.get());
        let timestamp = value.pointer("/timestamp").and_then(Value::as_str).and_then(|text| text.parse().ok());
        assert_eq!(timestamp, Some(event.timestamp));
    }
    stored_payload(text.as_bytes());
}

/// Any text as a retry message.
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

/// An accepted URL, and the host and port that are connected to.
pub(crate) struct Destination {
    pub(crate) url: EndpointUrl,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Any text as an endpoint's URL; if it is accepted, where it leads.
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

    // The HTTP client parses the normalized URL with another parser.
    let uri: &Uri = url.uri();
    assert!(matches!(uri.scheme_str(), Some("http" | "https")), "{normalized}");
    let authority = uri.authority().expect("it has a host").as_str();
    assert!(!authority.contains(['@', '%']), "{normalized}");
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
    assert!(matches!(port, 80 | 443 | 1024..), "{normalized}");
    let host = uri.host().expect("it has a host").to_owned();
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    assert_eq!(literal, url.ip_literal(), "{normalized}");
    // The origin is exactly the scheme, host and port that are connected to.
    let target = Url::parse(&format!("{}://{host}:{port}", uri.scheme_str().expect("it has a scheme")));
    assert_eq!(target.map(|target| target.origin().ascii_serialization()).as_deref(), Ok(url.redacted().as_str()));

    let shown = format!("{url} {url:?}");
    assert!(shown.len() <= 2 * (authority.len() + "https://".len()) + r#" EndpointUrl("")"#.len(), "{shown}");
    assert!(!shown.contains('?'), "{shown}");
    Some(Destination { url, host, port })
}

/// Any pairs as a customer's headers.
pub(crate) fn customer_headers(pairs: &[(String, String)]) {
    let headers = match CustomerHeaders::parse_new(pairs.iter().map(|(name, value)| (name, value.as_str()))) {
        Ok(headers) => headers,
        Err(refused) => {
            // The message names the header, and is short otherwise.
            let longest = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
            assert!(refused.message().len() <= longest + 200, "{}", refused.message());
            assert_is_sentence(&refused.message());
            return;
        }
    };
    assert!(pairs.len() <= MAX_HEADERS);
    let given: Vec<_> = pairs.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    let accepted: Vec<_> = headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    assert_eq!(accepted, given);
    assert!(CustomerHeaders::parse_new(headers.iter()) == Ok(headers.clone()), "accepted headers are accepted again");

    let mut request = HeaderMap::new();
    headers.insert_into(&mut request);
    assert_eq!(request.len(), pairs.len());
    assert!(request.values().all(|value| value.is_sensitive()));
    let bytes: usize = request.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    assert!(bytes <= MAX_HEADER_BYTES);
    // No value contains anything that ends a header or the head early.
    assert!(
        request.values().all(|value| value.as_bytes().iter().all(|byte| *byte == b'\t' || (32..127).contains(byte)))
    );
}

const FILTER: Fields = Fields { names: &["event_types", "severities", "project_ids"], others: Others::Refused };

/// Parses filters as the API does.
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

/// Any text as filters.
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

/// Any text as a `Retry-After` header.
pub(crate) fn retry_after(value: &str, now: Timestamp) {
    let Some(after) = retry_after::parse(value, now) else { return };
    // The latest possible date has a four-digit year.
    assert!(after <= Duration::from_secs(10_000 * 366 * 86_400), "{after:?}");
}

/// Makes an excerpt, which must not contain any eight characters of a secret.
pub(crate) fn excerpt(body: &[u8], extent: Extent, secrets: &[&str]) {
    let Some(excerpt) = domain::attempt::excerpt::excerpt(body, extent, secrets.iter().copied()) else { return };
    assert!((1..=MAX_EXCERPT_BYTES).contains(&excerpt.len()));
    assert_eq!(excerpt.trim(), excerpt);
    assert!(!excerpt.contains("  ") && !excerpt.contains(char::is_control), "{excerpt:?}");
    assert!(!excerpt.contains(['\u{202e}', '\u{200b}', '\u{feff}', '\u{2066}']), "{excerpt:?}");
    for secret in secrets {
        for part in secret.as_bytes().windows(8).filter_map(|part| std::str::from_utf8(part).ok()) {
            assert!(!excerpt.contains(part), "{part:?} of {secret:?} in {excerpt:?}");
        }
    }
}

/// Any bytes as a deflated payload.
pub(crate) fn inflate(deflated: &[u8]) {
    if let Ok(body) = payload::inflate(deflated) {
        assert!(body.len() <= MAX_EVENT_BYTES);
    }
}

/// Any bytes as a payload: it reads back as it was stored.
pub(crate) fn stored_payload(body: &[u8]) {
    let stored = payload::compress(body);
    let is_inline = matches!(stored, StoredPayload::Inline(_));
    let (StoredPayload::Inline(deflated) | StoredPayload::Separate(deflated)) = stored;
    assert_eq!(is_inline, deflated.len() <= MAX_INLINE_BYTES);
    assert_eq!(payload::inflate(&deflated).as_deref(), Ok(body));
}

/// Headers from a text with one header a line, its name and value separated by a colon.
pub(crate) fn header_lines(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        (name.to_owned(), value.to_owned())
    };
    text.split('\n').map(pair).collect()
}
