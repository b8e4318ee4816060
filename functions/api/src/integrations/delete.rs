//! `DELETE /integrations/{id}`: deletes an integration, and leaves a tombstone.

use std::sync::Arc;

use aws::log::{self, Changed};
use axum::extract::{Path, State};
use http::{HeaderMap, StatusCode};

use crate::http::caller::Caller;
use crate::http::openapi::{ClientErrors, Contended, IfMatch, IntegrationPath, NotFoundResponse, PreconditionFailed};
use crate::http::precondition::Precondition;
use crate::http::problem::Problem;
use crate::state::Api;

/// Deletes an integration.
///
/// Its pending deliveries are cancelled, and its log can no longer be read.
#[utoipa::path(
    delete, path = "/integrations/{id}", tag = "Integrations", operation_id = "deleteIntegration",
    params(IntegrationPath, IfMatch),
    responses(
        (status = NO_CONTENT, description = "The integration is deleted."),
        ClientErrors, NotFoundResponse, PreconditionFailed, Contended,
    )
)]
pub(crate) async fn delete(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let deleted = api.integrations.delete(caller, &id, &Precondition::read(&headers), api.retention).await?;
    log::changed(Changed::Deleted, &deleted);
    Ok(StatusCode::NO_CONTENT)
}
