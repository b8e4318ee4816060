//! On which thread a request over plain HTTP is made.
//!
//! hyper reads an endless series of `100 Continue` responses 408 KiB at a time, and tokio lets a task do that 128 times
//! before other tasks on the thread get their turn. That takes a third of a second on a developer's machine, and
//! several seconds on a small function. reqwest has no setting to limit it. Over TLS the records of 16 KiB limit it, so
//! only plain HTTP is affected.
//!
//! Endpoints that have always answered quickly share the main thread, because a thread of their own would cost each
//! request some 12 µs of processor time. Each of the others has its own thread while requests to it are in progress,
//! where it can delay only itself.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use domain::attempt::outcome::Outcome;
use domain::endpoint::url::EndpointUrl;
use lru::LruCache;

use super::connector::ConnectionRules;
use super::dedicated::Dedicated;

/// The longest that a request to a quick endpoint may take. An endpoint that stays just below it can delay the others
/// by as much again and again.
const QUICK: Duration = Duration::from_secs(1);

/// How many endpoints are remembered, at some hundred bytes each. The least recently used ones are forgotten.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1000).expect("it is not zero");

/// Where a request is made.
pub(super) enum Thread {
    /// On the caller's thread.
    This,
    /// On the endpoint's own thread.
    Dedicated(Arc<Dedicated>),
}

/// How an endpoint has answered during the life of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Every request was quick.
    Quick,
    /// At least one was not.
    Slow,
}

impl Habit {
    /// The habit after a request that took this long until its outcome was known.
    fn after(before: Option<Self>, outcome: &Outcome, took: Duration) -> Self {
        let was_quick = took <= QUICK && !matches!(outcome, Outcome::TimedOut { .. });
        if before != Some(Self::Slow) && was_quick { Self::Quick } else { Self::Slow }
    }
}

/// What is known of an endpoint.
#[derive(Default)]
struct Known {
    habit: Option<Habit>,
    /// Its own thread, while requests use it.
    dedicated: Weak<Dedicated>,
}

/// What is known of endpoints without TLS, by host and port.
pub(super) struct PlainHttp {
    rules: ConnectionRules,
    known: Mutex<LruCache<String, Known>>,
}

impl PlainHttp {
    pub(super) fn new(rules: ConnectionRules) -> Self {
        Self { rules, known: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// The thread for a request to an endpoint.
    ///
    /// # Errors
    /// When the system has no thread, or no file descriptors for it.
    pub(super) fn thread(&self, url: &EndpointUrl) -> io::Result<Thread> {
        let mut known = self.lock();
        let known = known.get_or_insert_mut(url.redacted(), Known::default);
        if known.habit == Some(Habit::Quick) {
            return Ok(Thread::This);
        }
        if let Some(dedicated) = known.dedicated.upgrade() {
            return Ok(Thread::Dedicated(dedicated));
        }
        let dedicated = Arc::new(Dedicated::start(&self.rules)?);
        known.dedicated = Arc::downgrade(&dedicated);
        Ok(Thread::Dedicated(dedicated))
    }

    /// Remembers the outcome of a request and how long it took.
    pub(super) fn remember(&self, url: &EndpointUrl, outcome: &Outcome, took: Duration) {
        let mut known = self.lock();
        let known = known.get_or_insert_mut(url.redacted(), Known::default);
        known.habit = Some(Habit::after(known.habit, outcome, took));
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::attempt::outcome::Phase;
    use domain::endpoint::address::AllowedNetworks;
    use rustls::RootCertStore;

    use super::super::connector::system_lookup;
    use super::*;

    fn url(text: &str) -> EndpointUrl {
        EndpointUrl::parse(text, &AllowedNetworks::none()).expect("a test URL is valid")
    }

    fn plain_http() -> PlainHttp {
        let (networks, limit) = (AllowedNetworks::none(), Duration::from_secs(1));
        PlainHttp::new(ConnectionRules::new(networks, RootCertStore::empty(), limit, Arc::new(system_lookup)))
    }

    const ACCEPTED: Outcome = Outcome::Accepted { status: 200 };
    const TIMED_OUT: Outcome = Outcome::TimedOut { phase: Phase::Response, limit: Duration::ZERO };

    #[track_caller]
    fn check(requests: &[(Outcome, u64)], is_dedicated: bool) {
        let plain_http = plain_http();
        for (outcome, seconds) in requests {
            plain_http.remember(&url("http://example.com/hook?token=a"), outcome, Duration::from_secs(*seconds));
        }
        let dedicated = |text| matches!(plain_http.thread(&url(text)), Ok(Thread::Dedicated(_)));
        assert_eq!(dedicated("http://EXAMPLE.com:80/other"), is_dedicated, "{requests:?}");
        assert!(dedicated("http://example.com:8080/hook"), "it is another endpoint");
    }

    #[test]
    fn an_endpoint_is_quick_until_it_is_slow_once() {
        check(&[], true);
        check(&[(ACCEPTED, 0), (ACCEPTED, 1)], false);
        check(&[(Outcome::Rejected { status: 500 }, 0)], false);
        check(&[(ACCEPTED, 2)], true);
        check(&[(TIMED_OUT, 0)], true);
        check(&[(ACCEPTED, 0), (ACCEPTED, 2), (ACCEPTED, 0)], true);
    }

    #[test]
    fn an_endpoint_has_one_thread_while_it_has_requests() {
        let plain_http = plain_http();
        let thread = |text| match plain_http.thread(&url(text)) {
            Ok(Thread::Dedicated(dedicated)) => dedicated,
            Ok(Thread::This) | Err(_) => panic!("{text} is not known to be quick"),
        };
        let first = thread("http://example.com/a");
        assert!(Arc::ptr_eq(&first, &thread("http://example.com/b")));
        assert!(!Arc::ptr_eq(&first, &thread("http://example.com:8080/a")));
        let dropped = Arc::downgrade(&first);
        drop(first);
        assert!(dropped.upgrade().is_none());
    }
}
