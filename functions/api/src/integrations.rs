//! `/integrations`: what customers see and change of their webhooks.

mod draft;
mod view;

use std::sync::Arc;

use aws::dynamodb::conditional::{Conditional, with_backoff};
use aws::kms::vault::random;
use aws::log::{self, Changed};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{AppendHeaders, IntoResponse};
use domain::endpoint::url::UrlRefused;
use domain::ids::{IntegrationId, OrganizationId};
use domain::integration::secrets::Owner;
use domain::integration::{Integration, Standing};
use domain::request::signature::SigningSecret;
use http::header::{ETAG, LOCATION};
use http::{HeaderMap, StatusCode};
use sender::HostVetting;

use draft::Draft;
pub use draft::{IntegrationPatch, NewIntegration, PatchRefused, SecretOrigin};
pub use view::{IntegrationList, IntegrationView, IntegrationWithSecret};

use crate::caller::Caller;
use crate::fields;
use crate::idempotency::{KeyedRequest, Purpose};
use crate::input::{JsonBody, MergePatchBody, Precondition, entity_tag};
use crate::problem::{Conflict, Problem};
use crate::revision::{Revised, Revision};
use crate::{Api, now};

/// The most integrations and tombstones of an organization together. Delivering reads them all for every alert, so
/// creating and deleting in a loop must not make that dear.
const MAX_REMEMBERED: usize = 1_000;

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
    params(crate::openapi::IdempotencyKey),
    request_body = NewIntegration,
    responses(
        (status = CREATED, description = "The integration; with a generated secret, which is shown this once.",
         body = IntegrationWithSecret,
         headers(("Location" = String, description = "Where it is."), ("ETag" = String, description = "Its version."))),
        crate::openapi::Refusals, crate::openapi::BodyRefusals,
        (status = CONFLICT, description = "The organization has as many integrations as it can have, or has deleted too \
                                           many lately; what was created with this Idempotency-Key was deleted since; or \
                                           others are creating some at this moment, and Retry-After says when to ask again.",
         body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBody<NewIntegration>,
) -> Result<impl IntoResponse, Problem> {
    let request = KeyedRequest::read(&headers, Purpose::Create, &body.bytes)?;
    let draft = body.value.check(|url| api.dispatch.read_url(url)).map_err(Problem::Invalid)?;
    api.vet(&draft.url).await?;
    with_backoff((), |()| async {
        // First: whatever is created from here on, the same request carried out elsewhere included, is a conflict.
        let generation = api.bookkeeping.generation(caller.organization).await?;
        if let Some((integration, secret)) = api.created_before(caller.organization, request.as_ref()).await? {
            return Ok(Conditional::Applied(created(&integration, secret.as_ref())));
        }
        api.check_room(caller.organization).await?;
        let (integration, generated) = api.made(&draft, caller.organization).await?;
        let written = api.bookkeeping.create(&integration, generation, request.as_ref(), draft.secret_origin).await?;
        Ok(written.map(|()| {
            log::changed(Changed::Created, &integration);
            created(&integration, generated.as_ref())
        }))
    })
    .await
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
/// Without `If-Match` the change is made to whichever version there is; with it, only to the version that was read. What
/// changes nothing makes no new version.
#[utoipa::path(
    patch, path = "/integrations/{id}", tag = "Integrations", operation_id = "changeIntegration",
    params(crate::openapi::IntegrationPath, crate::openapi::IfMatch),
    request_body(content((IntegrationPatch = "application/merge-patch+json"), (IntegrationPatch = "application/json"))),
    responses(
        (status = OK, description = "The integration as it is now.", body = IntegrationView,
         headers(("ETag" = String, description = "Its version, for If-Match."))),
        crate::openapi::Refusals, crate::openapi::NotThere, crate::openapi::BodyRefusals, crate::openapi::Outdated,
        crate::openapi::Contended,
    )
)]
pub(crate) async fn change(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    MergePatchBody(patch): MergePatchBody<IntegrationPatch>,
) -> Result<impl IntoResponse, Problem> {
    match api.revise(caller, &id, &Precondition::read(&headers), &Revision::Patch(&patch)).await? {
        Revised::Unchanged(integration) => Ok(shown(&integration)),
        Revised::Next(changed) => {
            log::changed(Changed::Changed, &changed);
            Ok(shown(&changed))
        }
    }
}

/// Deletes an integration. What is still on its way to it is cancelled; its log is gone.
#[utoipa::path(
    delete, path = "/integrations/{id}", tag = "Integrations", operation_id = "deleteIntegration",
    params(crate::openapi::IntegrationPath, crate::openapi::IfMatch),
    responses(
        (status = NO_CONTENT, description = "It is gone."),
        crate::openapi::Refusals, crate::openapi::NotThere, crate::openapi::Outdated, crate::openapi::Contended,
    )
)]
pub(crate) async fn remove(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let revised = api.revise(caller, &id, &Precondition::read(&headers), &Revision::Deletion).await?;
    if let Revised::Next(tombstone) = revised {
        log::changed(Changed::Deleted, &tombstone);
    }
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

    /// An organization's integrations, but for deleted ones, and for those that cannot be read: one broken item must not
    /// hide the others.
    async fn living(&self, organization: OrganizationId) -> Result<Vec<Integration>, Problem> {
        let found = self.integrations.of_organization(organization).await?;
        log::left_out(organization, found.unreadable);
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
    async fn created_before(
        &self,
        organization: OrganizationId,
        request: Option<&KeyedRequest>,
    ) -> Result<Option<(Integration, Option<SigningSecret>)>, Problem> {
        let Some(earlier) = self.carried_out_before(organization, request).await? else { return Ok(None) };
        let found = self.integrations.find(organization, earlier.subject).await?.filter(is_living);
        let integration = found.ok_or(Problem::Conflict(Conflict::CreatedAndDeleted))?;
        let secret = self.generated_before(&earlier, &integration).await?;
        Ok(Some((integration, secret)))
    }

    /// Makes an integration of a draft, and the signing secret that it asks for. Nothing is written.
    async fn made(
        &self,
        draft: &Draft,
        organization: OrganizationId,
    ) -> Result<(Integration, Option<SigningSecret>), Problem> {
        let now = now();
        let owner = Owner { organization, integration: IntegrationId::new(now, random()) };
        let generated = (draft.secret_origin == SecretOrigin::Generated).then(|| SigningSecret::generate(random()));
        let secrets = draft.secrets(generated.clone());
        let sealed = self.dispatch.vault().seal(&self.secrets_key_arn, &owner, &secrets).await?;
        Ok((draft.integration(&owner, sealed, now), generated))
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

fn created(integration: &Integration, generated: Option<&SigningSecret>) -> impl IntoResponse + use<> {
    let location = format!("/integrations/{}", integration.id);
    let headers = AppendHeaders([(LOCATION, location), (ETAG, entity_tag(integration.version))]);
    (StatusCode::CREATED, headers, Json(IntegrationWithSecret::of(integration, generated, now())))
}

fn shown(integration: &Integration) -> impl IntoResponse + use<> {
    let headers = AppendHeaders([(ETAG, entity_tag(integration.version))]);
    (headers, Json(IntegrationView::of(integration, now())))
}
