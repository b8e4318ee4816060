//! The small values that the model's world consists of, and the product's values that each represent many equivalent
//! ones.

use std::time::Duration;

use domain::delivery::CancelReason;
use domain::delivery::ledger::{self, ClaimId, Entry, State};
use domain::delivery::wait::{Wait, wait_until};
use domain::delivery::worker::{AttemptMode, Command, Intent};
use jiff::Timestamp;

/// The model's time stands still; leases and due times lie before or after it.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_736_500_000, 0);

/// The time of a reply that leaves no time for an attempt.
pub(crate) const LATE: Timestamp = Timestamp::constant(1_736_500_001, 0);

pub(crate) const LEASE: Duration = Duration::from_secs(90);

/// The end of a lease that is over: long enough ago for a redelivery by hand to count its attempt as abandoned.
pub(crate) const LEASE_OVER: Timestamp = Timestamp::constant(1_736_500_000 - 60 * 60, 0);

/// The highest attempt that the model has room for: two rounds of three, and two more because of mistakes.
pub(crate) const HIGHEST_ATTEMPT: u8 = 8;

/// The claim of a dead worker. Each claim id is new, so all that matters is whose it is: a busy worker's (its index,
/// sixteen times), or one of these.
pub(crate) const OF_THE_DEAD: ClaimId = ClaimId::new([253; 16]);
/// The claim of a worker that is alive, but has moved on to another message.
pub(crate) const ABANDONED: ClaimId = ClaimId::new([254; 16]);
/// A claim that was once in the ledger and has been replaced.
pub(crate) const REPLACED: ClaimId = ClaimId::new([255; 16]);

pub(crate) fn claim_of(worker: usize) -> ClaimId {
    ClaimId::new([worker as u8; 16])
}

/// A worker's possible intents.
pub(crate) const HERE: Intent = Intent::Send(AttemptMode::Inline);
pub(crate) const ELSEWHERE: Intent = Intent::Send(AttemptMode::HandedOff);
pub(crate) const CANCEL: Intent = Intent::Cancel(CancelReason::IntegrationDisabled);

/// How far a delivery has come: its attempt, and whether that is over.
pub(crate) type Stage = (u8, bool);

pub(crate) fn stage(ledger: Option<&Entry>) -> Stage {
    match ledger.map(|entry| entry.state) {
        None => (0, false),
        // The same for both, since a claim can be taken back.
        Some(state @ (State::Waiting { .. } | State::Sending { .. })) => (state.attempt() as u8, false),
        Some(state @ State::Ended { .. }) => (state.attempt() as u8, true),
    }
}

/// How far away a due time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Beyond the longest delay of a queue: an execution waits.
    Far,
    /// Within the longest delay of a queue, or due already.
    Near,
    /// Passed so long ago that the sweep finds it.
    Overdue,
}

impl Due {
    pub(crate) fn of(due_at: Timestamp) -> Self {
        match wait_until(due_at, NOW) {
            Wait::InExecution => Self::Far,
            Wait::OnQueue { .. } if due_at < NOW => Self::Overdue,
            Wait::OnQueue { .. } => Self::Near,
        }
    }

    /// The time that represents all times at this distance.
    pub(crate) fn at(self) -> Timestamp {
        match self {
            Self::Far => NOW + Duration::from_secs(30 * 60),
            Self::Near => NOW + Duration::from_secs(60),
            Self::Overdue => NOW - Duration::from_secs(15 * 60),
        }
    }
}

/// A state with its times replaced by the representative ones.
pub(crate) fn canonical_state(state: State) -> State {
    match state {
        State::Waiting { attempt, round_start, due_at } => {
            State::Waiting { attempt, round_start, due_at: Due::of(due_at).at() }
        }
        other => other,
    }
}

/// A command with its times replaced by the representative ones.
pub(crate) fn canonical_command(command: Command) -> Command {
    match command {
        Command::Create(state) => Command::Create(canonical_state(state)),
        Command::Unclaim { reason, .. } => Command::Unclaim { due_at: NOW, reason },
        other => other,
    }
}

/// Whether the lease of a claim is over.
pub(crate) fn is_lease_over(lease_until: Timestamp) -> bool {
    lease_until <= NOW
}

/// The endpoint's answer. To the protocol, all failures but 410 are the same, including timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Accepted,
    Rejected,
    Gone,
}

/// How the calls go that only their worker can observe: decrypting secrets, storing and reading the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnCalls {
    Succeed,
    Fail,
    /// They succeed so late that no time is left for an attempt.
    TakeTooLong,
}

pub(crate) const OWN_CALLS: [OwnCalls; 3] = [OwnCalls::Succeed, OwnCalls::Fail, OwnCalls::TakeTooLong];

/// A message. For an alert event, the model tracks whether it was received before.
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

impl Message {
    pub(crate) fn attempt(self) -> u8 {
        match self {
            Self::Alert(_) => 1,
            Self::Due(attempt) => attempt,
        }
    }

    /// The message as the product's program gets it.
    pub(crate) fn in_protocol(self) -> ledger::Message {
        match self {
            Self::Alert(_) => ledger::Message::AlertEvent,
            Self::Due(attempt) => ledger::Message::Due { attempt: attempt.into() },
        }
    }

    /// The message as it is received the next time.
    pub(crate) fn received(self) -> Self {
        match self {
            Self::Alert(_) => Self::Alert(Run::Again),
            Self::Due(attempt) => Self::Due(attempt),
        }
    }

    /// Its bit in a set.
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

    /// This attempt and all later ones.
    pub(crate) fn starting_at(attempt: u8) -> Self {
        Self(u16::MAX.checked_shl(attempt.into()).unwrap_or(0))
    }

    /// The union of both sets.
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The intersection of both sets.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// This set without the elements of the other.
    pub(crate) fn without(self, other: Self) -> Self {
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
