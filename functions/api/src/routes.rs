//! Every route that needs a token, and the OpenAPI document that describes them.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::CONTENT_TYPE;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::deliveries;
use crate::http::deadline;
use crate::http::openapi::{self, GatewayMessage};
use crate::integrations::{create, delete, list, patch, read, recover, rotate_secret, test, update};
use crate::state::Api;

/// The routes, and the OpenAPI document built from them. `longest_request` is how long a request other than a test may
/// take.
pub(crate) fn routes_and_document(longest_request: Duration) -> (Router<Arc<Api>>, Document) {
    let (router, mut document) = OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(list::list, create::create))
        .routes(routes!(read::read, update::update, delete::delete))
        .routes(routes!(rotate_secret::rotate_secret))
        .routes(routes!(deliveries::list::list))
        .routes(routes!(deliveries::read::read))
        .routes(routes!(deliveries::redeliver::redeliver))
        .routes(routes!(recover::recover))
        .layer(from_fn_with_state(longest_request, deadline::end_in_time))
        // It has a time limit of its own.
        .routes(routes!(test::test))
        .split_for_parts();
    openapi::forbid_unknown_fields::<create::NewIntegration>(&mut document);
    openapi::forbid_unknown_fields::<patch::IntegrationPatch>(&mut document);
    openapi::forbid_unknown_fields::<rotate_secret::RotateSecret>(&mut document);
    openapi::forbid_unknown_fields::<recover::Recover>(&mut document);
    openapi::forbid_unknown_fields::<test::TestOptions>(&mut document);
    (router, document)
}

/// The OpenAPI document.
pub fn document() -> Document {
    routes_and_document(Duration::ZERO).1
}

/// `GET /openapi.json`, which needs no token.
pub(crate) fn document_route(document: &Document) -> Router {
    let json: Arc<str> = document.to_json().expect("a document is plain data").into();
    let serve = async move || ([(CONTENT_TYPE, "application/json")], json.to_string());
    Router::new().route("/openapi.json", get(serve))
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roboticks Custom Webhooks",
        description = "Manage and test the webhooks of your organization, and see what was delivered. Send your ID \
                       token as the bearer token; it determines your organization.\n\nErrors of this API are problem \
                       documents (RFC 9457). Requests that do not reach it are refused by API Gateway with a \
                       `GatewayMessage`: 401, 429 or 503 on any path, and 404 on a path that matches no \
                       route.\n\nNo response carries CORS headers, so pages of other origins cannot use this API: an \
                       OPTIONS request is answered 401 like any other without a token.",
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

#[cfg(test)]
mod tests {
    use domain::alert::event::EventType;
    use domain::delivery::Status;
    use domain::integration::Method;
    use domain::request::signature::SecretFormat;
    use serde_json::{Value, json};
    use utoipa::ToSchema;

    use super::*;
    use crate::http::body::FromBody;

    fn document_json() -> Value {
        serde_json::to_value(document()).unwrap()
    }

    #[test]
    fn every_route_is_described_and_every_reference_resolves() {
        let document = document_json();
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
    fn every_operation_needs_the_bearer_token_and_describes_its_errors() {
        let document = document_json();
        assert_eq!(document["security"], json!([{ "bearer": [] }]));
        let scheme = &document["components"]["securitySchemes"]["bearer"];
        assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert_eq!(operation.get("security"), None, "{method} {path} overrides the document's");
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
    fn check_fields<T: FromBody + ToSchema>() {
        let schema = &document_json()["components"]["schemas"][&*T::name()];
        let mut described: Vec<_> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut read = T::FIELDS.names.to_vec();
        described.sort_unstable();
        read.sort_unstable();
        assert_eq!(described, read);
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn described_fields_of_bodies_are_those_that_are_read() {
        check_fields::<create::NewIntegration>();
        check_fields::<patch::IntegrationPatch>();
        check_fields::<rotate_secret::RotateSecret>();
        check_fields::<recover::Recover>();
        check_fields::<test::TestOptions>();
    }

    /// The `match`es make the compiler ask for every new variant here.
    #[test]
    fn enumerations_list_the_values_that_the_code_uses() {
        let document = document_json();
        let check = |schema: &str, values: &[&str]| {
            assert_eq!(document["components"]["schemas"][schema]["enum"], json!(values), "{schema}");
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
