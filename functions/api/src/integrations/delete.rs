//! `DELETE /integrations/{id}`: replaces an integration with a tombstone.

use std::sync::Arc;
use std::time::Duration;

use aws::log::{self, Changed};
use axum::extract::{Path, State};
use domain::alert::filter::Filter;
use domain::integration::Integration;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;

use crate::http::caller::Caller;
use crate::http::openapi::{ClientErrors, Contended, IfMatch, IntegrationPath, NotFoundResponse, PreconditionFailed};
use crate::http::precondition::Precondition;
use crate::http::problem::Problem;
use crate::state::Api;
use crate::store::integrations::Change;

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
    let delete = |current: Integration, now| {
        let tombstone = tombstone(current, now, api.retention);
        async move { Ok(tombstone) }
    };
    let change = api.integrations.change(caller, &id, &Precondition::read(&headers), delete).await?;
    if let Change::Version(tombstone) = change {
        log::changed(Changed::Deleted, &tombstone);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// What remains of an integration for the retention time, so that its pending deliveries are cancelled properly.
fn tombstone(integration: Integration, now: Timestamp, retention: Duration) -> Integration {
    Integration {
        name: String::new(),
        url: String::new(),
        enabled: false,
        disabled_reason: None,
        disabled_at: None,
        filter: Filter::default(),
        secrets: None,
        health: None,
        deleted_at: Some(now),
        expires_at: Some(now.saturating_add(retention).unwrap_or(Timestamp::MAX)),
        ..integration
    }
}
