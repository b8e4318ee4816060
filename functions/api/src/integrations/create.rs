//! `POST /integrations`: creates an integration.

use std::sync::Arc;

use aws::dynamodb::conditional::{Conditional, with_backoff};
use aws::kms::vault::{OpenSecrets, random};
use aws::log::{self, Changed};
use axum::Json;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse};
use domain::alert::event::EventType;
use domain::alert::filter::Filter;
use domain::endpoint::headers::CustomerHeaders;
use domain::endpoint::url::{EndpointUrl, InvalidUrl};
use domain::ids::{IntegrationId, OrganizationId};
use domain::integration::secrets::{Owner, SealedSecrets};
use domain::integration::{Integration, Method};
use domain::json::{BOOLEAN, Fields, InvalidField, Object, Others, STRING, WHOLE_NUMBER};
use domain::request::signature::{SigningSecret, SigningSecrets};
use http::header::{ETAG, LOCATION};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use utoipa::ToSchema;

use crate::http::body::{FromBody, JsonBody};
use crate::http::caller::Caller;
use crate::http::clock::now;
use crate::http::idempotency_key::{IdempotentRequest, Operation};
use crate::http::openapi::{
    BodyErrors, ClientErrors, EventTypeName, IdempotencyKey, MethodName, TooManyRequestsResponse, WholeNumber,
};
use crate::http::precondition::entity_tag;
use crate::http::problem::{Conflict, Problem, ProblemDocument};
use crate::integrations::endpoint::vet;
use crate::integrations::fields::{self, ENABLED_BY_DEFAULT, Errors};
use crate::integrations::secrets;
use crate::integrations::view::IntegrationWithSecret;
use crate::state::Api;
use crate::store::rate_limit::CostlyRequest;
use crate::store::remembered_requests::SecretOrigin;

