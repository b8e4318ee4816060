//! Why a request is refused, as a problem document (RFC 9457): a status, a message, and for invalid input each field at
//! fault with a message of its own.

use std::time::Duration;

use aws::fault::Fault;
use aws::log;
use axum::response::{IntoResponse, Response};
use domain::delivery::ledger::MAX_ROUNDS;
use domain::json::{InvalidField, WHOLE_BODY};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::media_type::MediaType;

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Names the patch formats that a resource accepts (RFC 5789).
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// How long a client should wait whose request still met a conflict after [`domain::backoff::MAX_ATTEMPTS`] attempts.
const RETRY_CONTENDED_AFTER: Duration = Duration::from_secs(1);

/// How long a client should wait whose request took too long: something of ours is slow, and needs a moment.
const RETRY_SLOW_AFTER: Duration = Duration::from_secs(5);

/// Why a request is refused.
#[derive(Debug)]
pub enum Problem {
    /// The body is not JSON, or a parameter or header is invalid.
    Malformed(InvalidField),
    /// Fields of the body are invalid.
    Invalid(Vec<InvalidField>),
    /// The token does not name an organization.
    NoOrganization,
    /// It does not exist or belongs to another organization; callers cannot tell which.
    NotFound,
    MethodNotAllowed,
    Conflict(Conflict),
    /// `If-Match` names another version than the current one.
    PreconditionFailed,
    TooLarge {
        max_bytes: usize,
    },
    /// The body's content type is not the expected one.
    UnsupportedMediaType {
        expected: MediaType,
    },
    TooManyRequests {
        /// Which limit is reached.
        message: String,
        /// When to try again.
        until: Timestamp,
    },
    /// Our own failure.
    Fault(Fault),
}

/// Why the current state does not allow what a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    TooManyIntegrations {
        max: usize,
    },
    /// The request was carried out before, and what it created has been deleted since.
    CreatedAndDeleted,
    InFlight,
    TooManyRounds,
    /// A test cannot be sent again; a new one is made with the Test button.
    IsATest,
    IntegrationDisabled,
    PayloadGone,
    /// The secret before the last rotation still signs requests, and another rotation would end that.
    OverlapRunning {
        until: Timestamp,
    },
    /// Other requests kept changing the same item.
    Contended,
}

impl Conflict {
    fn message(self) -> String {
        match self {
            Self::TooManyIntegrations { max } => {
                return format!("Your organization has {max} integrations, the maximum: delete one first.");
            }
            Self::TooManyRounds => {
                return format!("This delivery has already been sent {MAX_ROUNDS} times, the maximum.");
            }
            Self::OverlapRunning { until } => {
                return format!(
                    "The secret before the last rotation still signs until {until:.0}: rotate again after that, or set \
                     `\"replace_previous\": true` to end it now."
                );
            }
            Self::CreatedAndDeleted => {
                "The integration that was created with this Idempotency-Key has since been deleted: use another key."
            }
            Self::InFlight => "This delivery is still in progress: it can be sent again once it has ended.",
            Self::IsATest => "This delivery was a test and cannot be sent again: make a new test.",
            Self::Contended => "Another request is changing the same thing: try again in a second.",
            Self::IntegrationDisabled => "This integration is switched off: enable it first.",
            Self::PayloadGone => "The payload of this delivery is no longer stored, so it cannot be sent again.",
        }
        .to_owned()
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            // Nothing failed, so nothing is logged as an error.
            Fault::Contended => Self::Conflict(Conflict::Contended),
            fault => Self::Fault(fault),
        }
    }
}

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// The kind of problem. Stable: a type never changes its meaning.
    #[serde(rename = "type")]
    #[schema(example = "urn:roboticks:webhooks:invalid")]
    pub kind: String,
    #[schema(example = "Invalid input")]
    pub title: &'static str,
    #[schema(example = 422)]
    pub status: u16,
    /// What went wrong and what to do about it, for people.
    pub detail: String,
    /// The fields at fault; empty unless the input is.
    #[schema(value_type = Vec<FieldError>)]
    pub errors: Vec<InvalidField>,
}

/// One error in the input.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes `InvalidField`")]
pub struct FieldError {
    /// A field of the body, `headers.<name>` for a custom header (spelled as in the request), a query parameter, a
    /// request header, or `$` for the body as a whole.
    #[schema(example = "url")]
    field: String,
    /// What is wrong and how to correct it.
    #[schema(example = "The webhook URL must start with https:// (recommended) or http://.")]
    message: String,
}

