//! What both functions that deliver are told by their environment.

use std::time::Duration;

use crate::address::AllowedNetworks;
use crate::io::aws::CALL_TIMEOUT;
use crate::io::environment::{BadSetting, Environment};
use crate::io::sender::BODY_TIMEOUT;
use crate::schedule::Schedule;

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
    /// [`BadSetting`] for the first variable that is absent or cannot be used.
    pub fn read(environment: &Environment<'_>) -> Result<Self, BadSetting> {
        Ok(Self {
            integrations_table: environment.text("INTEGRATIONS_TABLE")?,
            deliveries_table: environment.text("DELIVERIES_TABLE")?,
            retry_queue_url: environment.text("RETRY_QUEUE_URL")?,
            long_wait_arn: environment.text("LONG_WAIT_ARN")?,
            policy: Policy::read(environment)?,
            allowed_networks: environment.parsed("ALLOW_PRIVATE_NETWORKS")?,
        })
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
}

impl Policy {
    /// # Errors
    /// [`BadSetting`] when a variable is absent or cannot be used, or when a claim would not outlast its attempt.
    pub fn read(environment: &Environment<'_>) -> Result<Self, BadSetting> {
        let policy = Self {
            schedule: environment.parsed("RETRY_SCHEDULE")?,
            request_timeout: environment.seconds("REQUEST_TIMEOUT_SECONDS")?,
            lease: environment.seconds("LEASE_SECONDS")?,
        };
        if policy.lease <= policy.attempt_takes() {
            let takes = policy.attempt_takes().as_secs();
            let problem = format!("must be more than {takes}, the longest that an attempt takes");
            return Err(BadSetting::Unusable { name: "LEASE_SECONDS", problem });
        }
        Ok(policy)
    }

    /// The longest that an attempt takes from its claim on: request, response body, then recording and scheduling.
    pub fn attempt_takes(&self) -> Duration {
        self.request_timeout + BODY_TIMEOUT + 2 * CALL_TIMEOUT
    }
}
