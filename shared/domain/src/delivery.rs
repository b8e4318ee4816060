//! A delivery as the ledger stores it: one alert event on its way to one integration, with its attempts.

pub mod ledger;
pub mod misdated;
pub mod payload;
pub mod retry_message;
pub mod transitions;
pub mod wait;
pub mod worker;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::alert::event::EventType;
use crate::attempt::Attempt;
use crate::delivery::ledger::{ClaimId, End, Entry, Freshness, State};
use crate::ids::{DeliveryId, IntegrationId, OrganizationId};

/// How many attempts are stored with a delivery: the last ten.
pub const MAX_ATTEMPTS_KEPT: usize = 10;

/// The number of partitions of the index of waiting deliveries. Eight can take about 8,000 new waits a second.
pub const DUE_SHARDS: u8 = 8;

/// The key of a delivery's item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeliveryKey {
    pub integration_id: IntegrationId,
    pub delivery_id: DeliveryId,
}

impl DeliveryKey {
    /// The delivery's shard of the index of waiting deliveries.
    pub fn due_shard(&self) -> u8 {
        self.delivery_id.spread() % DUE_SHARDS
    }
}

/// A delivery's status, as the API and the log name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Sending,
    Waiting,
    Delivered,
    Failed,
    Cancelled,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<End> for Status {
    fn from(end: End) -> Self {
        match end {
            End::Delivered => Self::Delivered,
            End::Failed => Self::Failed,
            End::Cancelled => Self::Cancelled,
        }
    }
}

/// Why a delivery was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    IntegrationDisabled,
    IntegrationDeleted,
    /// The integration's filters were changed before a repeated receive of the same alert event.
    NoLongerMatches,
}

/// The attributes of a delivery that never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub integration_id: IntegrationId,
    pub delivery_id: DeliveryId,
    pub organization_id: OrganizationId,
    pub event_type: EventType,
    pub alert_id: u64,
    /// When the alert event was first received.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub created_at: Timestamp,
}

impl Identity {
    pub fn key(&self) -> DeliveryKey {
        DeliveryKey { integration_id: self.integration_id, delivery_id: self.delivery_id }
    }
}

/// A delivery's item in the deliveries table. Attributes that belong to certain states are absent in the others;
/// [`Record::state`] reads them together.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    #[serde(flatten)]
    pub identity: Identity,
    pub status: Status,
    pub attempt: u32,
    pub round_start: u32,
    #[serde(
        default,
        with = "jiff::fmt::serde::timestamp::millisecond::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub lease_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_id: Option<ClaimId>,
    #[serde(
        default,
        with = "jiff::fmt::serde::timestamp::millisecond::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub due_at: Option<Timestamp>,
    /// The key of the sparse index of waiting deliveries; present exactly while the delivery waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_shard: Option<u8>,
    /// The key of the sparse index of failed deliveries: `created_at`, present exactly while the delivery is failed.
    #[serde(
        default,
        with = "jiff::fmt::serde::timestamp::millisecond::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub failed_created_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<CancelReason>,
    /// A worker died in the middle of this attempt. Another worker has claimed it since, and may have taken that claim
    /// back.
    #[serde(default, skip_serializing_if = "is_false")]
    pub possible_duplicate: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// The payload, deflated; absent if it is stored in a separate item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<ByteBuf>,
    /// How many rounds it has had: one, and one for each redelivery by hand.
    #[serde(default = "first_round", skip_serializing_if = "is_first_round")]
    pub rounds: u32,
    /// When it was last redelivered by hand.
    #[serde(
        default,
        with = "jiff::fmt::serde::timestamp::millisecond::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub redelivered_at: Option<Timestamp>,
    /// A delivery made with the Test button.
    #[serde(default, skip_serializing_if = "is_false")]
    pub test: bool,
    /// When DynamoDB may delete the item (the table's TTL attribute), in epoch seconds.
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub expires_at: Timestamp,
    /// The format of this item; this code writes [`Record::FORMAT`] and reads it and everything older.
    pub format: u8,
}

const fn first_round() -> u32 {
    1
}

fn is_first_round(rounds: &u32) -> bool {
    *rounds == first_round()
}

fn is_false(value: &bool) -> bool {
    !value
}

