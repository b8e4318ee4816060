//! `GET /integrations/{id}`: reads one integration.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::IntoResponse;

use crate::http::caller::Caller;
use crate::http::openapi::{ClientErrors, IntegrationPath, NotFoundResponse};
use crate::http::problem::Problem;
use crate::integrations::view::{IntegrationView, with_version};
use crate::state::Api;

/// Reads one integration.
#[utoipa::path(
    get, path = "/integrations/{id}", tag = "Integrations", operation_id = "readIntegration",
    params(IntegrationPath),
    responses(
        (status = OK, description = "The integration.", body = IntegrationView,
         headers(("ETag" = String, description = "Its version, for If-Match."))),
        ClientErrors, NotFoundResponse,
    )
)]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    Ok(with_version(&api.integrations.find(caller, &id).await?))
}
