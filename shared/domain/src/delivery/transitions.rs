//! The ledger's writes: what each depends on, and what it makes of an entry.

use jiff::Timestamp;

use crate::attempt::Attempt;
use crate::delivery::ledger::{ClaimId, End, Entry, Freshness, State};
use crate::delivery::{CancelReason, InvalidRecord, Record};

/// The entry that a write moves away from, as far as the write depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    Waiting {
        attempt: u32,
    },
    /// Waiting, and its endpoint has not seen the attempt: nobody died in the middle of it.
    WaitingUnmarked {
        attempt: u32,
    },
    Sending {
        attempt: u32,
        claim_id: ClaimId,
    },
    /// Over. Only a redelivery by hand moves away from that.
    Ended {
        attempt: u32,
        end: End,
    },
}

impl Condition {
    /// The condition that a state is still the one seen.
    pub fn of(state: &State) -> Self {
        match *state {
            State::Waiting { attempt, .. } => Self::Waiting { attempt },
            State::Sending { attempt, claim_id, .. } => Self::Sending { attempt, claim_id },
            State::Ended { attempt, end, .. } => Self::Ended { attempt, end },
        }
    }

    /// The same, and that the mark of a possible duplicate is not there if it was not. (It is never taken away from what
    /// waits.)
    pub fn with_duplicate_mark(entry: &Entry) -> Self {
        match (Self::of(&entry.state), entry.freshness) {
            (Self::Waiting { attempt }, Freshness::First) => Self::WaitingUnmarked { attempt },
            (other, _) => other,
        }
    }

    /// Whether a write that depends on this is made, where `found` is in the ledger.
    pub fn holds(self, found: Option<&Entry>) -> bool {
        let Some(found) = found else { return false };
        let is_marked = found.freshness == Freshness::PossibleDuplicate;
        match self {
            Self::WaitingUnmarked { attempt } => !is_marked && Self::of(&found.state) == Self::Waiting { attempt },
            other => Self::of(&found.state) == other,
        }
    }

    /// The attempt that the delivery is at.
    pub fn attempt(self) -> u32 {
        match self {
            Self::Waiting { attempt }
            | Self::WaitingUnmarked { attempt }
            | Self::Sending { attempt, .. }
            | Self::Ended { attempt, .. } => attempt,
        }
    }
}

/// What a write makes of a delivery. Times are whole milliseconds, as the ledger keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transition {
    /// A worker takes the attempt.
    Claim { claim_id: ClaimId, lease_until: Timestamp, freshness: Freshness },
    /// A worker gives the attempt up before it has sent a request: somebody else may take it at once. The mark of a
    /// possible duplicate stays.
    Unclaim { due_at: Timestamp },
    /// The attempt failed, and that one is to be made.
    Retry { attempt: u32, due_at: Timestamp },
    /// The attempt was the last.
    End(End),
    /// The delivery is not wanted any more.
    Cancel(CancelReason),
    /// It is sent again by hand: a new round begins with that attempt. The only move that changes `round_start`. `rounds` is
    /// how many there are with it.
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

/// One write of a delivery that exists.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    pub from: Condition,
    pub to: Transition,
    /// All attempts that the delivery remembers, where that changes.
    pub attempts: Option<&'a [Attempt]>,
    /// Until when it is kept, where that changes.
    pub expires_at: Option<Timestamp>,
}

impl Write<'_> {
    /// The record after it, if it is made.
    ///
    /// # Errors
    /// [`InvalidRecord`] when an attribute that its status needs is not there.
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
