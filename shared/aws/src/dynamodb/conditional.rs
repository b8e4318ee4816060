//! What DynamoDB answered to a write on condition.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;

use crate::fault::Fault;

/// A write that was made, or was not because its condition did not hold.
pub(super) enum Conditional<T> {
    Made(T),
    /// With the item as it is, where the request asked for that.
    Refused(Option<HashMap<String, AttributeValue>>),
}

/// An operation that takes a condition.
pub(super) trait OnCondition: aws_sdk_dynamodb::error::ProvideErrorMetadata + Sized {
    const NAME: &str;

    /// The refusal that the error is, or the error.
    fn refusal(self) -> Result<ConditionalCheckFailedException, Self>;
}

impl OnCondition for PutItemError {
    const NAME: &str = "PutItem";

    fn refusal(self) -> Result<ConditionalCheckFailedException, Self> {
        match self {
            Self::ConditionalCheckFailedException(refusal) => Ok(refusal),
            other => Err(other),
        }
    }
}

impl OnCondition for UpdateItemError {
    const NAME: &str = "UpdateItem";

    fn refusal(self) -> Result<ConditionalCheckFailedException, Self> {
        match self {
            Self::ConditionalCheckFailedException(refusal) => Ok(refusal),
            other => Err(other),
        }
    }
}

/// Tells a refused write from a failed one.
///
/// # Errors
/// [`Fault`] when DynamoDB fails; whether the write was made is then unknown.
pub(super) fn conditional<T, E: OnCondition, R>(answer: Result<T, SdkError<E, R>>) -> Result<Conditional<T>, Fault> {
    match answer {
        Ok(made) => Ok(Conditional::Made(made)),
        Err(SdkError::ServiceError(context)) => match context.into_err().refusal() {
            Ok(refusal) => Ok(Conditional::Refused(refusal.item)),
            Err(other) => Err(Fault::of::<E, ()>(E::NAME)(SdkError::service_error(other, ()))),
        },
        Err(error) => Err(Fault::of(E::NAME)(error)),
    }
}
