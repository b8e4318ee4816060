//! The headers of the request to an endpoint.

pub mod signature;

use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;

use crate::alert::event::EventType;
use crate::endpoint::headers::CustomerHeaders;
use crate::ids::DeliveryId;
use crate::request::signature::SigningSecrets;

/// Our `User-Agent`.
pub const USER_AGENT_NAME: &str = concat!("Roboticks-Webhooks/", env!("CARGO_PKG_VERSION"));

const EVENT: HeaderName = HeaderName::from_static("x-roboticks-event");
const DELIVERY: HeaderName = HeaderName::from_static("x-roboticks-delivery");
const ATTEMPT: HeaderName = HeaderName::from_static("x-roboticks-attempt");
const TEST: HeaderName = HeaderName::from_static("x-roboticks-test");
const SIGNATURE: HeaderName = HeaderName::from_static("x-roboticks-signature");
const PREVIOUS_SIGNATURE: HeaderName = HeaderName::from_static("x-roboticks-signature-previous");
const STANDARD_ID: HeaderName = HeaderName::from_static("webhook-id");
const STANDARD_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const STANDARD_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Why a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Something happened to an alert.
    Alert,
    /// A customer pressed Test: the header `X-Roboticks-Test` tells the receiver that there is nothing to act upon.
    Test,
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub occasion: Occasion,
    pub event_type: EventType,
    pub delivery: DeliveryId,
    /// From 1.
    pub attempt: u32,
    pub sent_at: Timestamp,
}

/// The headers of a request with this body: the customer's own, ours, and if there is a signing secret the signatures.
pub fn headers(
    subject: &Subject,
    body: &[u8],
    customer: &CustomerHeaders,
    signing: Option<&SigningSecrets>,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    customer.insert_into(&mut headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_NAME));
    headers.insert(EVENT, HeaderValue::from_static(subject.event_type.as_str()));
    headers.insert(DELIVERY, ascii(&subject.delivery.to_string()));
    headers.insert(ATTEMPT, HeaderValue::from(subject.attempt));
    match subject.occasion {
        Occasion::Test => drop(headers.insert(TEST, HeaderValue::from_static("true"))),
        Occasion::Alert => {}
    }
    // Some firewalls refuse requests without `Accept`.
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    if let Some(secrets) = signing {
        sign(&mut headers, subject, body, secrets);
    }
    headers
}

/// A header's name as `sender` writes it: with a capital letter at the beginning and after each hyphen. Names are
/// case-insensitive in HTTP, but some receivers look them up case-sensitively.
pub fn wire_name(name: &HeaderName) -> String {
    let parts = name.as_str().split('-').map(|part| match part.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    });
    parts.collect::<Vec<_>>().join("-")
}

fn sign(headers: &mut HeaderMap, subject: &Subject, body: &[u8], secrets: &SigningSecrets) {
    let standard = |secret: &crate::request::signature::SigningSecret| {
        secret.standard_webhooks_signature(subject.delivery, subject.sent_at, body)
    };
    let mut standard_signatures = standard(&secrets.current);
    headers.insert(SIGNATURE, ascii(&secrets.current.roboticks_signature(body)));
    if let Some(previous) = secrets.previous_at(subject.sent_at) {
        standard_signatures.push(' ');
        standard_signatures.push_str(&standard(previous));
        headers.insert(PREVIOUS_SIGNATURE, ascii(&previous.roboticks_signature(body)));
    }
    headers.insert(STANDARD_ID, ascii(&subject.delivery.to_string()));
    headers.insert(STANDARD_TIMESTAMP, HeaderValue::from(subject.sent_at.as_second()));
    headers.insert(STANDARD_SIGNATURE, ascii(&standard_signatures));
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("ids, hex and base64 are visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::signature::{PreviousSecret, SigningSecret};

    const BODY: &[u8] = b"{}";

    #[expect(clippy::disallowed_methods, reason = "the official library compares with the real time")]
    fn subject() -> Subject {
        Subject {
            occasion: Occasion::Alert,
            event_type: EventType::Resolved,
            delivery: "dlv_01JH7VVHV81KJMEKY94GFHBBTY".parse().unwrap(),
            attempt: 3,
            sent_at: Timestamp::now(),
        }
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn an_unsigned_request_has_the_documented_headers() {
        let customer = CustomerHeaders::parse_new([("X-Api-Key", "k")]).unwrap();
        let headers = headers(&subject(), BODY, &customer, None);
        assert_eq!(
            names(&headers),
            [
                "accept",
                "content-type",
                "user-agent",
                "x-api-key",
                "x-roboticks-attempt",
                "x-roboticks-delivery",
                "x-roboticks-event"
            ]
        );
        assert_eq!(headers["accept"], "*/*");
        assert_eq!(headers["x-roboticks-event"], "alert.resolved");
        assert_eq!(headers["x-roboticks-delivery"], "dlv_01JH7VVHV81KJMEKY94GFHBBTY");
        assert_eq!(headers["x-roboticks-attempt"], "3");
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["user-agent"], concat!("Roboticks-Webhooks/", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn a_test_is_marked() {
        let subject = Subject { occasion: Occasion::Test, ..subject() };
        let headers = headers(&subject, BODY, &CustomerHeaders::default(), None);
        assert_eq!(headers["x-roboticks-test"], "true");
    }

    #[test]
    fn a_customers_accept_replaces_ours() {
        let customer = CustomerHeaders::parse_new([("Accept", "text/plain")]).unwrap();
        let headers = headers(&subject(), BODY, &customer, None);
        assert_eq!(headers.get_all("accept").iter().collect::<Vec<_>>(), ["text/plain"]);
    }

    #[test]
    fn during_an_overlap_both_secrets_verify() {
        let subject = subject();
        let secrets = SigningSecrets {
            current: SigningSecret::parse_new("the-new-signing-secret").unwrap(),
            previous: Some(PreviousSecret {
                secret: SigningSecret::parse_new("the-old-signing-secret").unwrap(),
                valid_until: Timestamp::MAX,
            }),
        };
        let headers = headers(&subject, BODY, &CustomerHeaders::default(), Some(&secrets));
        for secret in ["the-new-signing-secret", "the-old-signing-secret"] {
            let library = standardwebhooks::Webhook::from_bytes(secret.as_bytes().to_vec()).unwrap();
            library.verify(BODY, &headers).unwrap();
        }
        let documented = |secret: &str| SigningSecret::parse_new(secret).unwrap().roboticks_signature(BODY);
        assert_eq!(headers["x-roboticks-signature"], documented("the-new-signing-secret"));
        assert_eq!(headers["x-roboticks-signature-previous"], documented("the-old-signing-secret"));
    }

    #[test]
    fn after_the_overlap_only_the_new_secret_signs() {
        let subject = subject();
        let secrets = SigningSecrets {
            current: SigningSecret::parse_new("the-new-signing-secret").unwrap(),
            previous: Some(PreviousSecret {
                secret: SigningSecret::parse_new("the-old-signing-secret").unwrap(),
                valid_until: subject.sent_at,
            }),
        };
        let headers = headers(&subject, BODY, &CustomerHeaders::default(), Some(&secrets));
        assert!(!headers.contains_key("x-roboticks-signature-previous"));
        assert!(!headers["webhook-signature"].to_str().unwrap().contains(' '));
    }
}
