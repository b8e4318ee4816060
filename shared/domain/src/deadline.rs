//! The end of an invocation.

use std::time::Duration;

use jiff::Timestamp;

/// How much of an invocation's time is reserved for its response after all its messages are processed.
pub const RESPONSE_TIME: Duration = Duration::from_secs(1);

/// The instant at which Lambda ends the invocation.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Timestamp);

impl Deadline {
    /// Whether something that takes this long and starts now ends in time.
    pub fn allows(self, duration: Duration, now: Timestamp) -> bool {
        now.saturating_add(duration).is_ok_and(|end| end <= self.0)
    }

    /// The last instant at which something that takes this long can start.
    pub fn latest_start(self, duration: Duration) -> Timestamp {
        self.0.saturating_sub(duration).unwrap_or(Timestamp::MIN)
    }

    /// How much time is left before the invocation has to respond; zero if that time has passed.
    pub fn remaining_before_response(self, now: Timestamp) -> Duration {
        Duration::try_from(self.0.duration_since(now)).unwrap_or_default().saturating_sub(RESPONSE_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_allows_only_what_ends_by_it() {
        let now = Timestamp::from_second(1_736_500_000).unwrap();
        let deadline = Deadline(Timestamp::from_second(1_736_500_060).unwrap());
        assert!(deadline.allows(Duration::from_secs(60), now));
        assert!(!deadline.allows(Duration::from_millis(60_001), now));
        assert!(!deadline.allows(Duration::MAX, now));
        assert_eq!(deadline.latest_start(Duration::from_secs(60)), now);
        assert_eq!(deadline.latest_start(Duration::MAX), Timestamp::MIN);
        assert_eq!(deadline.remaining_before_response(now), Duration::from_secs(59));
        assert_eq!(Deadline(now).remaining_before_response(deadline.0), Duration::ZERO);
    }
}
