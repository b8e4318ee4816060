//! Limits how many tests an organization may make.
//!
//! They are counted over a sliding minute, so that the end of one window and the beginning of the next cannot add up to
//! twice the limit.

use std::time::Duration;

use aws::fault::Fault;
use domain::ids::OrganizationId;
use jiff::Timestamp;

use crate::store::shared_value::{SharedValues, ValueKey};

/// The most tests of an organization within [`WINDOW`].
pub const MAX_TESTS: usize = 10;

/// The time over which tests are counted.
pub const WINDOW: Duration = Duration::from_secs(60);

/// The organization has made [`MAX_TESTS`] within [`WINDOW`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyTests {
    /// When the next test may be made.
    pub until: Timestamp,
}

/// The recent tests of all organizations.
#[derive(Clone, Debug)]
pub struct TestLimit(SharedValues);

impl TestLimit {
    pub fn new(values: SharedValues) -> Self {
        Self(values)
    }

    /// Admits a test by an organization, or returns when it may make the next one.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails, [`Fault::Contended`] when other requests keep changing the count.
    pub async fn admit(&self, organization: OrganizationId, now: Timestamp) -> Result<Result<(), TooManyTests>, Fault> {
        let key = ValueKey::new(organization, "tests".to_owned());
        let needed_until = now.saturating_add(WINDOW).unwrap_or(Timestamp::MAX);
        let admit = |recent: Option<Vec<i64>>| Ok((admit(&recent.unwrap_or_default(), now)?, ()));
        self.0.change(&key, needed_until, admit).await
    }
}

/// Admits one more test at `now`. `recent` are the times of the recent ones, in epoch milliseconds, oldest first;
/// returned are those within the last minute and `now`.
///
/// # Errors
/// [`TooManyTests`] when there were [`MAX_TESTS`] within the last minute.
fn admit(recent: &[i64], now: Timestamp) -> Result<Vec<i64>, TooManyTests> {
    let within = |at: &&i64| now.as_millisecond().saturating_sub(**at) < WINDOW_MILLIS;
    let mut still_recent: Vec<i64> = recent.iter().filter(within).copied().collect();
    if still_recent.len() >= MAX_TESTS {
        let oldest_that_counts = still_recent[still_recent.len() - MAX_TESTS];
        let until = Timestamp::from_millisecond(oldest_that_counts.saturating_add(WINDOW_MILLIS));
        return Err(TooManyTests { until: until.unwrap_or(now) });
    }
    still_recent.push(now.as_millisecond());
    Ok(still_recent)
}

const WINDOW_MILLIS: i64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000 + millis).unwrap()
    }

    fn tests_at(millis: impl IntoIterator<Item = i64>) -> Vec<i64> {
        millis.into_iter().map(|millis| at(millis).as_millisecond()).collect()
    }

    #[test]
    fn at_most_ten_tests_within_a_minute() {
        assert_eq!(admit(&[], at(0)), Ok(tests_at([0])));
        assert_eq!(admit(&tests_at(0..9), at(9)), Ok(tests_at(0..10)));
        assert_eq!(admit(&tests_at(0..10), at(59_999)), Err(TooManyTests { until: at(60_000) }));
        assert_eq!(admit(&tests_at(0..10), at(60_000)), Ok(tests_at((1..10).chain([60_000]))));
    }

    #[test]
    fn the_minute_slides() {
        let late = tests_at((0..10).map(|n| 59_000 + n));
        assert_eq!(admit(&late, at(61_000)), Err(TooManyTests { until: at(119_000) }));
        assert_eq!(WINDOW.as_millis(), WINDOW_MILLIS.unsigned_abs().into());
    }
}
