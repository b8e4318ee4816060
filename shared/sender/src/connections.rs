//! How long a connection may be idle and still be reused, for endpoints and AWS alike.
//!
//! Lambda freezes a sandbox between invocations. When it resumes, the other side may have closed its sockets, or a NAT
//! gateway may have dropped them. A pool that measures idle time by the monotonic clock, which may stop meanwhile,
//! would take them for fresh.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long a connection may be idle by the monotonic clock before its pool drops it.
pub const MAX_IDLE: Duration = Duration::from_millis(2500);

/// How far the two clocks may drift apart before a pool is replaced. Together with [`MAX_IDLE`] this limits how long a
/// reused connection can have been idle by the wall clock: 5 s, which is also how long common servers keep idle
/// connections open.
const MAX_DRIFT: Duration = Duration::from_millis(2500);

/// A client that pools connections, rebuilt whenever the sandbox may have been frozen, so that none of the old
/// connections is reused. The client itself has to close connections that were idle for [`MAX_IDLE`].
pub struct Pooled<T> {
    build: Box<dyn Fn() -> T + Send + Sync>,
    current: Mutex<Current<T>>,
}

/// A client, and when it was built.
struct Current<T> {
    client: T,
    built: Clocks,
}

impl<T: Clone> Pooled<T> {
    pub fn new(build: impl Fn() -> T + Send + Sync + 'static, now: Clocks) -> Self {
        let current = Mutex::new(Current { client: build(), built: now });
        Self { build: Box::new(build), current }
    }

    /// The client to use now.
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

    /// By how much the clocks disagree about the time from `self` to `now`: because the sandbox was frozen or the wall
    /// clock was set.
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

    /// No connection is reused that was idle for more than 5 s by the wall clock.
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
        assert_eq!(pooled.client(now), clients_built - 1, "it is kept as long as the sandbox is not frozen again");
        assert_eq!(built.load(Ordering::Relaxed), clients_built);
    }

    #[test]
    fn a_client_that_was_frozen_is_replaced() {
        check_frozen_for(Duration::ZERO, 1);
        check_frozen_for(Duration::from_secs(2), 1);
        check_frozen_for(Duration::from_secs(3), 2);
        check_frozen_for(Duration::from_secs(3600), 2);
    }
}
