//! The ledger's writes: the condition of each, and its effect on an entry.

use jiff::Timestamp;

use crate::attempt::Attempt;
use crate::delivery::ledger::{ClaimId, End, Entry, Freshness, State};
use crate::delivery::{CancelReason, InvalidRecord, Record};

/// The condition of a write: what the entry must be before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    Waiting {
        attempt: u32,
    },
    /// Waiting, without the mark of a possible duplicate.
    WaitingUnmarked {
        attempt: u32,
    },
    Sending {
        attempt: u32,
        claim_id: ClaimId,
    },
    /// Ended. Only a redelivery by hand has this condition.
    Ended {
        attempt: u32,
        end: End,
    },
}

impl Condition {
    /// The condition that the state has not changed.
    pub fn of(state: &State) -> Self {
        match *state {
            State::Waiting { attempt, .. } => Self::Waiting { attempt },
            State::Sending { attempt, claim_id, .. } => Self::Sending { attempt, claim_id },
            State::Ended { attempt, end, .. } => Self::Ended { attempt, end },
        }
    }

    /// The same, and that a waiting delivery without the mark of a possible duplicate still has none. (The mark is
    /// never removed while a delivery waits.)
    pub fn with_duplicate_mark(entry: &Entry) -> Self {
        match (Self::of(&entry.state), entry.freshness) {
            (Self::Waiting { attempt }, Freshness::First) => Self::WaitingUnmarked { attempt },
            (other, _) => other,
        }
    }

    /// Whether the condition holds for what the ledger has.
    pub fn holds(self, found: Option<&Entry>) -> bool {
        let Some(found) = found else { return false };
        let is_marked = found.freshness == Freshness::PossibleDuplicate;
        match self {
            Self::WaitingUnmarked { attempt } => !is_marked && Self::of(&found.state) == Self::Waiting { attempt },
            other => Self::of(&found.state) == other,
        }
    }

    /// The delivery's current attempt.
    pub fn attempt(self) -> u32 {
        match self {
            Self::Waiting { attempt }
            | Self::WaitingUnmarked { attempt }
            | Self::Sending { attempt, .. }
            | Self::Ended { attempt, .. } => attempt,
        }
    }
}

/// The effect of a write on a delivery. Times are whole milliseconds, as the ledger stores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transition {
    /// A worker claims the attempt.
    Claim { claim_id: ClaimId, lease_until: Timestamp, freshness: Freshness },
    /// A worker takes its claim back before sending a request, so that another worker can claim the attempt
    /// immediately. The mark of a possible duplicate stays.
    Unclaim { due_at: Timestamp },
    /// The attempt failed, and `attempt` is the next one.
    Retry { attempt: u32, due_at: Timestamp },
    /// The attempt was the last.
    End(End),
    /// The delivery is no longer wanted.
    Cancel(CancelReason),
    /// A redelivery by hand: a new round begins with this attempt. The only transition that changes `round_start`.
    /// `rounds` counts the new round too.
    Redeliver { attempt: u32, due_at: Timestamp, rounds: u32, now: Timestamp },
}

impl Transition {
    /// The entry after it.
    #[must_use]
    pub fn apply(self, Entry { state, freshness }: Entry) -> Entry {
        let (attempt, round_start) = (state.attempt(), state.round_start());
        let fresh = |state| Entry { state, freshness: Freshness::First };
        match self {
            Self::Claim { claim_id, lease_until, freshness: claimed } => {
                let state = State::Sending { attempt, round_start, lease_until, claim_id };
                Entry { state, freshness: freshness.max(claimed) }
            }
            Self::Unclaim { due_at } => Entry { state: State::Waiting { attempt, round_start, due_at }, freshness },
            Self::Retry { attempt, due_at } => fresh(State::Waiting { attempt, round_start, due_at }),
            Self::End(end) => fresh(State::Ended { attempt, round_start, end }),
            Self::Cancel(_) => fresh(State::Ended { attempt, round_start, end: End::Cancelled }),
            Self::Redeliver { attempt, due_at, .. } => fresh(State::Waiting { attempt, round_start: attempt, due_at }),
        }
    }
}

/// One write of an existing delivery.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    pub from: Condition,
    pub to: Transition,
    /// All stored attempts, if they change.
    pub attempts: Option<&'a [Attempt]>,
    /// When the item expires, if that changes.
    pub expires_at: Option<Timestamp>,
}

impl Write<'_> {
    /// Applies the write to a record for which its condition holds.
    ///
    /// # Errors
    /// When the record lacks an attribute that its status requires.
    pub fn apply(&self, record: &mut Record) -> Result<(), InvalidRecord> {
        record.set_entry(self.to.apply(record.entry()?));
        match self.to {
            Transition::Cancel(reason) => record.cancel_reason = Some(reason),
            Transition::Redeliver { rounds, now, .. } => {
                record.rounds = rounds;
                record.redelivered_at = Some(now);
                record.cancel_reason = None;
            }
            Transition::Claim { .. } | Transition::Unclaim { .. } | Transition::Retry { .. } | Transition::End(_) => {}
        }
        if let Some(attempts) = self.attempts {
            record.attempts = attempts.to_vec();
        }
        record.expires_at = self.expires_at.unwrap_or(record.expires_at);
        Ok(())
    }
}
