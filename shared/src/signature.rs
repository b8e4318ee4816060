//! How a receiver knows that a request is ours: HMAC-SHA256, in the documented header and in those of Standard Webhooks.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::ids::DeliveryId;

/// The prefix of a secret whose key is the decoded base64 after it, by the Standard Webhooks specification.
pub const STANDARD_PREFIX: &str = "whsec_";

/// The length of the key in a generated secret, in bytes. Standard Webhooks asks for 24 to 64.
pub const GENERATED_KEY_BYTES: usize = 24;

/// The shortest secret that a customer may set, in bytes.
pub const MIN_SECRET_BYTES: usize = 8;

/// The longest secret that a customer may set, in bytes.
pub const MAX_SECRET_BYTES: usize = 256;

/// How the key of the Standard Webhooks signature is made of a secret's text, which receivers have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretFormat {
    /// It is the decoded base64 after `whsec_`.
    Whsec,
    /// It is the text's own bytes.
    Raw,
}

impl SecretFormat {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whsec => "whsec",
            Self::Raw => "raw",
        }
    }
}

/// A signing secret in clear; zeroed when dropped, absent from every `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret {
    text: Zeroizing<String>,
    /// The key of the Standard Webhooks signature; the documented one is keyed by the text itself.
    standard_key: Zeroizing<Vec<u8>>,
}

/// Why a text cannot be a signing secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefused {
    #[error("A signing secret must have {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes.")]
    Length,
    #[error("After `whsec_` a signing secret must be valid base64, with its padding.")]
    NotBase64,
}

impl SigningSecret {
    /// # Errors
    /// [`SecretRefused`] when its length is out of bounds, or when `whsec_` is not followed by base64.
    pub fn parse(text: &str) -> Result<Self, SecretRefused> {
        if !(MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&text.len()) {
            return Err(SecretRefused::Length);
        }
        let standard_key = match text.strip_prefix(STANDARD_PREFIX) {
            Some(encoded) => STANDARD.decode(encoded).map_err(|_| SecretRefused::NotBase64)?,
            None => text.as_bytes().to_vec(),
        };
        if standard_key.is_empty() {
            return Err(SecretRefused::NotBase64);
        }
        Ok(Self { text: Zeroizing::new(text.to_owned()), standard_key: Zeroizing::new(standard_key) })
    }

    /// A secret of ours, from random bytes.
    pub fn generate(random: [u8; GENERATED_KEY_BYTES]) -> Self {
        let text = Zeroizing::new(format!("{STANDARD_PREFIX}{}", STANDARD.encode(random)));
        Self { text, standard_key: Zeroizing::new(random.to_vec()) }
    }

    /// How receivers have to read it.
    pub fn format(&self) -> SecretFormat {
        if self.text.starts_with(STANDARD_PREFIX) { SecretFormat::Whsec } else { SecretFormat::Raw }
    }

    /// The secret itself, to be sealed or shown once. Never to be logged.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The value of `X-Roboticks-Signature`: `sha256=` and the lowercase hex HMAC of the body, keyed by the secret's
    /// UTF-8 bytes.
    pub fn documented_signature(&self, body: &[u8]) -> String {
        format!("sha256={}", hex::encode(hmac(self.text.as_bytes(), &[body])))
    }

    /// One entry of `webhook-signature`: `v1,` and the base64 HMAC of `id.timestamp.body`.
    pub fn standard_signature(&self, delivery: DeliveryId, sent_at: Timestamp, body: &[u8]) -> String {
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

/// The secrets that sign a request: the integration's own, and during a rotation's overlap the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningSecrets {
    pub current: SigningSecret,
    pub previous: Option<PreviousSecret>,
}

/// The secret before the last rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviousSecret {
    pub secret: SigningSecret,
    /// It signs before this instant, and no longer from it on.
    pub valid_until: Timestamp,
}

impl SigningSecrets {
    /// The previous secret while it still signs.
    pub fn previous_at(&self, now: Timestamp) -> Option<&SigningSecret> {
        self.previous.as_ref().filter(|previous| now < previous.valid_until).map(|previous| &previous.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2, whose key is shorter than a secret may be: the raw function is checked.
    #[test]
    fn hmac_sha256_agrees_with_rfc_4231() {
        let digest = hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        assert_eq!(hex::encode(digest), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    /// GitHub publishes this secret, payload and signature for the same scheme ("Validating webhook deliveries").
    #[test]
    fn the_documented_signature_agrees_with_a_published_vector() {
        let secret = SigningSecret::parse("It's a Secret to Everybody").unwrap();
        assert_eq!(
            secret.documented_signature(b"Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }

    /// The vector of the Standard Webhooks reference libraries.
    #[test]
    fn the_standard_signature_agrees_with_a_published_vector() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
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
        headers.insert("webhook-signature", secret.standard_signature(delivery, now, body).parse().unwrap());
        library.verify(body, &headers).unwrap();
        assert!(library.verify(b"{}", &headers).is_err());
    }

    #[test]
    fn the_official_library_verifies_what_we_sign() {
        let generated = SigningSecret::generate([9; GENERATED_KEY_BYTES]);
        verified_by_the_official_library(&generated, &standardwebhooks::Webhook::new(generated.reveal()).unwrap());
        let own = SigningSecret::parse("your-signing-secret").unwrap();
        let library = standardwebhooks::Webhook::from_bytes(b"your-signing-secret".to_vec()).unwrap();
        verified_by_the_official_library(&own, &library);
    }

    #[track_caller]
    fn check(text: &str, expected: Result<(), SecretRefused>) {
        assert_eq!(SigningSecret::parse(text).map(drop), expected, "{text}");
    }

    #[test]
    fn a_secret_must_be_usable() {
        check("12345678", Ok(()));
        check("1234567", Err(SecretRefused::Length));
        check(&"x".repeat(256), Ok(()));
        check(&"x".repeat(257), Err(SecretRefused::Length));
        check("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", Ok(()));
        check("whsec_not base64", Err(SecretRefused::NotBase64));
        check("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", Err(SecretRefused::NotBase64));
        check("whsec_====", Err(SecretRefused::NotBase64));
    }

    #[test]
    fn a_secret_says_how_its_key_is_made() {
        let format = |text| SigningSecret::parse(text).unwrap().format();
        assert_eq!(format("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), SecretFormat::Whsec);
        assert_eq!(format("your-signing-secret"), SecretFormat::Raw);
        assert_eq!(SigningSecret::generate([9; GENERATED_KEY_BYTES]).format(), SecretFormat::Whsec);
        for format in [SecretFormat::Whsec, SecretFormat::Raw] {
            assert_eq!(serde_json::to_value(format).unwrap(), format.as_str());
        }
    }

    #[test]
    fn a_previous_secret_signs_until_its_time() {
        let until: Timestamp = "2025-01-10T10:00:00Z".parse().unwrap();
        let secrets = SigningSecrets {
            current: SigningSecret::parse("new-secret").unwrap(),
            previous: Some(PreviousSecret { secret: SigningSecret::parse("old-secret").unwrap(), valid_until: until }),
        };
        assert!(secrets.previous_at("2025-01-10T09:59:59.999Z".parse().unwrap()).is_some());
        assert!(secrets.previous_at(until).is_none());
    }

    #[test]
    fn a_secret_shows_itself_to_nobody() {
        let secret = SigningSecret::parse("your-signing-secret").unwrap();
        assert_eq!(format!("{secret:?}"), "SigningSecret");
    }
}
