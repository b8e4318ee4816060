//! How fast failed deliveries are sent again when many are.
//!
//! An endpoint that has just come back must not be knocked over by what it missed. Each integration has a timeline of
//! its own, on which every recovery books instants behind those that were booked before: whoever asks twice does not go
//! twice as fast.

use std::time::Duration;

use aws::fault::Fault;
use domain::integration::Integration;
use jiff::Timestamp;

use crate::store::shared_value::{SharedValues, ValueKey};

/// How far apart two deliveries of an integration are that are sent again: ten a second.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// How far ahead instants can be booked. Less than the 15 minutes for which SQS can hold a message back.
pub const MAX_AHEAD: Duration = Duration::from_secs(10 * 60);

/// Instants at which deliveries are sent again, [`INTERVAL`] from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    first: Timestamp,
    count: u32,
}

/// So much is booked already that no more can be for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSlotsLeft {
    /// When there is room again.
    pub until: Timestamp,
}

impl Slots {
    pub fn times(self) -> impl Iterator<Item = Timestamp> {
        (0..self.count).map(move |index| later(self.first, INTERVAL * index))
    }

    /// The instant from which on nothing is booked.
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

    /// Reserves the instants at which that many deliveries of an integration are sent again, behind all those reserved
    /// before.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails, [`Fault::Contended`] when others never let up.
    pub async fn reserve(
        &self,
        integration: &Integration,
        count: u32,
        now: Timestamp,
    ) -> Result<Result<Slots, NoSlotsLeft>, Fault> {
        let key = ValueKey::new(integration.organization_id, format!("recovery_{}", integration.id));
        let needed_until = later(now, MAX_AHEAD);
        let reserve = |booked_until: Option<i64>| {
            let booked_until = booked_until.and_then(|at| Timestamp::from_millisecond(at).ok());
            let slots = reserve(booked_until, count, now)?;
            Ok((slots.until().as_millisecond(), slots))
        };
        self.0.change(&key, needed_until, reserve).await
    }
}

/// Books `count` instants, from `now` on or behind what is booked already.
///
/// # Errors
/// [`NoSlotsLeft`] when the last of them would lie further ahead than [`MAX_AHEAD`].
fn reserve(booked_until: Option<Timestamp>, count: u32, now: Timestamp) -> Result<Slots, NoSlotsLeft> {
    let first = booked_until.map_or(now, |booked_until| booked_until.max(now));
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
    fn behind_what_is_booked() {
        assert_eq!(reserve(Some(at(300)), 1, at(0)).unwrap().times().next(), Some(at(300)));
        assert_eq!(reserve(Some(at(-300)), 1, at(0)).unwrap().times().next(), Some(at(0)));
    }

    #[test]
    fn no_further_than_a_queue_can_hold_back() {
        let nearly_full = Some(at(599_900));
        assert!(reserve(nearly_full, 1, at(0)).is_ok());
        assert_eq!(reserve(nearly_full, 2, at(0)), Err(NoSlotsLeft { until: at(100) }));
        assert!(reserve(nearly_full, 2, at(100)).is_ok());
        assert!(MAX_AHEAD < Duration::from_secs(15 * 60));
    }
}
