//! Opens and seals integrations' secrets. KMS encrypts the data key, and the data key the values.
//!
//! Opened secrets are cached in memory by integration and version, so that a warm function need not call KMS. They are
//! zeroed when dropped.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use domain::endpoint::headers::CustomerHeaders;
use domain::ids::IntegrationId;
use domain::integration::Integration;
use domain::integration::secrets::{Owner, SealedSecrets, Slot, last4};
use domain::request::signature::{PreviousSecret, SigningSecret, SigningSecrets};
use jiff::Timestamp;
use lru::LruCache;
use serde_bytes::ByteBuf;
use tokio::sync::OnceCell;
use zeroize::{Zeroize, Zeroizing};

use super::seal::{DATA_KEY_BYTES, DataKey, UnsealError, open, seal};
use crate::fault::Fault;

/// How many integrations' secrets are cached. At a few hundred bytes each, they take well below a megabyte.
const CACHE_SIZE: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

/// An integration's secrets in plain text.
#[derive(Clone, Debug, Default)]
pub struct OpenSecrets {
    pub signing: Option<SigningSecrets>,
    pub headers: CustomerHeaders,
}

type Opening = OnceCell<Result<Arc<OpenSecrets>, Fault>>;

/// Opens and seals secrets.
#[derive(Debug)]
pub struct Vault {
    client: Client,
    /// A cell for each, so that a batch that needs the same secrets concurrently calls KMS once. A cell with a fault is
    /// removed: only the callers that were already waiting for it share the fault.
    opened: Mutex<LruCache<(IntegrationId, u64), Arc<Opening>>>,
}

impl Vault {
    pub fn new(client: Client) -> Self {
        Self { client, opened: Mutex::new(LruCache::new(CACHE_SIZE)) }
    }

    /// The secrets of an integration, from the cache if this version was opened before. Concurrent callers share one
    /// call to KMS. An integration without secrets needs none.
    ///
    /// # Errors
    /// [`Fault`] when KMS fails, or a value was not sealed for this integration or is no longer valid.
    pub async fn open(&self, integration: &Integration) -> Result<Arc<OpenSecrets>, Fault> {
        let Some(sealed) = &integration.secrets else {
            return Ok(Arc::default());
        };
        let key = (integration.id, integration.version);
        let cache = || self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let opening = Arc::clone(cache().get_or_insert(key, Arc::default));
        let open = async || {
            let opened = self.open_uncached(integration, sealed).await;
            if opened.is_err() {
                cache().pop(&key);
            }
            opened
        };
        opening.get_or_init(open).await.clone()
    }

    async fn open_uncached(
        &self,
        integration: &Integration,
        sealed: &SealedSecrets,
    ) -> Result<Arc<OpenSecrets>, Fault> {
        let owner = Owner::of(integration);
        let key = self.decrypt(&owner, &sealed.data_key).await?;
        Ok(Arc::new(open_all(&key, &owner, sealed)?))
    }

    /// Seals all of an integration's secrets under a new data key. `None` when there are none. `kms_key` is the KMS
    /// key's ARN.
    pub async fn seal(
        &self,
        kms_key: &str,
        owner: &Owner,
        secrets: &OpenSecrets,
    ) -> Result<Option<SealedSecrets>, Fault> {
        if secrets.signing.is_none() && secrets.headers.is_empty() {
            return Ok(None);
        }
        let response = self
            .client
            .generate_data_key()
            .key_id(kms_key)
            .key_spec(DataKeySpec::Aes256)
            .set_encryption_context(Some(context(owner)))
            .send()
            .await
            .map_err(Fault::of("GenerateDataKey"))?;
        let key = data_key(response.plaintext)?;
        let data_key = ByteBuf::from(response.ciphertext_blob.ok_or(UnsealError)?.into_inner());
        let seal_at = |slot, value: &str| seal(&key, owner, slot, value, random());
        let current = secrets.signing.as_ref().map(|signing| &signing.current);
        let previous = secrets.signing.as_ref().and_then(|signing| signing.previous.as_ref());
        let hints = secrets.headers.iter().filter_map(|(name, value)| Some((name.to_owned(), last4(value)?)));
        Ok(Some(SealedSecrets {
            data_key,
            signing_secret: current.map(|secret| seal_at(Slot::SigningSecret, secret.reveal())),
            signing_secret_last4: current.and_then(|secret| last4(secret.reveal())),
            signing_secret_format: current.map(SigningSecret::format),
            previous_signing_secret: previous
                .map(|previous| seal_at(Slot::PreviousSigningSecret, previous.secret.reveal())),
            previous_valid_until: previous.map(|previous| previous.valid_until),
            header_last4: hints.collect(),
            headers: secrets
                .headers
                .iter()
                .map(|(name, value)| (name.to_owned(), seal_at(Slot::Header(name), value)))
                .collect(),
        }))
    }

    async fn decrypt(&self, owner: &Owner, data_key_blob: &[u8]) -> Result<DataKey, Fault> {
        let response = self
            .client
            .decrypt()
            .ciphertext_blob(Blob::new(data_key_blob))
            .set_encryption_context(Some(context(owner)))
            .send()
            .await
            .map_err(Fault::of("Decrypt"))?;
        data_key(response.plaintext)
    }
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
    bytes
}

/// The encryption context: KMS decrypts the data key only for a caller that gives the same owner, and logs the owner.
fn context(owner: &Owner) -> HashMap<String, String> {
    HashMap::from([
        ("organization_id".to_owned(), owner.organization.to_string()),
        ("integration_id".to_owned(), owner.integration.to_string()),
    ])
}

