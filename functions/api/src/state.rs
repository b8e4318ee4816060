//! What the endpoints share for the lifetime of the function: clients, stores and settings.

use std::sync::Arc;
use std::time::Duration;

use aws::dynamodb::deliveries_table::DeliveriesTable;
use aws::kms::vault::Vault;
use aws::runner::Dispatch;
use aws::sqs::queues::RetryMessages;
use aws_config::SdkConfig;
use axum::extract::FromRef;
use domain::endpoint::url::{EndpointUrl, InvalidUrl};
use sender::{NoTrustedRoots, Sender, SenderConfig};

use crate::console::SignIn;
use crate::http::caller::OrganizationClaim;
use crate::settings::{PlainHttp, Settings, test_timeout};
use crate::store::integrations::Integrations;
use crate::store::rate_limit::RateLimit;
use crate::store::recovery_rate::RecoveryRate;
use crate::store::redelivery::Redelivery;
use crate::store::token_bucket::TokenBuckets;

/// What the endpoints share: clients, stores and settings.
pub struct Api {
    pub(crate) integrations: Integrations,
    pub(crate) deliveries: DeliveriesTable,
    pub(crate) dispatch: Dispatch,
    pub(crate) redelivery: Redelivery,
    pub(crate) rate_limit: RateLimit,
    pub(crate) recovery_rate: RecoveryRate,
    pub(crate) secrets_key_arn: String,
    pub(crate) longest_request: Duration,
    pub(crate) retention: Duration,
    pub(crate) sign_in: SignIn,
    plain_http: PlainHttp,
    organization_claim: OrganizationClaim,
}

impl Api {
    /// # Errors
    /// [`NoTrustedRoots`] when the system has no certificate authorities to trust.
    pub fn new(settings: Settings, aws: &SdkConfig) -> Result<Self, NoTrustedRoots> {
        let dynamodb = aws_sdk_dynamodb::Client::new(aws);
        let sqs = aws_sdk_sqs::Client::new(aws);
        let sender = Sender::new(SenderConfig {
            request_timeout: test_timeout(settings.request_timeout),
            allowed_networks: settings.allowed_networks,
        })?;
        let deliveries = DeliveriesTable::new(dynamodb.clone(), settings.deliveries_table);
        let buckets = TokenBuckets::new(dynamodb.clone(), settings.integrations_table.clone());
        Ok(Self {
            integrations: Integrations::new(dynamodb, settings.integrations_table, settings.max_integrations),
            dispatch: Dispatch::new(Vault::new(aws_sdk_kms::Client::new(aws)), sender),
            redelivery: Redelivery::new(
                deliveries.clone(),
                RetryMessages::new(sqs.clone(), settings.retry_queue_url),
                RetryMessages::new(sqs, settings.slow_lane_queue_url),
                settings.retention,
            ),
            rate_limit: RateLimit::new(buckets.clone()),
            recovery_rate: RecoveryRate::new(buckets),
            deliveries,
            secrets_key_arn: settings.secrets_key_arn,
            longest_request: settings.longest_request,
            retention: settings.retention,
            sign_in: settings.sign_in,
            plain_http: settings.plain_http,
            organization_claim: settings.organization_claim,
        })
    }

    /// Reads a URL that is to be set.
    ///
    /// # Errors
    /// [`InvalidUrl`] when it cannot be used, or must be encrypted and is not.
    pub(crate) fn read_new_url(&self, text: &str) -> Result<EndpointUrl, InvalidUrl> {
        let url = self.dispatch.read_url(text)?;
        match self.plain_http {
            PlainHttp::Allowed => Ok(url),
            PlainHttp::Refused => url.require_https(),
        }
    }
}

impl FromRef<Arc<Api>> for OrganizationClaim {
    fn from_ref(api: &Arc<Api>) -> Self {
        api.organization_claim.clone()
    }
}
