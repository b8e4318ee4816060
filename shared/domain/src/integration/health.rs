//! How an endpoint is doing, as far as its attempts tell, and the lane that follows from it.
//!
//! What an attempt *costs* decides about the lane, not how it ends: whatever holds a worker for long, a time-out, a name
//! look-up that hangs or a 200 after 29 s, would hold up others. So an attempt that is still unanswered after
//! [`slow_threshold`] is noted at once, while its request goes on, and puts its endpoint on the slow lane; one that is accepted
//! more quickly brings it back. A quick failure costs no more than what works, and changes no lane.
//!
//! Kept on the integration and written only when it changes, so that neither a healthy endpoint nor one that has been
//! down for hours costs a write.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::attempt::outcome::Outcome;

/// How many slow attempts without a quick accepted one between them make an endpoint slow in its owner's eyes. The
/// slow lane does not wait for it: one is enough for that.
pub const SLOW_AFTER: u32 = 3;

/// The code of what was slow without failing in a way that has a code of its own.
pub const SLOW: &str = "slow";

/// Why attempts count against their endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// One of [`crate::attempt::outcome::CODES`], or [`SLOW`].
    pub code: String,
    /// The attempt's own sentence, which its owner can act on. Of [`SLOW`] there is none, nor of what was noted before
    /// sentences were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Reason {
    fn slow() -> Self {
        Self { code: SLOW.to_owned(), message: None }
    }

    /// Why an attempt failed; `None` of one that was accepted.
    fn of(outcome: &Outcome) -> Option<Self> {
        outcome.code().map(|code| Self { code: code.to_owned(), message: outcome.message() })
    }
}

/// The longest that an attempt goes unanswered without suspicion. Longer than nearly all endpoints that work ever take;
/// what it bounds is how many workers an endpoint that begins to hang holds before its alerts go elsewhere.
const MAX_SLOW_THRESHOLD: Duration = Duration::from_secs(5);

/// How long an attempt may go unanswered before its endpoint is suspected: 5 s, and at most half of the request's limit.
pub fn slow_threshold(request_timeout: Duration) -> Duration {
    MAX_SLOW_THRESHOLD.min(request_timeout / 2)
}

/// How an endpoint is doing. There is none as long as no outcome of an alert at its URL was noted. `slow` is how many
/// attempts were slow since one was accepted quickly: fewer than [`SLOW_AFTER`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Health {
    /// No attempt is over yet, but some have gone unanswered for long.
    Unknown { slow: u32 },
    /// The last attempt that is over was accepted.
    Healthy {
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        since: Timestamp,
        #[serde(default, skip_serializing_if = "is_zero")]
        slow: u32,
    },
    /// The last attempt that is over failed.
    Failing {
        /// When the first of these failures was seen.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        since: Timestamp,
        /// Why the first of them failed. Another reason later on is no news, so that nobody writes for every attempt.
        #[serde(flatten)]
        reason: Reason,
        slow: u32,
    },
    /// [`SLOW_AFTER`] attempts were slow, and none was accepted quickly since.
    Slow {
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        since: Timestamp,
        /// Why one of them failed, or [`SLOW`] as long as none is known that did.
        #[serde(flatten)]
        reason: Reason,
    },
}

fn is_zero(slow: &u32) -> bool {
    *slow == 0
}

/// Where an integration's attempts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// With everybody else's.
    Fast,
    /// Where whoever is slow delays only who is slow too.
    Slow,
}

/// Whether an attempt held its worker for longer than [`slow_threshold`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    Quick,
    /// It did, and nothing was noted while it went on.
    Slow,
    /// It did, and was noted as [`Observation::Unanswered`].
    SlowAndRecorded,
}

/// What an attempt shows of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation<'a> {
    /// It has gone unanswered for as long as [`slow_threshold`] lets it.
    Unanswered,
    /// It is over.
    Over { outcome: &'a Outcome, speed: Speed },
}

