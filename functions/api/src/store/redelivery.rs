//! Sends deliveries again: each gets a new round of attempts, by the ledger's protocol.

use std::time::Duration;

use aws::dynamodb::conditional::{Conditional, with_backoff};
use aws::dynamodb::deliveries_table::{DeliveriesTable, Written};
use aws::fault::Fault;
use aws::sqs::queues::RetryMessages;
use domain::delivery::ledger::{self, NotRedeliverable};
use domain::delivery::retry_message::RetryMessage;
use domain::delivery::transitions::{Condition, Transition, Write};
use domain::delivery::wait::longest_queue_delay;
use domain::delivery::{Record, Status};
use domain::integration::{Integration, Standing};
use jiff::Timestamp;

use crate::http::problem::{Conflict, Problem};

/// Begins new rounds of attempts and sends their messages.
pub struct Redelivery {
    deliveries: DeliveriesTable,
    retry_queue: RetryMessages,
    slow_lane: RetryMessages,
    retention: Duration,
}

/// Checks that an integration is switched on: a delivery sent again to one that is off would be cancelled immediately.
///
/// # Errors
/// [`Conflict::IntegrationDisabled`] when it is off.
pub fn check_enabled(integration: &Integration) -> Result<(), Problem> {
    match integration.standing() {
        Standing::Enabled => Ok(()),
        Standing::Disabled | Standing::Deleted => Err(Problem::Conflict(Conflict::IntegrationDisabled)),
    }
}

impl Redelivery {
    pub fn new(
        deliveries: DeliveriesTable,
        retry_queue: RetryMessages,
        slow_lane: RetryMessages,
        retention: Duration,
    ) -> Self {
        Self { deliveries, retry_queue, slow_lane, retention }
    }

    /// Writes a delivery's new round, which begins at `due_at`, to the ledger. The caller must then send its message.
    ///
    /// # Errors
    /// [`Problem::Conflict`] when the delivery cannot be sent again, [`Problem::NotFound`] when it has expired, or a
    /// fault.
    pub async fn begin(&self, record: Box<Record>, due_at: Timestamp, now: Timestamp) -> Result<Box<Record>, Problem> {
        with_backoff(record, |record: Box<Record>| async move {
            let round = next_round(&record, due_at, now)?;
            let expires_at = now.saturating_add(self.retention).unwrap_or(Timestamp::MAX).max(record.expires_at);
            // First, so that there is never a round without its payload.
            match self.deliveries.extend_payload(&record, expires_at).await {
                Ok(()) => {}
                Err(Fault::PayloadMissing) => return Err(Problem::Conflict(Conflict::PayloadGone)),
                Err(fault) => return Err(fault.into()),
            }
            match self.begin_round(&record, round, expires_at).await? {
                Written::Applied(record) => Ok(Conditional::Applied(record)),
                // The SDK repeats a write whose response was lost; the repetition is refused because the first write
                // was made.
                Written::Refused(Some(found)) if round.is_begun_in(&found) => Ok(Conditional::Applied(found)),
                Written::Refused(Some(found)) => Ok(Conditional::Refused(found)),
                Written::Refused(None) => Err(Problem::NotFound),
            }
        })
        .await
    }

    async fn begin_round(&self, record: &Record, round: Round, expires_at: Timestamp) -> Result<Written, Fault> {
        let Round { attempt, rounds, due_at, now } = round;
        let key = record.identity.key();
        let from = Condition::of(&record.state()?);
        let to = Transition::Redeliver { attempt, due_at, rounds, now };
        // If the worker died during the last attempt: that began at an unknown time before its lease ended.
        let interrupted = record.with_interrupted_attempt(record.lease_until.unwrap_or(now));
        let write = Write { from, to, attempts: interrupted.as_deref(), expires_at: Some(expires_at) };
        self.deliveries.advance(key, record.identity.organization_id, &write).await
    }

    /// Sends the message of a round that begins now.
    ///
    /// # Errors
    /// [`Fault`] when SQS fails; the next sweep then sends the message.
    pub async fn send_now(&self, record: &Record) -> Result<(), Fault> {
        self.retry_queue.send(&message(record), 0).await
    }

