//! Our own failures. A message whose handling ends in one goes back to its queue; the endpoint is not blamed.

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::delivery::BrokenRecord;
use crate::io::sender::SendFault;
use crate::payload::DoesNotInflate;
use crate::sealed::DoesNotOpen;

/// Why a message could not be dealt with now. The texts name operations and error codes, never content.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// An AWS call failed, after the SDK's own retries.
    #[error("{operation} failed: {code}")]
    Aws { operation: &'static str, code: String },
    /// Another worker holds the attempt; its lease is not over.
    #[error("another worker is making this attempt")]
    Busy,
    /// The item changed under our hands more often than can be explained by a race.
    #[error("the delivery kept changing while it was handled")]
    Contended,
    /// Too little of the invocation's time is left to make an attempt and record it.
    #[error("too little time is left in this invocation to make the attempt")]
    NoTimeLeft,
    /// The message speaks of an attempt that its delivery has not come to.
    #[error("the message is ahead of its delivery")]
    Impossible,
    #[error(transparent)]
    BrokenRecord(#[from] BrokenRecord),
    #[error(transparent)]
    DoesNotInflate(#[from] DoesNotInflate),
    #[error(transparent)]
    DoesNotOpen(#[from] DoesNotOpen),
    /// A stored item does not read as what it should be.
    #[error("an item of the {table} table cannot be read")]
    UnreadableItem { table: &'static str },
    /// A stored value is not one that could have been set.
    #[error("integration {integration_id} holds an unusable {what}")]
    UnusableIntegration { integration_id: crate::ids::IntegrationId, what: &'static str },
    /// This machine could not open a connection.
    #[error(transparent)]
    CannotSend(#[from] SendFault),
    /// The delivery's payload item is not there.
    #[error("the delivery's payload is missing")]
    PayloadMissing,
}

impl Fault {
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
