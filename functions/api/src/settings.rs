//! The function's settings, read from its environment variables.

use std::time::Duration;

use aws::environment::{Environment, InvalidSetting};
use domain::endpoint::address::AllowedNetworks;
use sender::BODY_TIMEOUT;

use crate::console::SignIn;
use crate::http::caller::OrganizationClaim;

/// The longest that a test may take, reading the response body included. API Gateway gives up on us after 30 s.
pub const LONGEST_TEST: Duration = Duration::from_secs(20);

/// How long a test waits for the response's headers; deliveries wait for `request_timeout`.
pub(crate) fn test_timeout(request_timeout: Duration) -> Duration {
    request_timeout.min(LONGEST_TEST.saturating_sub(BODY_TIMEOUT))
}

/// Whether a URL that is to be set may begin with `http://`: the parameter `RequireHttps`. URLs that are stored stay as
/// they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    Allowed,
    Refused,
}

impl PlainHttp {
    fn read(environment: &Environment<'_>) -> Result<Self, InvalidSetting> {
        Ok(if environment.parsed("REQUIRE_HTTPS")? { Self::Refused } else { Self::Allowed })
    }
}

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) integrations_table: String,
    pub(crate) deliveries_table: String,
    pub(crate) retry_queue_url: String,
    pub(crate) slow_lane_queue_url: String,
    pub(crate) secrets_key_arn: String,
    pub(crate) request_timeout: Duration,
    /// How long a request other than a test may take.
    pub(crate) longest_request: Duration,
    pub(crate) retention: Duration,
    pub(crate) allowed_networks: AllowedNetworks,
    pub(crate) plain_http: PlainHttp,
    pub(crate) organization_claim: OrganizationClaim,
    pub(crate) max_integrations: usize,
    pub(crate) sign_in: SignIn,
}

impl Settings {
    /// # Errors
    /// [`InvalidSetting`] for the first variable that is missing or invalid.
    pub fn read(environment: &Environment<'_>) -> Result<Self, InvalidSetting> {
        Ok(Self {
            integrations_table: environment.text("INTEGRATIONS_TABLE")?,
            deliveries_table: environment.text("DELIVERIES_TABLE")?,
            retry_queue_url: environment.text("RETRY_QUEUE_URL")?,
            slow_lane_queue_url: environment.text("SLOW_LANE_QUEUE_URL")?,
            secrets_key_arn: environment.text("SECRETS_KEY_ARN")?,
            request_timeout: environment.seconds("REQUEST_TIMEOUT_SECONDS")?,
            longest_request: environment.seconds("LONGEST_REQUEST_SECONDS")?,
            retention: environment.days("RETENTION_DAYS")?,
            allowed_networks: environment
                .parsed::<AllowedNetworks>("ALLOW_PRIVATE_NETWORKS")?
                .except(environment.parsed("DENY_NETWORKS")?),
            plain_http: PlainHttp::read(environment)?,
            organization_claim: OrganizationClaim(environment.text("ORGANIZATION_CLAIM")?),
            max_integrations: environment.parsed("MAX_INTEGRATIONS")?,
            sign_in: SignIn::read(environment)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_ends_before_api_gateway_gives_up() {
        let seconds = Duration::from_secs;
        for (request_timeout, expected) in [(3, 3), (19, 19), (30, 19), (300, 19)] {
            assert_eq!(test_timeout(seconds(request_timeout)), seconds(expected));
            assert!(test_timeout(seconds(request_timeout)) + BODY_TIMEOUT <= LONGEST_TEST);
        }
        assert_eq!(LONGEST_TEST, seconds(20));
    }
}
