//! Limits how fast failed deliveries are sent again in a recovery.
//!
//! An endpoint that has just come back must not be overwhelmed by what it missed. Each integration has a timeline of
//! its own, on which every recovery reserves instants after those already reserved: two recoveries together are no
//! faster than one.

use std::time::Duration;

use aws::fault::Fault;
use domain::integration::Integration;
use jiff::Timestamp;

use crate::store::shared_value::{SharedValues, ValueKey};

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

/// All instants up to [`MAX_AHEAD`] are reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSlotsLeft {
    /// When there are enough free instants again.
    pub until: Timestamp,
}

impl Slots {
    pub fn times(self) -> impl Iterator<Item = Timestamp> {
        (0..self.count).map(move |index| later(self.first, INTERVAL * index))
    }

    /// The instant from which nothing is reserved.
    pub fn until(self) -> Timestamp {
        later(self.first, INTERVAL * self.count)
    }
}

/// The timelines of all integrations.
#[derive(Clone, Debug)]
pub struct RecoveryRate(SharedValues);

impl RecoveryRate {
    pub fn new(values: SharedValues) -> Self {
        Self(values)
    }

    /// Reserves `count` instants at which deliveries of an integration are sent again, after all those already
    /// reserved.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails, [`Fault::Contended`] when other requests keep changing the timeline.
    pub async fn reserve(
        &self,
        integration: &Integration,
        count: u32,
        now: Timestamp,
    ) -> Result<Result<Slots, NoSlotsLeft>, Fault> {
        let key = ValueKey::new(integration.organization_id, format!("recovery_{}", integration.id));
        let needed_until = later(now, MAX_AHEAD);
        let reserve = |reserved_until: Option<i64>| {
            let reserved_until = reserved_until.and_then(|at| Timestamp::from_millisecond(at).ok());
            let slots = reserve(reserved_until, count, now)?;
            Ok((slots.until().as_millisecond(), slots))
        };
        self.0.change(&key, needed_until, reserve).await
    }
}

/// Reserves `count` instants, from `now` on but after those already reserved.
///
/// # Errors
/// [`NoSlotsLeft`] when the last of them would be further ahead than [`MAX_AHEAD`].
fn reserve(reserved_until: Option<Timestamp>, count: u32, now: Timestamp) -> Result<Slots, NoSlotsLeft> {
    let first = reserved_until.map_or(now, |reserved_until| reserved_until.max(now));
    let slots = Slots { first, count };
    let horizon = later(now, MAX_AHEAD);
    if slots.until() > horizon {
        let surplus = slots.until().duration_since(horizon).unsigned_abs();
        return Err(NoSlotsLeft { until: later(now, surplus) });
    }
    Ok(slots)
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
    fn ten_a_second_from_now_on() {
        let slots = reserve(None, 3, at(0)).unwrap();
        assert_eq!(slots.times().collect::<Vec<_>>(), [at(0), at(100), at(200)]);
        assert_eq!(slots.until(), at(300));
    }

    #[test]
    fn after_those_already_reserved() {
        assert_eq!(reserve(Some(at(300)), 1, at(0)).unwrap().times().next(), Some(at(300)));
        assert_eq!(reserve(Some(at(-300)), 1, at(0)).unwrap().times().next(), Some(at(0)));
    }

    #[test]
    fn no_further_ahead_than_a_queue_can_delay() {
        let nearly_full = Some(at(599_900));
        assert!(reserve(nearly_full, 1, at(0)).is_ok());
        assert_eq!(reserve(nearly_full, 2, at(0)), Err(NoSlotsLeft { until: at(100) }));
        assert!(reserve(nearly_full, 2, at(100)).is_ok());
        assert!(MAX_AHEAD < Duration::from_secs(15 * 60));
    }
}