impl Health {
    /// Where the attempts of an endpoint of that health are made.
    pub fn lane(health: Option<&Self>) -> Lane {
        match health {
            Some(Self::Slow { .. }) => Lane::Slow,
            Some(Self::Unknown { slow } | Self::Healthy { slow, .. } | Self::Failing { slow, .. }) if *slow > 0 => {
                Lane::Slow
            }
            Some(_) | None => Lane::Fast,
        }
    }

    /// What a sign makes of the health that there was; `None` when that stays as it is.
    pub fn after(health: Option<&Self>, observation: Observation<'_>, now: Timestamp) -> Option<Self> {
        let next = match observation {
            Observation::Unanswered => Self::after_slow_attempt(health.cloned(), now)?,
            Observation::Over { outcome, speed } => {
                let over = Self::after_outcome(health, Reason::of(outcome), speed, now);
                if speed == Speed::Slow { Self::after_slow_attempt(Some(over), now)? } else { over }
            }
        };
        (health != Some(&next)).then_some(next)
    }

    /// One more slow attempt.
    fn after_slow_attempt(health: Option<Self>, now: Timestamp) -> Option<Self> {
        let (slow, since, reason) = match &health {
            None => (0, now, Reason::slow()),
            Some(Self::Unknown { slow } | Self::Healthy { slow, .. }) => (*slow, now, Reason::slow()),
            Some(Self::Failing { since, reason, slow }) => (*slow, *since, reason.clone()),
            Some(Self::Slow { .. }) => return health,
        };
        if slow + 1 >= SLOW_AFTER {
            return Some(Self::Slow { since, reason });
        }
        Some(match health {
            Some(Self::Healthy { since, .. }) => Self::Healthy { since, slow: slow + 1 },
            Some(Self::Failing { .. }) => Self::Failing { since, reason, slow: slow + 1 },
            _ => Self::Unknown { slow: slow + 1 },
        })
    }

    /// The health after an attempt that failed, or was accepted; how slow it was is counted elsewhere.
    fn after_outcome(health: Option<&Self>, failure: Option<Reason>, speed: Speed, now: Timestamp) -> Self {
        match (health, failure) {
            (Some(Self::Healthy { since, .. }), None) if speed == Speed::Quick => {
                Self::Healthy { since: *since, slow: 0 }
            }
            (_, None) if speed == Speed::Quick => Self::Healthy { since: now, slow: 0 },
            // Accepted, but late: no recovery.
            (Some(healthy @ Self::Healthy { .. }), None) => healthy.clone(),
            (Some(slow @ Self::Slow { .. }), None) => slow.clone(),
            (Some(Self::Unknown { slow } | Self::Failing { slow, .. }), None) => {
                Self::Healthy { since: now, slow: *slow }
            }
            (None, None) => Self::Healthy { since: now, slow: 0 },

            (Some(Self::Slow { since, reason: known }), Some(reason)) if known.code == SLOW => {
                Self::Slow { since: *since, reason }
            }
            // Another reason alone is no news.
            (Some(known @ (Self::Failing { .. } | Self::Slow { .. })), Some(_)) => known.clone(),
            (Some(Self::Unknown { slow } | Self::Healthy { slow, .. }), Some(reason)) => {
                Self::Failing { since: now, reason, slow: *slow }
            }
            (None, Some(reason)) => Self::Failing { since: now, reason, slow: 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::outcome::{Phase, Unreachable};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_736_500_000 + second).unwrap()
    }

    const OK: Outcome = Outcome::Accepted { status: 200 };
    const BROKEN: Outcome = Outcome::Rejected { status: 500 };
    const NO_NAME: Outcome = Outcome::Unreachable(Unreachable::Dns);

    fn timed_out() -> Outcome {
        Outcome::TimedOut { phase: Phase::Response, limit: Duration::from_secs(30) }
    }

    fn quick(outcome: &Outcome) -> Vec<Observation<'_>> {
        vec![Observation::Over { outcome, speed: Speed::Quick }]
    }

