//! How long a request may take. What calls us may cost an account's concurrency only for that long.

use std::time::Duration;

use aws::fault::Fault;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::timeout;

use crate::http::problem::Problem;

/// How long a request other than a test may take: as long as a single AWS call, far more than is ever needed. A request
/// that is ended between a write and its message leaves what a worker leaves that dies there, and the sweep sends it.
pub const LONGEST_REQUEST: Duration = aws::config::CALL_TIMEOUT;

/// Answers 503 when the request takes too long.
pub(crate) async fn end_in_time(request: Request, next: Next) -> Response {
    let answered = timeout(LONGEST_REQUEST, next.run(request)).await;
    answered.unwrap_or_else(|_elapsed| Problem::Fault(Fault::NoTimeLeft).into_response())
}
