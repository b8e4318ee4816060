//! The moves of a delivery: what each write changes, and what it depends on.

use jiff::Timestamp;

use crate::attempt::Attempt;
use crate::delivery::ledger::{ClaimId, End, Freshness, State};
use crate::delivery::{CancelReason, Status};

/// The state that a write moves away from, as far as it has to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prior {
    Waiting {
        attempt: u32,
    },
    Sending {
        attempt: u32,
        claim_id: ClaimId,
    },
    /// Final. Only a redelivery by hand moves away from that.
    Ended {
        status: Status,
        attempt: u32,
    },
}

impl Prior {
    /// The condition that a state is still the one seen. `None` for final states, which no message moves away from.
    pub fn seen(state: &State) -> Option<Self> {
        match Self::of(state) {
            seen @ (Self::Waiting { .. } | Self::Sending { .. }) => Some(seen),
            Self::Ended { .. } => None,
        }
    }

    /// The same for any state: a redelivery by hand moves away from final ones.
    pub fn of(state: &State) -> Self {
        match *state {
            State::Waiting { attempt, .. } => Self::Waiting { attempt },
            State::Sending { attempt, claim_id, .. } => Self::Sending { attempt, claim_id },
            State::Ended { attempt, end, .. } => Self::Ended { status: end.into(), attempt },
        }
    }
}

/// A move of a delivery.
#[derive(Clone, Debug)]
pub enum Move<'a> {
    /// A worker takes the attempt.
    Claim { claim_id: ClaimId, lease_until: Timestamp, freshness: Freshness },
    /// A worker gives the attempt up before it has sent a request: somebody else may take it at once. The mark of a possible
    /// duplicate stays.
    TakeBack { due_at: Timestamp, due_shard: u8 },
    /// The attempt failed, the next one is to be made.
    /// `expires_at` is there when the delivery has to be kept for longer than it would be.
    Await { attempt: u32, due_at: Timestamp, due_shard: u8, attempts: &'a [Attempt], expires_at: Option<Timestamp> },
    /// The attempt was the last.
    End { end: End, attempts: &'a [Attempt] },
    /// The delivery is not wanted any more. `interrupted` are all its attempts, where the last one's worker died.
    Cancel { reason: CancelReason, interrupted: Option<&'a [Attempt]> },
    /// It is sent again by hand: a new round begins with that attempt. The only move that changes `round_start`.
    /// `interrupted` as for [`Move::Cancel`].
    Redeliver {
        attempt: u32,
        due_at: Timestamp,
        due_shard: u8,
        rounds: u32,
        now: Timestamp,
        expires_at: Timestamp,
        interrupted: Option<&'a [Attempt]>,
    },
}
