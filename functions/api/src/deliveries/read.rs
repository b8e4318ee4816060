//! `GET /integrations/{id}/deliveries/{delivery_id}`: one delivery, with its payload and every attempt.

use std::sync::Arc;

use aws::fault::Fault;
use axum::Json;
use axum::extract::{Path, State};

use crate::deliveries::view::DeliveryDetail;
use crate::http::caller::Caller;
use crate::http::openapi::{ClientErrors, DeliveryPath, NotFoundResponse};
use crate::http::problem::Problem;
use crate::state::Api;
use crate::store::deliveries::find;

/// Reads one delivery with its payload and attempts.
#[utoipa::path(
    get, path = "/integrations/{id}/deliveries/{delivery_id}", tag = "Deliveries", operation_id = "readDelivery",
    params(DeliveryPath),
    responses(
        (status = OK, description = "The delivery.", body = DeliveryDetail),
        ClientErrors, NotFoundResponse,
    )
)]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((id, delivery_id)): Path<(String, String)>,
) -> Result<Json<DeliveryDetail>, Problem> {
    let integration = api.integrations.find(caller, &id).await?;
    let record = find(&api.deliveries, &integration, &delivery_id).await?;
    let payload = match api.deliveries.payload(&record).await {
        Ok(payload) => Some(payload),
        Err(Fault::PayloadMissing) => None,
        Err(fault) => return Err(fault.into()),
    };
    Ok(Json(DeliveryDetail::of(&record, payload)))
}
