//! The ledger protocol's one decision: what a message means for a delivery in its present state.
//!
//! Messages arrive at least once; an attempt is made once, unless a worker dies in the middle of it. Whenever a worker
//! dies, its message is received again, and this decision continues from what the ledger says.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Identifies one worker's claim on one attempt. Random, so that a worker whose write got no answer can tell whether
/// the claim in the ledger is its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimId(#[serde(with = "serde_bytes")] [u8; 16]);

impl ClaimId {
    pub const fn new(random: [u8; 16]) -> Self {
        Self(random)
    }

    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimId({:032x})", u128::from_be_bytes(self.0))
    }
}

/// The state of a delivery. Attempts are numbered from 1. `round_start` is the first attempt of the current round (1,
/// or the attempt that a redelivery by hand began with), so that the index into the schedule is `attempt -
/// round_start`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// A worker is making the attempt, and has until `lease_until` to record its outcome.
    Sending { attempt: u32, round_start: u32, lease_until: Timestamp, claim_id: ClaimId },
    /// The attempt is to be made at `due_at`.
    Waiting { attempt: u32, round_start: u32, due_at: Timestamp },
    /// The delivery ended with this attempt.
    Ended { attempt: u32, round_start: u32, end: End },
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    Delivered,
    Failed,
    Cancelled,
}

impl State {
    pub fn attempt(&self) -> u32 {
        match *self {
            Self::Sending { attempt, .. } | Self::Waiting { attempt, .. } | Self::Ended { attempt, .. } => attempt,
        }
    }

    pub fn round_start(&self) -> u32 {
        match *self {
            Self::Sending { round_start, .. } | Self::Waiting { round_start, .. } | Self::Ended { round_start, .. } => {
                round_start
            }
        }
    }

    /// The attempt's index within its round, from 0, which is the index into the schedule.
    pub fn index(&self) -> u32 {
        self.attempt().saturating_sub(self.round_start())
    }
}

/// The message that a worker processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Message {
    /// An alert event: the first attempt of a delivery that may not exist yet.
    AlertEvent,
    /// "This attempt of this delivery is due."
    Due { attempt: u32 },
}

impl Message {
    /// The attempt that the message is about.
    pub fn attempt(self) -> u32 {
        match self {
            Self::AlertEvent => 1,
            Self::Due { attempt } => attempt,
        }
    }
}

/// The part of a delivery's item that the protocol works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    pub state: State,
    /// The mark of a possible duplicate. A waiting delivery has it only if a claim with the mark was taken back.
    pub freshness: Freshness,
}

impl From<State> for Entry {
    /// This state, and no worker died in the middle of its attempt.
    fn from(state: State) -> Self {
        Self { state, freshness: Freshness::First }
    }
}

/// Whether the endpoint may already have received this attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Freshness {
    First,
    /// A worker died while making this attempt.
    PossibleDuplicate,
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// There is no such delivery yet: create it, claimed or handed off.
    Create,
    /// Claim the attempt, on condition that the state has not changed.
    Claim(Freshness),
    /// This worker's own claim, whose answer was lost: continue with the attempt.
    Resume,
    /// The delivery was handed off, but its message may not have been sent: send it (again).
    HandOff,
    /// Send the message for this attempt (again): the worker that recorded it may have died before sending it.
    Schedule { attempt: u32, due_at: Timestamp },
    /// Another worker has the attempt until then: return the message to its queue.
    Busy { lease_until: Timestamp },
    /// Nothing is left to do.
    Drop(Stale),
    /// The message is for an attempt that is still to come: an error that no retry can fix.
    Impossible,
}

/// Why nothing is left to do for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stale {
    /// The delivery does not exist: expired, or never created.
    NoSuchDelivery,
    /// The delivery has reached a later attempt, or has ended.
    Superseded,
}

