//! Random numbers that follow from a seed.

use fastrand::Rng;

/// A generator for one purpose. Each purpose has its own, so that drawing more numbers for one leaves the others as
/// they were.
pub fn seeded_rng<T: AsRef<str>>(seed: u64, purpose: impl IntoIterator<Item = T>) -> Rng {
    // FNV-1a: the standard library's hashes may change between releases, and a seed has to keep its meaning.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in purpose {
        for byte in part.as_ref().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Rng::with_seed(hash)
}
