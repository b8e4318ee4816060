//! How long a connection may be idle and still be used again: for endpoints and for AWS alike.
//!
//! Lambda freezes a sandbox between invocations, and it wakes with sockets that the far end has closed, or that something on
//! the way has forgotten. A pool that counts idle time by the monotonic clock, which may stand still meanwhile, takes
//! them for fresh.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long a connection may be idle by the monotonic clock before its pool drops it.
pub const MAX_IDLE: Duration = Duration::from_millis(2500);

/// How far the two clocks may drift apart before a pool is given up. Together with [`MAX_IDLE`] it bounds how long a
/// reused connection was idle by the wall clock: 5 s, which is also how long common servers keep idle connections.
const MAX_DRIFT: Duration = Duration::from_millis(2500);

/// A client that pools connections, built anew whenever the sandbox may have been frozen: none of the old one's
/// connections is used again then. The client has to drop what was idle for [`MAX_IDLE`] by itself.
pub struct Pooled<T> {
    build: Box<dyn Fn() -> T + Send + Sync>,
    current: Mutex<Current<T>>,
}

/// A client, and the time at which it had no connections yet.
struct Current<T> {
    client: T,
    built: Clocks,
}

impl<T: Clone> Pooled<T> {
    pub fn new(build: impl Fn() -> T + Send + Sync + 'static, now: Clocks) -> Self {
        let current = Mutex::new(Current { client: build(), built: now });
        Self { build: Box::new(build), current }
    }

    /// The client whose connections can be trusted now.
    pub fn client(&self, now: Clocks) -> T {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.built.drift(now) > MAX_DRIFT {
            *current = Current { client: (self.build)(), built: now };
        }
        current.client.clone()
    }
}

impl<T> fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooled").finish_non_exhaustive()
    }
}

/// The two clocks, read together.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    wall: SystemTime,
    monotonic: Instant,
}

impl Clocks {
    pub fn read() -> Self {
        Self { wall: SystemTime::now(), monotonic: Instant::now() }
    }

    /// By how much the clocks disagree about the time from `self` to `now`: frozen time, or a wall clock that was set.
    fn drift(self, now: Self) -> Duration {
        let monotonic = now.monotonic.saturating_duration_since(self.monotonic);
        match now.wall.duration_since(self.wall) {
            Ok(wall) => wall.abs_diff(monotonic),
            Err(backwards) => backwards.duration() + monotonic,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const NOW: Duration = Duration::from_secs(1_000_000);

    #[track_caller]
    fn check_drift(wall: i64, monotonic: u64, expected_ms: u64) {
        let from = Clocks { wall: SystemTime::UNIX_EPOCH + NOW, monotonic: Instant::now() };
        let moved = Duration::from_millis(wall.unsigned_abs());
        let wall = if wall < 0 { from.wall - moved } else { from.wall + moved };
        let now = Clocks { wall, monotonic: from.monotonic + Duration::from_millis(monotonic) };
        assert_eq!(from.drift(now), Duration::from_millis(expected_ms));
    }

    #[test]
    fn clocks_drift_apart_when_frozen_or_set() {
        check_drift(0, 0, 0);
        check_drift(90_000, 90_000, 0);
        // Frozen for a minute.
        check_drift(61_000, 1_000, 60_000);
        check_drift(2_501, 1, 2_500);
        // Set forwards, set backwards.
        check_drift(3_600_000, 10, 3_599_990);
        check_drift(1_000, 5_000, 4_000);
        check_drift(-2_000, 1_000, 3_000);
    }

    /// The rule of design.md: nothing is reused that was idle over 5 s by the wall clock.
    #[test]
    fn idle_time_is_bounded_by_the_wall_clock() {
        assert!(MAX_IDLE + MAX_DRIFT <= Duration::from_secs(5));
    }

    #[track_caller]
    fn check_frozen_for(frozen: Duration, clients_built: usize) {
        let built = std::sync::Arc::new(AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&built);
        let start = Clocks { wall: SystemTime::UNIX_EPOCH + NOW, monotonic: Instant::now() };
        let pooled = Pooled::new(move || counted.fetch_add(1, Ordering::Relaxed), start);
        let now = Clocks { wall: start.wall + frozen, ..start };
        assert_eq!(pooled.client(now), clients_built - 1);
        assert_eq!(pooled.client(now), clients_built - 1, "it is kept while nothing is frozen");
        assert_eq!(built.load(Ordering::Relaxed), clients_built);
    }

    #[test]
    fn a_client_that_was_frozen_is_not_used_again() {
        check_frozen_for(Duration::ZERO, 1);
        check_frozen_for(Duration::from_secs(2), 1);
        check_frozen_for(Duration::from_secs(3), 2);
        check_frozen_for(Duration::from_secs(3600), 2);
    }
}