/// Decides what a message means, given the delivery's state (`None` if there is no such delivery), the id that this
/// worker claims with, and the time. Every pair of message and state has an answer.
pub fn decide(state: Option<&State>, message: Message, own: ClaimId, now: Timestamp) -> Decision {
    let Some(state) = state else {
        return match message {
            Message::AlertEvent => Decision::Create,
            Message::Due { .. } => Decision::Drop(Stale::NoSuchDelivery),
        };
    };
    let due = message.attempt();
    match *state {
        State::Ended { .. } => Decision::Drop(Stale::Superseded),

        State::Waiting { attempt, .. } if attempt == due => match message {
            Message::AlertEvent => Decision::HandOff,
            Message::Due { .. } => Decision::Claim(Freshness::First),
        },
        State::Waiting { attempt, due_at, .. } if Some(attempt) == due.checked_add(1) => {
            Decision::Schedule { attempt, due_at }
        }

        State::Sending { attempt, claim_id, .. } if attempt == due && claim_id == own => Decision::Resume,
        State::Sending { attempt, lease_until, .. } if attempt == due => {
            if now < lease_until {
                Decision::Busy { lease_until }
            } else {
                Decision::Claim(Freshness::PossibleDuplicate)
            }
        }

        State::Waiting { attempt, .. } | State::Sending { attempt, .. } if attempt > due => {
            Decision::Drop(Stale::Superseded)
        }
        State::Waiting { .. } | State::Sending { .. } => Decision::Impossible,
    }
}

/// The most rounds that a delivery can have: the first, and four redeliveries by hand.
pub const MAX_ROUNDS: u32 = 5;

/// How long after the end of its lease an attempt counts as abandoned. If its message still existed, it would have been
/// received again by then, unless faults of ours have hidden it for as long.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(15 * 60);

/// Why a delivery cannot be redelivered by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRedeliverable {
    /// It has not ended: an attempt is being made, or is still to come.
    InFlight,
    /// It has already had [`MAX_ROUNDS`].
    TooManyRounds,
}

/// Decides on a redelivery by hand, and returns the first attempt of the next round. Its number continues the count, so
/// that messages still on their way for earlier attempts are stale. `rounds` is how many rounds the delivery has had.
///
/// An attempt whose lease ended [`GIVEN_UP_AFTER`] ago counts as over: somebody must have deleted its message, and the
/// sweep only looks at waiting deliveries. If the message is received after all, it is stale.
///
/// # Errors
/// When the delivery has not ended, or has had too many rounds.
pub fn redeliver(state: &State, rounds: u32, now: Timestamp) -> Result<u32, NotRedeliverable> {
    match *state {
        State::Waiting { .. } => Err(NotRedeliverable::InFlight),
        State::Sending { lease_until, .. }
            if now < lease_until.saturating_add(GIVEN_UP_AFTER).unwrap_or(Timestamp::MAX) =>
        {
            Err(NotRedeliverable::InFlight)
        }
        State::Sending { .. } | State::Ended { .. } if rounds >= MAX_ROUNDS => Err(NotRedeliverable::TooManyRounds),
        State::Sending { attempt, .. } | State::Ended { attempt, .. } => {
            attempt.checked_add(1).ok_or(NotRedeliverable::TooManyRounds)
        }
    }
}

/// The instant at which the lease of a claim made now ends.
pub fn lease_until(now: Timestamp, lease: Duration) -> Timestamp {
    whole_milliseconds(now.saturating_add(lease).unwrap_or(Timestamp::MAX))
}

