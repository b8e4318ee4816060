//! What is wrong with a request, as a problem document (RFC 9457): a status, a sentence, and for bad input the fields
//! with a sentence each.

use std::time::Duration;

use aws::fault::Fault;
use aws::log;
use axum::response::{IntoResponse, Response};
use domain::delivery::ledger::MAX_ROUNDS;
use domain::json::{InvalidField, WHOLE_BODY};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::media_type::MediaType;

/// The media type of problem documents.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Which patches a resource takes (RFC 5789).
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// How long whoever still was not through after [`domain::backoff::MAX_ATTEMPTS`] is asked to wait.
const COME_BACK_AFTER: Duration = Duration::from_secs(1);

/// Why a request is not carried out.
#[derive(Debug)]
pub enum Problem {
    /// The body is not JSON, or a parameter or header cannot be read.
    Malformed(InvalidField),
    /// The body's fields break rules.
    Invalid(Vec<InvalidField>),
    /// The token names no organization.
    NoOrganization,
    /// There is no such thing, or it is another organization's: the two are told apart by nobody.
    NotFound,
    MethodNotAllowed,
    Conflict(Conflict),
    /// `If-Match` names another version than there is.
    PreconditionFailed,
    TooLarge {
        max_bytes: usize,
    },
    /// The body is not said to be what is wanted.
    UnsupportedMediaType {
        wanted: MediaType,
    },
    /// Too often; again from that time on.
    TooManyRequestsResponse {
        sentence: &'static str,
        until: Timestamp,
    },
    /// Our own failure.
    Fault(Fault),
}

/// Why the state of things forbids what is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    TooManyIntegrations {
        most: usize,
    },
    TooManyDeleted,
    /// The request was carried out before, and what it created has been deleted since.
    CreatedAndDeleted,
    InFlight,
    TooManyRounds,
    /// What was made with the Test button is made again with it.
    IsATest,
    IntegrationDisabled,
    PayloadGone,
    /// The secret before the last rotation still signs, and another rotation would end that.
    OverlapRunning {
        until: Timestamp,
    },
    /// Others kept changing the same thing.
    Contended,
}

impl Conflict {
    fn message(self) -> String {
        match self {
            Self::TooManyIntegrations { most } => {
                return format!("Your organization has {most} integrations, the most it can have: delete one first.");
            }
            Self::TooManyRounds => {
                return format!("This delivery has been sent {MAX_ROUNDS} times over already, which is the most.");
            }
            Self::OverlapRunning { until } => {
                return format!(
                    "The secret before the last rotation signs until {until:.0}: rotate again then, or say \
                     `\"replace_previous\": true` to end it now."
                );
            }
            Self::TooManyDeleted => {
                "Your organization has deleted too many integrations lately: try again in some days."
            }
            Self::CreatedAndDeleted => {
                "The integration that was created with this Idempotency-Key has been deleted since: use another key."
            }
            Self::InFlight => "This delivery is still under way: it can be sent again once it has ended.",
            Self::IsATest => "This delivery was a test: press Test again.",
            Self::Contended => "Others are changing the same thing at this moment: ask again in a second.",
            Self::IntegrationDisabled => "This integration is switched off: enable it first.",
            Self::PayloadGone => "The payload of this delivery is no longer kept, so it cannot be sent again.",
        }
        .to_owned()
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match fault {
            // Nothing failed, so nobody is to be woken.
            Fault::Contended => Self::Conflict(Conflict::Contended),
            fault => Self::Fault(fault),
        }
    }
}

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDocument {
    /// What kind of problem it is; never changes its meaning.
    #[serde(rename = "type")]
    #[schema(example = "urn:roboticks:webhooks:invalid")]
    pub kind: String,
    #[schema(example = "Invalid input")]
    pub title: &'static str,
    #[schema(example = 422)]
    pub status: u16,
    /// A sentence for a person.
    pub detail: String,
    /// The fields at fault; empty when it is not the input.
    #[schema(value_type = Vec<FieldError>)]
    pub errors: Vec<InvalidField>,
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

impl Problem {
    /// A single field's error.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![InvalidField::new(field, message)])
    }

    /// A parameter, header or body that cannot be read at all.
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
            Self::Conflict(Conflict::Contended) => (StatusCode::CONFLICT, "contended", "Changed at the same time"),
            Self::Conflict(_) => (StatusCode::CONFLICT, "conflict", "Conflict"),
            Self::PreconditionFailed => (StatusCode::PRECONDITION_FAILED, "outdated", "Changed meanwhile"),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "Body too large"),
            Self::UnsupportedMediaType { .. } => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "Unsupported media type")
            }
            Self::TooManyRequestsResponse { .. } => (StatusCode::TOO_MANY_REQUESTS, "too-many", "Too many requests"),
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
            Self::NotFound => "There is nothing here, or it is not your organization's.".to_owned(),
            Self::MethodNotAllowed => {
                "This method cannot be used here: see the Allow header for those that can.".to_owned()
            }
            Self::Conflict(conflict) => conflict.message(),
            Self::PreconditionFailed => {
                "The integration was changed since you read it: read it again, and repeat your change.".to_owned()
            }
            Self::TooLarge { max_bytes } => format!("The body must have at most {max_bytes} bytes."),
            Self::UnsupportedMediaType { wanted } => {
                let called = wanted.names().join(" or ");
                format!("The body must be JSON, with the header Content-Type: {called}.")
            }
            Self::TooManyRequestsResponse { sentence, .. } => (*sentence).to_owned(),
            Self::Fault(_) => "This failed on our side: try again in a moment.".to_owned(),
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
    /// A header that says how to do better.
    fn advice(&self) -> Option<(HeaderName, HeaderValue)> {
        let (name, value) = match self {
            Self::TooManyRequestsResponse { until, .. } => {
                (RETRY_AFTER, whole_seconds(until.duration_since(Timestamp::now())))
            }
            Self::Conflict(Conflict::Contended) => (RETRY_AFTER, COME_BACK_AFTER.as_secs().to_string()),
            Self::UnsupportedMediaType { wanted: wanted @ MediaType::MergePatch } => {
                (ACCEPT_PATCH, wanted.names().join(", "))
            }
            _ => return None,
        };
        Some((name, HeaderValue::try_from(value).ok()?))
    }
}

