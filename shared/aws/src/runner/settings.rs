//! What both functions that deliver are told by their environment.

use std::time::Duration;

use domain::attempt::next_step::MAX_RETRY_AFTER;
use domain::attempt::schedule::Schedule;
use domain::deadline::RESPONSE_TIME;
use domain::endpoint::address::AllowedNetworks;
use jiff::Timestamp;
use sender::BODY_TIMEOUT;

use crate::config::CALL_TIMEOUT;
use crate::environment::{Environment, InvalidSetting};

/// How long the queues keep a message, in the template: 14 days. A delivery must not be forgotten before.
pub const MESSAGES_KEPT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// What is left of an invocation's time for what comes before its first claim, where all is well: reading the
/// integrations and opening secrets takes milliseconds. When it takes longer, attempts are handed off.
const BEFORE_THE_CLAIM: Duration = Duration::from_secs(2);

/// The settings of delivering.
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
    /// [`InvalidSetting`] for the first variable that is absent or cannot be used.
    pub fn read(environment: &Environment<'_>) -> Result<Self, InvalidSetting> {
        Ok(Self {
            integrations_table: environment.text("INTEGRATIONS_TABLE")?,
            deliveries_table: environment.text("DELIVERIES_TABLE")?,
            retry_queue_url: environment.text("RETRY_QUEUE_URL")?,
            long_wait_arn: environment.text("LONG_WAIT_ARN")?,
            policy: Policy::read(environment)?,
            allowed_networks: environment.parsed("ALLOW_PRIVATE_NETWORKS")?,
        })
    }

    /// Where messages about attempts that are due are sent.
    pub fn retry_queue_url(&self) -> &str {
        &self.retry_queue_url
    }

    /// How long deliveries are kept.
    pub fn retention(&self) -> Duration {
        self.policy.retention
    }
}

/// The numbers that delivering goes by.
#[derive(Clone, Debug)]
pub struct Policy {
    pub schedule: Schedule,
    /// How long a request may take, response headers included.
    pub request_timeout: Duration,
    /// How long a claim holds.
    pub lease: Duration,
    /// How long a delivery is kept.
    pub retention: Duration,
}

impl Policy {
    /// # Errors
    /// [`InvalidSetting`] when a variable is absent or cannot be used; when an attempt would not fit an invocation, a claim
    /// not outlast one, or a delivery not outlast its schedule and the messages about it.
    pub fn read(environment: &Environment<'_>) -> Result<Self, InvalidSetting> {
        let policy = Self {
            schedule: environment.parsed("RETRY_SCHEDULE")?,
            request_timeout: environment.seconds("REQUEST_TIMEOUT_SECONDS")?,
            lease: environment.seconds("LEASE_SECONDS")?,
            retention: environment.days("RETENTION_DAYS")?,
        };
        let function_timeout = environment.seconds("FUNCTION_TIMEOUT_SECONDS")?;
        let unusable = |name, problem| Err(InvalidSetting::Unusable { name, problem });
        let needed = BEFORE_THE_CLAIM + policy.claim_and_attempt_take();
        if function_timeout < needed {
            let problem = format!("must be at least {}, for an attempt to fit an invocation", needed.as_secs());
            return unusable("FUNCTION_TIMEOUT_SECONDS", problem);
        }
        if policy.lease <= function_timeout {
            let problem = format!("must be more than {}, the longest that a worker lives", function_timeout.as_secs());
            return unusable("LEASE_SECONDS", problem);
        }
        let kept_for = MESSAGES_KEPT + policy.longest_round();
        if policy.retention < kept_for {
            let days = kept_for.as_secs().div_ceil(24 * 60 * 60);
            let problem = format!("must be at least {days}, for a delivery to outlast its schedule and its messages");
            return unusable("RETENTION_DAYS", problem);
        }
        Ok(policy)
    }

