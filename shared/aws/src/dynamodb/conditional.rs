//! Conditional writes: their results, and retrying refused ones with backoff.

use std::collections::HashMap;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason};
use domain::backoff::{self, MAX_ATTEMPTS};
use tokio::time::sleep;

use crate::fault::Fault;
use crate::kms::vault::random;

type Item = HashMap<String, AttributeValue>;

/// The result of a conditional write. It means that DynamoDB has decided; an error in its place means that the result
/// is unknown, and the write may have been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a write that was refused was not made"]
pub enum Conditional<T = (), F = ()> {
    /// The write was made. Holds its result.
    Applied(T),
    /// The write was not made, because the item did not meet the condition or a transaction was writing it at that
    /// moment. Holds what was found instead.
    ///
    /// The SDK repeats a write whose response was lost. If the first try had succeeded, the repetition is refused. Only
    /// a caller that recognizes its own write in what was found can tell.
    Refused(F),
}

impl<T, F> Conditional<T, F> {
    /// Maps the result of an applied write.
    pub fn map<U>(self, op: impl FnOnce(T) -> U) -> Conditional<U, F> {
        match self {
            Self::Applied(output) => Conditional::Applied(op(output)),
            Self::Refused(found) => Conditional::Refused(found),
        }
    }

    /// Maps what a refused write found.
    pub fn map_refused<G>(self, op: impl FnOnce(F) -> G) -> Conditional<T, G> {
        match self {
            Self::Applied(output) => Conditional::Applied(output),
            Self::Refused(found) => Conditional::Refused(op(found)),
        }
    }
}

/// The error of an operation that takes a condition.
pub trait ConditionalError: ProvideErrorMetadata + Sized {
    /// The operation's name.
    const OPERATION: &str;

    /// If the error means that the write was refused: the item that was found, where the request asked for it.
    ///
    /// # Errors
    /// The error itself, when it means anything else.
    fn into_found_item(self) -> Result<Option<Item>, Self>;
}

impl ConditionalError for PutItemError {
    const OPERATION: &str = "PutItem";

    fn into_found_item(self) -> Result<Option<Item>, Self> {
        match self {
            Self::ConditionalCheckFailedException(refusal) => Ok(refusal.item),
            // A transaction is writing the item.
            Self::TransactionConflictException(_) => Ok(None),
            other => Err(other),
        }
    }
}

impl ConditionalError for UpdateItemError {
    const OPERATION: &str = "UpdateItem";

    fn into_found_item(self) -> Result<Option<Item>, Self> {
        match self {
            Self::ConditionalCheckFailedException(refusal) => Ok(refusal.item),
            // A conflict with a transaction counts as a failure: callers of UpdateItem take a refusal to mean that the
            // item has changed, but the transaction may still be cancelled.
            other => Err(other),
        }
    }
}

/// All writes of a transaction are made, or none. Found items are not returned.
impl ConditionalError for TransactWriteItemsError {
    const OPERATION: &str = "TransactWriteItems";

    fn into_found_item(self) -> Result<Option<Item>, Self> {
        match self {
            Self::TransactionCanceledException(cancelled)
                if cancelled.cancellation_reasons().iter().any(is_conflict) =>
            {
                Ok(None)
            }
            other => Err(other),
        }
    }
}

/// Whether this write of a transaction was refused itself, rather than cancelled because another one was.
fn is_conflict(reason: &CancellationReason) -> bool {
    matches!(reason.code(), Some("ConditionalCheckFailed" | "TransactionConflict"))
}

/// Separates refused writes from failed ones. A refused one holds the item that was found, where the request asked for
/// it.
///
/// # Errors
/// On a [`Fault`] it is unknown whether the write was made.
pub fn conditional<T, E: ConditionalError, R>(
    response: Result<T, SdkError<E, R>>,
) -> Result<Conditional<T, Option<Item>>, Fault> {
    match response {
        Ok(output) => Ok(Conditional::Applied(output)),
        Err(SdkError::ServiceError(context)) => match context.into_err().into_found_item() {
            Ok(found) => Ok(Conditional::Refused(found)),
            Err(other) => Err(Fault::of::<E, ()>(E::OPERATION)(SdkError::service_error(other, ()))),
        },
        Err(error) => Err(Fault::of(E::OPERATION)(error)),
    }
}

