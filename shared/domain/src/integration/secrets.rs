//! Signing secrets and header values as an integration holds them: sealed under a data key of its own (`aws::kms`).
//! Every sealed value is bound to its organization, its integration and its place, so that one copied elsewhere does not
//! open.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::ids::{IntegrationId, OrganizationId};
use crate::request::signature::SecretFormat;

/// The secrets of an integration, as its item holds them. Header names are in clear, values are not.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecrets {
    /// The data key, encrypted by KMS under the integration's encryption context.
    pub data_key: ByteBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<ByteBuf>,
    /// What its owner may see of it, see [`last4`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret_last4: Option<String>,
    /// How receivers have to read it; absent of one that was sealed before this was noted.
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
    /// What their owner may see of the header values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub header_last4: BTreeMap<String, String>,
}

impl fmt::Debug for SealedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedSecrets").finish_non_exhaustive()
    }
}

/// Which value of an integration a sealed text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot<'a> {
    SigningSecret,
    PreviousSigningSecret,
    /// The value of the header of that name.
    Header(&'a str),
}

/// Whose value it is, and which: the associated data of the encryption.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    pub organization: OrganizationId,
    pub integration: IntegrationId,
}

impl Owner {
    /// What a value of that place is bound to when it is sealed.
    pub fn associated_data(&self, slot: Slot<'_>) -> String {
        let Self { organization, integration } = self;
        match slot {
            // A rotation moves the current secret to the previous one's place without having to open it.
            Slot::SigningSecret | Slot::PreviousSigningSecret => {
                format!("{organization}/{integration}/signing_secret")
            }
            Slot::Header(name) => format!("{organization}/{integration}/header/{name}"),
        }
    }
}

/// The shortest secret of which anything is shown, in characters. Whoever has a signature can try guesses on it, and the
/// twenty characters that are left are too many for that.
pub const MIN_HINTED_CHARS: usize = 24;

/// The last four characters of a secret, by which its owner knows it again; `None` of a short one.
pub fn last4(secret: &str) -> Option<String> {
    let length = secret.chars().count();
    (length >= MIN_HINTED_CHARS).then(|| secret.chars().skip(length - 4).collect())
}
