//! Stored payloads: they read back unchanged, and damaged ones do no harm.

use domain::alert::event::MAX_EVENT_BYTES;
use domain::delivery::payload::{self, StoredPayload};
use proptest::prelude::*;

use crate::oracles;

fn deflated(body: &[u8]) -> Vec<u8> {
    let (StoredPayload::Inline(deflated) | StoredPayload::Separate(deflated)) = payload::compress(body);
    deflated
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn a_payload_reads_back_unchanged(body in proptest::collection::vec(any::<u8>(), 0..3000), times in 1_usize..80) {
        oracles::stored_payload(&body.repeat(times));
    }

    #[test]
    fn a_truncated_payload_does_not_inflate(body in "\\PC{0,400}", at in any::<prop::sample::Index>()) {
        let deflated = deflated(body.as_bytes());
        prop_assert!(payload::inflate(&deflated[..at.index(deflated.len())]).is_err());
    }

    #[test]
    fn a_damaged_payload_does_no_harm(
        body in "\\PC{0,400}",
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let mut deflated = deflated(body.repeat(20).as_bytes());
        let at = at.index(deflated.len());
        deflated[at] ^= with;
        oracles::inflate(&deflated);
    }

    #[test]
    fn arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        oracles::inflate(&bytes);
    }
}

/// Zeros, which deflate best, of more than the largest event: up to 16 MiB.
#[test]
fn a_decompression_bomb_does_not_inflate() {
    let zeros = deflated(&vec![0; MAX_EVENT_BYTES]);
    assert!(payload::inflate(&zeros).is_ok());
    for size in [MAX_EVENT_BYTES + 1, 1 << 20, 1 << 24] {
        assert!(payload::inflate(&deflated(&vec![0; size])).is_err(), "{size}");
    }
}
