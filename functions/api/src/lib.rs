//! `ApiFunction`: how customers manage, test and understand their webhooks.
//!
//! API Gateway lets nobody through to these routes without a valid token; whose integrations a request may touch follows
//! from that token alone ([`http::caller`]). Whatever is wrong with a request is told in a problem document that names the
//! field ([`http::problem`]).

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

/// Every route, and what answers where there is none.
pub fn router(api: Arc<Api>) -> Router {
    let (router, document) = routes::routes_and_document();
    let console = console::routes(&api.sign_in);
    router
        .with_state(api)
        .merge(routes::document_route(&document))
        .merge(console)
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn(as_it_was_routed))
        .layer(map_response(keep_nothing))
        .layer(compression::layer())
        .layer(map_response(compression::tag_compressed))
}

/// API Gateway chooses a route, and with it who may use it, by a path whose escapes it has decoded. Read as a URL's after
/// that, it would end at a `#` and go up at `..`. No path of ours has an escape: where the two readings differ, there is
/// nothing.
async fn as_it_was_routed(request: Request, next: Next) -> Response {
    if request.extensions().raw_http_path() == request.uri().path() {
        next.run(request).await
    } else {
        Problem::NotFound.into_response()
    }
}

/// What is not said to be kept is kept by nobody: it is one organization's, may hold a secret, and is out of date at once.
async fn keep_nothing(mut response: Response) -> Response {
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
