//! The OpenAPI document, made from the routes' own types.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi, ToSchema};

use crate::problem::ProblemDocument;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roboticks Custom Webhooks",
        description = "Manage, test and understand the webhooks of your organization. The bearer is your ID token; it \
                       says which organization you see.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/")),
    security(("bearer" = [])),
    modifiers(&Bearer),
)]
struct Base;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("bearer", SecurityScheme::Http(scheme));
    }
}

/// The document without its routes.
pub(crate) fn base() -> Document {
    Base::openapi()
}

/// `GET /openapi.json`, for which nobody needs a token.
pub(crate) fn routes(document: Document) -> Router {
    let json: Arc<str> = document.to_json().expect("a document is plain data").into();
    let serve = async move || ([(CONTENT_TYPE, "application/json")], json.to_string());
    Router::new().route("/openapi.json", get(serve))
}

/// The whole document.
pub fn document() -> Document {
    crate::routes_and_document().1
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

/// What every route may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes responses")]
pub(crate) enum Refusals {
    /// The token is missing, expired, or not for this API.
    #[response(status = 401)]
    Unauthorized,
    /// The token names no organization.
    #[response(status = 403, content_type = "application/problem+json")]
    NoOrganization(ProblemDocument),
    /// It failed on our side.
    #[response(status = 500, content_type = "application/problem+json")]
    Fault(ProblemDocument),
}

/// There is no such thing, or it is not yours.
#[derive(IntoResponses)]
#[response(
    status = 404,
    description = "There is no such thing, or it is not yours.",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "describes a response")]
pub(crate) struct NotThere(ProblemDocument);

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
pub(crate) struct Outdated(ProblemDocument);

/// Too many requests.
#[derive(IntoResponses)]
#[response(
    status = 429,
    description = "Too often: Retry-After says when to come back.",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "describes a response")]
pub(crate) struct TooMany(ProblemDocument);

/// What a route with a body may answer.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes responses")]
pub(crate) enum BodyRefusals {
    /// The body is not JSON, or a header cannot be read.
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(ProblemDocument),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument),
    /// The body is not said to be JSON.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_and_what_it_refers_to_is_there() {
        let json = document().to_json().unwrap();
        let document: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let paths: Vec<_> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "/integrations",
                "/integrations/{id}",
                "/integrations/{id}/deliveries",
                "/integrations/{id}/deliveries/{delivery_id}",
                "/integrations/{id}/deliveries/{delivery_id}/redeliver",
                "/integrations/{id}/recover",
                "/integrations/{id}/rotate-secret",
                "/integrations/{id}/test",
            ]
        );
        for reference in json.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }
}
