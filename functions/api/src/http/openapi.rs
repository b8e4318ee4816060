//! Descriptions of parameters, responses and bodies that several routes share, for the OpenAPI document.

use std::collections::BTreeMap;

use domain::json::Others;
use serde::Serialize;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder, Schema};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use crate::http::body::FromBody;
use crate::http::problem::{PROBLEM_JSON, ProblemDocument};

/// Adds to a body's schema that unknown fields are refused.
pub(crate) fn forbid_unknown_fields<T: FromBody + ToSchema>(document: &mut Document) {
    let schemas = &mut document.components.get_or_insert_default().schemas;
    if let Some(RefOr::T(Schema::Object(body))) = schemas.get_mut(&*T::name())
        && T::FIELDS.others == Others::Refused
    {
        body.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    }
}

/// The path of an integration.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path")]
pub(crate) struct IntegrationPath {
    /// The integration's id.
    #[param(example = "int_01JH7Z5A8M0000000000000001")]
    id: String,
}

/// The path of a delivery.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path")]
pub(crate) struct DeliveryPath {
    /// The integration's id.
    #[param(example = "int_01JH7Z5A8M0000000000000001")]
    id: String,
    /// The delivery's id.
    #[param(example = "dlv_01JH7VVHV81KJMEKY94GFHBBTY")]
    delivery_id: String,
}

/// The header that makes a change conditional on the version.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub(crate) struct IfMatch {
    /// The ETag of the version that you read: the change is refused with 412 if the integration has changed since.
    #[param(rename = "If-Match", required = false)]
    if_match: String,
}

/// The header that makes a request safe to repeat.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub(crate) struct IdempotencyKey {
    /// Makes the request safe to repeat: within 24 hours, the same request with the same key is carried out only once.
    #[param(rename = "Idempotency-Key", required = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: String,
}

/// The response of API Gateway when a request did not reach the API, or the API did not answer.
#[derive(Serialize, ToSchema)]
pub struct GatewayMessage {
    #[schema(example = "Unauthorized")]
    message: &'static str,
}

/// What sends an error response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answerer {
    /// This function, with a problem document.
    Api,
    /// API Gateway, with a [`GatewayMessage`].
    Gateway,
}

fn refusal(description: &str, by: &[Answerer]) -> RefOr<Response> {
    let refusal = ResponseBuilder::new().description(description);
    let refusal = by.iter().fold(refusal, |refusal, answerer| {
        let (media_type, schema) = match answerer {
            Answerer::Api => (PROBLEM_JSON, "Problem"),
            Answerer::Gateway => ("application/json", "GatewayMessage"),
        };
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
        refusal.content(media_type, content)
    });
    RefOr::T(refusal.build())
}

/// The error responses that every route may give.
pub(crate) struct ClientErrors;

impl IntoResponses for ClientErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        use Answerer::{Api, Gateway};
        let refusals: [(&str, &str, &[Answerer]); 5] = [
            ("401", "The token is missing, expired, or not for this API.", &[Gateway]),
            ("403", "The token does not name an organization.", &[Api]),
            ("429", "There are too many requests from all callers together: try again in a moment.", &[Gateway]),
            ("500", "Something failed on our side.", &[Api, Gateway]),
            (
                "503",
                "The request took too long, or there is no capacity for it: try again in a moment.",
                &[Api, Gateway],
            ),
        ];
        refusals.map(|(status, description, by)| (status.to_owned(), refusal(description, by))).into()
    }
}

/// 404: it does not exist or belongs to another organization, or API Gateway matches the path to no route, as with a
/// line break in an id.
pub(crate) struct NotFoundResponse;

impl IntoResponses for NotFoundResponse {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let description = "It does not exist, or it belongs to another organization.";
        BTreeMap::from([("404".to_owned(), refusal(description, &[Answerer::Api, Answerer::Gateway]))])
    }
}

/// 400: a query parameter is invalid.
#[derive(IntoResponses)]
#[response(status = 400, description = "A query parameter is invalid.", content_type = "application/problem+json")]
#[expect(dead_code, reason = "describes a response")]
pub(crate) struct Malformed(ProblemDocument);

/// 412: the integration has changed since it was read.
#[derive(IntoResponses)]
#[response(
    status = 412,
    description = "The integration has changed since you read it.",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "describes a response")]
pub(crate) struct PreconditionFailed(ProblemDocument);

/// 409: other requests are changing the same item.
#[derive(IntoResponses)]
#[response(
    status = 409,
    description = "Other requests are changing the same thing: try again after the time in Retry-After.",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "describes a response")]
pub(crate) struct Contended(ProblemDocument);

/// 429 of a route that is limited for each organization or integration.
pub(crate) struct TooManyRequestsResponse;

impl IntoResponses for TooManyRequestsResponse {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let description = "The limit of this operation is reached: try again after the time in Retry-After. Or there \
                           are too many requests from all callers together.";
        BTreeMap::from([("429".to_owned(), refusal(description, &[Answerer::Api, Answerer::Gateway]))])
    }
}

/// The error responses of a route with a body.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes responses")]
pub(crate) enum BodyErrors {
    /// The body is not JSON, or a header is invalid.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument),
    /// The Content-Type is not one for JSON. The answer to a PATCH lists the accepted ones in Accept-Patch.
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(ProblemDocument),
    /// Fields of the body are invalid: `errors` lists them.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemDocument),
}

/// The id of an alert or a project: a whole number from 0 to 2^64 - 1.
#[derive(ToSchema)]
#[schema(value_type = u64, format = "uint64", minimum = 0)]
#[expect(dead_code, reason = "describes a number")]
pub struct WholeNumber(u64);

/// The HTTP method of the requests to an endpoint.
#[derive(ToSchema)]
#[schema(as = Method)]
pub enum MethodName {
    #[schema(rename = "POST")]
    Post,
    #[schema(rename = "PUT")]
    Put,
    #[schema(rename = "PATCH")]
    Patch,
}

/// How receivers derive the key of Standard Webhooks from the signing secret: `whsec` is the decoded base64 after
/// `whsec_`, `raw` the secret's own bytes.
#[derive(ToSchema)]
#[schema(as = SecretFormat)]
pub enum SecretFormatName {
    #[schema(rename = "whsec")]
    Whsec,
    #[schema(rename = "raw")]
    Raw,
}

/// What happened to an alert.
#[derive(ToSchema)]
#[schema(as = EventType)]
pub enum EventTypeName {
    #[schema(rename = "alert.triggered")]
    Triggered,
    #[schema(rename = "alert.resolved")]
    Resolved,
    #[schema(rename = "alert.acknowledged")]
    Acknowledged,
}

/// The status of a delivery: `sending` (an attempt is in progress), `waiting` (for its next attempt), or the end:
/// `delivered`, `failed` or `cancelled`.
#[derive(ToSchema)]
#[schema(as = Status)]
pub enum StatusName {
    #[schema(rename = "sending")]
    Sending,
    #[schema(rename = "waiting")]
    Waiting,
    #[schema(rename = "delivered")]
    Delivered,
    #[schema(rename = "failed")]
    Failed,
    #[schema(rename = "cancelled")]
    Cancelled,
}
