//! Chance that a seed fixes.

use fastrand::Rng;

/// Dice of their own for each purpose, so that drawing more for one leaves the others' as they were.
pub fn dice<T: AsRef<str>>(seed: u64, purpose: impl IntoIterator<Item = T>) -> Rng {
    // FNV-1a: the standard library's hashes may change between releases, and a seed is to keep its meaning.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in purpose {
        for byte in part.as_ref().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Rng::with_seed(hash)
}