    /// Sends the messages of rounds that begin later; the queue delays them until then. They use the slow lane, so that
    /// thousands of them do not delay other retries.
    ///
    /// # Errors
    /// [`Fault`] when SQS fails; the next sweep then sends the messages.
    pub async fn send_later(&self, records: &[Box<Record>], now: Timestamp) -> Result<(), Fault> {
        let delay = |due_at| longest_queue_delay(due_at, now);
        let messages: Vec<_> = records.iter().map(|record| (message(record), record.due_at.map_or(0, delay))).collect();
        self.slow_lane.send_each(&messages).await
    }
}

/// A new round of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Round {
    /// The number of its first attempt.
    attempt: u32,
    /// How many rounds the delivery has had, this one included.
    rounds: u32,
    due_at: Timestamp,
    now: Timestamp,
}

impl Round {
    /// Whether this round has begun in the record. Another request's round with the same `now` and `due_at`, to the
    /// millisecond, is taken for this one: then both send a message, and the ledger makes the second one stale.
    fn is_begun_in(&self, record: &Record) -> bool {
        let found = (record.status, record.attempt, record.rounds, record.due_at, record.redelivered_at);
        found == (Status::Waiting, self.attempt, self.rounds, Some(self.due_at), Some(self.now))
    }
}

/// The next round of a delivery.
///
/// # Errors
/// [`Problem::Conflict`] when it cannot have one.
fn next_round(record: &Record, due_at: Timestamp, now: Timestamp) -> Result<Round, Problem> {
    if record.test {
        return Err(Problem::Conflict(Conflict::IsATest));
    }
    let state = record.state().map_err(Fault::from)?;
    let attempt = ledger::redeliver(&state, record.rounds, now).map_err(conflict)?;
    Ok(Round { attempt, rounds: record.rounds + 1, due_at, now })
}

fn conflict(reason: NotRedeliverable) -> Problem {
    Problem::Conflict(match reason {
        NotRedeliverable::InFlight => Conflict::InFlight,
        NotRedeliverable::TooManyRounds => Conflict::TooManyRounds,
    })
}

fn message(record: &Record) -> RetryMessage {
    let identity = &record.identity;
    RetryMessage {
        organization_id: identity.organization_id,
        integration_id: identity.integration_id,
        delivery_id: identity.delivery_id,
        attempt: record.attempt,
    }
}

#[cfg(test)]
mod tests {
    use domain::delivery::Identity;
    use domain::delivery::ledger::{End, State as LedgerState};
    use domain::fixtures::identity;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_736_500_000 + second).unwrap()
    }

    fn record(state: &LedgerState) -> Record {
        Record::new(Identity { created_at: at(-60), ..identity() }, state, at(3_600))
    }

    fn failed() -> Record {
        record(&LedgerState::Ended { attempt: 5, round_start: 1, end: End::Failed })
    }

    #[test]
    fn only_an_ended_delivery_gets_another_round() {
        let round = next_round(&failed(), at(10), at(0)).unwrap();
        assert_eq!(round, Round { attempt: 6, rounds: 2, due_at: at(10), now: at(0) });
        let waiting = record(&LedgerState::Waiting { attempt: 2, round_start: 1, due_at: at(0) });
        let refused = |record: &Record| match next_round(record, at(10), at(0)) {
            Err(Problem::Conflict(conflict)) => Some(conflict),
            _ => None,
        };
        assert_eq!(refused(&waiting), Some(Conflict::InFlight));
        assert_eq!(refused(&Record { rounds: 5, ..failed() }), Some(Conflict::TooManyRounds));
        assert_eq!(refused(&Record { test: true, ..failed() }), Some(Conflict::IsATest));
    }

    #[test]
    fn only_our_own_round_is_recognized() {
        let round = next_round(&failed(), at(10), at(0)).unwrap();
        let mut begun = record(&LedgerState::Waiting { attempt: 6, round_start: 6, due_at: at(10) });
        (begun.rounds, begun.redelivered_at) = (2, Some(at(0)));
        assert!(round.is_begun_in(&begun));
        assert!(!round.is_begun_in(&failed()));
        assert!(!round.is_begun_in(&Record { redelivered_at: Some(at(1)), ..begun.clone() }));
        assert!(!round.is_begun_in(&Record { due_at: Some(at(11)), ..begun.clone() }));
        assert!(!round.is_begun_in(&Record { status: Status::Sending, ..begun }));
    }
}