/// Rounded up: an early client would be refused again.
fn whole_seconds(time: SignedDuration) -> String {
    format!("{:.0}", time.as_secs_f64().ceil().max(1.0))
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        if let Self::Fault(fault) = &self {
            log::request_failed(fault);
        }
        let advice = self.advice();
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
    fn several_fields_are_told_together_and_one_by_its_own_sentence() {
        let name = InvalidField::new("name", "The name is missing.");
        let url = InvalidField::new("url", "The URL is missing.");
        assert_eq!(Problem::Invalid(vec![name.clone()]).detail(), "The name is missing.");
        assert_eq!(Problem::Invalid(vec![name, url]).detail(), "2 fields need to be changed.");
    }

    #[test]
    fn a_faults_text_is_not_the_callers_to_see() {
        let fault = Fault::UnreadableItem { table: "integrations" };
        assert!(!Problem::Fault(fault).detail().contains("integrations"));
    }

    #[track_caller]
    fn advised(problem: Problem, status: StatusCode, name: HeaderName, value: &str) {
        let response = problem.into_response();
        assert_eq!(response.status(), status);
        assert_eq!(response.headers().get(name).map(|value| value.to_str().unwrap()), Some(value));
    }

    #[test]
    fn a_problem_says_how_to_do_better() {
        let past = Problem::TooManyRequestsResponse { sentence: "Too often.", until: Timestamp::UNIX_EPOCH };
        advised(past, StatusCode::TOO_MANY_REQUESTS, RETRY_AFTER, "1");
        let patch = Problem::UnsupportedMediaType { wanted: MediaType::MergePatch };
        assert!(patch.detail().contains("application/merge-patch+json"));
        let types = "application/merge-patch+json, application/json";
        advised(patch, StatusCode::UNSUPPORTED_MEDIA_TYPE, ACCEPT_PATCH, types);
        let json = Problem::UnsupportedMediaType { wanted: MediaType::Json };
        assert!(json.into_response().headers().get(ACCEPT_PATCH).is_none());
    }

    #[test]
    fn contention_is_no_failure() {
        advised(Fault::Contended.into(), StatusCode::CONFLICT, RETRY_AFTER, "1");
    }

    #[test]
    fn a_running_overlap_says_until_when() {
        let until = "2025-01-10T10:23:45.678Z".parse().unwrap();
        let told = Problem::Conflict(Conflict::OverlapRunning { until }).detail();
        assert!(told.contains("2025-01-10T10:23:45Z") && told.contains("`\"replace_previous\": true`"), "{told}");
    }
}
