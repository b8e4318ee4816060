//! The small values that the model's world is made of, and what they are in the protocol's own types.

use std::time::Duration;

use domain::delivery::ledger::{self, ClaimId, End, Freshness, State};
use domain::delivery::moves::Prior as Condition;
use domain::delivery::wait::{Wait, wait_until};
use jiff::Timestamp;

/// The model's time stands still; leases and due times lie before or after it.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_736_500_000, 0);

/// The highest attempt that the model has room for: two rounds of three, and two more that mistaken workers make.
pub(crate) const HIGHEST_ATTEMPT: u8 = 8;

/// The delivery's item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ledger {
    Nothing,
    /// The label is there only when a claim was taken back that had it.
    Waiting {
        attempt: u8,
        round_start: u8,
        due: Due,
        label: Label,
    },
    Sending {
        attempt: u8,
        round_start: u8,
        lease: Lease,
        claim: Claim,
        label: Label,
    },
    Ended {
        attempt: u8,
        round_start: u8,
        ending: Ending,
    },
}

/// How far a delivery has come: its attempt, and whether that is over.
pub(crate) type Place = (u8, bool);

/// How far off the due time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Due {
    /// Beyond what the queue can hold a message back for: an execution waits.
    Far,
    /// The queue can hold the message back, or it is due already.
    Near,
    /// Over for so long that the sweep finds it.
    Overdue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Lease {
    Alive,
    Over,
}

/// A claim id. Each is fresh, so all that matters about it is whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Claim {
    /// Of what that worker is doing just now.
    Of(u8),
    /// Of a worker that died.
    OfTheDead,
    /// Of a worker that lives, and has gone on to other things.
    Abandoned,
    /// Seen in the ledger once, and not there any more.
    Replaced,
}

/// The attribute `possible_duplicate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Label {
    Plain,
    PossibleDuplicate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    Delivered,
    Failed,
    /// Failed for good, because the endpoint said so.
    Gone,
    Cancelled,
}

/// The state that a write moves away from: the ledger's own condition, with the model's claim ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Prior {
    Waiting { attempt: u8 },
    Sending { attempt: u8, claim: Claim },
}

/// An attempt as its worker knows it, from the item that holds the claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Attempt {
    pub(crate) number: u8,
    pub(crate) round_start: u8,
    /// Of the claim that this attempt was begun with, whatever the ledger says by now.
    pub(crate) lease: Lease,
    pub(crate) label: Label,
}

/// What the endpoint answers. Every failure but 410 is the same to the protocol, a timeout included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Answer {
    Accepted,
    Rejected,
    Gone,
}