/// Creates an integration.
///
/// With an `Idempotency-Key`, repeating the request within 24 hours returns the same integration and creates no other.
///
/// An organization can create and change 60 integrations at once, and then one every 2 seconds.
#[utoipa::path(
    post, path = "/integrations", tag = "Integrations", operation_id = "createIntegration",
    params(IdempotencyKey),
    request_body = NewIntegration,
    responses(
        (status = CREATED, description = "The integration. A generated signing secret is shown only here.",
         body = IntegrationWithSecret,
         headers(("Location" = String, description = "The path of the integration."),
                 ("ETag" = String, description = "Its version, for If-Match."))),
        ClientErrors, BodyErrors, TooManyRequestsResponse,
        (status = CONFLICT, description = "The organization has the maximum number of integrations; the integration \
                                           that was created with this Idempotency-Key has since been deleted; or \
                                           another request is creating one: try again after the time in Retry-After.",
         body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(api): State<Arc<Api>>,
    caller: Caller,
    headers: HeaderMap,
    body: JsonBody<NewIntegration>,
) -> Result<impl IntoResponse, Problem> {
    let request = IdempotentRequest::read(&headers, Operation::Create, &body.bytes)?;
    let draft = body.value.check(|url| api.read_new_url(url)).map_err(Problem::Invalid)?;
    let (organization, request) = (caller.organization, request.as_ref());
    api.rate_limit.admit(organization, CostlyRequest::Change, now()).await?;
    vet(&api.dispatch, &draft.url).await?;
    with_backoff((), |()| async {
        // Read first: any creation from here on, also by the same request carried out concurrently, is then a conflict.
        let generation = api.integrations.generation(organization).await?;
        if let Some((integration, secret)) = find_created(&api, organization, request).await? {
            return Ok(Conditional::Applied(created_response(&integration, secret.as_ref())));
        }
        api.integrations.check_room(organization).await?;
        let (integration, generated) = build(&api, &draft, organization).await?;
        let remembered = request.map(|request| (request, draft.secret_origin));
        let written = api.integrations.create(&integration, generation, remembered).await?;
        Ok(written.map(|()| {
            log::changed(Changed::Created, &integration);
            created_response(&integration, generated.as_ref())
        }))
    })
    .await
}

/// Finds the integration that the same request created before, with its generated secret unless it has changed since.
async fn find_created(
    api: &Api,
    organization: OrganizationId,
    request: Option<&IdempotentRequest>,
) -> Result<Option<(Integration, Option<SigningSecret>)>, Problem> {
    let Some(earlier) = api.integrations.requests().find(organization, request).await? else { return Ok(None) };
    let found = api.integrations.find_by_id(organization, earlier.subject).await?;
    let integration = found.ok_or(Problem::Conflict(Conflict::CreatedAndDeleted))?;
    let secret = secrets::generated_by(api, &earlier, &integration).await?;
    Ok(Some((integration, secret)))
}

/// Builds the integration, and the signing secret if one is to be generated. Nothing is written.
async fn build(
    api: &Api,
    draft: &Draft,
    organization: OrganizationId,
) -> Result<(Integration, Option<SigningSecret>), Problem> {
    let now = now();
    let owner = Owner::new(organization, IntegrationId::new(now, random()), &draft.url);
    let generated = (draft.secret_origin == SecretOrigin::Generated).then(|| SigningSecret::generate(random()));
    let sealed = secrets::seal(api, &owner, &draft.secrets(generated.clone())).await?;
    Ok((draft.integration(&owner, sealed, now), generated))
}

fn created_response(integration: &Integration, generated: Option<&SigningSecret>) -> impl IntoResponse + use<> {
    let location = format!("/integrations/{}", integration.id);
    let headers = AppendHeaders([(LOCATION, location), (ETAG, entity_tag(integration.version))]);
    (StatusCode::CREATED, headers, Json(IntegrationWithSecret::of(integration, generated, now())))
}

/// A new integration.
#[derive(ToSchema)]
pub struct NewIntegration {
    /// A name that says what the webhook is for, without invisible characters.
    #[schema(required = true, min_length = 1, max_length = 100, example = "On-call pager")]
    name: String,
    /// Where alerts are sent, without invisible characters. HTTPS is recommended, and can be required; the host must be
    /// publicly reachable.
    #[schema(required = true, max_length = 2048, example = "https://example.com/webhook")]
    url: String,
    #[schema(required = false, value_type = MethodName, default = "POST")]
    method: Method,
    /// Whether alerts are sent.
    #[schema(required = false, default = true)]
    enabled: bool,
    /// The secret that requests are signed with: `whsec_` and the base64 of 24 to 64 bytes, or 16 to 256 visible ASCII
    /// characters.
    #[schema(min_length = 16, max_length = 256, pattern = "^[!-~]+$")]
    signing_secret: Option<String>,
    /// Generate a signing secret, which only this response shows.
    #[schema(required = false, default = false)]
    generate_signing_secret: bool,
    /// Custom headers that are sent with each request, for example for authentication: at most 20. Names are sent with
    /// a capital letter at the beginning and after each hyphen, however they are spelled here.
    #[schema(required = false, value_type = BTreeMap<String, String>)]
    headers: Vec<(String, String)>,
    /// Only events of these types; empty means all.
    #[schema(required = false, value_type = Vec<EventTypeName>)]
    event_types: Vec<EventType>,
    /// Only alerts with these severities; empty means all.
    #[schema(required = false, max_items = 20)]
    severities: Vec<String>,
    /// Only alerts of the projects with these ids; empty means all.
    #[schema(required = false, value_type = Vec<WholeNumber>, max_items = 100)]
    project_ids: Vec<u64>,
}

impl FromBody for NewIntegration {
    const FIELDS: Fields = Fields {
        names: &[
            "name",
            "url",
            "method",
            "enabled",
            "signing_secret",
            "generate_signing_secret",
            "headers",
            "event_types",
            "severities",
            "project_ids",
        ],
        others: Others::Refused,
    };

    fn read(object: &Object<'_>) -> Result<Self, InvalidField> {
        Ok(Self {
            name: object.optional("name", &STRING)?.unwrap_or_default(),
            url: object.optional("url", &STRING)?.unwrap_or_default(),
            method: object.optional("method", &Method::EXPECTED)?.unwrap_or_default(),
            enabled: object.optional("enabled", &BOOLEAN)?.unwrap_or(ENABLED_BY_DEFAULT),
            signing_secret: object.given("signing_secret", |secret| secret.read_nullable(&STRING))?.flatten(),
            generate_signing_secret: object.optional("generate_signing_secret", &BOOLEAN)?.unwrap_or_default(),
            headers: object
                .given("headers", |headers| headers.members(|value| value.read(&STRING)))?
                .unwrap_or_default(),
            event_types: object.given("event_types", |types| types.list(&EventType::EXPECTED))?.unwrap_or_default(),
            severities: object.given("severities", |severities| severities.list(&STRING))?.unwrap_or_default(),
            project_ids: object.given("project_ids", |projects| projects.list(&WHOLE_NUMBER))?.unwrap_or_default(),
        })
    }
}

/// A new integration whose fields are valid.
pub struct Draft {
    pub name: String,
    pub url: String,
    pub method: Method,
    pub enabled: bool,
    pub filter: Filter,
    pub headers: CustomerHeaders,
    pub signing_secret: Option<SigningSecret>,
    pub secret_origin: SecretOrigin,
}

impl NewIntegration {
    /// Checks a new integration.
    ///
    /// # Errors
    /// All invalid fields.
    pub fn check(self, read_url: impl Fn(&str) -> Result<EndpointUrl, InvalidUrl>) -> Result<Draft, Vec<InvalidField>> {
        let mut errors = Errors::default();
        let name = errors.record(fields::name(&self.name));
        let url = errors.record(fields::url(&self.url, read_url));
        let signing_secret = errors.record(self.signing_secret.as_deref().map(fields::signing_secret).transpose());
        if self.signing_secret.is_some() && self.generate_signing_secret {
            let message = "Either provide a signing secret or have one generated, not both.";
            errors.push(InvalidField::new("generate_signing_secret", message));
        }
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let headers = errors.record(fields::headers(&headers));
        errors.record(fields::visible_severities(self.severities.iter().map(String::as_str)));
        let filter = fields::filter(self.event_types, self.severities, self.project_ids, &mut errors);
        errors.into_result()?;
        let secret_origin = if self.generate_signing_secret { SecretOrigin::Generated } else { SecretOrigin::Customer };
        let Self { method, enabled, .. } = self;
        Ok(Draft { name, url, method, enabled, filter, headers, signing_secret, secret_origin })
    }
}

impl Draft {
    /// The secrets of the new integration.
    pub fn secrets(&self, generated: Option<SigningSecret>) -> OpenSecrets {
        let current = generated.or_else(|| self.signing_secret.clone());
        let signing = current.map(|current| SigningSecrets { current, previous: None });
        OpenSecrets { signing, headers: self.headers.clone() }
    }

    /// The new integration.
    pub fn integration(&self, owner: &Owner, secrets: Option<SealedSecrets>, now: Timestamp) -> Integration {
        Integration {
            organization_id: owner.organization,
            id: owner.integration,
            name: self.name.clone(),
            url: self.url.clone(),
            method: self.method,
            enabled: self.enabled,
            disabled_reason: None,
            disabled_at: (!self.enabled).then_some(now),
            filter: self.filter.clone(),
            secrets,
            health: None,
            version: Integration::FIRST_VERSION,
            created_at: now,
            updated_at: now,
            deleted_at: None,
            expires_at: None,
            format: Integration::FORMAT,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use domain::endpoint::address::AllowedNetworks;
    use serde_json::json;

    use super::*;
    use crate::http::body::read;

    fn read_url(text: &str) -> Result<EndpointUrl, InvalidUrl> {
        EndpointUrl::parse(text, &AllowedNetworks::default())
    }

    #[track_caller]
    fn refused(body: impl Display, fields: &[&str]) {
        let new: NewIntegration = read(body.to_string().as_bytes()).unwrap();
        let errors = new.check(read_url).err().unwrap_or_default();
        assert_eq!(errors.iter().map(|error| error.field.as_str()).collect::<Vec<_>>(), fields, "{body}");
    }

    #[test]
    fn all_invalid_fields_of_a_new_integration_are_reported_together() {
        refused(json!({"name": "n", "url": "https://example.com/"}), &[]);
        refused(json!({}), &["name", "url"]);
        refused(json!({"name": "n", "url": "ftp://example.com"}), &["url"]);
        refused(json!({"name": "n", "url": "https://user@example.com/"}), &["url"]);
        refused(json!({"name": "n", "url": "http://169.254.169.254/"}), &["url"]);
        refused(
            json!({"name": " ", "url": "x", "signing_secret": "not-long-enough", "headers": {"Host": "x"}, "severities": [""]}),
            &["name", "url", "signing_secret", "headers.Host", "severities"],
        );
        refused(
            json!({"name": "n", "url": "https://example.com/", "signing_secret": "your-signing-secret", "generate_signing_secret": true}),
            &["generate_signing_secret"],
        );
    }

    #[test]
    fn no_header_may_be_named_twice() {
        let new = |headers: &str| format!(r#"{{"name": "n", "url": "https://example.com/", "headers": {headers}}}"#);
        refused(new(r#"{"X-C": "1", "X-C": "1"}"#), &["headers.X-C"]);
        refused(new(r#"{"X-C": "1", "x-c": "2"}"#), &["headers.x-c"]);
    }
}
