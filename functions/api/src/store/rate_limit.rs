//! Limits how many costly requests each organization makes.
//!
//! Each kind of request has a token bucket of its own, so that a flood of one does not block another.

use std::time::Duration;

use aws::fault::Fault;
use domain::ids::OrganizationId;
use jiff::Timestamp;

use crate::http::problem::Problem;
use crate::store::token_bucket::{TokenBucket, TokenBuckets, TooFewTokens};

/// A request that costs money or time beyond a read and a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CostlyRequest {
    /// A test. It occupies an invocation for up to 20 s.
    Test,
    /// Creating or changing an integration, or rotating its secret: up to a second of name lookup, and KMS.
    Change,
    /// Sending one delivery or a hundred failed ones again.
    Send,
    /// Reading the log with filters, or counting failed deliveries: hundreds of read units.
    Search,
}

impl CostlyRequest {
    fn bucket(self) -> TokenBucket {
        let (capacity, every) = match self {
            // In the long run 20 s / 6 s, so 3.3 invocations at a time.
            Self::Test => (10, Duration::from_secs(6)),
            // All integrations that an organization can have by default (50) can be created at once. One costs about
            // $0.00002 (1.2 s of 512 MB, two KMS requests, eight write units): $0.04 an hour.
            Self::Change => (60, Duration::from_secs(2)),
            // Sixty recoveries at once fill the ten minutes for which an integration's can be scheduled ahead. What they
            // cost is bounded by the number of failed deliveries, each of which can be sent again four times.
            Self::Send => (60, Duration::from_secs(1)),
            // The settings page reads at most eight pages of a filtered log every 5 s: 1.6 a second. One costs at most
            // $0.00006 (500 read units): $0.46 an hour.
            Self::Search => (120, Duration::from_millis(500)),
        };
        TokenBucket { capacity, every }
    }

    /// The bucket's name among an organization's.
    fn name(self) -> &'static str {
        match self {
            Self::Test => "tests",
            Self::Change => "changes",
            Self::Send => "sends",
            Self::Search => "searches",
        }
    }

    /// The limit in words, for callers.
    fn limit(self) -> String {
        let TokenBucket { capacity, every } = self.bucket();
        let allowed = match self {
            Self::Test => format!("make {capacity} tests"),
            Self::Change => format!("create or change {capacity} integrations"),
            Self::Send => format!("send deliveries again {capacity} times"),
            Self::Search => format!("search its logs {capacity} times"),
        };
        format!("Your organization can {allowed} at once, and then once every {} s.", every.as_secs_f64())
    }
}

/// The limits of all organizations.
#[derive(Clone, Debug)]
pub struct RateLimit(TokenBuckets);

impl RateLimit {
    pub fn new(buckets: TokenBuckets) -> Self {
        Self(buckets)
    }

    /// Admits a request. Must be called before what the request is limited for, once for each request.
    ///
    /// # Errors
    /// [`Problem::TooManyRequests`] when the organization has made too many of its kind, or a fault.
    pub async fn admit(
        &self,
        organization: OrganizationId,
        request: CostlyRequest,
        now: Timestamp,
    ) -> Result<(), Problem> {
        let taken: Result<_, Fault> = self.0.take(organization, request.name(), request.bucket(), 1, now).await;
        match taken? {
            Ok(_) => Ok(()),
            Err(TooFewTokens { until }) => Err(Problem::TooManyRequests { message: request.limit(), until }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_told_the_limit() {
        let limits = [CostlyRequest::Test, CostlyRequest::Search].map(CostlyRequest::limit);
        assert_eq!(limits[0], "Your organization can make 10 tests at once, and then once every 6 s.");
        assert_eq!(limits[1], "Your organization can search its logs 120 times at once, and then once every 0.5 s.");
    }
}
