//! The settings that `deliver` and `retry` share.

use std::time::Duration;

use domain::attempt::next_step::MAX_RETRY_AFTER;
use domain::attempt::schedule::Schedule;
use domain::deadline::RESPONSE_TIME;
use domain::endpoint::address::AllowedNetworks;
use jiff::Timestamp;
use sender::BODY_TIMEOUT;

use crate::config::CALL_TIMEOUT;
use crate::environment::{Environment, InvalidSetting};

/// How long the queues keep a message, as set in the template: 14 days. A delivery must be kept for longer.
pub const MESSAGE_RETENTION: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The time reserved for what precedes the first claim of an invocation. Reading the integrations and opening secrets
/// usually takes milliseconds; when it takes longer than this, attempts are handed off.
const PREPARATION_TIME: Duration = Duration::from_secs(2);

/// The settings of a [`Runner`](super::Runner).
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) integrations_table: String,
    pub(super) deliveries_table: String,
    pub(super) retry_queue_url: String,
    pub(super) long_wait_arn: String,
    pub(super) policy: Policy,
    pub(super) allowed_networks: AllowedNetworks,
}

impl Settings {
    /// # Errors
    /// [`InvalidSetting`] for the first variable that is absent or invalid.
    pub fn read(environment: &Environment<'_>) -> Result<Self, InvalidSetting> {
        Ok(Self {
            integrations_table: environment.text("INTEGRATIONS_TABLE")?,
            deliveries_table: environment.text("DELIVERIES_TABLE")?,
            retry_queue_url: environment.text("RETRY_QUEUE_URL")?,
            long_wait_arn: environment.text("LONG_WAIT_ARN")?,
            policy: Policy::read(environment)?,
            allowed_networks: environment
                .parsed::<AllowedNetworks>("ALLOW_PRIVATE_NETWORKS")?
                .except(environment.parsed("DENY_NETWORKS")?),
        })
    }

    /// The queue for attempts that are due.
    pub fn retry_queue_url(&self) -> &str {
        &self.retry_queue_url
    }

    /// How long deliveries are kept.
    pub fn retention(&self) -> Duration {
        self.policy.retention
    }
}

/// The schedule and the time limits of deliveries.
#[derive(Clone, Debug)]
pub struct Policy {
    pub schedule: Schedule,
    /// How long a request may take, response headers included.
    pub request_timeout: Duration,
    /// How long a claim is valid.
    pub lease: Duration,
    /// How long a delivery is kept.
    pub retention: Duration,
}

impl Policy {
    /// # Errors
    /// [`InvalidSetting`] when a variable is absent or invalid, or when the times contradict each other: an attempt
    /// must fit into an invocation, a claim must outlast an invocation, and a delivery must outlast its schedule and
    /// its messages.
    pub fn read(environment: &Environment<'_>) -> Result<Self, InvalidSetting> {
        let policy = Self {
            schedule: environment.parsed("RETRY_SCHEDULE")?,
            request_timeout: environment.seconds("REQUEST_TIMEOUT_SECONDS")?,
            lease: environment.seconds("LEASE_SECONDS")?,
            retention: environment.days("RETENTION_DAYS")?,
        };
        let function_timeout = environment.seconds("FUNCTION_TIMEOUT_SECONDS")?;
        let unusable = |name, problem| Err(InvalidSetting::Unusable { name, problem });
        let needed = PREPARATION_TIME + policy.max_claim_and_attempt_time();
        if function_timeout < needed {
            let problem = format!("must be at least {}, so that an attempt fits into an invocation", needed.as_secs());
            return unusable("FUNCTION_TIMEOUT_SECONDS", problem);
        }
        if policy.lease <= function_timeout {
            let problem = format!("must be more than {}, the function's timeout", function_timeout.as_secs());
            return unusable("LEASE_SECONDS", problem);
        }
        let least = MESSAGE_RETENTION + policy.longest_round();
        if policy.retention < least {
            let days = least.as_secs().div_ceil(24 * 60 * 60);
            let problem = format!("must be at least {days}, so that a delivery outlasts its schedule and its messages");
            return unusable("RETENTION_DAYS", problem);
        }
        Ok(policy)
    }

    /// The longest that an attempt takes from its request on: the request, the response body, up to three AWS calls,
    /// and the invocation's response. The calls record the attempt and schedule the next one, which takes two when Step
    /// Functions throttles; or they disable the integration and record the attempt.
    pub fn max_attempt_time(&self) -> Duration {
        self.request_timeout + BODY_TIMEOUT + 3 * CALL_TIMEOUT + RESPONSE_TIME
    }