    /// The longest that an attempt takes from its request on: the request, the response's body, and up to three calls, to
    /// record it and to schedule the next one, by a stand-in if need be (or to switch the integration off and record);
    /// then the invocation's answer.
    pub fn attempt_takes(&self) -> Duration {
        self.request_timeout + BODY_TIMEOUT + 3 * CALL_TIMEOUT + RESPONSE_TIME
    }

    /// The same, with the claim before it.
    pub fn claim_and_attempt_take(&self) -> Duration {
        CALL_TIMEOUT + self.attempt_takes()
    }

    /// When a delivery may be forgotten that waits until `due_at`, if that is later than it would be: no message about it
    /// may outlive it. Only one that was held up for days needs it.
    pub fn kept_until(&self, expires_at: Timestamp, due_at: Timestamp) -> Option<Timestamp> {
        let after = |duration| due_at.saturating_add(duration).unwrap_or(Timestamp::MAX);
        (expires_at < after(MESSAGES_KEPT)).then(|| after(self.retention))
    }

    /// The longest that a round takes, when each endpoint's `Retry-After` is as long as it is honoured.
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
            let usual = match name {
                "RETRY_SCHEDULE" => "1m,5m,30m,2h",
                "REQUEST_TIMEOUT_SECONDS" => "30",
                "FUNCTION_TIMEOUT_SECONDS" => "60",
                "LEASE_SECONDS" => "90",
                "RETENTION_DAYS" => "30",
                other => panic!("{other} is no setting of the policy"),
            };
            Some(changed.unwrap_or(usual).to_owned())
        };
        Policy::read(&Environment::new(&look_up)).map_err(|bad| bad.to_string())
    }

    #[track_caller]
    fn refused(changed: &[(&str, &str)], name: &str, least: u64) {
        let told = read(changed).unwrap_err();
        assert!(told.starts_with(&format!("the environment variable {name} must be ")), "{told}");
        assert!(told.contains(&format!(" {least}, ")), "{told}");
    }

    #[test]
    fn what_does_not_fit_an_invocation_does_not_start() {
        assert_eq!(read(&[]).unwrap().claim_and_attempt_take(), Duration::from_secs(52));
        assert!(read(&[("REQUEST_TIMEOUT_SECONDS", "36")]).is_ok());
        for request in ["37", "49", "60"] {
            let least = request.parse::<u64>().unwrap() + 24;
            refused(&[("REQUEST_TIMEOUT_SECONDS", request)], "FUNCTION_TIMEOUT_SECONDS", least);
        }
        assert!(read(&[("FUNCTION_TIMEOUT_SECONDS", "54")]).is_ok());
        refused(&[("FUNCTION_TIMEOUT_SECONDS", "53")], "FUNCTION_TIMEOUT_SECONDS", 54);
    }

    #[test]
    fn a_claim_outlasts_its_worker() {
        assert!(read(&[("LEASE_SECONDS", "61")]).is_ok());
        refused(&[("LEASE_SECONDS", "60")], "LEASE_SECONDS", 60);
    }

    #[test]
    fn a_delivery_outlasts_its_schedule_and_its_messages() {
        assert!(read(&[("RETENTION_DAYS", "15")]).is_ok());
        refused(&[("RETENTION_DAYS", "14")], "RETENTION_DAYS", 15);
        let longest = vec!["24h"; domain::attempt::schedule::MAX_DELAYS].join(",");
        refused(&[("RETRY_SCHEDULE", &longest)], "RETENTION_DAYS", 35);
        assert!(read(&[("RETRY_SCHEDULE", &longest), ("RETENTION_DAYS", "35")]).is_ok());
    }

    #[test]
    fn what_was_held_up_for_days_is_kept_for_longer() {
        let policy = read(&[]).unwrap();
        let due_at = Timestamp::from_second(1_736_500_000).unwrap();
        assert_eq!(policy.kept_until(due_at + 30 * DAY, due_at), None);
        assert_eq!(policy.kept_until(due_at + MESSAGES_KEPT, due_at), None);
        assert_eq!(policy.kept_until(due_at + 13 * DAY, due_at), Some(due_at + 30 * DAY));
    }
}
