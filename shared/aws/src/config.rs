//! The common configuration of all AWS clients.
//!
//! It is built from Lambda's environment variables alone. The SDK's own loader would also look for configuration files,
//! instance metadata and other sources of credentials, none of which a Lambda function has. Those would make up a fifth
//! of the binary and cost several milliseconds at startup.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector};
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::retry::RetrySpec;
use aws_types::origin::Origin;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use sender::connections::{Clocks, MAX_IDLE, Pooled};

use crate::environment::{Environment, InvalidSetting, process_environment};

/// The longest that one AWS call may take, its retries included. The lease and the function's timeout are chosen with
/// it in mind.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest that a single try of a call may take; short enough to leave time for another.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a call is tried. The pause before each further try is random: before the second one it is up to 25 ms for
/// DynamoDB and up to 50 ms for other services, and that limit doubles each time.
const TRIES: u32 = 5;

/// The limit of these pauses, and of the first one when the service throttles, so that all tries fit into
/// [`CALL_TIMEOUT`].
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The configuration that all clients share: the region and credentials that Lambda sets in the environment, and one
/// HTTP client. `AWS_ENDPOINT_URL`, or its variant for a single service, selects another cloud unless it is empty.
///
/// # Errors
/// [`InvalidSetting`] when `AWS_REGION` is not set.
pub fn sdk_config(environment: &Environment<'_>) -> Result<SdkConfig, InvalidSetting> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_attempt_timeout(TRY_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build();
    // Without this version the SDK pauses for up to a second before the second try.
    let retries = RetryConfig::standard()
        .with_retry_spec(RetrySpec::v2_1())
        .with_max_attempts(TRIES)
        .with_max_backoff(LONGEST_PAUSE);
    let mut config = SdkConfig::builder()
        // Pinned: with `latest`, any update of the SDK could change the defaults.
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(environment.text("AWS_REGION")?))
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .http_client(FreshConnections::new())
        .retry_config(retries)
        .timeout_config(timeouts)
        .service_config(ServiceEndpoints);
    // Otherwise DynamoDB's client would set its own number of tries.
    config.insert_origin("retry_config", Origin::shared_config());
    config.set_endpoint_url(environment.optional("AWS_ENDPOINT_URL"));
    Ok(config.build())
}

/// The HTTP client of all AWS clients. It does not reuse connections from before the sandbox was frozen: the servers
/// may have closed them meanwhile, and each try of a call would run into the next dead one.
#[derive(Debug)]
struct FreshConnections(Pooled<SharedHttpClient>);

impl FreshConnections {
    fn new() -> Self {
        let build = || {
            let builder = aws_smithy_http_client::Builder::new().pool_idle_timeout(MAX_IDLE);
            builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https()
        };
        Self(Pooled::new(build, Clocks::read()))
    }

    fn client(&self) -> SharedHttpClient {
        self.0.client(Clocks::read())
    }
}

impl HttpClient for FreshConnections {
    /// The SDK calls this before each try.
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        self.client().http_connector(settings, components)
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.client().validate_base_client_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.client().connector_metadata()
    }
}

/// Reads `AWS_ENDPOINT_URL_DYNAMODB` and the like.
#[derive(Debug)]
struct ServiceEndpoints;

impl LoadServiceConfig for ServiceEndpoints {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service = key.service_id().to_ascii_uppercase().replace(' ', "_");
        Environment::new(&process_environment).optional(&format!("{}_{service}", key.env()))
    }
}
