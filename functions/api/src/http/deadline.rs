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