/// A time with the ledger's precision, so that it reads back as it was written.
pub fn whole_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: ClaimId = ClaimId([1; 16]);
    const OTHER: ClaimId = ClaimId([2; 16]);
    const ALERT: Message = Message::AlertEvent;
    const GONE: Decision = Decision::Drop(Stale::NoSuchDelivery);
    const STALE: Decision = Decision::Drop(Stale::Superseded);

    fn due(attempt: u32) -> Message {
        Message::Due { attempt }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_736_500_000 + second).unwrap()
    }

    fn waiting(attempt: u32) -> Option<State> {
        Some(State::Waiting { attempt, round_start: 1, due_at: at(60) })
    }

    fn sending(attempt: u32, claim_id: ClaimId, lease: i64) -> Option<State> {
        Some(State::Sending { attempt, round_start: 1, lease_until: at(lease), claim_id })
    }

    fn ended(attempt: u32, end: End) -> Option<State> {
        Some(State::Ended { attempt, round_start: 1, end })
    }

    fn schedule(attempt: u32) -> Decision {
        Decision::Schedule { attempt, due_at: at(60) }
    }

    #[track_caller]
    fn check(state: Option<State>, message: Message, expected: Decision) {
        assert_eq!(decide(state.as_ref(), message, OWN, at(0)), expected);
    }

    #[test]
    fn only_an_alert_event_creates_a_delivery() {
        check(None, ALERT, Decision::Create);
        check(None, due(1), GONE);
        check(None, due(2), GONE);
    }

    #[test]
    fn a_waiting_attempt_is_claimed_by_its_message() {
        check(waiting(1), due(1), Decision::Claim(Freshness::First));
        check(waiting(5), due(5), Decision::Claim(Freshness::First));
        check(waiting(1), ALERT, Decision::HandOff);
    }

    #[test]
    fn an_attempt_that_is_over_has_its_follow_up_scheduled_again() {
        check(waiting(2), ALERT, schedule(2));
        check(waiting(2), due(1), schedule(2));
        check(waiting(5), due(4), schedule(5));
    }

    #[test]
    fn a_claim_holds_until_its_lease_is_over() {
        let busy = Decision::Busy { lease_until: at(1) };
        check(sending(1, OTHER, 1), ALERT, busy);
        check(sending(3, OTHER, 1), due(3), busy);
        check(sending(3, OTHER, 0), due(3), Decision::Claim(Freshness::PossibleDuplicate));
        check(sending(1, OTHER, -5), ALERT, Decision::Claim(Freshness::PossibleDuplicate));
        check(sending(3, OWN, 1), due(3), Decision::Resume);
        check(sending(1, OWN, -5), ALERT, Decision::Resume);
    }

    #[test]
    fn stale_messages_are_dropped() {
        check(waiting(3), ALERT, STALE);
        check(waiting(4), due(2), STALE);
        check(sending(2, OTHER, -5), ALERT, STALE);
        check(sending(2, OWN, 1), due(1), STALE);
        for end in [End::Delivered, End::Failed, End::Cancelled] {
            check(ended(5, end), due(5), STALE);
            check(ended(1, end), ALERT, STALE);
            check(ended(1, end), due(2), STALE);
        }
    }

    #[test]
    fn a_message_ahead_of_its_delivery_is_an_error() {
        check(waiting(1), due(2), Decision::Impossible);
        check(sending(1, OTHER, -5), due(2), Decision::Impossible);
        check(sending(4, OWN, 1), due(5), Decision::Impossible);
        check(waiting(1), due(u32::MAX), Decision::Impossible);
    }

    #[test]
    fn only_ended_deliveries_are_redelivered_and_four_times_at_most() {
        for end in [End::Delivered, End::Failed, End::Cancelled] {
            let state = ended(5, end).unwrap();
            assert_eq!(redeliver(&state, 1, at(0)), Ok(6));
            assert_eq!(redeliver(&state, 4, at(0)), Ok(6));
            assert_eq!(redeliver(&state, 5, at(0)), Err(NotRedeliverable::TooManyRounds));
        }
        assert_eq!(redeliver(&waiting(2).unwrap(), 1, at(86_400)), Err(NotRedeliverable::InFlight));
    }

    #[test]
    fn a_delivery_whose_attempt_was_abandoned_can_be_redelivered() {
        let state = sending(2, OTHER, 0).unwrap();
        assert_eq!(redeliver(&state, 1, at(-1)), Err(NotRedeliverable::InFlight));
        assert_eq!(redeliver(&state, 1, at(899)), Err(NotRedeliverable::InFlight));
        assert_eq!(redeliver(&state, 1, at(900)), Ok(3));
        assert_eq!(redeliver(&state, 5, at(900)), Err(NotRedeliverable::TooManyRounds));
    }

    #[test]
    fn the_schedule_counts_within_the_round() {
        let first = State::Waiting { attempt: 3, round_start: 1, due_at: at(0) };
        let redelivered = State::Waiting { attempt: 6, round_start: 6, due_at: at(0) };
        assert_eq!((first.index(), redelivered.index()), (2, 0));
    }
}