impl Problem {
    /// An invalid field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![InvalidField::new(field, message)])
    }

    /// An invalid parameter or header, or a body that is not JSON.
    pub fn malformed(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Malformed(InvalidField::new(field, message))
    }

    fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed", "Malformed request"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Invalid input"),
            Self::NoOrganization => (StatusCode::FORBIDDEN, "no-organization", "No organization"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed"),
            Self::Conflict(Conflict::Contended) => (StatusCode::CONFLICT, "contended", "Concurrent change"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "outdated", "Outdated version"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large"),
            Self::UnsupportedMediaType { .. } => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "Unsupported media type")
            }
            Self::TooManyRequests { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests"),
            Self::Fault(Fault::NoTimeLeft) => (StatusCode::SERVICE_UNAVAILABLE, "too-slow", "Out of time"),
            Self::Fault(_) => (StatusCode::INTERNAL_SERVER_ERROR, "fault", "Internal error"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Malformed(error) => error.message.clone(),
            Self::Invalid(errors) => match errors.as_slice() {
                [only] => only.message.clone(),
                several => format!("{} fields need to be changed.", several.len()),
            },
            Self::NoOrganization => {
                "Your sign-in token does not name an organization: ask your administrator to assign you to one."
                    .to_owned()
            }
            Self::NotFound => "There is nothing here, or it belongs to another organization.".to_owned(),
            Self::MethodNotAllowed => {
                "This method is not allowed here: see the Allow header for those that are.".to_owned()
            }
            Self::Conflict(conflict) => conflict.message(),
            Self::PreconditionFailed => {
                "The integration has changed since you read it: read it again and repeat your change.".to_owned()
            }
            Self::TooLarge { max_bytes } => format!("The body must be at most {max_bytes} bytes long."),
            Self::UnsupportedMediaType { expected } => {
                let names = expected.names().join(" or ");
                format!("The body must be JSON, with the header Content-Type: {names}.")
            }
            Self::TooManyRequests { message, until } => format!("{message} Try again in {} s.", seconds_until(*until)),
            Self::Fault(Fault::NoTimeLeft) => {
                "This took too long, and may have been carried out or not: look, and try again in a moment.".to_owned()
            }
            Self::Fault(_) => "Something failed on our side: try again in a moment.".to_owned(),
        }
    }

    fn into_errors(self) -> Vec<InvalidField> {
        match self {
            Self::Malformed(error) => vec![error],
            Self::Invalid(errors) => errors,
            Self::PreconditionFailed => vec![InvalidField::new("If-Match", self.detail())],
            Self::TooLarge { .. } | Self::UnsupportedMediaType { .. } => {
                vec![InvalidField::new(WHOLE_BODY, self.detail())]
            }
            _ => Vec::new(),
        }
    }
}

impl Problem {
    /// The response header that tells the client how to succeed, if there is one.
    fn advice_header(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self {
            Self::TooManyRequests { until, .. } => (RETRY_AFTER, seconds_until(*until)),
            Self::Conflict(Conflict::Contended) => (RETRY_AFTER, RETRY_CONTENDED_AFTER.as_secs().to_string()),
            Self::Fault(Fault::NoTimeLeft) => (RETRY_AFTER, RETRY_SLOW_AFTER.as_secs().to_string()),
            Self::UnsupportedMediaType { expected: expected @ MediaType::MergePatch } => {
                (ACCEPT_PATCH, expected.names().join(", "))
            }
            _ => return None,
        };
        Some((name, HeaderValue::try_from(value).ok()?))
    }
}

/// Rounds up: a client that came back early would be refused again.
fn seconds_until(instant: Timestamp) -> String {
    format!("{:.0}", instant.duration_since(Timestamp::now()).as_secs_f64().ceil().max(1.0))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Self::Fault(fault) = &self {
            log::request_failed(fault);
        }
        let advice = self.advice_header();
        let (status, word, title) = self.kind();
        let document = ProblemDocument {
            kind: format!("urn:roboticks:webhooks:{word}"),
            title,
            status: status.as_u16(),
            detail: self.detail(),
            errors: self.into_errors(),
        };
        let mut response = (status, axum::Json(document)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response.headers_mut().extend(advice);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_field_is_described_by_its_message_and_several_are_counted() {
        let name = InvalidField::new("name", "The name is missing.");
        let url = InvalidField::new("url", "The URL is missing.");
        assert_eq!(Problem::Invalid(vec![name.clone()]).detail(), "The name is missing.");
        assert_eq!(Problem::Invalid(vec![name, url]).detail(), "2 fields need to be changed.");
    }

    #[test]
    fn callers_do_not_see_the_text_of_a_fault() {
        let fault = Fault::UnreadableItem { table: "integrations" };
        assert!(!Problem::Fault(fault).detail().contains("integrations"));
    }

    #[track_caller]
    fn check_header(problem: Problem, status: StatusCode, name: HeaderName, value: &str) {
        let response = problem.into_response();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers().get(name).map(|value| value.to_str().unwrap()), Some(value));
    }

    #[test]
    fn headers_tell_the_client_how_to_succeed() {
        let past = Problem::TooManyRequests { message: "Too often.".to_owned(), until: Timestamp::UNIX_EPOCH };
        assert_eq!(past.detail(), "Too often. Try again in 1 s.");
        check_header(past, StatusCode::TOO_MANY_REQUESTS, RETRY_AFTER, "1");
        let patch = Problem::UnsupportedMediaType { expected: MediaType::MergePatch };
        assert!(patch.detail().contains("application/merge-patch+json"));
        let types = "application/merge-patch+json, application/json";
        check_header(patch, StatusCode::UNSUPPORTED_MEDIA_TYPE, ACCEPT_PATCH, types);
        let json = Problem::UnsupportedMediaType { expected: MediaType::Json };
        assert!(json.into_response().headers().get(ACCEPT_PATCH).is_none());
    }

    #[test]
    fn contention_is_a_conflict_and_no_fault() {
        check_header(Fault::Contended.into(), StatusCode::CONFLICT, RETRY_AFTER, "1");
    }

    #[test]
    fn a_running_overlap_names_its_end() {
        let until = "2025-01-10T10:23:45.678Z".parse().unwrap();
        let detail = Problem::Conflict(Conflict::OverlapRunning { until }).detail();
        assert!(detail.contains("2025-01-10T10:23:45Z") && detail.contains("`\"replace_previous\": true`"), "{detail}");
    }
}
