//! How an endpoint is doing, as far as its last attempts tell.
//!
//! Kept on the integration and written only when it changes, so that neither a healthy endpoint nor one that has been
//! down for hours costs a write. An endpoint that keeps *timing out* is ailing: every attempt holds a worker for half a
//! minute, so they are made on the slow lane, where they hold up nobody else's. One that fails at once is not: it costs
//! no more than one that works.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// How many attempts in a row have to time out for an endpoint to be ailing. Fewer would move an endpoint to the slow
/// lane for a hiccup; the attempts of one busy batch reach it within one request timeout.
pub const AILING_AFTER: u32 = 3;

/// How an endpoint is doing. An integration that was never delivered to has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Health {
    /// The last attempt was accepted.
    Healthy {
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        since: Timestamp,
    },
    /// The last attempt failed.
    Failing {
        /// When the first of these failures was seen.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        since: Timestamp,
        /// The code of the failure that this was last written for.
        code: String,
        /// How many of the last attempts in a row timed out: fewer than [`AILING_AFTER`].
        timeouts: u32,
    },
    /// [`AILING_AFTER`] attempts in a row timed out, and none was accepted since.
    Ailing {
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        since: Timestamp,
        code: String,
    },
}

/// Where an integration's attempts are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// With everybody else's.
    Usual,
    /// Where whoever is slow delays only who is slow too.
    Slow,
}

impl Health {
    /// Where the attempts of an endpoint of that health are made.
    pub fn lane(health: Option<&Self>) -> Lane {
        match health {
            Some(Self::Ailing { .. }) => Lane::Slow,
            Some(Self::Healthy { .. } | Self::Failing { .. }) | None => Lane::Usual,
        }
    }

    /// What an outcome makes of the health that there was; `None` when that stays as it is.
    pub fn after(health: Option<&Self>, outcome: &Outcome, now: Timestamp) -> Option<Self> {
        let Some(code) = outcome.code().map(str::to_owned) else {
            return match health {
                Some(Self::Healthy { .. }) => None,
                Some(Self::Failing { .. } | Self::Ailing { .. }) | None => Some(Self::Healthy { since: now }),
            };
        };
        let timed_out = matches!(outcome, Outcome::TimedOut { .. });
        let (since, timeouts) = match health {
            Some(Self::Ailing { .. }) => return None,
            Some(Self::Failing { since, timeouts, .. }) => (*since, *timeouts),
            Some(Self::Healthy { .. }) | None => (now, 0),
        };
        let next = match (timed_out, timeouts + 1) {
            (true, AILING_AFTER..) => Self::Ailing { since, code },
            (true, timeouts) => Self::Failing { since, code, timeouts },
            (false, _) => Self::Failing { since, code, timeouts: 0 },
        };
        match (health, &next) {
            // Another code alone is no news.
            (Some(Self::Failing { timeouts: before, .. }), Self::Failing { timeouts, .. }) if before == timeouts => {
                None
            }
            _ => Some(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Phase;
    use std::time::Duration;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_736_500_000 + second).unwrap()
    }

    fn timed_out() -> Outcome {
        Outcome::TimedOut { phase: Phase::Response, limit: Duration::from_secs(30) }
    }

    /// What becomes of an endpoint's health by these outcomes, one a second; and how often it was written.
    fn after(outcomes: impl IntoIterator<Item = Outcome>) -> (Option<Health>, usize) {
        let (mut health, mut writes) = (None, 0);
        for (second, outcome) in (0..).zip(outcomes) {
            if let Some(next) = Health::after(health.as_ref(), &outcome, at(second)) {
                health = Some(next);
                writes += 1;
            }
        }
        (health, writes)
    }

    const OK: Outcome = Outcome::Accepted { status: 200 };
    const BROKEN: Outcome = Outcome::Rejected { status: 500 };

    fn failing(since: i64, code: &str, timeouts: u32) -> Option<Health> {
        Some(Health::Failing { since: at(since), code: code.to_owned(), timeouts })
    }

    #[test]
    fn what_stays_as_it_is_is_not_written() {
        assert_eq!(after([OK, OK, OK]), (Some(Health::Healthy { since: at(0) }), 1));
        assert_eq!(after([OK, BROKEN, BROKEN, Outcome::Rejected { status: 404 }]), (failing(1, "server_error", 0), 2));
        let ailing = Health::Ailing { since: at(0), code: "timeout_response".to_owned() };
        assert_eq!(after(vec![timed_out(); 100]), (Some(ailing), 3));
    }

    #[test]
    fn only_timeouts_in_a_row_make_an_endpoint_ailing() {
        assert_eq!(after([timed_out(), timed_out()]).0, failing(0, "timeout_response", 2));
        assert_eq!(after([timed_out(), timed_out(), BROKEN, timed_out()]).0, failing(0, "timeout_response", 1));
        assert!(matches!(after([BROKEN, timed_out(), timed_out(), timed_out()]).0, Some(Health::Ailing { .. })));
    }

    #[test]
    fn an_ailing_endpoint_is_on_the_slow_lane_until_it_accepts_something() {
        let ailing = after([timed_out(), timed_out(), timed_out(), BROKEN]).0;
        assert_eq!(Health::lane(ailing.as_ref()), Lane::Slow);
        let back = Health::after(ailing.as_ref(), &OK, at(9));
        assert_eq!(back, Some(Health::Healthy { since: at(9) }));
        assert_eq!(Health::lane(back.as_ref()), Lane::Usual);
        assert_eq!(Health::lane(after([BROKEN; 5]).0.as_ref()), Lane::Usual);
        assert_eq!(Health::lane(None), Lane::Usual);
    }
}
