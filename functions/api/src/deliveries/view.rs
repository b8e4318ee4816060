//! A delivery, as the API returns it.

use domain::attempt::Attempt;
use domain::delivery::ledger::MAX_ROUNDS;
use domain::delivery::{Record, Status};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::error_view::ErrorView;

/// One HTTP request of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Attempt)]
pub struct AttemptView {
    /// Counts from 1.
    pub number: u32,
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// How long the attempt took, up to the response's headers; `null` when that is unknown or could reveal something
    /// about our network.
    #[schema(required = true)]
    pub duration_ms: Option<u64>,
    /// What the endpoint did: `accepted`, `rejected`, `timed_out`, `unreachable` or `blocked`; `unknown` when the
    /// attempt was interrupted on our side and not repeated.
    pub outcome: String,
    /// The status code of the response; `null` when there was none.
    #[schema(required = true)]
    pub status_code: Option<u16>,
    /// Why the attempt failed; `null` when it did not.
    #[schema(required = true)]
    pub error: Option<ErrorView>,
    /// The beginning of the response's body, cleaned up, when the endpoint rejected the attempt.
    #[schema(required = true)]
    pub response_excerpt: Option<String>,
    /// Whether the endpoint may have received this attempt twice, because the worker that made it was interrupted.
    pub possible_duplicate: bool,
}

/// One alert event on its way to an integration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryView {
    #[schema(example = "dlv_01JH7VVHV81KJMEKY94GFHBBTY")]
    pub id: String,
    pub integration_id: String,
    #[schema(value_type = crate::http::openapi::StatusName)]
    pub status: &'static str,
    #[schema(value_type = crate::http::openapi::EventTypeName)]
    pub event_type: &'static str,
    #[schema(value_type = crate::http::openapi::WholeNumber)]
    pub alert_id: u64,
    /// Whether this is a test, made with the Test button.
    pub test: bool,
    /// When the alert event was received.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When the next attempt is due; `null` unless the delivery waits for one.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// The attempts so far, oldest first; only the last ten are stored.
    pub attempts: Vec<AttemptView>,
    /// Why the delivery was cancelled; `null` when it was not.
    #[schema(required = true)]
    pub cancel_reason: Option<ErrorView>,
    /// How many more times it can be sent again; 0 for a test.
    pub redeliveries_left: u32,
}

/// A delivery with its payload.
#[derive(Serialize, ToSchema)]
pub struct DeliveryDetail {
    #[serde(flatten)]
    pub delivery: DeliveryView,
    /// The alert event, byte for byte as it is sent; `null` when it is no longer stored.
    #[schema(required = true, value_type = Option<Object>)]
    pub payload: Option<Box<RawValue>>,
}

/// A page of the integration log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DeliveryList {
    pub items: Vec<DeliveryView>,
    /// The `cursor` of the next page; `null` on the last.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

impl DeliveryView {
    pub fn of(record: &Record) -> Self {
        let identity = &record.identity;
        Self {
            id: identity.delivery_id.to_string(),
            integration_id: identity.integration_id.to_string(),
            status: record.status.as_str(),
            event_type: identity.event_type.as_str(),
            alert_id: identity.alert_id,
            test: record.test,
            created_at: identity.created_at,
            next_attempt_at: record.due_at.filter(|_| record.status == Status::Waiting),
            attempts: record.attempts.iter().map(AttemptView::of).collect(),
            cancel_reason: record.cancel_reason.map(ErrorView::from),
            redeliveries_left: if record.test { 0 } else { MAX_ROUNDS.saturating_sub(record.rounds) },
        }
    }
}

impl DeliveryDetail {
    /// `payload` is what the delivery sends. It is JSON: it was parsed on receipt.
    pub fn of(record: &Record, payload: Option<Vec<u8>>) -> Self {
        let payload = payload.and_then(|payload| String::from_utf8(payload).ok());
        let payload = payload.and_then(|payload| RawValue::from_string(payload).ok());
        Self { delivery: DeliveryView::of(record), payload }
    }
}

impl AttemptView {
    fn of(attempt: &Attempt) -> Self {
        Self {
            number: attempt.number,
            started_at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            outcome: attempt.outcome.clone(),
            status_code: attempt.status_code,
            error: attempt.error.as_ref().map(ErrorView::from),
            response_excerpt: attempt.response_excerpt.clone(),
            possible_duplicate: attempt.possible_duplicate,
        }
    }
}