impl fmt::Debug for Record {
    /// Without payload and excerpts, which are the customer's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("key", &self.identity.key())
            .field("status", &self.status)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// An item without an attribute that its status requires. Our fault, never the endpoint's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the delivery's item lacks an attribute that its status requires: {missing}")]
pub struct InvalidRecord {
    pub missing: &'static str,
}

impl Record {
    /// The item format that this code writes.
    pub const FORMAT: u8 = 1;

    /// A new delivery in its first state. The caller adds the payload.
    pub fn new(identity: Identity, state: &State, expires_at: Timestamp) -> Self {
        let mut record = Self {
            identity,
            status: Status::Waiting,
            attempt: 0,
            round_start: 0,
            lease_until: None,
            claim_id: None,
            due_at: None,
            due_shard: None,
            failed_created_at: None,
            cancel_reason: None,
            possible_duplicate: false,
            attempts: Vec::new(),
            payload: None,
            rounds: first_round(),
            redelivered_at: None,
            test: false,
            expires_at,
            format: Self::FORMAT,
        };
        record.set_entry((*state).into());
        record
    }

    /// Sets the attributes of the entry's state, and clears those of other states.
    pub fn set_entry(&mut self, Entry { state, freshness }: Entry) {
        self.possible_duplicate = freshness == Freshness::PossibleDuplicate;
        self.attempt = state.attempt();
        self.round_start = state.round_start();
        (self.lease_until, self.claim_id, self.due_at, self.due_shard, self.failed_created_at) = Default::default();
        match state {
            State::Sending { lease_until, claim_id, .. } => {
                self.status = Status::Sending;
                self.lease_until = Some(lease_until);
                self.claim_id = Some(claim_id);
            }
            State::Waiting { due_at, .. } => {
                self.status = Status::Waiting;
                self.due_at = Some(due_at);
                self.due_shard = Some(self.identity.key().due_shard());
            }
            State::Ended { end, .. } => {
                self.status = end.into();
                self.failed_created_at = (end == End::Failed).then_some(self.identity.created_at);
            }
        }
    }

    /// The protocol's view of the record.
    ///
    /// # Errors
    /// When an attribute that the status requires is missing.
    pub fn state(&self) -> Result<State, InvalidRecord> {
        let (attempt, round_start) = (self.attempt, self.round_start);
        let ended = |end| Ok(State::Ended { attempt, round_start, end });
        match self.status {
            Status::Sending => Ok(State::Sending {
                attempt,
                round_start,
                lease_until: self.lease_until.ok_or(InvalidRecord { missing: "lease_until" })?,
                claim_id: self.claim_id.ok_or(InvalidRecord { missing: "claim_id" })?,
            }),
            Status::Waiting => Ok(State::Waiting {
                attempt,
                round_start,
                due_at: self.due_at.ok_or(InvalidRecord { missing: "due_at" })?,
            }),
            Status::Delivered => ended(End::Delivered),
            Status::Failed => ended(End::Failed),
            Status::Cancelled => ended(End::Cancelled),
        }
    }

    /// The protocol's view of the record, including the mark of a possible duplicate.
    ///
    /// # Errors
    /// As for [`Record::state`].
    pub fn entry(&self) -> Result<Entry, InvalidRecord> {
        Ok(Entry { state: self.state()?, freshness: self.freshness() })
    }

    /// Whether the endpoint may already have received the current attempt.
    pub fn freshness(&self) -> Freshness {
        if self.possible_duplicate { Freshness::PossibleDuplicate } else { Freshness::First }
    }

    /// All attempts, including the current one as interrupted: a worker died in it, and it began at `started_at`.
    /// `None` if no worker can have died: nothing is being sent, and no claim that was taken back had the mark of a
    /// possible duplicate.
    pub fn with_interrupted_attempt(&self, started_at: Timestamp) -> Option<Vec<Attempt>> {
        let taken_back = self.status == Status::Waiting && self.possible_duplicate;
        if self.status != Status::Sending && !taken_back {
            return None;
        }
        let mut record = self.clone();
        record.add_attempt(Attempt::interrupted(self.attempt, started_at, self.freshness()));
        Some(record.attempts)
    }

    /// Adds a finished attempt, and drops the oldest beyond [`MAX_ATTEMPTS_KEPT`].
    pub fn add_attempt(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
        let surplus = self.attempts.len().saturating_sub(MAX_ATTEMPTS_KEPT);
        self.attempts.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use crate::attempt::AttemptError;
    use crate::fixtures::identity;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_736_500_000 + second).unwrap()
    }

