//! What became of something, as its owner is told: a code for programs, and a sentence for people.

use domain::attempt::AttemptError;
use domain::attempt::outcome::Outcome;
use domain::delivery::CancelReason;
use domain::integration::DisabledReason;
use domain::integration::health::{Reason, SLOW};
use serde::Serialize;
use utoipa::ToSchema;

/// A code that never changes its meaning, and a sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ErrorView {
    #[schema(example = "tls_expired")]
    pub code: String,
    #[schema(example = "Your endpoint's HTTPS certificate has expired: renew it.")]
    pub message: String,
}

impl ErrorView {
    pub(crate) fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// Why a request failed; `None` of one that was accepted.
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
                ("integration_disabled", "The integration was switched off before it could be sent.")
            }
            CancelReason::IntegrationDeleted => {
                ("integration_deleted", "The integration was deleted before it could be sent.")
            }
            CancelReason::NoLongerMatches => {
                ("no_longer_matches", "The integration's filters were changed, and no longer let this alert through.")
            }
        };
        Self::new(code, message)
    }
}

/// Why an integration is off: without a reason of ours, its owner wanted it so.
impl From<Option<DisabledReason>> for ErrorView {
    fn from(reason: Option<DisabledReason>) -> Self {
        let (code, message) = match reason {
            None => (
                "by_hand",
                "It was switched off by hand. Alerts that come while it is off are not sent, and not kept for later.",
            ),
            Some(DisabledReason::Gone) => (
                "gone",
                "Your endpoint answered 410, which says that it wants no more webhooks, so the integration was switched \
                 off: enable it when the endpoint is back. Alerts that come while it is off are not sent, and not kept \
                 for later.",
            ),
        };
        Self::new(code, message)
    }
}

/// Why an endpoint is failing: how the first of its failures was explained.
impl From<&Reason> for ErrorView {
    fn from(Reason { code, message }: &Reason) -> Self {
        match message {
            Some(message) => Self::new(code, message),
            None if code == SLOW => Self::new(
                code,
                "Your endpoint takes long to answer: answer with 200 as soon as a webhook is received, and process it in \
                 the background.",
            ),
            // Noted before sentences were kept.
            None => Self::new(code, format!("An attempt failed with the error code {code}.")),
        }
    }
}
