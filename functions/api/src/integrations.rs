//! `/integrations`: what customers see and change of their webhooks.

mod draft;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{AppendHeaders, IntoResponse};
use http::header::{ETAG, LOCATION};
use http::{HeaderMap, StatusCode};
use shared::endpoint_url::UrlRefused;
use shared::ids::{IntegrationId, OrganizationId};
use shared::integration::{Integration, Standing};
use shared::io::fault::Fault;
use shared::io::log::{self, Changed};
use shared::io::sender::HostVetting;
use shared::io::vault::random;
use shared::sealed::Owner;
use shared::signature::SigningSecret;

pub use draft::{IntegrationPatch, NewIntegration, SecretOrigin};
pub use view::{IntegrationList, IntegrationView, IntegrationWithSecret};

use crate::bookkeeping::Creation;
use crate::caller::Caller;
use crate::fields;
use crate::idempotency::RequestKey;
use crate::input::{JsonBody, Precondition, entity_tag};
use crate::problem::{Conflict, FieldError, Problem};
use crate::revision::Revision;
use crate::{Api, now};

/// How often creating one is tried again when others create some too.
const MAX_COLLISIONS: usize = 8;

/// The most integrations and tombstones of an organization together. Delivering reads them all for every alert, so
/// creating and deleting in a loop must not make that dear.
const MAX_REMEMBERED: usize = 1_000;

/// The request header that makes creating safe to repeat.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Lists the organization's integrations, oldest first, all on one page.
#[utoipa::path(
    get, path = "/integrations", tag = "Integrations", operation_id = "listIntegrations",
    responses(
        (status = OK, description = "The integrations.", body = IntegrationList),
        crate::openapi::Refusals,
    )
)]
pub(crate) async fn list(State(api): State<Arc<Api>>, caller: Caller) -> Result<Json<IntegrationList>, Problem> {
    let mut integrations = api.living(caller.organization).await?;
    integrations.sort_by_key(|integration| integration.created_at);
    Ok(Json(IntegrationList::of(&integrations, now())))
}

/// Creates an integration.
///
/// With an `Idempotency-Key`, asking again within 24 hours gives the same answer and creates nothing more.
#[utoipa::path(
    post, path = "/integrations", tag = "Integrations", operation_id = "createIntegration",
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes it safe to ask again.",
            min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
    request_body = NewIntegration,
    responses(
        (status = CREATED, description = "The integration; with a generated secret, which is shown this once.",
         body = IntegrationWithSecret,
         headers(("Location" = String, description = "Where it is."), ("ETag" = String, description = "Its version."))),
        crate::openapi::Refusals, crate::openapi::BodyRefusals,
        (status = CONFLICT, description = "The organization has as many integrations as it can have.",
         body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBody<NewIntegration>,
) -> Result<impl IntoResponse, Problem> {
    let key = request_key(&headers)?;
    let draft = body.value.check(|url| api.dispatch.read_url(url)).map_err(Problem::Invalid)?;
    api.vet(&draft.url).await?;
    let request = key.as_ref().map(|key| (key, key.fingerprint(&body.bytes)));
    for _ in 0..MAX_COLLISIONS {
        if let Some(earlier) = api.created_earlier(caller.organization, request).await? {
            return Ok(created(&earlier.0, earlier.1.as_ref()));
        }
        let generation = api.bookkeeping.generation(caller.organization).await?;
        api.check_room(caller.organization).await?;
        let now = now();
        let owner = Owner { organization: caller.organization, integration: IntegrationId::new(now, random()) };
        let generated = (draft.secret_origin == SecretOrigin::Generated).then(|| SigningSecret::generate(random()));
        let secrets = draft.secrets(generated.clone());
        let sealed = api.dispatch.vault().seal(&api.secrets_key_arn, &owner, &secrets).await?;
        let integration = draft.integration(&owner, sealed, now);
        let written = api.bookkeeping.create(&integration, generation, request, draft.secret_origin).await?;
        if written == Creation::Done {
            log::changed(Changed::Created, &integration);
            return Ok(created(&integration, generated.as_ref()));
        }
        // Those who collided part ways.
        let [milliseconds] = random::<1>();
        tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
    }
    Err(Fault::Contended.into())
}

/// Reads one integration.
#[utoipa::path(
    get, path = "/integrations/{id}", tag = "Integrations", operation_id = "readIntegration",
    params(crate::openapi::IntegrationPath),
    responses(
        (status = OK, description = "The integration.", body = IntegrationView,
         headers(("ETag" = String, description = "Its version, for If-Match."))),
        crate::openapi::Refusals, crate::openapi::NotThere,
    )
)]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    Ok(shown(&api.integration(caller, &id).await?))
}

/// Changes an integration by a JSON merge patch (RFC 7396): what is absent stays, `null` removes.
///
/// Without `If-Match` the change is made to whichever version there is; with it, only to the version that was read.
#[utoipa::path(
    patch, path = "/integrations/{id}", tag = "Integrations", operation_id = "changeIntegration",
    params(crate::openapi::IntegrationPath, crate::openapi::IfMatch),
    request_body(content((IntegrationPatch = "application/merge-patch+json"), (IntegrationPatch = "application/json"))),
    responses(
        (status = OK, description = "The integration as it is now.", body = IntegrationView,
         headers(("ETag" = String, description = "Its version, for If-Match."))),
        crate::openapi::Refusals, crate::openapi::NotThere, crate::openapi::BodyRefusals, crate::openapi::Outdated,
    )
)]
pub(crate) async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: JsonBody<IntegrationPatch>,
) -> Result<impl IntoResponse, Problem> {
    let changed = api.revise(caller, &id, &Precondition::read(&headers), &Revision::Patch(&body.value)).await?;
    log::changed(Changed::Changed, &changed);
    Ok(shown(&changed))
}