    /// As it usually goes: noted while it goes on, then over.
    fn slow(outcome: &Outcome) -> Vec<Observation<'_>> {
        vec![Observation::Unanswered, Observation::Over { outcome, speed: Speed::SlowAndRecorded }]
    }

    /// As it goes when it could not be noted.
    fn slow_unnoted(outcome: &Outcome) -> Vec<Observation<'_>> {
        vec![Observation::Over { outcome, speed: Speed::Slow }]
    }

    /// What becomes of an endpoint's health by these signs, one a second; and how often it was written.
    fn after<'a>(signs: impl IntoIterator<Item = Vec<Observation<'a>>>) -> (Option<Health>, usize) {
        let (mut health, mut writes) = (None, 0);
        for (second, observation) in (0..).zip(signs.into_iter().flatten()) {
            if let Some(next) = Health::after(health.as_ref(), observation, at(second)) {
                health = Some(next);
                writes += 1;
            }
        }
        (health, writes)
    }

    fn healthy(since: i64, slow: u32) -> Option<Health> {
        Some(Health::Healthy { since: at(since), slow })
    }

    fn reason(outcome: &Outcome) -> Reason {
        Reason::of(outcome).expect("it is a failure")
    }

    fn failing(since: i64, first: &Outcome, slow: u32) -> Option<Health> {
        Some(Health::Failing { since: at(since), reason: reason(first), slow })
    }

    fn known_slow(since: i64, reason: Reason) -> Option<Health> {
        Some(Health::Slow { since: at(since), reason })
    }

    #[test]
    fn suspicion_is_five_seconds_or_half_of_the_limit() {
        assert_eq!(slow_threshold(Duration::from_secs(30)), Duration::from_secs(5));
        assert_eq!(slow_threshold(Duration::from_secs(10)), Duration::from_secs(5));
        assert_eq!(slow_threshold(Duration::from_secs(3)), Duration::from_millis(1_500));
    }

    #[test]
    fn what_stays_as_it_is_is_not_written() {
        assert_eq!(after([quick(&OK), quick(&OK), quick(&OK)]), (healthy(0, 0), 1));
        let rejections = [Outcome::Rejected { status: 404 }, Outcome::Rejected { status: 429 }];
        let failures = rejections.iter().map(quick);
        assert_eq!(after([quick(&OK), quick(&BROKEN)].into_iter().chain(failures)), (failing(1, &BROKEN, 0), 2));
        // Untried, failing, two more that are slow: ailing, whatever comes then but for a quick one that is accepted.
        let timed_out = timed_out();
        assert_eq!(after(vec![slow(&timed_out); 100]), (known_slow(1, reason(&timed_out)), 4));
        assert_eq!(after(vec![slow_unnoted(&timed_out); 100]).1, 3);
    }

    #[test]
    fn one_unanswered_attempt_is_enough_for_the_slow_lane_and_known_before_it_is_over() {
        let unanswered = || vec![Observation::Unanswered];
        assert_eq!(after([unanswered()]), (Some(Health::Unknown { slow: 1 }), 1));
        assert_eq!(Health::lane(after([unanswered()]).0.as_ref()), Lane::Slow);
        assert_eq!(after([quick(&OK), unanswered()]), (healthy(0, 1), 2));
        assert_eq!(Health::lane(after([quick(&OK), unanswered()]).0.as_ref()), Lane::Slow);
        assert_eq!(after([quick(&BROKEN), unanswered()]), (failing(0, &BROKEN, 1), 2));
        // Those that were under way together.
        assert_eq!(after(vec![unanswered(); 10]), (known_slow(2, Reason::slow()), 3));
    }

    #[test]
    fn what_holds_a_worker_counts_however_it_ends() {
        let timed_out = timed_out();
        for outcome in [&OK, &BROKEN, &NO_NAME, &timed_out] {
            for attempt in [slow(outcome), slow_unnoted(outcome)] {
                let one = after([attempt.clone()]).0;
                assert_eq!(Health::lane(one.as_ref()), Lane::Slow, "{outcome:?}");
                let three = after([attempt.clone(), attempt.clone(), attempt]).0;
                assert!(matches!(three, Some(Health::Slow { .. })), "{outcome:?}: {three:?}");
            }
        }
        // Its owner sees what it ended with.
        assert_eq!(after([slow(&OK)]).0, healthy(1, 1));
        assert_eq!(after([slow(&NO_NAME)]).0, failing(1, &NO_NAME, 1));
        assert_eq!(after([slow(&OK), slow(&OK), slow(&OK)]).0, known_slow(4, Reason::slow()));
        assert_eq!(after([slow(&OK), slow(&OK), slow(&OK), slow(&timed_out)]).0, known_slow(4, reason(&timed_out)));
    }

    #[test]
    fn an_attempt_counts_once() {
        assert_eq!(after([slow(&BROKEN)]).0, failing(1, &BROKEN, 1));
        assert_eq!(after([slow_unnoted(&BROKEN)]).0, failing(0, &BROKEN, 1));
        assert_eq!(after([slow(&BROKEN), slow(&BROKEN)]).0, failing(1, &BROKEN, 2));
    }

    #[test]
    fn only_what_is_accepted_quickly_brings_an_endpoint_back() {
        let timed_out = timed_out();
        for before in [1, 2, 3, 9] {
            let slow_ones = || vec![slow(&timed_out); before];
            let lane = |then: Vec<Observation<'_>>| {
                let health = after(slow_ones().into_iter().chain([then])).0;
                Health::lane(health.as_ref())
            };
            assert_eq!(lane(quick(&BROKEN)), Lane::Slow, "failing quickly is no recovery");
            assert_eq!(lane(slow(&OK)), Lane::Slow, "nor is answering late");
            assert_eq!(lane(quick(&OK)), Lane::Fast);
        }
        assert_eq!(after([slow(&OK), quick(&OK)]).0, healthy(1, 0));
        // What hung before it recovered says nothing about it now; that the attempt failed does.
        let over = vec![Observation::Over { outcome: &timed_out, speed: Speed::SlowAndRecorded }];
        let late = after([vec![Observation::Unanswered], quick(&OK), over]).0;
        assert_eq!((Health::lane(late.as_ref()), late), (Lane::Fast, failing(2, &timed_out, 0)));
    }

    #[test]
    fn failing_quickly_changes_no_lane() {
        for failures in 1..6 {
            assert_eq!(Health::lane(after(vec![quick(&BROKEN); failures]).0.as_ref()), Lane::Fast);
        }
        assert_eq!(Health::lane(None), Lane::Fast);
    }

    #[test]
    fn ever_changing_failures_are_not_ever_written() {
        let timed_out = timed_out();
        let (health, writes) = after((0..100).flat_map(|_| [slow(&timed_out), quick(&BROKEN)]));
        assert_eq!((health, writes), (known_slow(1, reason(&timed_out)), 4));
    }

    #[test]
    fn a_failure_is_told_in_the_attempts_own_words() {
        let Some(Health::Failing { reason, .. }) = after([quick(&BROKEN)]).0 else { panic!("it failed") };
        assert_eq!((reason.code.as_str(), reason.message), ("server_error", BROKEN.message()));
    }

    #[test]
    fn what_is_stored_is_read_and_written_alike() {
        let read = |json: &str| serde_json::from_str::<Health>(json).unwrap();
        let timed_out = Reason { code: "timeout_response".to_owned(), message: None };
        let stored = [
            (
                r#"{"state":"failing","since":1736500000000,"code":"timeout_response","slow":2}"#,
                Health::Failing { since: at(0), reason: timed_out.clone(), slow: 2 },
            ),
            (r#"{"state":"healthy","since":1736500000000}"#, Health::Healthy { since: at(0), slow: 0 }),
            (
                r#"{"state":"slow","since":1736500000000,"code":"timeout_response"}"#,
                Health::Slow { since: at(0), reason: timed_out },
            ),
        ];
        for (item, health) in stored {
            assert_eq!(read(item), health);
            assert_eq!(serde_json::to_string(&health).unwrap(), item, "a condition finds what stands there already");
        }
    }
}
