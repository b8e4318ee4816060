//! The HTTP clients that requests go through: the one whose connections are used again, and a probe's own.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::MAX_RESPONSE_HEAD;
use super::connector::{ConnectionRules, Connector};
use super::stopwatch::{Lap, Stopwatch};

/// How long a connection may be idle by the monotonic clock, and how far the two clocks may drift apart before the pool
/// is given up. Together they bound by how much a reused connection was idle by the wall clock: 5 s, which is also
/// how long common servers keep idle connections.
const MAX_IDLE: Duration = Duration::from_millis(2500);
const MAX_DRIFT: Duration = Duration::from_millis(2500);

/// Makes requests over connections that follow the rules. Clones share their connections.
#[derive(Clone)]
pub(super) struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    stopwatch: Stopwatch,
}

impl Client {
    /// One that keeps connections open for further requests.
    fn pooled(rules: &ConnectionRules) -> Self {
        Self::new(rules, Stopwatch::stopped(), usize::MAX)
    }

    /// One that opens a connection for each request, for a single request and its stopwatch.
    pub(super) fn for_probe(rules: &ConnectionRules, stopwatch: Stopwatch) -> Self {
        Self::new(&rules.with_full_handshakes(), stopwatch, 0)
    }

    fn new(rules: &ConnectionRules, stopwatch: Stopwatch, max_idle_per_host: usize) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(MAX_IDLE)
            .pool_max_idle_per_host(max_idle_per_host)
            // The limit is looked at before a read, and a read can double what is in the buffer.
            .http1_max_buf_size(MAX_RESPONSE_HEAD / 2)
            .build(Connector::new(rules, stopwatch.clone()));
        Self { http, stopwatch }
    }

    /// Makes a request, up to the end of the response head.
    ///
    /// The HTTP client makes a second connection only for a request of which nothing was sent on a reused one.
    pub(super) async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, legacy::Error> {
        let response = self.http.request(request).await?;
        self.stopwatch.mark(Lap::Answered);
        Ok(response)
    }
}

/// The client whose connections are used again, as long as they can be trusted.
pub(super) struct Pool {
    rules: ConnectionRules,
    current: Mutex<Current>,
}

/// A client and its pooled connections, and the time at which there were none yet.
struct Current {
    client: Client,
    built: Clocks,
}

impl Pool {
    pub(super) fn new(rules: ConnectionRules, now: Clocks) -> Self {
        let current = Mutex::new(Current { client: Client::pooled(&rules), built: now });
        Self { rules, current }
    }

    /// The client whose connections can be trusted now.
    pub(super) fn client(&self, now: Clocks) -> Client {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.built.drift(now) > MAX_DRIFT {
            *current = Current { client: Client::pooled(&self.rules), built: now };
        }
        current.client.clone()
    }
}

/// The two clocks, read together. While a sandbox is frozen the wall clock goes on but the monotonic one may not, and the
/// pool counts idle time by the monotonic one: endpoints may have closed connections that the pool believes fresh.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    wall: SystemTime,
    monotonic: Instant,
}

impl Clocks {
    pub(super) fn read() -> Self {
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
    use rustls::RootCertStore;

    use super::*;
    use crate::address::AllowedNetworks;

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

    fn has_new_client_after_being_frozen_for(frozen: Duration) -> bool {
        let rules = ConnectionRules::new(AllowedNetworks::none(), RootCertStore::empty(), Duration::from_secs(5));
        let start = Clocks { wall: SystemTime::UNIX_EPOCH + NOW, monotonic: Instant::now() };
        let pool = Pool::new(rules, start);
        let now = Clocks { wall: start.wall + frozen, ..start };
        let _client = pool.client(now);
        let built = pool.current.lock().expect("nothing panicked").built;
        built.wall != start.wall
    }

    #[test]
    fn a_pool_that_was_frozen_is_not_used_again() {
        assert!(!has_new_client_after_being_frozen_for(Duration::ZERO));
        assert!(!has_new_client_after_being_frozen_for(Duration::from_secs(2)));
        assert!(has_new_client_after_being_frozen_for(Duration::from_secs(3)));
        assert!(has_new_client_after_being_frozen_for(Duration::from_secs(3600)));
    }
}