/// Attempts a write until it is applied, and pauses after each refusal. The first attempt gets `seen`, each further one
/// what the previous one found.
///
/// # Errors
/// [`Fault::Contended`] when the write was refused [`MAX_ATTEMPTS`] times; any error of an attempt, immediately.
// Not `AsyncFnMut`: the compiler cannot prove yet that the future of a borrowing closure is `Send`.
pub async fn with_backoff<T, F, E, A>(mut seen: F, mut attempt: impl FnMut(F) -> A) -> Result<T, E>
where
    E: From<Fault>,
    A: Future<Output = Result<Conditional<T, F>, E>>,
{
    for conflict in 1..=MAX_ATTEMPTS {
        match attempt(seen).await? {
            Conditional::Applied(output) => return Ok(output),
            Conditional::Refused(found) => seen = found,
        }
        // After the last one too, so that callers who then try again do not all do so at the same time.
        pause(conflict).await;
    }
    Err(Fault::Contended.into())
}

/// Pauses for a random time, at most half a second, after the n-th conflict in a row. `conflict` counts from 1.
pub async fn pause(conflict: u32) {
    sleep(backoff::conflict_backoff(conflict, u16::from_be_bytes(random()))).await;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use aws_sdk_dynamodb::types::error::{
        ConditionalCheckFailedException, ProvisionedThroughputExceededException, TransactionCanceledException,
        TransactionConflictException,
    };

    use super::*;

    fn classify<E: ConditionalError>(error: E) -> Result<Conditional<(), Option<Item>>, Fault> {
        conditional::<(), E, ()>(Err(SdkError::service_error(error, ())))
    }

    fn cancelled(codes: [&str; 2]) -> TransactWriteItemsError {
        let reasons = codes.map(|code| CancellationReason::builder().code(code).build()).to_vec();
        let cancelled = TransactionCanceledException::builder().set_cancellation_reasons(Some(reasons)).build();
        TransactWriteItemsError::TransactionCanceledException(cancelled)
    }

    #[test]
    fn a_refused_write_differs_from_a_failed_one() {
        let item = || Item::from([("version".to_owned(), AttributeValue::N("2".to_owned()))]);
        let check_failed = || ConditionalCheckFailedException::builder().set_item(Some(item())).build();
        let conflict = || TransactionConflictException::builder().build();
        let throttled = || ProvisionedThroughputExceededException::builder().build();

        let put = [
            PutItemError::ConditionalCheckFailedException(check_failed()),
            PutItemError::TransactionConflictException(conflict()),
        ];
        let [found, unknown] = put.map(|error| classify(error).unwrap());
        assert_eq!(found, Conditional::Refused(Some(item())));
        assert_eq!(unknown, Conditional::Refused(None));
        assert!(classify(PutItemError::ProvisionedThroughputExceededException(throttled())).is_err());

        let update = classify(UpdateItemError::ConditionalCheckFailedException(check_failed()));
        assert_eq!(update.unwrap(), Conditional::Refused(Some(item())));
        assert!(classify(UpdateItemError::ProvisionedThroughputExceededException(throttled())).is_err());

        for refused in [["None", "ConditionalCheckFailed"], ["TransactionConflict", "None"]] {
            assert_eq!(classify(cancelled(refused)).unwrap(), Conditional::Refused(None));
        }
        assert!(classify(cancelled(["None", "ThrottlingError"])).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_write_is_retried_with_what_it_found() {
        let applied: Result<u32, Fault> = with_backoff(1, |seen: u32| async move {
            Ok(if seen < 4 { Conditional::Refused(seen + 1) } else { Conditional::Applied(10 * seen) })
        })
        .await;
        assert_eq!(applied.unwrap(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn retrying_ends_after_too_many_refusals_or_an_error() {
        let attempts = Cell::new(0);
        let refused: Result<(), Fault> = with_backoff((), |()| async {
            attempts.set(attempts.get() + 1);
            Ok(Conditional::Refused(()))
        })
        .await;
        assert!(matches!(refused, Err(Fault::Contended)));
        assert_eq!(attempts.get(), MAX_ATTEMPTS);

        let failed: Result<(), Fault> = with_backoff((), |()| async { Err(Fault::PayloadMissing) }).await;
        assert!(matches!(failed, Err(Fault::PayloadMissing)));
    }
}
