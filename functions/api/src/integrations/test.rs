//! `POST /integrations/{id}/test`, the Test button: sends a sample event now, and reports the request, the response and
//! the timings.
//!
//! A test uses the same code as every delivery, but a connection of its own so that each phase can be timed. It is a
//! single request: a test is never retried, and never switches the integration off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws::dynamodb::deliveries_table::Written;
use aws::kms::vault::random;
use aws::log;
use aws::runner::{Dispatch, build_attempt};
use axum::Json;
use axum::extract::{Path, State};
use bytes::Bytes;
use domain::alert::event::EventType;
use domain::delivery::ledger::{End, Freshness, State as LedgerState};
use domain::delivery::payload::{StoredPayload, compress};
use domain::delivery::{Identity, Record};
use domain::endpoint::url::EndpointUrl;
use domain::ids::DeliveryId;
use domain::integration::Integration;
use domain::json::{Fields, InvalidField, Object, Others};
use domain::request::{Occasion, Subject, wire_name};
use http::header::{CONTENT_LENGTH, HOST};
use jiff::Timestamp;
use sender::{OutgoingRequest, Probe, Timings};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error_view::ErrorView;
use crate::http::body::{FromBody, OptionalJsonBody};
use crate::http::caller::Caller;
use crate::http::clock::now;
use crate::http::openapi::{
    BodyErrors, ClientErrors, Contended, EventTypeName, IntegrationPath, NotFoundResponse, TooManyRequestsResponse,
};
use crate::http::problem::Problem;
use crate::integrations::sample::{alert_id, sample};
use crate::state::Api;
use crate::store::rate_limit::CostlyRequest;

/// What a customer's header values are replaced with in the result.
const MASKED: &str = "••••";

/// What a test sends.
#[derive(Default, ToSchema)]
pub struct TestOptions {
    /// The type of the event; `alert.triggered` if absent. The integration's filters do not matter.
    #[schema(required = false, value_type = EventTypeName)]
    event_type: Option<EventType>,
}

impl FromBody for TestOptions {
    const FIELDS: Fields = Fields { names: &["event_type"], others: Others::Refused };

    fn read(object: &Object<'_>) -> Result<Self, InvalidField> {
        Ok(Self { event_type: object.optional("event_type", &EventType::EXPECTED)? })
    }
}

/// The result of a test.
#[derive(Serialize, ToSchema)]
pub struct TestResult {
    /// The id of the test's delivery in the integration log.
    pub delivery_id: String,
    pub request: SentRequest,
    /// What the endpoint answered; `null` when there was no response.
    #[schema(required = true)]
    pub response: Option<ReceivedResponse>,
    /// What the endpoint did: `accepted`, `rejected`, `timed_out`, `unreachable` or `blocked`.
    pub outcome: String,
    /// Why the test failed and what to do about it; `null` when it succeeded.
    #[schema(required = true)]
    pub error: Option<ErrorView>,
    /// The time until the response's headers arrived; `null` when that could reveal something about our network.
    #[schema(required = true)]
    pub duration_ms: Option<u64>,
    /// How long each phase took; `null` when that could reveal something about our network.
    #[schema(required = true)]
    pub timings: Option<TimingsView>,
}

/// The request that was sent.
#[derive(Serialize, ToSchema)]
pub struct SentRequest {
    pub method: &'static str,
    /// The URL that was called: the integration's, normalized.
    pub url: String,
    /// The headers by name, spelled as they were sent; the values of custom headers are masked.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// The response of the endpoint.
#[derive(Serialize, ToSchema)]
pub struct ReceivedResponse {
    pub status_code: u16,
    /// The beginning of the response's body, cleaned up; `null` when it is empty or not text.
    #[schema(required = true)]
    pub excerpt: Option<String>,
}

/// How long each phase took, in milliseconds; `null` for one that was not reached or not needed.
#[derive(Serialize, ToSchema)]
pub struct TimingsView {
    /// Resolving the host name.
    #[schema(required = true)]
    pub dns_ms: Option<f64>,
    #[schema(required = true)]
    pub connect_ms: Option<f64>,
    /// The TLS handshake.
    #[schema(required = true)]
    pub tls_ms: Option<f64>,
    /// From the connection until the response's headers.
    #[schema(required = true)]
    pub first_byte_ms: Option<f64>,
}

/// Sends a sample event to the endpoint now, and returns the result.
///
/// The request is like that of an alert which has just been triggered, resolved or acknowledged, but has the header
/// `X-Roboticks-Test: true`, and `alert.id` is a random number from 2^52 to 2^53 - 1, the id of no real alert. An
/// organization can make 10 tests at once, and then one every 6 seconds. A test appears in the integration log, and is
/// never retried.
#[utoipa::path(
    post, path = "/integrations/{id}/test", tag = "Integrations", operation_id = "testIntegration",
    params(IntegrationPath),
    request_body = Option<TestOptions>,
    responses(
        (status = OK, description = "The result, whether the endpoint accepted the test or not.", body = TestResult),
        ClientErrors, NotFoundResponse, BodyErrors, TooManyRequestsResponse, Contended,
    )
)]
pub(crate) async fn test(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    OptionalJsonBody { value: options, .. }: OptionalJsonBody<TestOptions>,
) -> Result<Json<TestResult>, Problem> {
    let integration = api.integrations.find(caller, &id).await?;
    let started_at = now();
    api.rate_limit.admit(caller.organization, CostlyRequest::Test, started_at).await?;

    let identity = Identity {
        integration_id: integration.id,
        delivery_id: DeliveryId::new(started_at, random()),
        organization_id: integration.organization_id,
        event_type: options.event_type.unwrap_or(EventType::Triggered),
        alert_id: alert_id(random()),
        created_at: started_at,
    };
    let Identity { event_type, delivery_id: delivery, .. } = identity;
    let body = Bytes::from(sample(event_type, identity.alert_id, started_at));
    let subject = Subject { occasion: Occasion::Test, event_type, delivery, attempt: 1, sent_at: started_at };
    let secrets = api.dispatch.secrets(&integration).await?;
    let request = Dispatch::request(&integration, &secrets, &subject, body.clone());
    let sent = sent_request(&integration, &request, api.dispatch.read_url(&integration.url).ok().as_ref());
    let probe = api.dispatch.probe(&integration, request).await?;
    let record = log_test(&api, identity, &body, &probe, started_at).await?;
    log::tested(&record);
    Ok(Json(result(&record, sent, probe)))
}

