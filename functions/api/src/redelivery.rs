//! Sending a delivery again by hand: a new round of attempts, by the ledger's protocol.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use jiff::Timestamp;
use shared::delivery::Record;
use shared::integration::{Integration, Standing};
use shared::io::deliveries_table::{DeliveriesTable, Move, Prior, Written};
use shared::io::fault::Fault;
use shared::io::log;
use shared::io::queues::RetryMessages;
use shared::ledger::{self, NotRedeliverable};
use shared::retry_message::RetryMessage;
use shared::wait::longest_queue_delay;

use crate::caller::Caller;
use crate::deliveries::DeliveryView;
use crate::problem::{Conflict, Problem};
use crate::{Api, now};

/// How often a delivery that keeps changing is looked at anew.
const MAX_COLLISIONS: usize = 4;

/// Sends deliveries again.
pub struct Redelivery {
    deliveries: DeliveriesTable,
    retry_queue: RetryMessages,
    slow_lane: RetryMessages,
    retention: Duration,
}

/// Sends a delivery again that has ended, whatever its end was.
#[utoipa::path(
    post, path = "/integrations/{id}/deliveries/{delivery_id}/redeliver", tag = "Deliveries",
    operation_id = "redeliver",
    params(crate::openapi::DeliveryPath),
    responses(
        (status = ACCEPTED, description = "The delivery, which waits to be sent now.", body = DeliveryView),
        crate::openapi::Refusals, crate::openapi::NotThere,
        (status = CONFLICT, description = "It is still under way, was sent too often, or its integration is off.",
         body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn redeliver(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((id, delivery_id)): Path<(String, String)>,
) -> Result<(StatusCode, Json<DeliveryView>), Problem> {
    let integration = api.integration(caller, &id).await?;
    check_enabled(&integration)?;
    let record = api.delivery(&integration, &delivery_id).await?;
    let now = now();
    let record = api.redelivery.begin(record, now, now).await?;
    if let Err(fault) = api.redelivery.retry_queue.send(&message(&record), 0).await {
        // The ledger has it: the next sweep sends what this could not.
        log::unanswered(&fault);
    }
    Ok((StatusCode::ACCEPTED, Json(DeliveryView::of(&record))))
}

/// # Errors
/// [`Conflict::IntegrationDisabled`]: what is sent again to an integration that is off would be cancelled at once.
pub(crate) fn check_enabled(integration: &Integration) -> Result<(), Problem> {
    match integration.standing() {
        Standing::Enabled => Ok(()),
        Standing::Disabled | Standing::Deleted => Err(Problem::Conflict(Conflict::IntegrationDisabled)),
    }
}

impl Redelivery {
    pub fn new(
        deliveries: DeliveriesTable,
        retry_queue: RetryMessages,
        slow_lane: RetryMessages,
        retention: Duration,
    ) -> Self {
        Self { deliveries, retry_queue, slow_lane, retention }
    }

    /// Writes a delivery's new round to the ledger, to begin at `due_at`. Its message is still to be sent.
    ///
    /// # Errors
    /// [`Problem::Conflict`] when it cannot be sent again, or a fault.
    pub async fn begin(
        &self,
        mut record: Box<Record>,
        due_at: Timestamp,
        now: Timestamp,
    ) -> Result<Box<Record>, Problem> {
        for _ in 0..MAX_COLLISIONS {
            let state = record.state().map_err(Fault::from)?;
            let attempt = ledger::redeliver(&state, record.rounds, now).map_err(conflict)?;
            let expires_at = now.saturating_add(self.retention).unwrap_or(Timestamp::MAX).max(record.expires_at);
            // First, so that there is never a round without its payload.
            match self.deliveries.extend_payload(&record, expires_at).await {
                Ok(()) => {}
                Err(Fault::PayloadMissing) => return Err(Problem::Conflict(Conflict::PayloadGone)),
                Err(fault) => return Err(fault.into()),
            }
            let key = record.identity.key();
            let from = Prior::of(&state);
            // One that was given up in the middle of an attempt: it was begun before its lease ended, nobody knows when.
            let interrupted = record.with_interrupted_attempt(record.lease_until.unwrap_or(now));
            let (due_shard, rounds, interrupted) = (key.due_shard(), record.rounds + 1, interrupted.as_deref());
            let to = Move::Redeliver { attempt, due_at, due_shard, rounds, now, expires_at, interrupted };
            match self.deliveries.advance(key, from, &to).await? {
                Written::Applied(record) => return Ok(record),
                Written::Refused(Some(found)) => record = found,
                Written::Refused(None) => return Err(Problem::NotFound),
            }
        }
        Err(Fault::Contended.into())
    }

    /// Sends the messages of rounds that begin later, held back by the queue until then. They take the slow lane, so that
    /// thousands of them delay nobody's due retry.
    ///
    /// # Errors
    /// A fault when SQS fails; the next sweep then sends them.
    pub async fn send_later(&self, records: &[Box<Record>], now: Timestamp) -> Result<(), Fault> {
        let delay = |due_at| longest_queue_delay(due_at, now);
        let messages: Vec<_> = records.iter().map(|record| (message(record), record.due_at.map_or(0, delay))).collect();
        self.slow_lane.send_each(&messages).await
    }
}

fn conflict(reason: NotRedeliverable) -> Problem {
    Problem::Conflict(match reason {
        NotRedeliverable::InFlight => Conflict::InFlight,
        NotRedeliverable::TooManyRounds => Conflict::TooManyRounds,
    })
}

fn message(record: &Record) -> RetryMessage {
    let identity = &record.identity;
    RetryMessage {
        organization_id: identity.organization_id,
        integration_id: identity.integration_id,
        delivery_id: identity.delivery_id,
        attempt: record.attempt,
    }
}
