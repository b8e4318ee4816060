//! How long to wait before trying something again.
//!
//! A message that could not be processed because of a fault of ours is hidden in its queue for a while, or sent to the
//! dead-letter queue. A conditional write that lost a race is attempted again after a pause of milliseconds.

use std::time::Duration;

use jiff::Timestamp;

/// How long a message is hidden after a fault at its first receive. The time doubles with each further receive. A fault
/// that lasts seconds thus delays an alert by seconds, not by the queue's whole visibility timeout.
const FIRST: Duration = Duration::from_secs(5);

/// The longest time for which a message is hidden. A queue's twenty receives then span three hours.
pub const LONGEST: Duration = Duration::from_secs(15 * 60);

/// How long after the end of another worker's lease the message becomes visible.
const BEHIND_A_LEASE: Duration = Duration::from_secs(5);

/// How long a message with a permanent fault is retried before it goes to the dead-letter queue.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(60 * 60);

/// How often a conditional write is attempted before the caller is told to come back later. The pauses take 3.1 seconds
/// in all at most, and half of that on average.
pub const MAX_ATTEMPTS: u32 = 10;

/// The longest pause after the first conflict: about as long as a write takes. It doubles with each further conflict,
/// up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Why a message could not be processed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A fault that may be over soon: an AWS call failed, too little time was left.
    Transient,
    /// Another worker has a lease on the same attempt.
    Lease { until: Timestamp },
    /// A fault that waiting does not cure: something that is stored cannot be read.
    Permanent,
}

/// What the queue reports about a message's receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receives {
    /// How often it was received, including this time.
    pub count: u32,
    pub first_at: Timestamp,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// Back to its queue, hidden for this long from now.
    Hidden(Duration),
    /// To the dead-letter queue.
    DeadLetter,
}

/// Decides where a message goes that could not be processed.
pub fn return_to_queue(cause: Cause, receives: Receives, now: Timestamp) -> Return {
    match cause {
        Cause::Lease { until } => {
            let rest = Duration::try_from(until.duration_since(now)).unwrap_or_default();
            Return::Hidden((rest + BEHIND_A_LEASE).min(LONGEST))
        }
        Cause::Permanent if now.duration_since(receives.first_at).unsigned_abs() >= GIVEN_UP_AFTER => {
            Return::DeadLetter
        }
        Cause::Transient | Cause::Permanent => Return::Hidden(message_backoff(receives.count)),
    }
}

/// How long a message is hidden after a fault at its n-th receive, from 1.
pub fn message_backoff(receives: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(receives.saturating_sub(1));
    FIRST.saturating_mul(doubled).min(LONGEST)
}

/// How long to pause after the n-th conflict in a row, from 1: exponential backoff with full jitter, so that writers
/// who collided once do not collide again.
///
/// `jitter` is a random number: 0 gives no pause, [`u16::MAX`] the longest one.
pub fn conflict_backoff(conflict: u32, jitter: u16) -> Duration {
    let doubled = 2_u32.saturating_pow(conflict.saturating_sub(1));
    let longest = FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE);
    longest * u32::from(jitter) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_736_500_000, 0);
    const SECOND: Duration = Duration::from_secs(1);

    fn returned(cause: Cause, count: u32, received_for: Duration) -> Return {
        return_to_queue(cause, Receives { count, first_at: NOW - received_for }, NOW)
    }

    #[test]
    fn a_message_is_hidden_longer_with_each_fault() {
        let hidden: Vec<_> = (0..=12).map(|receives| message_backoff(receives).as_secs()).collect();
        assert_eq!(hidden, [5, 5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900]);
        assert_eq!(message_backoff(u32::MAX), LONGEST);
        assert_eq!(returned(Cause::Transient, 3, 15 * SECOND), Return::Hidden(20 * SECOND));
        assert_eq!(returned(Cause::Transient, 19, 3 * GIVEN_UP_AFTER), Return::Hidden(LONGEST));
    }

    #[test]
    fn behind_a_lease_the_receives_do_not_matter() {
        let busy = |until| returned(Cause::Lease { until }, 7, SECOND);
        assert_eq!(busy(NOW + 80 * SECOND), Return::Hidden(85 * SECOND));
        assert_eq!(busy(NOW), Return::Hidden(5 * SECOND));
        assert_eq!(busy(NOW - 80 * SECOND), Return::Hidden(5 * SECOND));
        assert_eq!(busy(Timestamp::MAX), Return::Hidden(LONGEST));
    }

    #[test]
    fn a_permanent_fault_is_given_up_after_an_hour() {
        assert_eq!(returned(Cause::Permanent, 1, Duration::ZERO), Return::Hidden(5 * SECOND));
        assert_eq!(returned(Cause::Permanent, 9, GIVEN_UP_AFTER - SECOND), Return::Hidden(LONGEST));
        assert_eq!(returned(Cause::Permanent, 10, GIVEN_UP_AFTER), Return::DeadLetter);
    }

    #[test]
    fn pauses_grow_and_differ() {
        let longest = |conflict| conflict_backoff(conflict, u16::MAX).as_millis();
        assert_eq!([1, 2, 3, 5, 6, MAX_ATTEMPTS, u32::MAX].map(longest), [20, 40, 80, 320, 500, 500, 500]);
        assert_eq!(conflict_backoff(4, 0), Duration::ZERO);
        assert_eq!(conflict_backoff(2, u16::MAX / 2).as_millis(), 19);
    }
}
