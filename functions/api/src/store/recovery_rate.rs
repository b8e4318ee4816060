//! Limits how fast failed deliveries are sent again in a recovery.
//!
//! An endpoint that has just come back must not be overwhelmed by what it missed. Each integration has a timeline of
//! its own, on which every recovery reserves instants after those already reserved: two recoveries together are no
//! faster than one.

use std::time::Duration;

use aws::fault::Fault;
use domain::integration::Integration;
use jiff::Timestamp;

use crate::store::token_bucket::{TokenBucket, TokenBuckets, TooFewTokens};

/// The time between two deliveries of a recovery: ten a second for each integration.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// How far ahead instants can be reserved: less than the 15 minutes for which SQS can delay a message.
pub const MAX_AHEAD: Duration = Duration::from_secs(10 * 60);

/// Instants at which deliveries are sent again, [`INTERVAL`] from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    first: Timestamp,
    count: u32,
}

impl Slots {
    /// The last `count` instants before that time.
    fn before(until: Timestamp, count: u32) -> Self {
        let first = until.saturating_sub(INTERVAL * count).unwrap_or(Timestamp::MIN);
        Self { first, count }
    }

    pub fn times(self) -> impl Iterator<Item = Timestamp> {
        (0..self.count).map(move |index| later(self.first, INTERVAL * index))
    }

    /// The instant from which nothing is reserved.
    pub fn until(self) -> Timestamp {
        later(self.first, INTERVAL * self.count)
    }
}

/// A token for each instant within [`MAX_AHEAD`].
const INSTANTS: TokenBucket = TokenBucket { capacity: 6_000, every: INTERVAL };

/// The timelines of all integrations.
#[derive(Clone, Debug)]
pub struct RecoveryRate(TokenBuckets);

impl RecoveryRate {
    pub fn new(buckets: TokenBuckets) -> Self {
        Self(buckets)
    }

    /// Reserves `count` instants at which deliveries of an integration are sent again, after all those already
    /// reserved.
    ///
    /// # Errors
    /// [`TooFewTokens`] when the last of them would be further ahead than [`MAX_AHEAD`]; [`Fault`] when DynamoDB fails.
    pub async fn reserve(
        &self,
        integration: &Integration,
        count: u32,
        now: Timestamp,
    ) -> Result<Result<Slots, TooFewTokens>, Fault> {
        let name = format!("recovery_{}", integration.id);
        let until = self.0.take(integration.organization_id, &name, INSTANTS, count, now).await?;
        Ok(until.map(|until| Slots::before(until, count)))
    }
}

fn later(instant: Timestamp, by: Duration) -> Timestamp {
    instant.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_736_500_000_000 + millis).unwrap()
    }

    #[test]
    fn ten_a_second_for_no_longer_than_a_queue_can_delay() {
        let slots = Slots::before(at(300), 3);
        assert_eq!(slots.times().collect::<Vec<_>>(), [at(0), at(100), at(200)]);
        assert_eq!(slots.until(), at(300));
        assert_eq!(INTERVAL * INSTANTS.capacity, MAX_AHEAD);
        assert!(MAX_AHEAD < Duration::from_secs(15 * 60));
    }
}