fn data_key(plaintext: Option<Blob>) -> Result<DataKey, Fault> {
    let mut plaintext = plaintext.ok_or(UnsealError)?.into_inner();
    let key = <[u8; DATA_KEY_BYTES]>::try_from(plaintext.as_slice()).map(Zeroizing::new);
    plaintext.zeroize();
    Ok(key.map_err(|_| UnsealError)?)
}

fn open_all(key: &DataKey, owner: &Owner, sealed: &SealedSecrets) -> Result<OpenSecrets, Fault> {
    let unusable = |what| Fault::UnusableIntegration { integration_id: owner.integration, what };
    let secret_at = |slot, value: &[u8]| -> Result<SigningSecret, Fault> {
        SigningSecret::parse_stored(&open(key, owner, slot, value)?).ok_or_else(|| unusable("signing secret"))
    };

    let current = sealed.signing_secret.as_ref().map(|value| secret_at(Slot::SigningSecret, value)).transpose()?;
    let previous = match &sealed.previous_signing_secret {
        Some(value) => Some(PreviousSecret {
            secret: secret_at(Slot::PreviousSigningSecret, value)?,
            valid_until: sealed.previous_valid_until.unwrap_or(Timestamp::MIN),
        }),
        None => None,
    };
    let mut values = Vec::with_capacity(sealed.headers.len());
    for (name, value) in &sealed.headers {
        // A newer value does not open in the older slot.
        let opened = open(key, owner, Slot::Header(name), value)
            .or_else(|UnsealError| open(key, owner, Slot::HeaderForAnyOrigin(name), value))?;
        values.push((name.as_str(), opened));
    }
    let headers = CustomerHeaders::parse_stored(values.iter().map(|(name, value)| (*name, value.as_str())))
        .map_err(|_| unusable("header"))?;
    Ok(OpenSecrets { signing: current.map(|current| SigningSecrets { current, previous }), headers })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; DATA_KEY_BYTES] = [1; DATA_KEY_BYTES];

    fn owner(url: &str) -> Owner {
        let organization = domain::ids::OrganizationId::new(1).unwrap();
        Owner::new(organization, "int_01JH7Z5A8M0000000000000001".parse().unwrap(), url)
    }

    fn sealed_item() -> SealedSecrets {
        SealedSecrets {
            data_key: ByteBuf::new(),
            signing_secret: None,
            signing_secret_last4: None,
            signing_secret_format: None,
            previous_signing_secret: None,
            previous_valid_until: None,
            headers: Default::default(),
            header_last4: Default::default(),
        }
    }

    /// Shorter secrets and names with underscores were accepted once, and are still stored.
    #[test]
    fn secrets_that_were_once_accepted_still_open_and_sign() {
        let (key, owner) = (DataKey::new(KEY), owner("https://example.com/"));
        let name = "x_roboticks_signature";
        let opened = |current: &str, previous: &str| {
            let item = SealedSecrets {
                signing_secret: Some(seal(&key, &owner, Slot::SigningSecret, current, [1; 12])),
                previous_signing_secret: Some(seal(&key, &owner, Slot::PreviousSigningSecret, previous, [2; 12])),
                previous_valid_until: Some(Timestamp::MAX),
                headers: [(name.to_owned(), seal(&key, &owner, Slot::Header(name), "value", [3; 12]))].into(),
                ..sealed_item()
            };
            let opened = open_all(&key, &owner, &item).unwrap();
            assert_eq!(opened.headers.iter().collect::<Vec<_>>(), [(name, "value")]);
            opened.signing.unwrap()
        };
        for (current, previous) in [("12345678", "whsec_AA=="), ("whsec_AA==", "ein Schlüssel\n")] {
            let signing = opened(current, previous);
            assert_eq!(signing.current.reveal(), current);
            assert_eq!(signing.previous_at(Timestamp::UNIX_EPOCH).map(SigningSecret::reveal), Some(previous));
        }
    }

    #[track_caller]
    fn check_header(slot: Slot<'_>, url_when_sealed: &str, url_when_opened: &str, opens: bool) {
        let key = DataKey::new(KEY);
        let value = seal(&key, &owner(url_when_sealed), slot, "Bearer x", [1; 12]);
        let item = SealedSecrets { headers: [("authorization".to_owned(), value)].into(), ..sealed_item() };
        let opened = open_all(&key, &owner(url_when_opened), &item);
        assert_eq!(opened.is_ok(), opens, "{url_when_sealed} {url_when_opened}");
        if let Ok(opened) = opened {
            assert_eq!(opened.headers.iter().collect::<Vec<_>>(), [("authorization", "Bearer x")]);
        }
    }

    #[test]
    fn a_header_value_opens_only_for_the_origin_that_it_was_given_for() {
        let header = Slot::Header("authorization");
        check_header(header, "https://example.com/a", "HTTPS://Example.COM:443/b?c", true);
        for other in ["http://example.com/a", "https://example.com:8443/a", "https://example.org/a", "not a URL"] {
            check_header(header, "https://example.com/a", other, false);
        }
    }

    #[test]
    fn a_header_value_from_before_origins_were_bound_still_opens() {
        let header = Slot::HeaderForAnyOrigin("authorization");
        check_header(header, "https://example.com/a", "https://example.com/a", true);
    }
}
