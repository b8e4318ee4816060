//! Writes on condition: what DynamoDB answered to one, and trying again when it was refused.

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

/// What came of a write on condition that DynamoDB decided on. An error in its place says that this is unknown: the write
/// may have been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a write that was refused was not made"]
pub enum Conditional<T = (), F = ()> {
    /// The write was made; this is what it yields.
    Applied(T),
    /// The write was not made, because the item was not as the condition asked, or a transaction was writing it at that
    /// moment; this is what was found instead.
    ///
    /// The SDK repeats a write whose answer was lost. A repetition is refused that finds its own write made: only who knows
    /// that write again in what was found can tell.
    Refused(F),
}

impl<T, F> Conditional<T, F> {
    /// Makes something else of what an applied write yields.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Conditional<U, F> {
        match self {
            Self::Applied(yielded) => Conditional::Applied(make(yielded)),
            Self::Refused(found) => Conditional::Refused(found),
        }
    }

    /// Makes something else of what a refused write found.
    pub fn map_refused<G>(self, make: impl FnOnce(F) -> G) -> Conditional<T, G> {
        match self {
            Self::Applied(yielded) => Conditional::Applied(yielded),
            Self::Refused(found) => Conditional::Refused(make(found)),
        }
    }
}

/// An operation that takes a condition.
pub trait OnCondition: ProvideErrorMetadata + Sized {
    const NAME: &str;

    /// What was found, if the error is a refusal and the request asked for that; else the error.
    ///
    /// # Errors
    /// The error itself, when it is no refusal.
    fn refusal(self) -> Result<Option<Item>, Self>;
}

impl OnCondition for PutItemError {
    const NAME: &str = "PutItem";

    fn refusal(self) -> Result<Option<Item>, Self> {
        match self {
            Self::ConditionalCheckFailedException(refusal) => Ok(refusal.item),
            // A transaction is about to write the item.
            Self::TransactionConflictException(_) => Ok(None),
            other => Err(other),
        }
    }
}

impl OnCondition for UpdateItemError {
    const NAME: &str = "UpdateItem";

    fn refusal(self) -> Result<Option<Item>, Self> {
        match self {
            Self::ConditionalCheckFailedException(refusal) => Ok(refusal.item),
            // A conflict with a transaction stays a failure: who updates takes a refusal for the item's having changed for
            // good, and the transaction may yet be cancelled.
            other => Err(other),
        }
    }
}

/// Several writes that are made together or not at all. What was found of which of them is not told.
impl OnCondition for TransactWriteItemsError {
    const NAME: &str = "TransactWriteItems";

    fn refusal(self) -> Result<Option<Item>, Self> {
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

/// Whether a write of a transaction was refused, and not merely left out because another one was.
fn is_conflict(reason: &CancellationReason) -> bool {
    matches!(reason.code(), Some("ConditionalCheckFailed" | "TransactionConflict"))
}

/// Tells a refused write from a failed one. A refused one's item is as it was found, where the request asked for that.
///
/// # Errors
/// [`Fault`] when DynamoDB fails; whether the write was made is then unknown.
pub fn conditional<T, E: OnCondition, R>(
    answer: Result<T, SdkError<E, R>>,
) -> Result<Conditional<T, Option<Item>>, Fault> {
    match answer {
        Ok(output) => Ok(Conditional::Applied(output)),
        Err(SdkError::ServiceError(context)) => match context.into_err().refusal() {
            Ok(found) => Ok(Conditional::Refused(found)),
            Err(other) => Err(Fault::of::<E, ()>(E::NAME)(SdkError::service_error(other, ()))),
        },
        Err(error) => Err(Fault::of(E::NAME)(error)),
    }
}

/// Attempts a write until it is applied, and pauses after each time that it is refused. The first attempt is given `seen`, each
/// further one what the one before it found.
///
/// # Errors
/// [`Fault::Contended`] when the write was refused [`MAX_ATTEMPTS`] times, and at once whatever an attempt fails with.
// Not `AsyncFnMut`: the compiler does not see yet that the future of one that borrows is `Send`.
pub async fn with_backoff<T, F, E, A>(mut seen: F, mut attempt: impl FnMut(F) -> A) -> Result<T, E>
where
    E: From<Fault>,
    A: Future<Output = Result<Conditional<T, F>, E>>,
{
    for conflict in 1..=MAX_ATTEMPTS {
        match attempt(seen).await? {
            Conditional::Applied(yielded) => return Ok(yielded),
            Conditional::Refused(found) => seen = found,
        }
        // After the last one too: those who are told to come back are not to do so all at once.
        pause(conflict).await;
    }
    Err(Fault::Contended.into())
}

/// Pauses after the n-th conflict in a row, from 1, for a random time: at most half a second.
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

    fn answered<E: OnCondition>(error: E) -> Result<Conditional<(), Option<Item>>, Fault> {
        conditional::<(), E, ()>(Err(SdkError::service_error(error, ())))
    }

    fn cancelled(codes: [&str; 2]) -> TransactWriteItemsError {
        let reasons = codes.map(|code| CancellationReason::builder().code(code).build()).to_vec();
        let cancelled = TransactionCanceledException::builder().set_cancellation_reasons(Some(reasons)).build();
        TransactWriteItemsError::TransactionCanceledException(cancelled)
    }

    #[test]
    fn a_refused_write_is_told_from_a_failed_one() {
        let item = || Item::from([("version".to_owned(), AttributeValue::N("2".to_owned()))]);
        let check_failed = || ConditionalCheckFailedException::builder().set_item(Some(item())).build();
        let conflict = || TransactionConflictException::builder().build();
        let throttled = || ProvisionedThroughputExceededException::builder().build();

        let put = [
            PutItemError::ConditionalCheckFailedException(check_failed()),
            PutItemError::TransactionConflictException(conflict()),
        ];
        let [found, unknown] = put.map(|error| answered(error).unwrap());
        assert_eq!(found, Conditional::Refused(Some(item())));
        assert_eq!(unknown, Conditional::Refused(None));
        assert!(answered(PutItemError::ProvisionedThroughputExceededException(throttled())).is_err());

        let update = answered(UpdateItemError::ConditionalCheckFailedException(check_failed()));
        assert_eq!(update.unwrap(), Conditional::Refused(Some(item())));
        assert!(answered(UpdateItemError::ProvisionedThroughputExceededException(throttled())).is_err());

        for refused in [["None", "ConditionalCheckFailed"], ["TransactionConflict", "None"]] {
            assert_eq!(answered(cancelled(refused)).unwrap(), Conditional::Refused(None));
        }
        assert!(answered(cancelled(["None", "ThrottlingError"])).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_write_is_attempted_again_on_what_it_found() {
        let applied: Result<u32, Fault> = with_backoff(1, |seen: u32| async move {
            Ok(if seen < 4 { Conditional::Refused(seen + 1) } else { Conditional::Applied(10 * seen) })
        })
        .await;
        assert_eq!(applied.unwrap(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_is_given_up_that_is_refused_too_often_or_fails() {
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
