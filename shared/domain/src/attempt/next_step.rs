//! What follows an attempt's outcome.

use std::time::Duration;

use http::StatusCode;

use crate::attempt::outcome::Outcome;
use crate::attempt::schedule::Schedule;

/// The longest time by which an endpoint's `Retry-After` can delay the next attempt: the schedule's own longest delay.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(2 * 60 * 60);

/// What follows an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// The endpoint accepted it.
    Done,
    /// Make the next attempt after this delay.
    Retry { after: Duration },
    /// That was the last attempt of the round.
    GiveUp,
    /// The endpoint wants no more webhooks: give up and switch the integration off.
    DisableIntegration,
}

/// Decides what follows an attempt. `index` is its index within its round, from 0. `retry_after` is what the endpoint
/// asked for, if anything; it is honoured on 429 and 503 when longer than the schedule's delay, up to
/// [`MAX_RETRY_AFTER`].
pub fn next_step(outcome: &Outcome, index: u32, schedule: &Schedule, retry_after: Option<Duration>) -> NextStep {
    if outcome.is_success() {
        return NextStep::Done;
    }
    let status = outcome.status();
    if status == Some(StatusCode::GONE.as_u16()) {
        return NextStep::DisableIntegration;
    }
    let Some(delay) = schedule.delay_after(index) else {
        return NextStep::GiveUp;
    };
    let asked_for = match status.and_then(|status| StatusCode::from_u16(status).ok()) {
        Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    };
    NextStep::Retry { after: delay.max(asked_for.min(MAX_RETRY_AFTER)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::outcome::{Blocked, Outcome, Unreachable};

    const fn minutes(number: u64) -> Duration {
        Duration::from_secs(number * 60)
    }

    #[track_caller]
    fn check(outcome: Outcome, index: u32, retry_after: Option<Duration>, expected: NextStep) {
        let schedule = "1m,5m,30m,2h".parse().unwrap();
        assert_eq!(next_step(&outcome, index, &schedule, retry_after), expected);
    }

    fn answered(status: u16) -> Outcome {
        Outcome::of_status(StatusCode::from_u16(status).unwrap())
    }

    fn retry(after: Duration) -> NextStep {
        NextStep::Retry { after }
    }

    #[test]
    fn any_2xx_is_done() {
        for status in [200, 201, 202, 204, 299] {
            check(answered(status), 0, None, NextStep::Done);
            check(answered(status), 4, Some(minutes(1)), NextStep::Done);
        }
    }

    #[test]
    fn failures_follow_the_schedule_and_then_end() {
        for outcome in [
            answered(500),
            answered(404),
            answered(301),
            answered(199),
            Outcome::Unreachable(Unreachable::Dns),
            Outcome::Blocked(Blocked::Address),
        ] {
            check(outcome.clone(), 0, None, retry(minutes(1)));
            check(outcome.clone(), 1, None, retry(minutes(5)));
            check(outcome.clone(), 2, None, retry(minutes(30)));
            check(outcome.clone(), 3, None, retry(minutes(120)));
            check(outcome.clone(), 4, None, NextStep::GiveUp);
            check(outcome, 5, None, NextStep::GiveUp);
        }
    }

    #[test]
    fn retry_after_lengthens_a_delay_within_bounds() {
        for status in [429, 503] {
            check(answered(status), 0, Some(minutes(2)), retry(minutes(2)));
            check(answered(status), 0, Some(Duration::from_secs(59)), retry(minutes(1)));
            check(answered(status), 1, Some(minutes(2)), retry(minutes(5)));
            check(answered(status), 0, Some(minutes(121)), retry(minutes(120)));
            check(answered(status), 0, Some(Duration::MAX), retry(minutes(120)));
            check(answered(status), 4, Some(minutes(2)), NextStep::GiveUp);
        }
        check(answered(500), 0, Some(minutes(2)), retry(minutes(1)));
        check(answered(302), 0, Some(minutes(2)), retry(minutes(1)));
    }

    #[test]
    fn a_410_disables_the_integration_at_any_attempt() {
        check(answered(410), 0, None, NextStep::DisableIntegration);
        check(answered(410), 4, Some(minutes(2)), NextStep::DisableIntegration);
    }
}
