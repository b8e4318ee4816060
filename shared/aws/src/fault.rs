//! Our own failures. A message whose handling ends in one goes back to its queue; the endpoint is not blamed.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use domain::backoff::Cause;
use domain::delivery::InvalidRecord;
use domain::delivery::payload::InflateError;
use jiff::Timestamp;
use sender::SendFault;

use crate::kms::seal::UnsealError;

/// Why a message could not be dealt with now. The texts name operations and error codes, never content.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// An AWS call failed, after the SDK's own retries.
    #[error("{operation} failed: {code}")]
    Aws { operation: &'static str, code: String },
    /// Another worker holds the attempt; its lease is not over.
    #[error("another worker is making this attempt")]
    Busy { lease_until: Timestamp },
    /// The item changed under our hands more often than can be explained by a race.
    #[error("the delivery kept changing while it was handled")]
    Contended,
    /// Too little of the invocation's time is left to make an attempt and record it.
    #[error("too little time is left in this invocation to make the attempt")]
    NoTimeLeft,
    /// The message speaks of an attempt that its delivery has not come to.
    #[error("the message is ahead of its delivery")]
    Impossible,
    /// The message names another organization than its delivery's.
    #[error("the message is of another organization than its delivery")]
    WrongOrganization,
    /// The message came from a queue that the function does not know.
    #[error("the message came from an unknown queue")]
    UnknownQueue,
    /// A bug. The panic's text is on standard error.
    #[error("a bug: its handling panicked")]
    Panicked,
    /// A bug: a worker was told what cannot be.
    #[error("a bug: the worker and its delivery are out of step")]
    UnexpectedReply,
    #[error(transparent)]
    InvalidRecord(#[from] InvalidRecord),
    #[error(transparent)]
    InflateError(#[from] InflateError),
    #[error(transparent)]
    UnsealError(#[from] UnsealError),
    /// A stored item does not read as what it should be.
    #[error("an item of the {table} table cannot be read")]
    UnreadableItem { table: &'static str },
    /// A stored value is not one that could have been set.
    #[error("integration {integration_id} holds an unusable {what}")]
    UnusableIntegration { integration_id: domain::ids::IntegrationId, what: &'static str },
    /// This machine could not open a connection.
    #[error(transparent)]
    CannotSend(#[from] SendFault),
    /// The delivery's payload item is not there.
    #[error("the delivery's payload is missing")]
    PayloadMissing,
}

impl Fault {
    /// What has to pass before the message can be handled.
    pub fn cause(&self) -> Cause {
        match *self {
            Self::Aws { .. } | Self::Contended | Self::NoTimeLeft | Self::CannotSend(_) => Cause::Transient,
            // The next build mends it, and SQS's own redrive policy ends it.
            Self::Panicked | Self::UnexpectedReply => Cause::Transient,
            Self::Busy { lease_until } => Cause::Lease { until: lease_until },
            Self::Impossible
            | Self::WrongOrganization
            | Self::UnknownQueue
            | Self::InvalidRecord(_)
            | Self::InflateError(_)
            | Self::UnsealError(_)
            | Self::UnreadableItem { .. }
            | Self::UnusableIntegration { .. }
            | Self::PayloadMissing => Cause::Permanent,
        }
    }

    /// Of two faults of one message, the one that is waited for: the message comes back for what may be over first.
    #[must_use]
    pub fn or_sooner(self, other: Self) -> Self {
        let order = |fault: &Self| match fault.cause() {
            Cause::Transient => (0, Timestamp::MIN),
            Cause::Lease { until } => (1, until),
            Cause::Permanent => (2, Timestamp::MIN),
        };
        if order(&other) < order(&self) { other } else { self }
    }

    /// For `map_err` on an AWS call: keeps the error's code, drops its message, which may quote content.
    pub fn of<E, R>(operation: &'static str) -> impl Fn(SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata,
    {
        move |error| Self::Aws { operation, code: code_of(&error).to_owned() }
    }
}

/// The service's error code, or which part of the call failed when the service did not answer.
pub(crate) fn code_of<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> &str {
    match error {
        SdkError::ServiceError(context) => context.err().code().unwrap_or("UnknownServiceError"),
        SdkError::TimeoutError(_) => "Timeout",
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "Timeout",
        SdkError::DispatchFailure(_) => "DispatchFailure",
        SdkError::ResponseError(_) => "UnreadableResponse",
        _ => "ConstructionFailure",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_over_first_is_waited_for() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let (busy, longer) = (Fault::Busy { lease_until: at(1) }, Fault::Busy { lease_until: at(2) });
        let faults = [Fault::Contended, busy, longer, Fault::PayloadMissing];
        for (index, sooner) in faults.iter().enumerate() {
            for later in &faults[index..] {
                assert_eq!(sooner.clone().or_sooner(later.clone()).cause(), sooner.cause());
                assert_eq!(later.clone().or_sooner(sooner.clone()).cause(), sooner.cause());
            }
        }
    }
}
