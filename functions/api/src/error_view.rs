//! Why something failed or was switched off: a code for programs, and a message for people.

use domain::attempt::AttemptError;
use domain::attempt::outcome::Outcome;
use domain::delivery::CancelReason;
use domain::integration::DisabledReason;
use domain::integration::health::{Reason, SLOW};
use serde::Serialize;
use utoipa::ToSchema;

/// An error or another reason: a code for programs and a message for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorView {
    /// Stable: a code never changes its meaning.
    #[schema(example = "tls_expired")]
    pub code: String,
    /// What happened and, where something can be done about it, what to do.
    #[schema(example = "Your endpoint's HTTPS certificate has expired: renew it.")]
    pub message: String,
}

impl ErrorView {
    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// Why a request failed; `None` if it was accepted.
    pub(crate) fn of_outcome(outcome: &Outcome) -> Option<Self> {
        outcome.code().zip(outcome.message()).map(|(code, message)| Self::new(code, message))
    }
}

impl From<&AttemptError> for ErrorView {
    fn from(AttemptError { code, message }: &AttemptError) -> Self {
        Self::new(code, message)
    }
}

/// Why a delivery was cancelled.
impl From<CancelReason> for ErrorView {
    fn from(reason: CancelReason) -> Self {
        let (code, message) = match reason {
            CancelReason::IntegrationDisabled => {
                ("integration_disabled", "The integration was switched off before this could be sent.")
            }
            CancelReason::IntegrationDeleted => {
                ("integration_deleted", "The integration was deleted before this could be sent.")
            }
            CancelReason::NoLongerMatches => {
                ("no_longer_matches", "The integration's filters were changed and no longer match this alert.")
            }
        };
        Self::new(code, message)
    }
}

/// Why an integration is off: without a recorded reason, somebody switched it off.
impl From<Option<DisabledReason>> for ErrorView {
    fn from(reason: Option<DisabledReason>) -> Self {
        let (code, message) = match reason {
            None => (
                "by_hand",
                "It was switched off by hand. Alerts that arrive while it is off are not sent and not stored.",
            ),
            Some(DisabledReason::Gone) => (
                "gone",
                "Your endpoint answered 410, which means that it wants no more webhooks, so the integration was \
                 switched off: enable it when the endpoint is back. Alerts that arrive while it is off are not sent \
                 and not stored.",
            ),
        };
        Self::new(code, message)
    }
}

/// Why an endpoint is failing: the error of the first failed attempt.
impl From<&Reason> for ErrorView {
    fn from(Reason { code, message }: &Reason) -> Self {
        match message {
            Some(message) => Self::new(code, message),
            None if code == SLOW => Self::new(
                code,
                "Your endpoint is slow to answer: respond with 200 as soon as a webhook is received, and process it in \
                 the background.",
            ),
            // Recorded before messages were stored.
            None => Self::new(code, format!("An attempt failed with the error code {code}.")),
        }
    }
}
