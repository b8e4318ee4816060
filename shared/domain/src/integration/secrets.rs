//! Signing secrets and header values as an integration stores them: encrypted under a data key of its own (`aws::kms`).
//! Every encrypted value is bound to its organization, its integration and its slot, so that a copy elsewhere cannot be
//! decrypted; header values also to the scheme, host and port that they were given for, so that whoever can change the
//! stored URL cannot have them sent elsewhere.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use url::Url;

use crate::ids::{IntegrationId, OrganizationId};
use crate::integration::Integration;
use crate::request::signature::SecretFormat;

/// The secrets of an integration, as its item stores them. Header names are stored in the clear, values are encrypted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecrets {
    /// The data key, encrypted by KMS under the integration's encryption context.
    pub data_key: ByteBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<ByteBuf>,
    /// The part of it that its owner may see; see [`last4`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret_last4: Option<String>,
    /// How receivers have to read it; absent for secrets from before this was stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret_format: Option<SecretFormat>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_signing_secret: Option<ByteBuf>,
    /// Until when the previous secret signs too.
    #[serde(
        default,
        with = "jiff::fmt::serde::timestamp::millisecond::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub previous_valid_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, ByteBuf>,
    /// The parts of the header values that their owner may see.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub header_last4: BTreeMap<String, String>,
}

impl fmt::Debug for SealedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSecrets").finish_non_exhaustive()
    }
}

/// Which of an integration's values is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot<'a> {
    SigningSecret,
    PreviousSigningSecret,
    /// The value of the header with this name, for the owner's origin.
    Header(&'a str),
    /// The same as it was encrypted before origins were part of it; only read.
    HeaderForAnyOrigin(&'a str),
}

/// Whose value it is, and where header values may be sent: part of the encryption's associated data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub organization: OrganizationId,
    pub integration: IntegrationId,
    /// Scheme, host and port of the integration's URL, in the standard spelling.
    origin: String,
}

impl Owner {
    /// The owner of an integration's secrets, if it has this URL.
    pub fn new(organization: OrganizationId, integration: IntegrationId, url: &str) -> Self {
        let origin = Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        Self { organization, integration, origin }
    }

    /// The owner of an integration's secrets.
    pub fn of(integration: &Integration) -> Self {
        Self::new(integration.organization_id, integration.id, &integration.url)
    }

    /// The associated data with which the value in this slot is encrypted.
    pub fn associated_data(&self, slot: Slot<'_>) -> String {
        let Self { organization, integration, origin } = self;
        match slot {
            // The same for both: a rotation moves the current secret to the previous slot without decrypting it.
            Slot::SigningSecret | Slot::PreviousSigningSecret => {
                format!("{organization}/{integration}/signing_secret")
            }
            // No name contains an `@`, so the two forms cannot be confused.
            Slot::Header(name) => format!("{organization}/{integration}/header/{name}@{origin}"),
            Slot::HeaderForAnyOrigin(name) => format!("{organization}/{integration}/header/{name}"),
        }
    }
}

/// The shortest secret of which the end is shown, in characters. Somebody who has a signature can test guesses against
/// it; the twenty characters that remain hidden are too many for that.
pub const MIN_HINTED_CHARS: usize = 24;

/// The last four characters of a secret, by which its owner recognises it; `None` if the secret is short.
pub fn last4(secret: &str) -> Option<String> {
    let length = secret.chars().count();
    (length >= MIN_HINTED_CHARS).then(|| secret.chars().skip(length - 4).collect())
}
