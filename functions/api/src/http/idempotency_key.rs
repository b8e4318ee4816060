//! The `Idempotency-Key` of a request, which makes it safe to repeat (after the IETF draft).
//!
//! Neither the key nor the body is stored: the key's hash names the item, and the body's fingerprint is an HMAC under
//! the key, so that nobody who reads the table can guess the secrets in the body.

use std::fmt;

use domain::ids::IntegrationId;
use domain::json::InvalidField;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::http::problem::Problem;

/// The request header, spelled as in error messages.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// The longest key, in bytes. A UUID has 36.
pub const MAX_KEY_BYTES: usize = 255;

/// The length of a fingerprint, in bytes.
pub const FINGERPRINT_BYTES: usize = 32;

/// An `Idempotency-Key`.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestKey(String);

/// A header value that is not a valid key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The Idempotency-Key must be 1 to {MAX_KEY_BYTES} visible ASCII characters, for instance a UUID.")]
pub struct InvalidIdempotencyKey;

/// What a request asks for. It is part of the fingerprint, since two operations may have equal bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    RotateSecretOf(IntegrationId),
}

/// A request with an `Idempotency-Key`.
#[derive(Clone)]
pub struct IdempotentRequest {
    pub key: RequestKey,
    /// Equal for equal requests with this key.
    pub fingerprint: [u8; FINGERPRINT_BYTES],
}

impl IdempotentRequest {
    /// Reads the key from the headers; `None` without one.
    ///
    /// # Errors
    /// [`Problem::Malformed`] when the key is invalid.
    pub fn read(headers: &HeaderMap, operation: Operation, body: &[u8]) -> Result<Option<Self>, Problem> {
        let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
        let refused = |refused: InvalidIdempotencyKey| {
            Problem::Malformed(InvalidField::new(IDEMPOTENCY_KEY, refused.to_string()))
        };
        let key = RequestKey::parse(value.as_bytes()).map_err(refused)?;
        Ok(Some(Self { fingerprint: key.fingerprint(operation, body), key }))
    }
}

impl RequestKey {
    /// # Errors
    /// [`InvalidIdempotencyKey`] when the key is empty, too long, or not visible ASCII.
    pub fn parse(value: &[u8]) -> Result<Self, InvalidIdempotencyKey> {
        let is_usable = (1..=MAX_KEY_BYTES).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
        let text = std::str::from_utf8(value).map_err(|_| InvalidIdempotencyKey)?;
        if is_usable { Ok(Self(text.to_owned())) } else { Err(InvalidIdempotencyKey) }
    }

    /// The sort key of the item that remembers the request.
    pub fn sort_key(&self) -> String {
        format!("request_{}", hex::encode(Sha256::digest(self.0.as_bytes())))
    }

    /// A fingerprint that is equal for equal requests with this key.
    pub fn fingerprint(&self, operation: Operation, body: &[u8]) -> [u8; FINGERPRINT_BYTES] {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("HMAC takes a key of any length");
        match operation {
            // Not confused with the other operation: no JSON object begins with `rotate`.
            Operation::Create => {}
            Operation::RotateSecretOf(integration) => mac.update(format!("rotate {integration}\n").as_bytes()),
        }
        mac.update(body);
        mac.finalize().into_bytes().into()
    }
}

/// Hides the key: the caller chose it and may have put anything into it.
impl fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii() {
        for good in ["1", "5f0c2c9e-6f2e-4d8f-9d3a-0a1b2c3d4e5f", &"k".repeat(MAX_KEY_BYTES)] {
            assert!(RequestKey::parse(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", "two words", "ключ", "a\n", &"k".repeat(MAX_KEY_BYTES + 1)] {
            assert_eq!(RequestKey::parse(bad.as_bytes()), Err(InvalidIdempotencyKey), "{bad}");
        }
    }

    #[test]
    fn what_is_stored_depends_on_key_and_body_and_reveals_neither() {
        let key = |text: &str| RequestKey::parse(text.as_bytes()).unwrap();
        let fingerprint = |text, body: &[u8]| key(text).fingerprint(Operation::Create, body);
        assert_eq!(fingerprint("a", b"{}"), fingerprint("a", b"{}"));
        assert_ne!(fingerprint("a", b"{}"), fingerprint("a", b"{ }"));
        assert_ne!(fingerprint("a", b"{}"), fingerprint("b", b"{}"));
        assert_ne!(key("a").sort_key(), key("b").sort_key());
        assert!(!key("private").sort_key().contains("private"));
    }

    #[test]
    fn the_same_body_for_another_operation_is_another_request() {
        let rotation = |id: &str| Operation::RotateSecretOf(id.parse().unwrap());
        let (one, other) = (rotation("int_01JH7Z5A8M0000000000000001"), rotation("int_01JH7Z5A8M0000000000000002"));
        let key = RequestKey::parse(b"a").unwrap();
        let fingerprints = [Operation::Create, one, other].map(|operation| key.fingerprint(operation, b"{}"));
        assert!(fingerprints[0] != fingerprints[1] && fingerprints[1] != fingerprints[2]);
    }
}
