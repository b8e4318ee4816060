//! Signatures, by which a receiver knows that a request is ours: HMAC-SHA256, in the documented header and in those of
//! Standard Webhooks.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::ids::DeliveryId;

/// The prefix of a secret whose key is the base64 after it, as in the Standard Webhooks specification.
pub const STANDARD_PREFIX: &str = "whsec_";

/// The length of the key in a generated secret, in bytes. Standard Webhooks requires 24 to 64.
pub const GENERATED_KEY_BYTES: usize = 24;

/// The shortest key in a `whsec_` secret that a customer may set, in bytes, as Standard Webhooks requires.
pub const MIN_KEY_BYTES: usize = 24;

/// The longest key in a `whsec_` secret that a customer may set, in bytes, as Standard Webhooks requires.
pub const MAX_KEY_BYTES: usize = 64;

/// The shortest other secret that a customer may set, in characters. Somebody who has a signature can test guesses
/// against it; sixteen random characters are too many for that.
pub const MIN_SECRET_CHARS: usize = 16;

/// The longest other secret that a customer may set, in characters.
pub const MAX_SECRET_CHARS: usize = 256;

/// How the key of the Standard Webhooks signature is derived from a secret's text, which receivers have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretFormat {
    /// The key is the base64 after `whsec_`, decoded.
    Whsec,
    /// The key is the text's own bytes.
    Raw,
}

impl SecretFormat {
    /// Its name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whsec => "whsec",
            Self::Raw => "raw",
        }
    }
}

/// A signing secret in the clear; zeroed when dropped, and never in `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret {
    text: Zeroizing<String>,
    /// The key of the Standard Webhooks signature. The key of `X-Roboticks-Signature` is the text itself.
    standard_key: Zeroizing<Vec<u8>>,
}

/// Why a text cannot become a signing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    #[error("The signing secret begins or ends with a space or a line break: remove it.")]
    BlankAtEnd,
    #[error("The signing secret must have visible ASCII characters only: remove spaces, line breaks and any others.")]
    Character,
    #[error("The signing secret must begin with `whsec_`: leave out the `v1,` before it.")]
    VersionBefore,
    #[error("After `whsec_` the signing secret must be valid base64, with its padding.")]
    NotBase64,
    #[error(
        "After `whsec_` the signing secret must be the base64 of {MIN_KEY_BYTES} to {MAX_KEY_BYTES} bytes: use a \
         random key of that length."
    )]
    KeyLength,
    #[error("The signing secret must have {MIN_SECRET_CHARS} to {MAX_SECRET_CHARS} characters.")]
    Length,
}

impl SigningSecret {
    /// Parses a secret that a customer sets: `whsec_` and the base64 of [`MIN_KEY_BYTES`] to [`MAX_KEY_BYTES`] bytes,
    /// or [`MIN_SECRET_CHARS`] to [`MAX_SECRET_CHARS`] visible ASCII characters.
    ///
    /// # Errors
    /// The first problem found, as a message for the customer.
    pub fn parse_new(text: &str) -> Result<Self, InvalidSecret> {
        if text.trim() != text {
            return Err(InvalidSecret::BlankAtEnd);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidSecret::Character);
        }
        // Signatures begin with `v1,`, and some senders show their secrets like that too.
        if text.strip_prefix("v1,").is_some_and(|rest| rest.starts_with(STANDARD_PREFIX)) {
            return Err(InvalidSecret::VersionBefore);
        }
        let secret = Self::read(text).ok_or(InvalidSecret::NotBase64)?;
        match secret.format() {
            SecretFormat::Whsec if !(MIN_KEY_BYTES..=MAX_KEY_BYTES).contains(&secret.standard_key.len()) => {
                Err(InvalidSecret::KeyLength)
            }
            SecretFormat::Raw if !(MIN_SECRET_CHARS..=MAX_SECRET_CHARS).contains(&text.len()) => {
                Err(InvalidSecret::Length)
            }
            SecretFormat::Whsec | SecretFormat::Raw => Ok(secret),
        }
    }

    /// Parses a stored secret. It keeps signing even if it was set under older, laxer rules. `None` if it cannot be
    /// used as a key.
    pub fn parse_stored(text: &str) -> Option<Self> {
        Self::read(text).filter(|secret| !secret.standard_key.is_empty())
    }

    fn read(text: &str) -> Option<Self> {
        let standard_key = match text.strip_prefix(STANDARD_PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).ok()?,
            None => text.as_bytes().to_vec(),
        };
        Some(Self { text: Zeroizing::new(text.to_owned()), standard_key: Zeroizing::new(standard_key) })
    }

    /// Generates a secret from random bytes.
    pub fn generate(random: [u8; GENERATED_KEY_BYTES]) -> Self {
        let text = Zeroizing::new(format!("{STANDARD_PREFIX}{}", STANDARD.encode(random)));
        Self { text, standard_key: Zeroizing::new(random.to_vec()) }
    }

    /// How receivers have to read it.
    pub fn format(&self) -> SecretFormat {
        if self.text.starts_with(STANDARD_PREFIX) { SecretFormat::Whsec } else { SecretFormat::Raw }
    }

    /// The secret itself, to be encrypted or shown once. Never log it.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The value of `X-Roboticks-Signature`: `sha256=` and the lowercase hex HMAC of the body, keyed by the secret's
    /// UTF-8 bytes.
    pub fn roboticks_signature(&self, body: &[u8]) -> String {
        format!("sha256={}", hex::encode(hmac(self.text.as_bytes(), &[body])))
    }

    /// One entry of `webhook-signature`: `v1,` and the base64 HMAC of `id.timestamp.body`.
    pub fn standard_webhooks_signature(&self, delivery: DeliveryId, sent_at: Timestamp, body: &[u8]) -> String {
        let head = format!("{delivery}.{}.", sent_at.as_second());
        format!("v1,{}", STANDARD.encode(hmac(&self.standard_key, &[head.as_bytes(), body])))
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret")
    }
}