    fn record(state: &State) -> Record {
        Record::new(Identity { created_at: at(0), ..identity() }, state, at(86_400))
    }

    const STATES: fn() -> [State; 5] = || {
        [
            State::Sending { attempt: 1, round_start: 1, lease_until: at(90), claim_id: ClaimId::new([3; 16]) },
            State::Waiting { attempt: 7, round_start: 6, due_at: at(60) },
            State::Ended { attempt: 1, round_start: 1, end: End::Delivered },
            State::Ended { attempt: 5, round_start: 1, end: End::Failed },
            State::Ended { attempt: 2, round_start: 1, end: End::Cancelled },
        ]
    };

    #[test]
    fn every_state_reads_back_whatever_state_it_replaced() {
        for before in STATES() {
            for after in STATES() {
                let mut record = record(&before);
                record.set_entry(after.into());
                assert_eq!(record.state(), Ok(after));
                assert_eq!(record.due_shard.is_some(), record.status == Status::Waiting);
                assert_eq!(record.failed_created_at.is_some(), record.status == Status::Failed);
            }
        }
    }

    #[test]
    fn an_attempt_whose_worker_died_is_stored_as_interrupted() {
        for state in STATES() {
            let mut record = record(&state);
            record.possible_duplicate = true;
            let attempts = record.with_interrupted_attempt(at(7));
            assert_eq!(attempts.is_some(), matches!(record.status, Status::Sending | Status::Waiting));
            for attempt in attempts.into_iter().flatten() {
                let interrupted = (record.attempt, at(7), true);
                assert_eq!((attempt.number, attempt.started_at, attempt.possible_duplicate), interrupted);
                assert_eq!(attempt.outcome, Attempt::UNKNOWN);
            }
            record.possible_duplicate = false;
            let interrupted = record.with_interrupted_attempt(at(7)).is_some();
            assert_eq!(interrupted, record.status == Status::Sending, "nothing was sent before a wait");
        }
    }

    #[test]
    fn a_record_reads_back_from_its_item() {
        for state in STATES() {
            let mut written = record(&state);
            written.payload = Some(ByteBuf::from(vec![0, 255, 1]));
            written.add_attempt(Attempt {
                number: 1,
                started_at: at(1),
                duration_ms: Some(12),
                outcome: "rejected".into(),
                status_code: Some(500),
                error: Some(AttemptError { code: "server_error".into(), message: "…".into() }),
                response_excerpt: Some("oops".into()),
                possible_duplicate: true,
            });
            let item: serde_dynamo::Item = serde_dynamo::to_item(&written).unwrap();
            assert!(matches!(item.get("payload"), Some(serde_dynamo::AttributeValue::B(_))));
            assert!(matches!(item.get("created_at"), Some(serde_dynamo::AttributeValue::N(_))));
            let read: Record = serde_dynamo::from_item(item).unwrap();
            assert_eq!(read, written);
        }
    }

    #[test]
    fn a_status_without_its_attributes_is_an_error() {
        for (state, missing) in STATES().into_iter().zip(["lease_until", "due_at"]) {
            let mut record = record(&state);
            (record.lease_until, record.due_at) = (None, None);
            assert_eq!(record.state(), Err(InvalidRecord { missing }));
        }
    }

    #[test]
    fn an_interrupted_attempt_has_an_unknown_outcome() {
        let once = Attempt::interrupted(2, at(1), Freshness::First);
        assert_eq!((once.outcome.as_str(), once.status_code, once.duration_ms), ("unknown", None, None));
        assert!(!once.possible_duplicate);
        assert!(Attempt::interrupted(2, at(1), Freshness::PossibleDuplicate).possible_duplicate);
    }

    #[test]
    fn the_last_ten_attempts_are_stored() {
        let mut record = record(&STATES()[1]);
        for number in 1..=12 {
            record.add_attempt(Attempt {
                number,
                started_at: at(1),
                duration_ms: Some(1),
                outcome: "rejected".into(),
                status_code: None,
                error: None,
                response_excerpt: None,
                possible_duplicate: false,
            });
        }
        let numbers: Vec<_> = record.attempts.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, (3..=12).collect::<Vec<_>>());
    }
}
