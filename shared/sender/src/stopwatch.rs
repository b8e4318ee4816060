//! How long each phase of a probe took.
//!
//! The code that opens a connection marks the end of each phase; a phase's duration is the time between two marks. A
//! phase that failed or was not reached has no mark, and so no duration.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long each phase of a request took by itself; `None` for one that did not take place or did not succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Resolving the host's name. An IP address in the URL needs none.
    pub dns: Option<Duration>,
    /// Opening the TCP connection, over all of the host's addresses that were tried.
    pub connect: Option<Duration>,
    /// The TLS handshake, of `https` only.
    pub tls: Option<Duration>,
    /// From the connection being ready until the whole response head had arrived.
    pub first_byte: Option<Duration>,
}

/// The end of a phase.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lap {
    /// The name is resolved, and all its addresses may be connected to.
    Resolved,
    /// The TCP connection is open, and the TLS handshake begins. Not marked without TLS.
    Connected,
    /// A request can be sent: the TCP connection is open, and with `https` the handshake has succeeded.
    Ready,
    /// The response head has arrived.
    Answered,
}

/// Measures the phases of one request. Clones share the same marks.
#[derive(Clone, Debug)]
pub(super) struct Stopwatch(Option<Arc<Marks>>);

#[derive(Debug)]
struct Marks {
    started: Instant,
    resolved: OnceLock<Instant>,
    connected: OnceLock<Instant>,
    ready: OnceLock<Instant>,
    answered: OnceLock<Instant>,
}

impl Stopwatch {
    pub(super) fn started(now: Instant) -> Self {
        let [resolved, connected, ready, answered] = Default::default();
        Self(Some(Arc::new(Marks { started: now, resolved, connected, ready, answered })))
    }

    /// A stopwatch that measures nothing, for connections that requests share.
    pub(super) fn stopped() -> Self {
        Self(None)
    }

    /// Marks the end of a phase. Only the first mark counts.
    pub(super) fn mark(&self, lap: Lap) {
        self.mark_at(lap, Instant::now);
    }

    fn mark_at(&self, lap: Lap, now: impl FnOnce() -> Instant) {
        let Some(marks) = &self.0 else { return };
        let mark = match lap {
            Lap::Resolved => &marks.resolved,
            Lap::Connected => &marks.connected,
            Lap::Ready => &marks.ready,
            Lap::Answered => &marks.answered,
        };
        mark.get_or_init(now);
    }

    /// The phases so far.
    pub(super) fn timings(&self) -> Timings {
        self.0.as_deref().map(Marks::timings).unwrap_or_default()
    }
}

impl Marks {
    fn timings(&self) -> Timings {
        let marks = [&self.resolved, &self.connected, &self.ready, &self.answered];
        let [resolved, connected, ready, answered] = marks.map(|mark| mark.get().copied());
        let started = Some(self.started);
        Timings {
            dns: length(started, resolved),
            connect: length(resolved.or(started), connected.or(ready)),
            tls: length(connected, ready),
            first_byte: length(ready, answered),
        }
    }
}

fn length(from: Option<Instant>, until: Option<Instant>) -> Option<Duration> {
    Some(until?.saturating_duration_since(from?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The marks in milliseconds after the start, and the durations of DNS, connect, TLS and first byte.
    #[track_caller]
    fn check(laps: &[(Lap, u64)], expected: [Option<u64>; 4]) {
        let start = Instant::now();
        let stopwatch = Stopwatch::started(start);
        for (lap, at) in laps {
            stopwatch.mark_at(*lap, || start + Duration::from_millis(*at));
        }
        let [dns, connect, tls, first_byte] = expected.map(|length| length.map(Duration::from_millis));
        assert_eq!(stopwatch.timings(), Timings { dns, connect, tls, first_byte });
    }

    #[test]
    fn each_phase_has_its_own_duration() {
        use Lap::{Answered, Connected, Ready, Resolved};
        let https = [(Resolved, 5), (Connected, 25), (Ready, 65), (Answered, 145)];
        check(&https, [Some(5), Some(20), Some(40), Some(80)]);
        check(&https[..3], [Some(5), Some(20), Some(40), None]);
        check(&https[..2], [Some(5), Some(20), None, None]);
        check(&https[..1], [Some(5), None, None, None]);
        check(&[], [None; 4]);
        let http = [(Resolved, 5), (Ready, 25), (Answered, 145)];
        check(&http, [Some(5), Some(20), None, Some(120)]);
        check(&http[..2], [Some(5), Some(20), None, None]);
        let literal = [(Connected, 25), (Ready, 65), (Answered, 145)];
        check(&literal, [None, Some(25), Some(40), Some(80)]);
        let twice = [(Resolved, 5), (Resolved, 7), (Connected, 25)];
        check(&twice, [Some(5), Some(20), None, None]);
    }

    #[test]
    fn a_stopped_stopwatch_measures_nothing() {
        let stopwatch = Stopwatch::stopped();
        stopwatch.mark(Lap::Connected);
        assert_eq!(stopwatch.timings(), Timings::default());
    }
}
