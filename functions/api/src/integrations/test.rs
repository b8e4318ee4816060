//! `POST /integrations/{id}/test`, the Test button: the documented sample payload, sent now, and everything that can be told
//! about how it went.
//!
//! It goes through the same code as every delivery, over a connection of its own so that each phase can be timed. It is
//! one request: a test is neither retried, nor does it switch the integration off.

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
use domain::alert::event::AlertEvent;
use domain::delivery::ledger::{End, Freshness, State as LedgerState};
use domain::delivery::payload::{StoredPayload, compress};
use domain::delivery::{Identity, Record};
use domain::endpoint::url::EndpointUrl;
use domain::ids::DeliveryId;
use domain::integration::Integration;
use domain::request::{Subject, wire_name};
use http::header::{CONTENT_LENGTH, HOST};
use jiff::Timestamp;
use sender::{OutgoingRequest, Probe, Timings};
use serde::Serialize;
use utoipa::ToSchema;

use crate::error_view::ErrorView;
use crate::http::caller::Caller;
use crate::http::clock::now;
use crate::http::openapi::{ClientErrors, Contended, IntegrationPath, NotFoundResponse, TooManyRequestsResponse};
use crate::http::problem::Problem;
use crate::state::Api;

/// The documented sample payload, as a producer would send it.
const SAMPLE: &str = include_str!("../../../../events/alert-triggered.json");

/// What stands for a customer's header value in what was sent.
const MASKED: &str = "••••";

/// How a test went.
#[derive(Serialize, ToSchema)]
pub struct TestResult {
    /// The test's place in the integration log.
    pub delivery_id: String,
    pub request: SentRequest,
    /// What came back; `null` when nothing did.
    #[schema(required = true)]
    pub response: Option<ReceivedResponse>,
    /// What the endpoint did: `accepted`, `rejected`, `timed_out`, `unreachable` or `blocked`.
    pub outcome: String,
    /// Why it failed and what to do about it; `null` when it did not.
    #[schema(required = true)]
    pub error: Option<ErrorView>,
    /// Until the response's headers had arrived; `null` when the time itself would tell about our network.
    #[schema(required = true)]
    pub duration_ms: Option<u64>,
    #[schema(required = true)]
    pub timings: Option<TimingsView>,
}

/// What was sent.
#[derive(Serialize, ToSchema)]
pub struct SentRequest {
    pub method: &'static str,
    pub url: String,
    /// By name, spelled as it was sent; the values of custom headers are masked.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// What came back.
#[derive(Serialize, ToSchema)]
pub struct ReceivedResponse {
    pub status_code: u16,
    /// The beginning of the body, cleaned up; `null` when it is empty or not text.
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

/// Sends the documented sample payload to the endpoint now, and tells how it went.
///
/// At most 10 a minute and organization. It is kept in the log as a test.
#[utoipa::path(
    post, path = "/integrations/{id}/test", tag = "Integrations", operation_id = "testIntegration",
    params(IntegrationPath),
    responses(
        (status = OK, description = "How it went, whatever the endpoint did.", body = TestResult),
        ClientErrors, NotFoundResponse, TooManyRequestsResponse, Contended,
    )
)]
pub(crate) async fn test(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<TestResult>, Problem> {
    let integration = api.integrations.find(caller, &id).await?;
    let started_at = now();
    let admitted = api.test_limit.admit(caller.organization, started_at).await?;
    admitted.map_err(|too_many| Problem::TooManyRequestsResponse {
        sentence: "Your organization has made 10 tests within a minute, the most it can make: wait a little.",
        until: too_many.until,
    })?;

    let identity = identity(&integration, started_at);
    let Identity { event_type, delivery_id: delivery, .. } = identity;
    let subject = Subject { event_type, delivery, attempt: 1, sent_at: started_at };
    let secrets = api.dispatch.secrets(&integration).await?;
    let request = Dispatch::request(&integration, &secrets, &subject, Bytes::from_static(sample_bytes()));
    let sent = shown(&integration, &request, api.dispatch.read_url(&integration.url).ok().as_ref());
    let probe = api.dispatch.probe(&integration, request).await?;
    let record = log_test(&api, identity, &probe, started_at).await?;
    log::tested(&record);
    Ok(Json(result(&record, sent, probe)))
}

/// A new delivery of the sample.
fn identity(integration: &Integration, started_at: Timestamp) -> Identity {
    let AlertEvent { event_type, alert_id, .. } = AlertEvent::parse(sample()).expect("a test of this file parses it");
    Identity {
        integration_id: integration.id,
        delivery_id: DeliveryId::new(started_at, random()),
        organization_id: integration.organization_id,
        event_type,
        alert_id,
        created_at: started_at,
    }
}

/// Keeps a test in the log, in one write: it has no message that would come back for it.
async fn log_test(api: &Api, identity: Identity, probe: &Probe, started_at: Timestamp) -> Result<Box<Record>, Problem> {
    let end = if probe.exchange.outcome.is_success() { End::Delivered } else { End::Failed };
    let state = LedgerState::Ended { attempt: 1, round_start: 1, end };
    let expires_at = started_at.saturating_add(api.retention).unwrap_or(Timestamp::MAX);
    let key = identity.key();
    let mut record = Box::new(Record::new(identity, &state, expires_at));
    record.test = true;
    record.add_attempt(build_attempt(&probe.exchange, 1, started_at, Freshness::First));
    match compress(sample_bytes()) {
        StoredPayload::Inline(deflated) => record.payload = Some(deflated.into()),
        StoredPayload::Separate(deflated) => api.deliveries.put_payload(key, deflated, expires_at).await?,
    }
    match api.deliveries.create(record.clone()).await? {
        // Its id is random: what is found in its place is itself, written by a call whose answer was lost.
        Written::Applied(_) | Written::Refused(_) => Ok(record),
    }
}

/// The sample without the final newline of a text file.
fn sample() -> &'static str {
    SAMPLE.trim_end()
}

fn sample_bytes() -> &'static [u8] {
    sample().as_bytes()
}

/// What is sent, with the two headers that the HTTP client adds. Without a `url` nothing is.
fn shown(integration: &Integration, request: &OutgoingRequest, url: Option<&EndpointUrl>) -> SentRequest {
    let value = |value: &http::HeaderValue| {
        if value.is_sensitive() { MASKED.to_owned() } else { String::from_utf8_lossy(value.as_bytes()).into_owned() }
    };
    let mut headers: BTreeMap<_, _> =
        request.headers.iter().map(|(name, shown)| (wire_name(name), value(shown))).collect();
    if let Some(authority) = url.and_then(|url| url.uri().authority()) {
        headers.insert(wire_name(&HOST), authority.to_string());
    }
    headers.insert(wire_name(&CONTENT_LENGTH), request.body.len().to_string());
    SentRequest {
        method: integration.method.as_str(),
        url: integration.url.clone(),
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

/// Milliseconds, to the microsecond.
fn in_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_an_alert_event_and_ends_where_it_ends() {
        assert!(AlertEvent::parse(sample()).is_ok());
        assert!(sample().starts_with('{') && sample().ends_with('}'));
    }

    #[test]
    fn milliseconds_keep_their_microseconds() {
        assert_eq!(in_ms(Duration::from_nanos(1_234_567)), 1.235);
        assert_eq!(in_ms(Duration::ZERO), 0.0);
    }
}