/// Deletes an integration. What is still on its way to it is cancelled; its log is gone.
#[utoipa::path(
    delete, path = "/integrations/{id}", tag = "Integrations", operation_id = "deleteIntegration",
    params(crate::openapi::IntegrationPath, crate::openapi::IfMatch),
    responses(
        (status = NO_CONTENT, description = "It is gone."),
        crate::openapi::Refusals, crate::openapi::NotThere, crate::openapi::Outdated,
    )
)]
pub(crate) async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let tombstone = api.revise(caller, &id, &Precondition::read(&headers), &Revision::Deletion).await?;
    log::changed(Changed::Deleted, &tombstone);
    Ok(StatusCode::NO_CONTENT)
}

impl Api {
    /// One of the caller's integrations. Those of others, and deleted ones, are not there.
    ///
    /// # Errors
    /// [`Problem::NotFound`], or a fault.
    pub(crate) async fn integration(&self, caller: Caller, id: &str) -> Result<Integration, Problem> {
        let id = id.parse().map_err(|_| Problem::NotFound)?;
        let found = self.integrations.find(caller.organization, id).await?;
        found.filter(is_living).ok_or(Problem::NotFound)
    }

    async fn living(&self, organization: OrganizationId) -> Result<Vec<Integration>, Problem> {
        let found = self.integrations.of_organization(organization).await?;
        if found.unreadable > 0 {
            return Err(Fault::UnreadableItem { table: "integrations" }.into());
        }
        Ok(found.readable.into_iter().filter(is_living).collect())
    }

    async fn check_room(&self, organization: OrganizationId) -> Result<(), Problem> {
        let found = self.integrations.of_organization(organization).await?;
        let living = found.readable.iter().filter(|integration| is_living(integration)).count() + found.unreadable;
        if living >= self.max_integrations {
            return Err(Problem::Conflict(Conflict::TooManyIntegrations { most: self.max_integrations }));
        }
        if found.readable.len() >= MAX_REMEMBERED.max(2 * self.max_integrations) {
            return Err(Problem::Conflict(Conflict::TooManyDeleted));
        }
        Ok(())
    }

    /// What the same request created before, with the secret that was generated for it as long as it has not changed.
    async fn created_earlier(
        &self,
        organization: OrganizationId,
        request: Option<(&RequestKey, [u8; crate::idempotency::FINGERPRINT_BYTES])>,
    ) -> Result<Option<(Integration, Option<SigningSecret>)>, Problem> {
        let Some((key, fingerprint)) = request else { return Ok(None) };
        let Some(earlier) = self.bookkeeping.remembered(organization, key, now()).await? else {
            return Ok(None);
        };
        if earlier.fingerprint.as_slice() != fingerprint {
            let message = "This Idempotency-Key was used for another body: use a new key for a new integration.";
            return Err(Problem::field("Idempotency-Key", message));
        }
        let found = self.integrations.find(organization, earlier.created).await?.filter(is_living);
        let integration = found.ok_or(Problem::Conflict(Conflict::CreatedAndDeleted))?;
        let generated = if earlier.secret_origin == SecretOrigin::Generated && integration.version == FIRST_VERSION {
            self.dispatch.secrets(&integration).await?.signing.as_ref().map(|signing| signing.current.clone())
        } else {
            None
        };
        Ok(Some((integration, generated)))
    }

    /// Looks whether requests may be sent to a URL's host. A name that does not resolve is let through: it may be made
    /// later, and every attempt looks again.
    pub(crate) async fn vet(&self, url: &str) -> Result<(), Problem> {
        let refused = |refused| Problem::Invalid(vec![fields::url_error(refused)]);
        let url = self.dispatch.read_url(url).map_err(refused)?;
        match self.dispatch.vet_host(&url).await {
            HostVetting::Forbidden => Err(refused(UrlRefused::ForbiddenAddress)),
            HostVetting::Public | HostVetting::Unresolved => Ok(()),
        }
    }
}

/// The version that an integration is created with.
pub(crate) const FIRST_VERSION: u64 = 1;

fn is_living(integration: &Integration) -> bool {
    integration.standing() != Standing::Deleted
}

fn request_key(headers: &HeaderMap) -> Result<Option<RequestKey>, Problem> {
    let key = headers.get(IDEMPOTENCY_KEY).map(|value| RequestKey::parse(value.as_bytes())).transpose();
    key.map_err(|refused| Problem::Malformed(FieldError::new("Idempotency-Key", refused.to_string())))
}

fn created(integration: &Integration, generated: Option<&SigningSecret>) -> impl IntoResponse + use<> {
    let location = format!("/integrations/{}", integration.id);
    let headers = AppendHeaders([(LOCATION, location), (ETAG, entity_tag(integration.version))]);
    (StatusCode::CREATED, headers, Json(IntegrationWithSecret::of(integration, generated, now())))
}

fn shown(integration: &Integration) -> impl IntoResponse + use<> {
    let headers = AppendHeaders([(ETAG, entity_tag(integration.version))]);
    (headers, Json(IntegrationView::of(integration, now())))
}
