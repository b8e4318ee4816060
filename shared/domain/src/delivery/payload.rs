//! Storing a payload: deflated, and in the delivery's own item if that stays within one write unit.

use std::cell::RefCell;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::alert::event::MAX_EVENT_BYTES;

/// One DynamoDB write unit, in bytes: a claim and a record cost one unit each if the item is no larger.
const WRITE_UNIT_BYTES: usize = 1024;

/// The size of the item without its payload: attribute names and values of a delivery with the longest ids and one
/// successful attempt. A test in this file checks it against a real item.
const ITEM_OVERHEAD_BYTES: usize = 340;

/// The largest deflated payload that is stored in the delivery's own item.
pub const MAX_INLINE_BYTES: usize = WRITE_UNIT_BYTES - ITEM_OVERHEAD_BYTES;

/// A deflated payload, and where it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredPayload {
    /// In the delivery's item.
    Inline(Vec<u8>),
    /// In a separate item, which updates of the delivery do not rewrite.
    Separate(Vec<u8>),
}

/// Deflates a payload and decides where it is stored.
pub fn compress(body: &[u8]) -> StoredPayload {
    let deflated = deflate(body);
    if deflated.len() <= MAX_INLINE_BYTES { StoredPayload::Inline(deflated) } else { StoredPayload::Separate(deflated) }
}

thread_local! {
    /// Reused: its tables take a third of a megabyte, and allocating them for each alert took as long as the rest of a
    /// delivery.
    static ENCODER: RefCell<DeflateEncoder<Vec<u8>>> = RefCell::new(DeflateEncoder::new(Vec::new(), Compression::default()));
}

fn deflate(body: &[u8]) -> Vec<u8> {
    let deflated = ENCODER.with_borrow_mut(|encoder| {
        encoder.write_all(body)?;
        encoder.reset(Vec::new())
    });
    deflated.expect("writing to memory does not fail")
}

/// A stored payload that cannot be inflated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored payload cannot be inflated")]
pub struct InflateError;

/// The payload that [`compress`] was given, byte for byte.
///
/// # Errors
/// When the bytes are damaged, or inflate to more than [`MAX_EVENT_BYTES`].
pub fn inflate(deflated: &[u8]) -> Result<Vec<u8>, InflateError> {
    let mut body = Vec::with_capacity(deflated.len() * 2);
    let limit = MAX_EVENT_BYTES as u64 + 1;
    DeflateDecoder::new(deflated).take(limit).read_to_end(&mut body).map_err(|_| InflateError)?;
    if body.len() > MAX_EVENT_BYTES { Err(InflateError) } else { Ok(body) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::event::EventType;
    use crate::attempt::Attempt;
    use crate::delivery::ledger::{ClaimId, End, State};
    use crate::delivery::{Identity, Record};
    use crate::fixtures::identity;
    use crate::ids::OrganizationId;
    use jiff::Timestamp;

    const SAMPLE: &[u8] = include_bytes!("../../../../events/alert-triggered.json");

    #[test]
    fn a_payload_comes_back_byte_for_byte() {
        let bodies = [b"".to_vec(), SAMPLE.to_vec(), vec![b'x'; MAX_EVENT_BYTES], "é🤖".repeat(9_000).into_bytes()];
        for body in bodies {
            let (StoredPayload::Inline(stored) | StoredPayload::Separate(stored)) = compress(&body);
            assert_eq!(inflate(&stored), Ok(body));
        }
    }

    #[test]
    fn the_documented_payload_is_stored_inline() {
        assert!(matches!(compress(SAMPLE), StoredPayload::Inline(_)));
    }

    #[test]
    fn a_payload_too_large_for_one_write_unit_is_stored_separately() {
        // Hex digits of a multiplicative sequence hardly deflate to less than half.
        let body: String = (1_u64..200).map(|n| format!("{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
        assert!(matches!(compress(body.as_bytes()), StoredPayload::Separate(_)));
    }

    #[test]
    fn damaged_or_exploding_bytes_do_not_inflate() {
        assert_eq!(inflate(&[0xff; 40]), Err(InflateError));
        assert_eq!(inflate(&deflate(&vec![0; MAX_EVENT_BYTES + 1])), Err(InflateError));
    }

    /// DynamoDB's documented item size: UTF-8 names and values, numbers at two digits a byte plus one, binary as it is,
    /// three bytes for a list or map and one for each member.
    fn size(value: &serde_dynamo::AttributeValue) -> usize {
        use serde_dynamo::AttributeValue::{B, Bool, L, M, N, S};
        match value {
            S(text) => text.len(),
            N(digits) => digits.len().div_ceil(2) + 1,
            B(bytes) => bytes.len(),
            Bool(_) => 1,
            L(list) => 3 + list.iter().map(|member| 1 + size(member)).sum::<usize>(),
            M(map) => 3 + map.iter().map(|(name, member)| 1 + name.len() + size(member)).sum::<usize>(),
            other => panic!("no item has {other:?}"),
        }
    }

    fn item_size(record: &Record) -> usize {
        let item: serde_dynamo::Item = serde_dynamo::to_item(record).unwrap();
        item.iter().map(|(name, value)| name.len() + size(value)).sum()
    }

    #[test]
    fn an_item_with_the_largest_inline_payload_is_one_write_unit_before_and_after_its_record() {
        let now = Timestamp::from_millisecond(1_796_500_000_123).unwrap();
        let identity = Identity {
            organization_id: OrganizationId::new(u64::MAX).unwrap(),
            event_type: EventType::Acknowledged,
            alert_id: u64::MAX,
            created_at: now,
            ..identity()
        };
        let claimed =
            State::Sending { attempt: 1, round_start: 1, lease_until: now, claim_id: ClaimId::new([255; 16]) };
        let mut record = Record::new(identity, &claimed, now);
        record.payload = Some(vec![0; MAX_INLINE_BYTES].into());
        assert!(item_size(&record) <= WRITE_UNIT_BYTES, "claimed: {}", item_size(&record));

        record.set_entry(State::Ended { attempt: 1, round_start: 1, end: End::Delivered }.into());
        record.add_attempt(Attempt {
            number: 1,
            started_at: now,
            duration_ms: Some(30_000),
            outcome: "accepted".into(),
            status_code: Some(200),
            error: None,
            response_excerpt: None,
            possible_duplicate: false,
        });
        assert!(item_size(&record) <= WRITE_UNIT_BYTES, "recorded: {}", item_size(&record));
        // The overhead is not overestimated either.
        assert!(item_size(&record) > WRITE_UNIT_BYTES - 64, "recorded: {}", item_size(&record));
    }
}
