//! How an endpoint is doing, judged by its attempts, and which lane it uses as a result.
//!
//! The lane depends on how long attempts take, not on how they end: a timeout, a hanging DNS lookup and a 200 after 29
//! s all occupy a worker and so delay others. An attempt that is still unanswered after [`slow_threshold`] is recorded
//! immediately, while its request continues, and moves its endpoint to the slow lane. An attempt that is accepted
//! sooner moves it back. A quick failure costs no more than a success and does not change the lane.
//!
//! The health is stored with the integration and written only when it changes, so that neither a healthy endpoint nor
//! one that has been down for hours costs a write.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::attempt::outcome::Outcome;

/// After how many slow attempts, with no quick accepted one between them, an endpoint is shown as slow. The first of
/// them already moves it to the slow lane.
pub const SLOW_AFTER: u32 = 3;

/// The code for an endpoint that is slow while no failure with a code of its own is known.
pub const SLOW: &str = "slow";

/// Why attempts count against their endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// One of [`crate::attempt::outcome::CODES`], or [`SLOW`].
    pub code: String,
    /// The attempt's message for the customer. Absent for [`SLOW`], and in items from before messages were stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Reason {
    fn slow() -> Self {
        Self { code: SLOW.to_owned(), message: None }
    }

    /// Why an attempt failed; `None` if it was accepted.
    fn of(outcome: &Outcome) -> Option<Self> {
        outcome.code().map(|code| Self { code: code.to_owned(), message: outcome.message() })
    }
}

/// The longest that an attempt may go unanswered without counting as slow. Nearly all working endpoints take less. It
/// limits how many workers an endpoint that begins to hang can occupy before its alerts go to the slow lane.
const MAX_SLOW_THRESHOLD: Duration = Duration::from_secs(5);

/// How long an attempt may go unanswered before it counts as slow: 5 s, but at most half of the request timeout.
pub fn slow_threshold(request_timeout: Duration) -> Duration {
    MAX_SLOW_THRESHOLD.min(request_timeout / 2)
}

/// How an endpoint is doing. An integration has none until something was recorded about an attempt at its URL. `slow`
/// counts the slow attempts since one was last accepted quickly: fewer than [`SLOW_AFTER`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Health {
    /// No attempt has finished yet, but some have gone unanswered for long.
    Unknown { slow: u32 },
    /// The last finished attempt was accepted.
    Healthy {
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        since: Timestamp,
        #[serde(default, skip_serializing_if = "is_zero")]
        slow: u32,
    },
    /// The last finished attempt failed.
    Failing {
        /// When the first of these failures was recorded.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        since: Timestamp,
        /// Why the first of them failed. Another reason later is not recorded, so that not every attempt causes a
        /// write.
        #[serde(flatten)]
        reason: Reason,
        slow: u32,
    },
    /// [`SLOW_AFTER`] attempts were slow, and none has been accepted quickly since.
    Slow {
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        since: Timestamp,
        /// Why one of them failed, or [`SLOW`] if none is known to have failed.
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
    /// Together with those of other healthy endpoints.
    Fast,
    /// Where slow endpoints delay only each other.
    Slow,
}

/// Whether an attempt took longer than [`slow_threshold`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    Quick,
    /// It did, and that was not recorded while it was in progress.
    Slow,
    /// It did, and that was already recorded as [`Observation::Unanswered`].
    SlowAndRecorded,
}

/// What an attempt shows about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation<'a> {
    /// It has gone unanswered for [`slow_threshold`].
    Unanswered,
    /// It has finished.
    Over { outcome: &'a Outcome, speed: Speed },
}

impl Health {
    /// The lane of an endpoint with this health.
    pub fn lane(health: Option<&Self>) -> Lane {
        match health {
            Some(Self::Slow { .. }) => Lane::Slow,
            Some(Self::Unknown { slow } | Self::Healthy { slow, .. } | Self::Failing { slow, .. }) if *slow > 0 => {
                Lane::Slow
            }
            Some(_) | None => Lane::Fast,
        }
    }

