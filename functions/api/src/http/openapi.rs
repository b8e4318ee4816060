//! What the OpenAPI document says of parameters, answers and bodies that several routes share.

use std::collections::BTreeMap;

use domain::json::Others;
use serde::Serialize;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder, Schema};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use crate::http::body::FromBody;
use crate::http::problem::{PROBLEM_JSON, ProblemDocument};

/// Says of a body that fields which are not described are refused.
pub(crate) fn forbid_unknown_fields<T: FromBody + ToSchema>(document: &mut Document) {
    let schemas = &mut document.components.get_or_insert_default().schemas;
    if let Some(RefOr::T(Schema::Object(body))) = schemas.get_mut(&*T::name())
        && T::FIELDS.others == Others::Refused
    {
        body.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    }
}

/// An integration.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path")]
pub(crate) struct IntegrationPath {
    /// The integration.
    #[param(example = "int_01JH7Z5A8M0000000000000001")]
    id: String,
}

/// A delivery of an integration.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path")]
pub(crate) struct DeliveryPath {
    /// The integration.
    #[param(example = "int_01JH7Z5A8M0000000000000001")]
    id: String,
    /// The delivery.
    #[param(example = "dlv_01JH7VVHV81KJMEKY94GFHBBTY")]
    delivery_id: String,
}

/// The version that a change is meant for.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub(crate) struct IfMatch {
    /// The ETag of the version that you read: the change is refused when there is another by now.
    #[param(rename = "If-Match", required = false)]
    if_match: String,
}

/// The name of a request that may be repeated.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub(crate) struct IdempotencyKey {
    /// Makes it safe to ask again: within 24 hours, the same request with the same key is carried out once.
    #[param(rename = "Idempotency-Key", required = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: String,
}

/// What API Gateway says where no function of ours was asked, or none answered.
#[derive(Serialize, ToSchema)]
pub struct GatewayMessage {
    #[schema(example = "Unauthorized")]
    message: &'static str,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answerer {
    /// This function, in problem documents.
    Api,
    /// API Gateway, in its own words.
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

/// What every route may answer.
pub(crate) struct ClientErrors;

impl IntoResponses for ClientErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        use Answerer::{Api, Gateway};
        let refusals: [(&str, &str, &[Answerer]); 5] = [
            ("401", "The token is missing, expired, or not for this API.", &[Gateway]),
            ("403", "The token names no organization.", &[Api]),
            ("429", "There are too many requests, of all callers together: try again in a moment.", &[Gateway]),
            ("500", "It failed on our side.", &[Api, Gateway]),
            ("503", "It took too long, or there is no room for it: try again in a moment.", &[Gateway]),
        ];
        refusals.map(|(status, description, by)| (status.to_owned(), refusal(description, by))).into()
    }
}

/// There is no such thing, or it is not yours; or API Gateway takes the path for none of the API's, as with a line break in
/// an id.
pub(crate) struct NotFoundResponse;

impl IntoResponses for NotFoundResponse {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let not_there = refusal("There is no such thing, or it is not yours.", &[Answerer::Api, Answerer::Gateway]);
        BTreeMap::from([("404".to_owned(), not_there)])
    }
}

/// A parameter cannot be read.
#[derive(IntoResponses)]
#[response(status = 400, description = "A parameter cannot be read.", content_type = "application/problem+json")]
#[expect(dead_code, reason = "describes a response")]
pub(crate) struct Malformed(ProblemDocument);

/// The integration was changed meanwhile.
#[derive(IntoResponses)]
#[response(
    status = 412,
    description = "The integration was changed meanwhile.",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "describes a response")]
pub(crate) struct PreconditionFailed(ProblemDocument);

/// Others are changing the same thing.
#[derive(IntoResponses)]
#[response(
    status = 409,
    description = "Others are changing the same thing at this moment: Retry-After says when to ask again.",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "describes a response")]
pub(crate) struct Contended(ProblemDocument);

/// What a route may answer that is paced for each organization or integration.
pub(crate) struct TooManyRequestsResponse;

impl IntoResponses for TooManyRequestsResponse {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let description =
            "Too often: Retry-After says when to come back. Or there are too many requests of all callers together.";
        BTreeMap::from([("429".to_owned(), refusal(description, &[Answerer::Api, Answerer::Gateway]))])
    }
}

/// What a route with a body may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes responses")]
pub(crate) enum BodyErrors {
    /// The body is not JSON, or a header cannot be read.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument),
    /// The body is not said to be JSON. Of a PATCH, Accept-Patch says what it may be.
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(ProblemDocument),
    /// Fields break rules.
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemDocument),
}

/// A whole number from 0 to 2^64 - 1, as alerts and projects are numbered.
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

/// How receivers read a signing secret as a key.
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

/// Where a delivery stands.
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
