//! The OpenAPI document, made from the routes' own types.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use domain::json::Others;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder, Schema};
use utoipa::{IntoParams, IntoResponses, Modify, OpenApi, ToSchema};

use crate::input::FromBody;
use crate::problem::{PROBLEM_JSON, ProblemDocument};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roboticks Custom Webhooks",
        description = "Manage, test and understand the webhooks of your organization. The bearer is your ID token; it \
                       says which organization you see.\n\nWhat this API refuses, it refuses with a problem document. What \
                       never reaches it, API Gateway refuses with a `GatewayMessage`: 401, 429 and 503 under every path, and \
                       404 where it takes a path for none of the API's.\n\nNo answer carries CORS headers: pages of other \
                       origins cannot use this API, and an OPTIONS request is one without a token.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/")),
    security(("bearer" = [])),
    components(schemas(GatewayMessage)),
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

/// Says of a body that fields which are not described are refused.
pub(crate) fn close<T: FromBody + ToSchema>(document: &mut Document) {
    let schemas = &mut document.components.get_or_insert_default().schemas;
    if let Some(RefOr::T(Schema::Object(body))) = schemas.get_mut(&*T::name())
        && T::FIELDS.others == Others::Refused
    {
        body.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    }
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

/// The name of a request that may be repeated.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header")]
pub(crate) struct IdempotencyKey {
    /// Makes it safe to ask again: within 24 hours, the same request with the same key is carried out once.
    #[param(rename = "Idempotency-Key", required = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: String,
}

/// One thing that is wrong with the input.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `InvalidField`")]
pub struct FieldError {
    /// The body's field, `headers.<name>` for one custom header as it was written, the query parameter, the request header,
    /// or `$` for the body as a whole.
    #[schema(example = "url")]
    field: String,
    /// What is wrong and what would be right.
    #[schema(example = "The webhook URL must start with https:// (recommended) or http://.")]
    message: String,
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
pub(crate) struct Refusals;

impl IntoResponses for Refusals {
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
pub(crate) struct NotThere;

impl IntoResponses for NotThere {
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
pub(crate) struct Outdated(ProblemDocument);

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
pub(crate) struct TooMany;

impl IntoResponses for TooMany {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let description =
            "Too often: Retry-After says when to come back. Or there are too many requests of all callers together.";
        BTreeMap::from([("429".to_owned(), refusal(description, &[Answerer::Api, Answerer::Gateway]))])
    }
}

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

#[cfg(test)]
mod tests {
    use domain::alert::event::EventType;
    use domain::delivery::Status;
    use domain::integration::Method;
    use domain::request::signature::SecretFormat;
    use serde_json::{Value, json};

    use super::*;

    fn described() -> Value {
        serde_json::to_value(document()).unwrap()
    }

    #[test]
    fn every_route_is_described_and_what_it_refers_to_is_there() {
        let document = described();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
        let methods = |path: &Value| path.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
        let paths = document["paths"].as_object().unwrap();
        let paths: Vec<_> = paths.iter().map(|(path, item)| (path.as_str(), methods(item))).collect();
        let paths: Vec<_> = paths.iter().map(|(path, methods)| (*path, methods.as_str())).collect();
        assert_eq!(
            paths,
            [
                ("/integrations", "get post"),
                ("/integrations/{id}", "delete get patch"),
                ("/integrations/{id}/deliveries", "get"),
                ("/integrations/{id}/deliveries/{delivery_id}", "get"),
                ("/integrations/{id}/deliveries/{delivery_id}/redeliver", "post"),
                ("/integrations/{id}/recover", "post"),
                ("/integrations/{id}/rotate-secret", "post"),
                ("/integrations/{id}/test", "post"),
            ]
        );
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_needs_the_bearer_and_tells_of_refusals() {
        let document = described();
        assert_eq!(document["security"], json!([{ "bearer": [] }]));
        let scheme = &document["components"]["securitySchemes"]["bearer"];
        assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert_eq!(operation.get("security"), None, "{method} {path} has none of its own");
                for status in ["401", "403", "429", "500", "503"] {
                    assert!(operation["responses"][status]["content"].is_object(), "{method} {path}: {status}");
                }
                let content = operation["requestBody"]["content"].as_object();
                let merges = content.is_some_and(|content| content.contains_key("application/merge-patch+json"));
                assert_eq!(merges, method == "patch", "{method} {path}");
            }
        }
    }

    #[track_caller]
    fn described_as_read<T: FromBody + ToSchema>() {
        let schema = &described()["components"]["schemas"][&*T::name()];
        let mut described: Vec<_> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut read = T::FIELDS.names.to_vec();
        described.sort_unstable();
        read.sort_unstable();
        assert_eq!(described, read);
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn what_is_described_of_a_body_is_what_is_read() {
        described_as_read::<crate::integrations::NewIntegration>();
        described_as_read::<crate::integrations::IntegrationPatch>();
        described_as_read::<crate::rotation::RotateSecret>();
        described_as_read::<crate::recovery::Recover>();
    }

    /// The document's words and the code's. Whoever adds a variant is made to add it here by the compiler.
    #[test]
    fn enumerations_have_the_codes_words() {
        let document = described();
        let check = |schema: &str, words: &[&str]| {
            assert_eq!(document["components"]["schemas"][schema]["enum"], json!(words), "{schema}");
        };
        let method = |method: Method| match method {
            Method::Post | Method::Put | Method::Patch => method.as_str(),
        };
        check("Method", &[Method::Post, Method::Put, Method::Patch].map(method));
        let event_type = |event_type: EventType| match event_type {
            EventType::Triggered | EventType::Resolved | EventType::Acknowledged => event_type.as_str(),
        };
        check("EventType", &[EventType::Triggered, EventType::Resolved, EventType::Acknowledged].map(event_type));
        let status = |status: Status| match status {
            Status::Sending | Status::Waiting | Status::Delivered | Status::Failed | Status::Cancelled => {
                status.as_str()
            }
        };
        let statuses = [Status::Sending, Status::Waiting, Status::Delivered, Status::Failed, Status::Cancelled];
        check("Status", &statuses.map(status));
        let format = |format: SecretFormat| match format {
            SecretFormat::Whsec | SecretFormat::Raw => format.as_str(),
        };
        check("SecretFormat", &[SecretFormat::Whsec, SecretFormat::Raw].map(format));
    }
}
