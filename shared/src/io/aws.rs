//! The AWS clients' common settings.
//!
//! Put together by hand from what Lambda's environment says. The SDK's own loader would look for configuration files,
//! instance metadata and other sources of credentials besides, none of which there is in a Lambda: a fifth of the function
//! and several milliseconds of its start.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use crate::io::environment::{BadSetting, Environment, of_this_process};

/// The longest that one AWS call may take, its retries included. Lease and function timeout are reckoned with it.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that one try of a call may take, so that a call has time for another.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// What all clients are made from: region and credentials of the environment, as Lambda sets them, and one HTTP client.
/// `AWS_ENDPOINT_URL`, or its like for a single service, leads to another cloud.
///
/// # Errors
/// [`BadSetting`] when `AWS_REGION` is not set.
pub fn config(environment: &Environment<'_>) -> Result<SdkConfig, BadSetting> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(TRY_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build();
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut config = SdkConfig::builder()
        // Pinned: `latest` changes defaults under a deployed function with any update of the SDK.
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(environment.text("AWS_REGION")?))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .http_client(http)
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts)
        .service_config(OfOneService);
    config.set_endpoint_url(of_this_process("AWS_ENDPOINT_URL"));
    Ok(config.build())
}

/// `AWS_ENDPOINT_URL_DYNAMODB` and its like.
#[derive(Debug)]
struct OfOneService;

impl LoadServiceConfig for OfOneService {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace(' ', "_");
        of_this_process(&format!("{}_{service}", key.env()))
    }
}