/// A message; an alert event knows whether it was received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Message {
    Alert(Run),
    Due(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Run {
    First,
    Again,
}

impl Ledger {
    /// The item as the protocol knows it.
    pub(crate) fn state(self) -> Option<State> {
        let attempt = u32::from(self.place().0);
        let round_start = u32::from(self.round_start());
        Some(match self {
            Self::Nothing => return None,
            Self::Waiting { due, .. } => State::Waiting { attempt, round_start, due_at: due.at() },
            Self::Sending { lease, claim, .. } => {
                State::Sending { attempt, round_start, lease_until: lease.until(), claim_id: claim.id() }
            }
            Self::Ended { ending, .. } => State::Ended { attempt, round_start, end: ending.end() },
        })
    }

    pub(crate) fn place(self) -> Place {
        match self {
            Self::Nothing => (0, false),
            // A claim can be taken back.
            Self::Waiting { attempt, .. } | Self::Sending { attempt, .. } => (attempt, false),
            Self::Ended { attempt, .. } => (attempt, true),
        }
    }

    pub(crate) fn round_start(self) -> u8 {
        match self {
            Self::Nothing => 1,
            Self::Waiting { round_start, .. } | Self::Sending { round_start, .. } | Self::Ended { round_start, .. } => {
                round_start
            }
        }
    }

    pub(crate) fn label(self) -> Label {
        match self {
            Self::Waiting { label, .. } | Self::Sending { label, .. } => label,
            Self::Nothing | Self::Ended { .. } => Label::Plain,
        }
    }

    /// The attempt that is being made, as whoever holds the claim knows it.
    pub(crate) fn claimed(self) -> Option<Attempt> {
        match self {
            Self::Sending { attempt, round_start, lease, label, .. } => {
                Some(Attempt { number: attempt, round_start, lease, label })
            }
            Self::Nothing | Self::Waiting { .. } | Self::Ended { .. } => None,
        }
    }

    /// The condition that it is still as it is now; none for what is not there, or over.
    pub(crate) fn seen(self) -> Option<Prior> {
        match self {
            Self::Waiting { attempt, .. } => Some(Prior::Waiting { attempt }),
            Self::Sending { attempt, claim, .. } => Some(Prior::Sending { attempt, claim }),
            Self::Nothing | Self::Ended { .. } => None,
        }
    }

    /// Whether a write on that condition is made.
    pub(crate) fn is_still(self, from: Prior) -> bool {
        self.state().as_ref().and_then(Condition::seen) == Some(from.condition())
    }
}

impl Prior {
    pub(crate) fn attempt(self) -> u8 {
        match self {
            Self::Waiting { attempt } | Self::Sending { attempt, .. } => attempt,
        }
    }

    fn condition(self) -> Condition {
        match self {
            Self::Waiting { attempt } => Condition::Waiting { attempt: attempt.into() },
            Self::Sending { attempt, claim } => Condition::Sending { attempt: attempt.into(), claim_id: claim.id() },
        }
    }
}

impl Due {
    fn at(self) -> Timestamp {
        match self {
            Self::Far => NOW + Duration::from_secs(30 * 60),
            Self::Near => NOW + Duration::from_secs(60),
            Self::Overdue => NOW - Duration::from_secs(15 * 60),
        }
    }

    /// How far off a due time is, for whoever schedules it now.
    pub(crate) fn of(due_at: Timestamp) -> Self {
        match wait_until(due_at, NOW) {
            Wait::InExecution => Self::Far,
            Wait::OnQueue { .. } => Self::Near,
        }
    }
}

impl Lease {
    fn until(self) -> Timestamp {
        match self {
            Self::Alive => NOW + Duration::from_secs(90),
            // Long enough for a redelivery by hand to take its attempt for given up.
            Self::Over => NOW - Duration::from_secs(60 * 60),
        }
    }
}

impl Claim {
    pub(crate) fn of(worker: usize) -> Self {
        Self::Of(worker as u8)
    }

    pub(crate) fn id(self) -> ClaimId {
        ClaimId::new(match self {
            Self::Of(worker) => [worker; 16],
            Self::OfTheDead => [253; 16],
            Self::Abandoned => [254; 16],
            Self::Replaced => [255; 16],
        })
    }
}

impl From<Freshness> for Label {
    fn from(freshness: Freshness) -> Self {
        match freshness {
            Freshness::First => Self::Plain,
            Freshness::PossibleDuplicate => Self::PossibleDuplicate,
        }
    }
}

impl Ending {
    fn end(self) -> End {
        match self {
            Self::Delivered => End::Delivered,
            Self::Failed | Self::Gone => End::Failed,
            Self::Cancelled => End::Cancelled,
        }
    }
}

impl Message {
    pub(crate) fn attempt(self) -> u8 {
        match self {
            Self::Alert(_) => 1,
            Self::Due(attempt) => attempt,
        }
    }

    /// The message as the protocol knows it.
    pub(crate) fn in_protocol(self) -> ledger::Message {
        match self {
            Self::Alert(_) => ledger::Message::AlertEvent,
            Self::Due(attempt) => ledger::Message::Due { attempt: attempt.into() },
        }
    }

    /// The message as it will be received the next time.
    pub(crate) fn received(self) -> Self {
        match self {
            Self::Alert(_) => Self::Alert(Run::Again),
            Self::Due(attempt) => Self::Due(attempt),
        }
    }

    /// Its number in a [`Set`].
    fn slot(self) -> u8 {
        match self {
            Self::Alert(Run::First) => 0,
            Self::Alert(Run::Again) => 1,
            Self::Due(attempt) => attempt + 1,
        }
    }

    fn in_slot(slot: u8) -> Self {
        match slot {
            0 => Self::Alert(Run::First),
            1 => Self::Alert(Run::Again),
            due => Self::Due(due - 1),
        }
    }
}

/// A set of attempts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Attempts(u16);

impl Attempts {
    pub(crate) fn contains(self, attempt: u8) -> bool {
        self.0 & 1 << attempt != 0
    }

    pub(crate) fn insert(&mut self, attempt: u8) {
        self.0 |= 1 << attempt;
    }

    pub(crate) fn remove(&mut self, attempt: u8) {
        self.0 &= !(1 << attempt);
    }

    /// That attempt and all later ones.
    pub(crate) fn from_on(attempt: u8) -> Self {
        Self(u16::MAX.checked_shl(attempt.into()).unwrap_or(0))
    }

    /// Those that are in either set.
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both sets.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are in this set and not in the other.
    pub(crate) fn but_for(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        bits(self.0)
    }
}

/// A set of messages.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Messages(u16);

impl Messages {
    pub(crate) fn insert(&mut self, message: Message) {
        self.0 |= 1 << message.slot();
    }

    pub(crate) fn remove(&mut self, message: Message) {
        self.0 &= !(1 << message.slot());
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Message> {
        bits(self.0).map(Message::in_slot)
    }
}

fn bits(mut set: u16) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros() as u8);
        set &= set.wrapping_sub(1);
        lowest
    })
}

impl std::fmt::Debug for Attempts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
