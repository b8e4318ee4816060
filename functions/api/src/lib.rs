//! `ApiFunction`: the HTTP API with which customers manage and test their webhooks and read their integration log.
//!
//! API Gateway admits only requests with a valid token, except to the settings page and `/openapi.json`. Which
//! organization's integrations a request may touch follows from that token alone ([`http::caller`]). A request that is
//! refused is answered with a problem document that names the fields at fault ([`http::problem`]).

mod error_view;
pub mod http;
pub mod store;

pub mod settings;
pub mod state;

pub mod deliveries;
pub mod integrations;

pub mod console;
pub mod routes;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use lambda_http::RequestExt;

use crate::http::body::MAX_BODY_BYTES;
use crate::http::compression;
use crate::http::problem::Problem;
pub use crate::settings::Settings;
pub use crate::state::Api;

/// Every route, with fallbacks for unknown paths and methods.
pub fn router(api: Arc<Api>) -> Router {
    let (router, document) = routes::routes_and_document(api.longest_request);
    let console = console::routes(&api.sign_in);
    router
        .with_state(api)
        .merge(routes::document_route(&document))
        .merge(console)
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(reject_ambiguous_path))
        .layer(map_response(forbid_caching))
        .layer(compression::layer())
        .layer(map_response(compression::tag_compressed))
}

/// Answers 404 where API Gateway and this router read the path differently. API Gateway decodes a path's escapes before
/// it chooses the route, and with it the authorizer; parsed as a URL after that, the path would end at a `#` and go up
/// at `..`. None of our paths contains an escape, so a path that reads differently is none of ours.
async fn reject_ambiguous_path(request: Request, next: Next) -> Response {
    if request.extensions().raw_http_path() == request.uri().path() {
        next.run(request).await
    } else {
        Problem::NotFound.into_response()
    }
}

/// Forbids caching of every response that does not allow it: responses belong to one organization, may contain a
/// secret, and are soon out of date.
async fn forbid_caching(mut response: Response) -> Response {
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
