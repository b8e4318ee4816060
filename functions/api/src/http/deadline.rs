//! How long a request may take. What calls us may cost an account's concurrency only for that long.

use std::time::Duration;

use aws::fault::Fault;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::http::problem::Problem;

/// Answers 503 when the request takes longer than that. A request that is ended between a write and its message leaves
/// what a worker leaves that dies there, and the sweep sends it.
pub(crate) async fn end_in_time(State(longest): State<Duration>, request: Request, next: Next) -> Response {
    let answered = timeout(longest, next.run(request)).await;
    answered.unwrap_or_else(|_elapsed| Problem::Fault(Fault::NoTimeLeft).into_response())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use http::StatusCode;
    use http::header::RETRY_AFTER;
    use tower_service::Service;

    use super::*;

    #[tokio::test]
    async fn a_request_that_takes_too_long_is_answered_503() {
        let mut router = Router::new()
            .route("/hangs", get(std::future::pending::<StatusCode>))
            .route("/answers", get(async || StatusCode::OK))
            .layer(from_fn_with_state(Duration::from_millis(20), end_in_time));
        let mut call = async |path: &str| {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            router.call(request).await.unwrap()
        };
        assert_eq!(call("/answers").await.status(), StatusCode::OK);
        let ended = call("/hangs").await;
        assert_eq!(ended.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(ended.headers().contains_key(RETRY_AFTER));
    }
}
