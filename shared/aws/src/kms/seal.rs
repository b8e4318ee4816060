//! Encrypts single values with AES-256-GCM, each bound to its owner and slot.

use domain::integration::secrets::{Owner, Slot};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde_bytes::ByteBuf;
use zeroize::Zeroizing;

/// The length of a data key, in bytes (AES-256).
pub const DATA_KEY_BYTES: usize = 32;

/// A decrypted data key; zeroed when dropped.
pub type DataKey = Zeroizing<[u8; DATA_KEY_BYTES]>;

/// 96 bits that must never repeat under one data key. A key seals a few dozen values at most, so random nonces do not
/// repeat.
pub type SealNonce = [u8; NONCE_LEN];

/// A sealed value that cannot be opened: it was altered, moved, or sealed under another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value cannot be opened with its integration's key")]
pub struct UnsealError;

/// Seals a value. The result is nonce, ciphertext and tag, one after the other.
pub fn seal(key: &DataKey, owner: &Owner, slot: Slot<'_>, value: &str, nonce: SealNonce) -> ByteBuf {
    let mut sealed = value.as_bytes().to_vec();
    let aad = Aad::from(owner.associated_data(slot));
    cipher(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
        .expect("AES-GCM seals anything below 64 GiB");
    sealed.splice(0..0, nonce);
    ByteBuf::from(sealed)
}

/// Opens what [`seal`] returned for the same owner and slot.
///
/// # Errors
/// [`UnsealError`], which does not say why.
pub fn open(key: &DataKey, owner: &Owner, slot: Slot<'_>, sealed: &[u8]) -> Result<Zeroizing<String>, UnsealError> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(UnsealError)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let aad = Aad::from(owner.associated_data(slot));
    let opened =
        cipher(key).open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut buffer).map_err(|_| UnsealError)?;
    let value = std::str::from_utf8(opened).map_err(|_| UnsealError)?;
    Ok(Zeroizing::new(value.to_owned()))
}

fn cipher(key: &DataKey) -> LessSafeKey {
    LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("a data key has the length of an AES-256 key"),
    )
}

#[cfg(test)]
mod tests {
    use domain::ids::OrganizationId;

    use super::*;

    fn owner(organization: u64) -> Owner {
        let integration = "int_01JH7Z5A8M0000000000000001".parse().unwrap();
        Owner::new(OrganizationId::new(organization).unwrap(), integration, "https://example.com/")
    }

    fn key(byte: u8) -> DataKey {
        Zeroizing::new([byte; DATA_KEY_BYTES])
    }

    #[test]
    fn a_sealed_value_opens_only_for_its_owner_and_slot() {
        let sealed = seal(&key(1), &owner(1), Slot::Header("authorization"), "Bearer x", [7; 12]);
        assert!(!sealed.windows(6).any(|part| part == b"Bearer"));
        let open_as = |key: &DataKey, owner: &Owner, slot| open(key, owner, slot, &sealed).map(|v| v.to_string());

        assert_eq!(open_as(&key(1), &owner(1), Slot::Header("authorization")), Ok("Bearer x".to_owned()));
        assert_eq!(open_as(&key(2), &owner(1), Slot::Header("authorization")), Err(UnsealError));
        assert_eq!(open_as(&key(1), &owner(2), Slot::Header("authorization")), Err(UnsealError));
        assert_eq!(open_as(&key(1), &owner(1), Slot::Header("x-api-key")), Err(UnsealError));
        assert_eq!(open_as(&key(1), &owner(1), Slot::SigningSecret), Err(UnsealError));
    }

    #[test]
    fn an_altered_or_truncated_value_does_not_open() {
        let sealed = seal(&key(1), &owner(1), Slot::SigningSecret, "s3cret", [7; 12]);
        for at in 0..sealed.len() {
            let mut altered = sealed.to_vec();
            altered[at] ^= 1;
            assert!(open(&key(1), &owner(1), Slot::SigningSecret, &altered).is_err(), "byte {at}");
            assert!(open(&key(1), &owner(1), Slot::SigningSecret, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_rotated_secret_opens_in_the_previous_ones_slot() {
        let sealed = seal(&key(1), &owner(1), Slot::SigningSecret, "s3cret", [7; 12]);
        let opened = open(&key(1), &owner(1), Slot::PreviousSigningSecret, &sealed).unwrap();
        assert_eq!(opened.as_str(), "s3cret");
    }
}