/// The secrets that sign a request: the current one, and during a rotation's overlap the previous one too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningSecrets {
    pub current: SigningSecret,
    pub previous: Option<PreviousSecret>,
}

/// The secret before the last rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousSecret {
    pub secret: SigningSecret,
    /// It signs until this instant, exclusive.
    pub valid_until: Timestamp,
}

impl SigningSecrets {
    /// All of them, whether the previous one still signs or not.
    pub fn all(&self) -> impl Iterator<Item = &SigningSecret> {
        std::iter::once(&self.current).chain(self.previous.as_ref().map(|previous| &previous.secret))
    }

    /// The previous secret, if it still signs at this time.
    pub fn previous_at(&self, now: Timestamp) -> Option<&SigningSecret> {
        self.previous.as_ref().filter(|previous| now < previous.valid_until).map(|previous| &previous.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2. Its key is shorter than a secret may be, so the raw function is tested.
    #[test]
    fn hmac_sha256_agrees_with_rfc_4231() {
        let digest = hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex::encode(digest), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    /// GitHub publishes this secret, payload and signature for the same scheme ("Validating webhook deliveries").
    #[test]
    fn the_documented_signature_agrees_with_a_published_vector() {
        let secret = SigningSecret::parse_stored("It's a Secret to Everybody").unwrap();
        assert_eq!(
            secret.roboticks_signature(b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }

    /// The vector of the Standard Webhooks reference libraries.
    #[test]
    fn the_standard_signature_agrees_with_a_published_vector() {
        let secret = SigningSecret::parse_new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&secret.standard_key).unwrap();
        mac.update(br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#);
        let signature = STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(signature, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "the library compares with the real time")]
    fn verified_by_the_official_library(secret: &SigningSecret, library: &standardwebhooks::Webhook) {
        let delivery: DeliveryId = "dlv_01JH7VVHV81KJMEKY94GFHBBTY".parse().unwrap();
        let now = Timestamp::now();
        let body = "{\"name\":\"Förderband 3\"}".as_bytes();
        let mut headers = http::HeaderMap::new();
        headers.insert("webhook-id", delivery.to_string().parse().unwrap());
        headers.insert("webhook-timestamp", now.as_second().to_string().parse().unwrap());
        headers.insert("webhook-signature", secret.standard_webhooks_signature(delivery, now, body).parse().unwrap());
        library.verify(body, &headers).unwrap();
        assert!(library.verify(b"{}", &headers).is_err());
    }

    #[test]
    fn the_official_library_verifies_what_we_sign() {
        let generated = SigningSecret::generate([9; GENERATED_KEY_BYTES]);
        verified_by_the_official_library(&generated, &standardwebhooks::Webhook::new(generated.reveal()).unwrap());
        let own = SigningSecret::parse_new("your-signing-secret").unwrap();
        let library = standardwebhooks::Webhook::from_bytes(b"your-signing-secret".to_vec()).unwrap();
        verified_by_the_official_library(&own, &library);
    }

    #[track_caller]
    fn new(text: &str, expected: Result<(), InvalidSecret>) {
        assert_eq!(SigningSecret::parse_new(text).map(drop), expected, "{text:?}");
    }

    fn standard(key_bytes: usize) -> String {
        format!("{STANDARD_PREFIX}{}", STANDARD.encode(vec![0xab; key_bytes]))
    }

    #[test]
    fn a_new_secret_has_a_minimum_and_a_maximum_length() {
        new(&"x".repeat(15), Err(InvalidSecret::Length));
        new(&"x".repeat(16), Ok(()));
        new(&"~".repeat(256), Ok(()));
        new(&"x".repeat(257), Err(InvalidSecret::Length));
        new("", Err(InvalidSecret::Length));
        new(&standard(23), Err(InvalidSecret::KeyLength));
        new(&standard(24), Ok(()));
        new(&standard(64), Ok(()));
        new(&standard(65), Err(InvalidSecret::KeyLength));
        new("whsec_", Err(InvalidSecret::KeyLength));
        new("whsec_AA==", Err(InvalidSecret::KeyLength));
    }

    #[test]
    fn a_new_secret_has_visible_characters_only() {
        let seen = "your-signing-secret";
        for blank in [" ", "\n", "\r\n", "\t", "\u{a0}", "\u{3000}"] {
            new(&format!("{blank}{seen}"), Err(InvalidSecret::BlankAtEnd));
            new(&format!("{seen}{blank}"), Err(InvalidSecret::BlankAtEnd));
            new(&format!("{seen}{blank}{seen}"), Err(InvalidSecret::Character));
            new(&format!("{}{blank}", standard(24)), Err(InvalidSecret::BlankAtEnd));
        }
        new(&" ".repeat(16), Err(InvalidSecret::BlankAtEnd));
        for hidden in ["\u{0}", "\u{7f}", "\u{200b}", "\u{feff}", "\u{202e}", "ü"] {
            new(&format!("{seen}{hidden}"), Err(InvalidSecret::Character));
            new(&format!("{hidden}{seen}"), Err(InvalidSecret::Character));
        }
    }

    #[test]
    fn a_new_standard_secret_is_the_prefix_and_canonical_base64() {
        new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Ok(()));
        new("whsec_not-base64", Err(InvalidSecret::NotBase64));
        new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", Err(InvalidSecret::NotBase64));
        new("whsec_====", Err(InvalidSecret::NotBase64));
        // 25 bytes; the last character's spare bits are not zero, or the padding is missing.
        new("whsec_q6urq6urq6urq6urq6urq6urq6urq6urqw==", Ok(()));
        new("whsec_q6urq6urq6urq6urq6urq6urq6urq6urqx==", Err(InvalidSecret::NotBase64));
        new("whsec_q6urq6urq6urq6urq6urq6urq6urq6urqw", Err(InvalidSecret::NotBase64));
        new("v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Err(InvalidSecret::VersionBefore));
        new("v1,a-secret-of-mine", Ok(()));
    }

    /// Earlier rules allowed eight to 256 bytes of any kind, and base64 of any length after `whsec_`.
    #[test]
    fn a_secret_stored_under_older_rules_still_signs() {
        for text in ["12345678", "whsec_AA==", "        ", "\t\n\r\0abcd", "ein Schlüssel\n", &standard(186)] {
            let secret = SigningSecret::parse_stored(text).unwrap_or_else(|| panic!("{text:?}"));
            assert_eq!(secret.reveal(), text);
            assert!(SigningSecret::parse_new(text).is_err(), "{text:?}");
        }
        for text in ["", "whsec_", "whsec_!"] {
            assert!(SigningSecret::parse_stored(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn every_error_is_a_sentence() {
        use InvalidSecret::*;
        for refused in [BlankAtEnd, Character, VersionBefore, NotBase64, KeyLength, Length] {
            let message = refused.to_string();
            assert!(message.ends_with('.') && !message.contains("  "), "{message}");
        }
    }

    #[test]
    fn a_secrets_format_follows_from_its_prefix() {
        let format = |text| SigningSecret::parse_new(text).unwrap().format();
        assert_eq!(format("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), SecretFormat::Whsec);
        assert_eq!(format("your-signing-secret"), SecretFormat::Raw);
        assert_eq!(SigningSecret::generate([9; GENERATED_KEY_BYTES]).format(), SecretFormat::Whsec);
        for format in [SecretFormat::Whsec, SecretFormat::Raw] {
            assert_eq!(serde_json::to_value(format).unwrap(), format.as_str());
        }
    }

    #[test]
    fn a_previous_secret_signs_until_it_expires() {
        let until: Timestamp = "2025-01-10T10:00:00Z".parse().unwrap();
        let secrets = SigningSecrets {
            current: SigningSecret::parse_new("the-secret-of-now").unwrap(),
            previous: Some(PreviousSecret {
                secret: SigningSecret::parse_new("the-secret-before").unwrap(),
                valid_until: until,
            }),
        };
        assert!(secrets.previous_at("2025-01-10T09:59:59.999Z".parse().unwrap()).is_some());
        assert!(secrets.previous_at(until).is_none());
    }

    #[test]
    fn debug_output_does_not_show_a_secret() {
        let secret = SigningSecret::parse_new("your-signing-secret").unwrap();
        assert_eq!(format!("{secret:?}"), "SigningSecret");
    }
}
