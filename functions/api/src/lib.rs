//! `ApiFunction`: how customers manage, test and understand their webhooks.
//!
//! API Gateway lets nobody through to these routes without a valid token; whose integrations a request may touch follows
//! from that token alone ([`caller`]). Whatever is wrong with a request is told in a problem document that names the
//! field ([`problem`]).

pub mod caller;
pub mod input;
pub mod problem;

pub mod explanation;
pub mod fields;
pub mod integrations;
pub(crate) mod revision;
pub mod rotation;

pub mod allowance;
pub mod test_button;

pub mod cursor;
pub mod deliveries;
pub mod pace;
pub mod recovery;
pub mod redelivery;

pub(crate) mod compression;
pub mod idempotency;
pub mod io;

pub mod console;
pub mod openapi;

use std::sync::Arc;
use std::time::Duration;

use aws::delivering::Dispatch;
use aws::dynamodb::deliveries_table::DeliveriesTable;
use aws::dynamodb::integrations_table::IntegrationsTable;
use aws::environment::{BadSetting, Environment};
use aws::kms::vault::Vault;
use aws::sqs::queues::RetryMessages;
use aws_config::SdkConfig;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use domain::endpoint::address::AllowedNetworks;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use jiff::Timestamp;
use lambda_http::RequestExt;
use sender::{BODY_TIMEOUT, NoTrustedRoots, Sender, SenderConfig};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::io::bookkeeping::Bookkeeping;
use crate::problem::Problem;
use crate::redelivery::Redelivery;

/// The longest that a test may take, reading of the body included. API Gateway gives up on us after 30 s.
pub const LONGEST_TEST: Duration = Duration::from_secs(20);

/// How long a test waits for a response's head, where deliveries wait for `request_timeout`.
fn test_timeout(request_timeout: Duration) -> Duration {
    request_timeout.min(LONGEST_TEST.saturating_sub(BODY_TIMEOUT))
}

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    integrations_table: String,
    deliveries_table: String,
    retry_queue_url: String,
    slow_lane_queue_url: String,
    secrets_key_arn: String,
    request_timeout: Duration,
    retention: Duration,
    allowed_networks: AllowedNetworks,
    organization_claim: String,
    max_integrations: usize,
    sign_in: console::SignIn,
}

impl Settings {
    /// # Errors
    /// [`BadSetting`] for the first variable that is absent or cannot be used.
    pub fn read(environment: &Environment<'_>) -> Result<Self, BadSetting> {
        Ok(Self {
            integrations_table: environment.text("INTEGRATIONS_TABLE")?,
            deliveries_table: environment.text("DELIVERIES_TABLE")?,
            retry_queue_url: environment.text("RETRY_QUEUE_URL")?,
            slow_lane_queue_url: environment.text("SLOW_LANE_QUEUE_URL")?,
            secrets_key_arn: environment.text("SECRETS_KEY_ARN")?,
            request_timeout: environment.seconds("REQUEST_TIMEOUT_SECONDS")?,
            retention: environment.days("RETENTION_DAYS")?,
            allowed_networks: environment.parsed("ALLOW_PRIVATE_NETWORKS")?,
            organization_claim: environment.text("ORGANIZATION_CLAIM")?,
            max_integrations: environment.parsed("MAX_INTEGRATIONS")?,
            sign_in: console::SignIn::read(environment)?,
        })
    }
}

/// What the function works with, for as long as it lives.
pub struct Api {
    integrations: IntegrationsTable,
    deliveries: DeliveriesTable,
    bookkeeping: Bookkeeping,
    dispatch: Dispatch,
    redelivery: Redelivery,
    secrets_key_arn: String,
    retention: Duration,
    organization_claim: String,
    max_integrations: usize,
    sign_in: console::SignIn,
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
        Ok(Self {
            integrations: IntegrationsTable::new(dynamodb.clone(), settings.integrations_table.clone()),
            bookkeeping: Bookkeeping::new(dynamodb, settings.integrations_table),
            dispatch: Dispatch::new(Vault::new(aws_sdk_kms::Client::new(aws)), sender),
            redelivery: Redelivery::new(
                deliveries.clone(),
                RetryMessages::new(sqs.clone(), settings.retry_queue_url),
                RetryMessages::new(sqs, settings.slow_lane_queue_url),
                settings.retention,
            ),
            deliveries,
            secrets_key_arn: settings.secrets_key_arn,
            retention: settings.retention,
            organization_claim: settings.organization_claim,
            max_integrations: settings.max_integrations,
            sign_in: settings.sign_in,
        })
    }
}

/// The time, to the millisecond: what is answered now and what is read later are the same.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// Every route, and what answers where there is none.
pub fn router(api: Arc<Api>) -> Router {
    let (router, document) = routes_and_document();
    let console = console::routes(&api.sign_in);
    router
        .with_state(api)
        .merge(openapi::routes(document))
        .merge(console)
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(input::MAX_BODY_BYTES))
        .layer(from_fn(as_it_was_routed))
        .layer(map_response(keep_nothing))
        .layer(compression::layer())
        .layer(map_response(compression::tag_apart))
}

/// API Gateway chooses a route, and with it who may use it, by a path whose escapes it has decoded. Read as a URL's after
/// that, it would end at a `#` and go up at `..`. No path of ours has an escape: where the two readings differ, there is
/// nothing.
async fn as_it_was_routed(request: Request, next: Next) -> Response {
    if request.extensions().raw_http_path() == request.uri().path() {
        next.run(request).await
    } else {
        Problem::NotFound.into_response()
    }
}

/// What is not said to be kept is kept by nobody: it is one organization's, may hold a secret, and is out of date at once.
async fn keep_nothing(mut response: Response) -> Response {
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The routes that need a token, and the document that describes them.
pub(crate) fn routes_and_document() -> (Router<Arc<Api>>, utoipa::openapi::OpenApi) {
    let (router, mut document) = OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(integrations::list, integrations::create))
        .routes(routes!(integrations::read, integrations::change, integrations::remove))
        .routes(routes!(test_button::test))
        .routes(routes!(rotation::rotate_secret))
        .routes(routes!(deliveries::log))
        .routes(routes!(deliveries::read))
        .routes(routes!(redelivery::redeliver))
        .routes(routes!(recovery::recover))
        .split_for_parts();
    openapi::close::<integrations::NewIntegration>(&mut document);
    openapi::close::<integrations::IntegrationPatch>(&mut document);
    openapi::close::<rotation::RotateSecret>(&mut document);
    openapi::close::<recovery::Recover>(&mut document);
    (router, document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_over_before_anyone_stops_waiting() {
        let seconds = Duration::from_secs;
        for (request_timeout, expected) in [(3, 3), (19, 19), (30, 19), (300, 19)] {
            assert_eq!(test_timeout(seconds(request_timeout)), seconds(expected));
            assert!(test_timeout(seconds(request_timeout)) + BODY_TIMEOUT <= LONGEST_TEST);
        }
        assert_eq!(LONGEST_TEST, seconds(20));
    }
}
