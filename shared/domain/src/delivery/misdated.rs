//! Deliveries of misdated events: events whose timestamp is far from the time at which they were received.
//!
//! The log is sorted by the events' timestamps, so a search by time of receipt reads somewhat more than its range. What is
//! further off would be missed. So such a delivery gets an item of its own, sorted by its receipt; others cost nothing.

use std::time::Duration;

use jiff::Timestamp;

use crate::ids::DeliveryId;

/// How long after its timestamp an event may be received without being misdated. A queue keeps a message for 14 days,
/// so even an event that waited out our longest outage is not; the rest allows for producers' clocks.
pub const MAX_AGE: Duration = Duration::from_secs(15 * 24 * 60 * 60);

/// How far ahead of its receipt an event's timestamp may be without being misdated: most wrong clocks are off by less.
pub const MAX_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// The ids between which all deliveries are that were received in a range of time, but for misdated ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    pub first: DeliveryId,
    pub last: DeliveryId,
}

impl IdRange {
    /// The ids of deliveries received between these times, both included.
    pub fn received_between(from: Timestamp, to: Timestamp) -> Self {
        let oldest_event = from.saturating_sub(MAX_AGE).unwrap_or(Timestamp::MIN);
        let newest_event = to.saturating_add(MAX_AHEAD).unwrap_or(Timestamp::MAX);
        Self { first: DeliveryId::new(oldest_event, [0; 10]), last: DeliveryId::new(newest_event, [0xff; 10]) }
    }

    pub fn contains(self, delivery: DeliveryId) -> bool {
        (self.first..=self.last).contains(&delivery)
    }
}

/// Whether a delivery that was received at this time is one of a misdated event.
pub fn is_misdated(delivery: DeliveryId, received_at: Timestamp) -> bool {
    !IdRange::received_between(received_at, received_at).contains(delivery)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED: &str = "2025-01-16T00:00:00Z";

    #[track_caller]
    fn check(event: &str, expected: bool) {
        let delivery = DeliveryId::new(event.parse().unwrap(), [7; 10]);
        assert_eq!(is_misdated(delivery, RECEIVED.parse().unwrap()), expected, "{event}");
    }

    #[test]
    fn events_of_fifteen_days_ago_until_tomorrow_are_not_misdated() {
        check("2025-01-16T00:00:00Z", false);
        check("2025-01-01T00:00:00Z", false);
        check("2024-12-31T23:59:59.999Z", true);
        check("2025-01-17T00:00:00Z", false);
        check("2025-01-17T00:00:00.001Z", true);
        check("1970-01-01T00:00:12Z", true);
        check("9999-12-30T22:00:00Z", true);
    }

    /// What a search in a range of time reads and what is misdated complement each other.
    #[test]
    fn a_range_contains_what_was_received_in_it_unless_it_is_misdated() {
        let at = |hour: i64| Timestamp::from_second(1_736_500_000 + hour * 3_600).unwrap();
        let range = IdRange::received_between(at(-10), at(10));
        for event in -400..400 {
            let delivery = DeliveryId::new(at(event), [7; 10]);
            for received in -10..=10 {
                assert!(range.contains(delivery) || is_misdated(delivery, at(received)), "{event} {received}");
            }
        }
        assert!(range.contains(DeliveryId::new(at(-10 - 15 * 24), [0; 10])));
        assert!(!range.contains(DeliveryId::new(at(-11 - 15 * 24), [0; 10])));
        assert!(!range.contains(DeliveryId::new(at(35), [0; 10])));
    }
}