    /// The health after an observation; `None` if it does not change.
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

    /// The health after one more slow attempt.
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

    /// The health after a failed or accepted attempt. Slow attempts are counted by [`Self::after_slow_attempt`].
    fn after_outcome(health: Option<&Self>, failure: Option<Reason>, speed: Speed, now: Timestamp) -> Self {
        match (health, failure) {
            (Some(Self::Healthy { since, .. }), None) if speed == Speed::Quick => {
                Self::Healthy { since: *since, slow: 0 }
            }
            (_, None) if speed == Speed::Quick => Self::Healthy { since: now, slow: 0 },
            // Accepted, but slowly: no recovery.
            (Some(healthy @ Self::Healthy { .. }), None) => healthy.clone(),
            (Some(slow @ Self::Slow { .. }), None) => slow.clone(),
            (Some(Self::Unknown { slow } | Self::Failing { slow, .. }), None) => {
                Self::Healthy { since: now, slow: *slow }
            }
            (None, None) => Self::Healthy { since: now, slow: 0 },

            (Some(Self::Slow { since, reason: known }), Some(reason)) if known.code == SLOW => {
                Self::Slow { since: *since, reason }
            }
            // Another reason alone is not a change.
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

    /// The usual case: recorded while it is in progress, then finished.
    fn slow(outcome: &Outcome) -> Vec<Observation<'_>> {
        vec![Observation::Unanswered, Observation::Over { outcome, speed: Speed::SlowAndRecorded }]
    }

    /// The case that it could not be recorded while in progress.
    fn slow_unrecorded(outcome: &Outcome) -> Vec<Observation<'_>> {
        vec![Observation::Over { outcome, speed: Speed::Slow }]
    }