    /// The same, with the claim before it.
    pub fn max_claim_and_attempt_time(&self) -> Duration {
        CALL_TIMEOUT + self.max_attempt_time()
    }

    /// A later expiry for a delivery that waits until `due_at`, if it needs one: a delivery must outlive all messages
    /// about it. Only a delivery that was delayed for days needs one.
    pub fn extended_expiry(&self, expires_at: Timestamp, due_at: Timestamp) -> Option<Timestamp> {
        let after = |duration| due_at.saturating_add(duration).unwrap_or(Timestamp::MAX);
        (expires_at < after(MESSAGE_RETENTION)).then(|| after(self.retention))
    }

    /// The longest that a round takes: every response asks for the longest `Retry-After` that is honoured.
    fn longest_round(&self) -> Duration {
        let delays = (0..).map_while(|index| self.schedule.delay_after(index));
        delays.map(|delay| delay.max(MAX_RETRY_AFTER) + self.request_timeout).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[track_caller]
    fn read(changed: &[(&str, &str)]) -> Result<Policy, String> {
        let look_up = |name: &str| {
            let changed = changed.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
            let default = match name {
                "RETRY_SCHEDULE" => "1m,5m,30m,2h",
                "REQUEST_TIMEOUT_SECONDS" => "30",
                "FUNCTION_TIMEOUT_SECONDS" => "60",
                "LEASE_SECONDS" => "90",
                "RETENTION_DAYS" => "30",
                other => panic!("{other} is no setting of the policy"),
            };
            Some(changed.unwrap_or(default).to_owned())
        };
        Policy::read(&Environment::new(&look_up)).map_err(|bad| bad.to_string())
    }

    #[track_caller]
    fn check_refused(changed: &[(&str, &str)], name: &str, least: u64) {
        let error = read(changed).unwrap_err();
        assert!(error.starts_with(&format!("the environment variable {name} must be ")), "{error}");
        assert!(error.contains(&format!(" {least}, ")), "{error}");
    }

    #[test]
    fn an_attempt_must_fit_into_an_invocation() {
        assert_eq!(read(&[]).unwrap().max_claim_and_attempt_time(), Duration::from_secs(52));
        assert!(read(&[("REQUEST_TIMEOUT_SECONDS", "36")]).is_ok());
        for request in ["37", "49", "60"] {
            let least = request.parse::<u64>().unwrap() + 24;
            check_refused(&[("REQUEST_TIMEOUT_SECONDS", request)], "FUNCTION_TIMEOUT_SECONDS", least);
        }
        assert!(read(&[("FUNCTION_TIMEOUT_SECONDS", "54")]).is_ok());
        check_refused(&[("FUNCTION_TIMEOUT_SECONDS", "53")], "FUNCTION_TIMEOUT_SECONDS", 54);
    }

    #[test]
    fn a_claim_must_outlast_its_worker() {
        assert!(read(&[("LEASE_SECONDS", "61")]).is_ok());
        check_refused(&[("LEASE_SECONDS", "60")], "LEASE_SECONDS", 60);
    }

    #[test]
    fn a_delivery_must_outlast_its_schedule_and_its_messages() {
        assert!(read(&[("RETENTION_DAYS", "15")]).is_ok());
        check_refused(&[("RETENTION_DAYS", "14")], "RETENTION_DAYS", 15);
        let longest = vec!["24h"; domain::attempt::schedule::MAX_DELAYS].join(",");
        check_refused(&[("RETRY_SCHEDULE", &longest)], "RETENTION_DAYS", 35);
        assert!(read(&[("RETRY_SCHEDULE", &longest), ("RETENTION_DAYS", "35")]).is_ok());
    }

    #[test]
    fn a_delivery_that_was_delayed_for_days_is_kept_for_longer() {
        let policy = read(&[]).unwrap();
        let due_at = Timestamp::from_second(1_736_500_000).unwrap();
        assert_eq!(policy.extended_expiry(due_at + 30 * DAY, due_at), None);
        assert_eq!(policy.extended_expiry(due_at + MESSAGE_RETENTION, due_at), None);
        assert_eq!(policy.extended_expiry(due_at + 13 * DAY, due_at), Some(due_at + 30 * DAY));
    }
}
