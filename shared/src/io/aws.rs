//! The AWS clients' common settings.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};

/// The longest that one AWS call may take, its retries included. Lease and function timeout are reckoned with it.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that one try of a call may take, so that a call has time for another.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads region, credentials and endpoint from the environment, as Lambda sets it.
pub async fn config() -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(TRY_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build();
    // Pinned: `latest` changes defaults under a deployed function with any update of the SDK.
    aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(timeouts).load().await
}
