//! `PATCH /integrations/{id}`: changes some of an integration's settings.

use std::sync::{Arc, Mutex, PoisonError};

use aws::log::{self, Changed};
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use domain::integration::Integration;
use domain::integration::secrets::Owner;
use http::HeaderMap;
use jiff::Timestamp;

use crate::http::body::MergePatchBody;
use crate::http::caller::Caller;
use crate::http::clock;
use crate::http::openapi::{
    BodyErrors, ClientErrors, Contended, IfMatch, IntegrationPath, NotFoundResponse, PreconditionFailed,
    TooManyRequestsResponse,
};
use crate::http::precondition::Precondition;
use crate::http::problem::Problem;
use crate::integrations::endpoint::vet;
use crate::integrations::patch::{IntegrationPatch, PatchError};
use crate::integrations::secrets;
use crate::integrations::view::{IntegrationView, with_version};
use crate::state::Api;
use crate::store::integrations::Change;
use crate::store::rate_limit::CostlyRequest;

/// Changes an integration with a JSON merge patch (RFC 7396).
///
/// Absent fields stay as they are; `null` resets a field to its default, or removes it. With `If-Match`, the change is
/// made only to the version that you read, otherwise to the current one. A patch that changes nothing makes no new
/// version.
///
/// An organization can create and change 60 integrations at once, and then one every 2 seconds.
#[utoipa::path(
    patch, path = "/integrations/{id}", tag = "Integrations", operation_id = "changeIntegration",
    params(IntegrationPath, IfMatch),
    request_body(content((IntegrationPatch = "application/merge-patch+json"), (IntegrationPatch = "application/json"))),
    responses(
        (status = OK, description = "The changed integration.", body = IntegrationView,
         headers(("ETag" = String, description = "Its version, for If-Match."))),
        ClientErrors, NotFoundResponse, BodyErrors, PreconditionFailed,
        TooManyRequestsResponse, Contended,
    )
)]
pub(crate) async fn update(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    MergePatchBody(patch): MergePatchBody<IntegrationPatch>,
) -> Result<impl IntoResponse, Problem> {
    let precondition = Precondition::read(&headers);
    // Every patch, because each opens the secrets to see what it changes.
    api.rate_limit.admit(caller.organization, CostlyRequest::Change, clock::now()).await?;
    let vetted = Mutex::default();
    let patched = |current, now| apply_patch(&api, current, &precondition, &patch, &vetted, now);
    match api.integrations.change(caller, &id, &precondition, patched).await? {
        Change::Nothing(integration) => Ok(with_version(&integration)),
        Change::Version(integration) => {
            log::changed(Changed::Changed, &integration);
            Ok(with_version(&integration))
        }
    }
}

/// Applies the patch to an integration. Nothing is written. `vetted` is the URL whose host was found to be allowed when
/// this request applied the patch before: looking it up again each time could take seconds.
async fn apply_patch(
    api: &Api,
    current: Integration,
    precondition: &Precondition,
    patch: &IntegrationPatch,
    vetted: &Mutex<Option<String>>,
    now: Timestamp,
) -> Result<Integration, Problem> {
    let open = secrets::still_valid(&*api.dispatch.secrets(&current).await?, now);
    let patched = match patch.apply(&current, &open, now, |url| api.read_new_url(url)) {
        Ok(patched) => patched,
        Err(PatchError::Invalid(errors)) => return Err(Problem::Invalid(errors)),
        Err(PatchError::MovesHeaderValues(errors)) => {
            // A caller with an outdated version may not know of these headers: 412 is the better answer then.
            precondition.check(current.version)?;
            return Err(Problem::Invalid(errors));
        }
    };
    // Also when it is switched on: even an unchanged host name may resolve to another address by now.
    let is_to_vet = patch.changes_url() || (patched.integration.enabled && !current.enabled);
    let url = &patched.integration.url;
    if is_to_vet && vetted.lock().unwrap_or_else(PoisonError::into_inner).as_ref() != Some(url) {
        vet(&api.dispatch, url).await?;
        vetted.lock().unwrap_or_else(PoisonError::into_inner).replace(url.clone());
    }
    let sealed = match patched.secrets {
        Some(open) => secrets::seal(api, &Owner::of(&patched.integration), &open).await?,
        None => current.secrets,
    };
    Ok(Integration { secrets: sealed, ..patched.integration })
}
