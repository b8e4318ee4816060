//! On which thread a request over plain HTTP is made.
//!
//! hyper reads a row of `100 Continue` without end, 408 KiB at a time and as often as tokio lets a task go on, 128 times,
//! before anything else on the thread has its turn: a third of a second on a developer's machine, and several on a small
//! function. reqwest offers nothing to bound that by. TLS does, with its records of 16 KiB, so only plain HTTP needs it.
//!
//! Endpoints that have answered quickly so far share the thread of everything else, because a thread of their own would cost
//! each request some 12 µs of processor time. Each of the others has one, as long as requests to it are made: there it
//! holds up nobody but itself.

use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use domain::attempt::outcome::Outcome;
use domain::endpoint::url::EndpointUrl;
use lru::LruCache;

use super::connector::ConnectionRules;
use super::dedicated::Dedicated;

/// The longest that a request of a quick endpoint takes. As long can one endpoint hold up the others again and again.
const QUICK: Duration = Duration::from_secs(1);

/// How many endpoints are remembered, of some hundred bytes each. Whoever is forgotten is unknown.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1000).expect("it is not zero");

/// Where a request is made.
pub(super) enum Thread {
    /// Where it is waited for, like everything else.
    This,
    /// On its endpoint's own.
    Dedicated(Arc<Dedicated>),
}

/// How an endpoint has answered, as long as this process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Habit {
    /// Each of its requests was over quickly.
    Quick,
    /// One was not, whatever came after it.
    Slow,
}

impl Habit {
    /// What is known after a request that took so long, up to its outcome.
    fn after(before: Option<Self>, outcome: &Outcome, took: Duration) -> Self {
        let was_quick = took <= QUICK && !matches!(outcome, Outcome::TimedOut { .. });
        if before != Some(Self::Slow) && was_quick { Self::Quick } else { Self::Slow }
    }
}

/// What is known of an endpoint.
#[derive(Default)]
struct Known {
    habit: Option<Habit>,
    /// Its own thread, while it has requests there.
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

    /// Where a request to an endpoint is made.
    ///
    /// # Errors
    ///
    /// When the system gives no thread, or no files for it.
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

    /// Notes what came of a request, and how long that took.
    pub(super) fn note(&self, url: &EndpointUrl, outcome: &Outcome, took: Duration) {
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
    fn check(requests: &[(Outcome, u64)], is_apart: bool) {
        let plain_http = plain_http();
        for (outcome, seconds) in requests {
            plain_http.note(&url("http://example.com/hook?token=a"), outcome, Duration::from_secs(*seconds));
        }
        let dedicated = |text| matches!(plain_http.thread(&url(text)), Ok(Thread::Dedicated(_)));
        assert_eq!(dedicated("http://EXAMPLE.com:80/other"), is_apart, "{requests:?}");
        assert!(dedicated("http://example.com:8080/hook"), "it is another endpoint");
    }

    #[test]
    fn an_endpoint_is_quick_until_it_was_slow_once() {
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
        let gone = Arc::downgrade(&first);
        drop(first);
        assert!(gone.upgrade().is_none());
    }
}
