//! `GET /integrations`: lists an organization's integrations.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use crate::http::caller::Caller;
use crate::http::clock::now;
use crate::http::openapi::ClientErrors;
use crate::http::problem::Problem;
use crate::integrations::view::IntegrationList;
use crate::state::Api;

/// Lists the organization's integrations, oldest first, all on one page.
#[utoipa::path(
    get, path = "/integrations", tag = "Integrations", operation_id = "listIntegrations",
    responses(
        (status = OK, description = "The integrations.", body = IntegrationList),
        ClientErrors,
    )
)]
pub(crate) async fn list(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<IntegrationList>, Problem> {
    let mut integrations = api.integrations.all(caller).await?;
    integrations.sort_by_key(|integration| integration.created_at);
    Ok(Json(IntegrationList::of(&integrations, now())))
}