    /// An endpoint's health after these observations, one a second, and how often it was written.
    fn after<'a>(observations: impl IntoIterator<Item = Vec<Observation<'a>>>) -> (Option<Health>, usize) {
        let (mut health, mut writes) = (None, 0);
        for (second, observation) in (0..).zip(observations.into_iter().flatten()) {
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
    fn the_slow_threshold_is_five_seconds_or_half_of_the_timeout() {
        assert_eq!(slow_threshold(Duration::from_secs(30)), Duration::from_secs(5));
        assert_eq!(slow_threshold(Duration::from_secs(10)), Duration::from_secs(5));
        assert_eq!(slow_threshold(Duration::from_secs(3)), Duration::from_millis(1_500));
    }

    #[test]
    fn only_changes_are_written() {
        assert_eq!(after([quick(&OK), quick(&OK), quick(&OK)]), (healthy(0, 0), 1));
        let rejections = [Outcome::Rejected { status: 404 }, Outcome::Rejected { status: 429 }];
        let failures = rejections.iter().map(quick);
        assert_eq!(after([quick(&OK), quick(&BROKEN)].into_iter().chain(failures)), (failing(1, &BROKEN, 0), 2));
        // Unknown, failing, and after two more slow ones slow, until an attempt is accepted quickly.
        let timed_out = timed_out();
        assert_eq!(after(vec![slow(&timed_out); 100]), (known_slow(1, reason(&timed_out)), 4));
        assert_eq!(after(vec![slow_unrecorded(&timed_out); 100]).1, 3);
    }

    #[test]
    fn one_unanswered_attempt_moves_its_endpoint_to_the_slow_lane_before_it_finishes() {
        let unanswered = || vec![Observation::Unanswered];
        assert_eq!(after([unanswered()]), (Some(Health::Unknown { slow: 1 }), 1));
        assert_eq!(Health::lane(after([unanswered()]).0.as_ref()), Lane::Slow);
        assert_eq!(after([quick(&OK), unanswered()]), (healthy(0, 1), 2));
        assert_eq!(Health::lane(after([quick(&OK), unanswered()]).0.as_ref()), Lane::Slow);
        assert_eq!(after([quick(&BROKEN), unanswered()]), (failing(0, &BROKEN, 1), 2));
        // Concurrent attempts.
        assert_eq!(after(vec![unanswered(); 10]), (known_slow(2, Reason::slow()), 3));
    }

    #[test]
    fn a_slow_attempt_counts_however_it_ends() {
        let timed_out = timed_out();
        for outcome in [&OK, &BROKEN, &NO_NAME, &timed_out] {
            for attempt in [slow(outcome), slow_unrecorded(outcome)] {
                let one = after([attempt.clone()]).0;
                assert_eq!(Health::lane(one.as_ref()), Lane::Slow, "{outcome:?}");
                let three = after([attempt.clone(), attempt.clone(), attempt]).0;
                assert!(matches!(three, Some(Health::Slow { .. })), "{outcome:?}: {three:?}");
            }
        }
        // The owner sees how it ended.
        assert_eq!(after([slow(&OK)]).0, healthy(1, 1));
        assert_eq!(after([slow(&NO_NAME)]).0, failing(1, &NO_NAME, 1));
        assert_eq!(after([slow(&OK), slow(&OK), slow(&OK)]).0, known_slow(4, Reason::slow()));
        assert_eq!(after([slow(&OK), slow(&OK), slow(&OK), slow(&timed_out)]).0, known_slow(4, reason(&timed_out)));
    }

    #[test]
    fn an_attempt_counts_once() {
        assert_eq!(after([slow(&BROKEN)]).0, failing(1, &BROKEN, 1));
        assert_eq!(after([slow_unrecorded(&BROKEN)]).0, failing(0, &BROKEN, 1));
        assert_eq!(after([slow(&BROKEN), slow(&BROKEN)]).0, failing(1, &BROKEN, 2));
    }

    #[test]
    fn only_a_quick_accepted_attempt_moves_an_endpoint_back() {
        let timed_out = timed_out();
        for before in [1, 2, 3, 9] {
            let slow_ones = || vec![slow(&timed_out); before];
            let lane = |then: Vec<Observation<'_>>| {
                let health = after(slow_ones().into_iter().chain([then])).0;
                Health::lane(health.as_ref())
            };
            assert_eq!(lane(quick(&BROKEN)), Lane::Slow, "failing quickly is no recovery");
            assert_eq!(lane(slow(&OK)), Lane::Slow, "nor is accepting slowly");
            assert_eq!(lane(quick(&OK)), Lane::Fast);
        }
        assert_eq!(after([slow(&OK), quick(&OK)]).0, healthy(1, 0));
        // That an attempt from before the recovery was slow does not count now; that it failed does.
        let over = vec![Observation::Over { outcome: &timed_out, speed: Speed::SlowAndRecorded }];
        let late = after([vec![Observation::Unanswered], quick(&OK), over]).0;
        assert_eq!((Health::lane(late.as_ref()), late), (Lane::Fast, failing(2, &timed_out, 0)));
    }

    #[test]
    fn failing_quickly_does_not_change_the_lane() {
        for failures in 1..6 {
            assert_eq!(Health::lane(after(vec![quick(&BROKEN); failures]).0.as_ref()), Lane::Fast);
        }
        assert_eq!(Health::lane(None), Lane::Fast);
    }

    #[test]
    fn alternating_failures_are_not_written_each_time() {
        let timed_out = timed_out();
        let (health, writes) = after((0..100).flat_map(|_| [slow(&timed_out), quick(&BROKEN)]));
        assert_eq!((health, writes), (known_slow(1, reason(&timed_out)), 4));
    }

    #[test]
    fn a_failure_has_the_attempts_own_message() {
        let Some(Health::Failing { reason, .. }) = after([quick(&BROKEN)]).0 else { panic!("it failed") };
        assert_eq!((reason.code.as_str(), reason.message), ("server_error", BROKEN.message()));
    }

    #[test]
    fn stored_health_reads_and_writes_alike() {
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
            assert_eq!(
                serde_json::to_string(&health).unwrap(),
                item,
                "a write's condition compares it with the stored one"
            );
        }
    }
}