/// Records a test in the log when it has ended, in one write: no message would come back for one left unfinished.
async fn log_test(
    api: &Api,
    identity: Identity,
    body: &[u8],
    probe: &Probe,
    started_at: Timestamp,
) -> Result<Box<Record>, Problem> {
    let end = if probe.exchange.outcome.is_success() { End::Delivered } else { End::Failed };
    let state = LedgerState::Ended { attempt: 1, round_start: 1, end };
    let expires_at = started_at.saturating_add(api.retention).unwrap_or(Timestamp::MAX);
    let key = identity.key();
    let mut record = Box::new(Record::new(identity, &state, expires_at));
    record.test = true;
    record.add_attempt(build_attempt(&probe.exchange, 1, started_at, Freshness::First));
    match compress(body) {
        StoredPayload::Inline(deflated) => record.payload = Some(deflated.into()),
        StoredPayload::Separate(deflated) => api.deliveries.put_payload(key, deflated, expires_at).await?,
    }
    match api.deliveries.create(record.clone()).await? {
        // The id is random, so a record found under it is this one, written by a call whose response was lost.
        Written::Applied(_) | Written::Refused(_) => Ok(record),
    }
}

/// The request as the result shows it, with the two headers that the HTTP client adds. `url` is `None` if it is
/// invalid.
fn sent_request(integration: &Integration, request: &OutgoingRequest, url: Option<&EndpointUrl>) -> SentRequest {
    let value = |value: &http::HeaderValue| {
        if value.is_sensitive() { MASKED.to_owned() } else { String::from_utf8_lossy(value.as_bytes()).into_owned() }
    };
    let mut headers: BTreeMap<_, _> =
        request.headers.iter().map(|(name, sent)| (wire_name(name), value(sent))).collect();
    if let Some(authority) = url.and_then(|url| url.uri().authority()) {
        headers.insert(wire_name(&HOST), authority.to_string());
    }
    headers.insert(wire_name(&CONTENT_LENGTH), request.body.len().to_string());
    SentRequest {
        method: integration.method.as_str(),
        url: url.map_or(integration.url.as_str(), EndpointUrl::as_str).to_owned(),
        headers,
        body: String::from_utf8_lossy(&request.body).into_owned(),
    }
}

fn result(record: &Record, request: SentRequest, probe: Probe) -> TestResult {
    let outcome = &probe.exchange.outcome;
    TestResult {
        delivery_id: record.identity.delivery_id.to_string(),
        request,
        response: outcome
            .status()
            .map(|status_code| ReceivedResponse { status_code, excerpt: probe.exchange.excerpt.clone() }),
        outcome: outcome.kind().to_owned(),
        error: ErrorView::of_outcome(outcome),
        duration_ms: record.attempts.first().and_then(|attempt| attempt.duration_ms),
        timings: probe.timings.map(timings),
    }
}

fn timings(timings: Timings) -> TimingsView {
    let Timings { dns, connect, tls, first_byte } = timings;
    TimingsView {
        dns_ms: dns.map(in_ms),
        connect_ms: connect.map(in_ms),
        tls_ms: tls.map(in_ms),
        first_byte_ms: first_byte.map(in_ms),
    }
}

/// Milliseconds, rounded to the microsecond.
fn in_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_keep_their_microseconds() {
        assert_eq!(in_ms(Duration::from_nanos(1_234_567)), 1.235);
        assert_eq!(in_ms(Duration::ZERO), 0.0);
    }
}
