//! `POST /integrations/{id}/deliveries/{delivery_id}/redeliver`: sends one delivery again, now.

use std::sync::Arc;

use aws::log;
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;

use crate::deliveries::view::DeliveryView;
use crate::http::caller::Caller;
use crate::http::clock::now;
use crate::http::openapi::{ClientErrors, DeliveryPath, NotFoundResponse, TooManyRequestsResponse};
use crate::http::problem::{Problem, ProblemDocument};
use crate::state::Api;
use crate::store::deliveries::find;
use crate::store::rate_limit::CostlyRequest;
use crate::store::redelivery::check_enabled;

/// Sends a delivery again that was delivered, has failed or was cancelled.
///
/// It gets a new series of attempts, the first one immediately. `redeliveries_left` is the number of times that it can
/// still be sent again.
///
/// An organization can redeliver and recover 60 times at once, and then once every second.
#[utoipa::path(
    post, path = "/integrations/{id}/deliveries/{delivery_id}/redeliver", tag = "Deliveries",
    operation_id = "redeliver",
    params(DeliveryPath),
    responses(
        (status = ACCEPTED, description = "The delivery, about to be sent.", body = DeliveryView),
        ClientErrors, NotFoundResponse, TooManyRequestsResponse,
        (status = CONFLICT, description = "The delivery is still in progress, has no redeliveries left, was a test, or \
                                           its payload is no longer stored; its integration is switched off; or \
                                           another request is changing it: try again after the time in Retry-After.",
         body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn redeliver(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((id, delivery_id)): Path<(String, String)>,
) -> Result<(StatusCode, Json<DeliveryView>), Problem> {
    let integration = api.integrations.find(caller, &id).await?;
    check_enabled(&integration)?;
    let now = now();
    api.rate_limit.admit(caller.organization, CostlyRequest::Send, now).await?;
    let record = find(&api.deliveries, &integration, &delivery_id).await?;
    let record = api.redelivery.begin(record, now, now).await?;
    if let Err(fault) = api.redelivery.send_now(&record).await {
        // The new round is in the ledger, so the next sweep sends the message.
        log::request_failed(&fault);
    }
    Ok((StatusCode::ACCEPTED, Json(DeliveryView::of(&record))))
}
