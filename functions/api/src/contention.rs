//! Giving way: what is done when somebody else writes the same item at the same moment.
//!
//! Whoever was faster goes first, and whoever was not looks again a little later, at a time of its own, so that those who
//! collided do not collide again. Who has had to give way too often is told to come back, which is nobody's failure.

use std::time::Duration;

use aws::kms::vault::random;

/// How often a write is tried: less than three seconds of giving way in all.
pub(crate) const MAX_COLLISIONS: u32 = 10;

/// How long whoever still was not through is asked to wait.
pub(crate) const COME_BACK_AFTER: Duration = Duration::from_secs(1);

/// The longest pause after a first collision: about what a write takes. It doubles with each further one, up to
/// [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How long to pause after the n-th collision in a row, from 1: anything up to a bound that doubles, as `dice` falls.
pub(crate) fn pause(collision: u32, dice: u16) -> Duration {
    let doubled = 2_u32.saturating_pow(collision.saturating_sub(1));
    let longest = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    longest * u32::from(dice) / u32::from(u16::MAX)
}

/// Waits until those who were faster are through.
pub(crate) async fn give_way(collision: u32) {
    tokio::time::sleep(pause(collision, u16::from_be_bytes(random()))).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        let longest = |collision| pause(collision, u16::MAX).as_millis();
        assert_eq!([1, 2, 3, 5, 6, MAX_COLLISIONS, u32::MAX].map(longest), [20, 40, 80, 320, 500, 500, 500]);
        assert_eq!(pause(4, 0), Duration::ZERO);
        assert_eq!(pause(2, u16::MAX / 2).as_millis(), 19);
    }
}
