//! `POST /integrations/{id}/deliveries/{delivery_id}/redeliver`: one delivery again, now.

use std::sync::Arc;

use aws::log;
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;

use crate::deliveries::view::DeliveryView;
use crate::http::caller::Caller;
use crate::http::clock::now;
use crate::http::openapi::{ClientErrors, DeliveryPath, NotFoundResponse};
use crate::http::problem::{Problem, ProblemDocument};
use crate::state::Api;
use crate::store::deliveries::find;
use crate::store::redelivery::check_enabled;

/// Sends a delivery again that has ended, whatever its end was.
#[utoipa::path(
    post, path = "/integrations/{id}/deliveries/{delivery_id}/redeliver", tag = "Deliveries",
    operation_id = "redeliver",
    params(DeliveryPath),
    responses(
        (status = ACCEPTED, description = "The delivery, which waits to be sent now.", body = DeliveryView),
        ClientErrors, NotFoundResponse,
        (status = CONFLICT, description = "It is still under way, was sent too often, was a test, or has no payload any \
                                           more; its integration is off; or others are sending it at this moment, and \
                                           Retry-After says when to ask again.",
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
    let record = find(&api.deliveries, &integration, &delivery_id).await?;
    let now = now();
    let record = api.redelivery.begin(record, now, now).await?;
    if let Err(fault) = api.redelivery.send_now(&record).await {
        // The ledger has it: the next sweep sends what this could not.
        log::request_failed(&fault);
    }
    Ok((StatusCode::ACCEPTED, Json(DeliveryView::of(&record))))
}
