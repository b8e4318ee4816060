//! Our own failures. A message whose processing ends in one returns to its queue; it does not count against the
//! endpoint.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use domain::backoff::Cause;
use domain::delivery::InvalidRecord;
use domain::delivery::payload::InflateError;
use jiff::Timestamp;
use sender::SendFault;

use crate::kms::seal::UnsealError;

/// Why a message could not be processed now. The texts name operations and error codes, never content.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// An AWS call failed, after the SDK's own retries.
    #[error("{operation} failed: {code}")]
    Aws { operation: &'static str, code: String },
    /// Another worker has claimed the attempt, and its lease has not expired.
    #[error("another worker is making this attempt")]
    Busy { lease_until: Timestamp },
    /// A conditional write was refused more often than a race with other writers explains.
    #[error("too many conflicting writes to the same item")]
    Contended,
    /// Too little of the invocation's time is left, for example to make an attempt and record it.
    #[error("too little time is left in this invocation")]
    NoTimeLeft,
    /// The message names a later attempt than its delivery has reached.
    #[error("the message names an attempt that its delivery has not reached")]
    Impossible,
    /// The message names another organization than its delivery's.
    #[error("the message names another organization than its delivery's")]
    WrongOrganization,
    /// The message came from a queue that is not one of the function's sources.
    #[error("the message came from an unknown queue")]
    UnknownQueue,
    /// A bug. The panic's message is on standard error.
    #[error("bug: processing the message panicked")]
    Panicked,
    /// A bug: the worker got a reply that does not fit its command.
    #[error("bug: the worker got a reply that does not fit its command")]
    UnexpectedReply,
    #[error(transparent)]
    InvalidRecord(#[from] InvalidRecord),
    #[error(transparent)]
    InflateError(#[from] InflateError),
    #[error(transparent)]
    UnsealError(#[from] UnsealError),
    /// A stored item does not have the expected form.
    #[error("an item in the {table} table cannot be read")]
    UnreadableItem { table: &'static str },
    /// A stored value is not valid, although it was checked when it was set.
    #[error("integration {integration_id} has an invalid {what}")]
    UnusableIntegration { integration_id: domain::ids::IntegrationId, what: &'static str },
    /// This machine could not open a connection.
    #[error(transparent)]
    CannotSend(#[from] SendFault),
    /// The delivery's payload item does not exist.
    #[error("the delivery's payload is missing")]
    PayloadMissing,
}

impl Fault {
    /// What has to pass before the message can be handled.
    pub fn cause(&self) -> Cause {
        match *self {
            Self::Aws { .. } | Self::Contended | Self::NoTimeLeft | Self::CannotSend(_) => Cause::Transient,
            // The next deployment may fix it; until then the queue's redrive policy bounds the retries.
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

    /// Of two faults of one message, the one that may be over first: it decides when the message is tried again.
    #[must_use]
    pub fn or_sooner(self, other: Self) -> Self {
        let order = |fault: &Self| match fault.cause() {
            Cause::Transient => (0, Timestamp::MIN),
            Cause::Lease { until } => (1, until),
            Cause::Permanent => (2, Timestamp::MIN),
        };
        if order(&other) < order(&self) { other } else { self }
    }

    /// For `map_err` on an AWS call: keeps the error's code and drops its message, which may quote content.
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
    fn the_fault_that_may_be_over_first_is_chosen() {
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
