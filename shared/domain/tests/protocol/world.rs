//! The model's world: the ledger, the queue, the waits, the workers, and what the endpoint has received.

use domain::delivery::ledger::{ClaimId, Decision, Entry, Freshness, State, decide};
use domain::delivery::transitions::Condition;
use domain::delivery::worker::{Claimed, Command, Intent};

use crate::values::*;

pub(crate) const WORKERS: usize = 2;

/// The world, with its only delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// The delivery's entry.
    pub(crate) ledger: Option<Entry>,
    /// The furthest stage that the delivery has reached.
    pub(crate) furthest: Stage,
    /// The payload is stored.
    pub(crate) payload_stored: bool,
    /// The messages in the queue. The number of copies does not matter, since a receive can leave the message there.
    pub(crate) queue: Messages,
    /// The attempts that an execution waits for, and those whose execution has ended or was aborted, so that its name
    /// is taken.
    pub(crate) waits: Attempts,
    pub(crate) waits_over: Attempts,
    pub(crate) workers: [Worker; WORKERS],
    pub(crate) redelivery: Redelivery,
    /// A worker found the alert event unwanted, and there is no delivery.
    pub(crate) declined: bool,
    /// The message or execution for the waiting attempt was removed by hand, so that only the sweep can continue it.
    pub(crate) orphaned: bool,
    /// The delivery ended because its endpoint answered 410.
    pub(crate) ended_gone: bool,
    /// The integration was switched off because its endpoint answered 410.
    pub(crate) switched_off: bool,
    /// A worker got a reply that its program does not expect.
    pub(crate) out_of_step: bool,
    /// The attempts that the endpoint has received, and those that it has received more than once.
    pub(crate) sent: Attempts,
    pub(crate) sent_again: Attempts,
    /// The attempts in the log, and those among them that are not marked as possible duplicates.
    pub(crate) logged: Attempts,
    pub(crate) logged_plain: Attempts,
}

/// A redelivery by hand: the ledger is written, then the message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Redelivery {
    NotYet,
    AboutToSend(u8),
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Worker {
    Idle,
    Busy(Busy),
}

/// A worker with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Busy {
    pub(crate) message: Message,
    pub(crate) intent: Intent,
    pub(crate) next: Next,
    /// Whether the lease of its current attempt is over, whatever the ledger says now.
    pub(crate) lease_over: bool,
    /// Its current attempt was answered with 410.
    pub(crate) answered_gone: bool,
}

/// What a worker does next. It may die before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Next {
    Do(Command),
    /// Send the first attempt's message, and finish.
    HandOff,
}

impl World {
    /// The initial state: an alert event is in the queue.
    pub(crate) fn new(redelivery: Redelivery) -> Self {
        let mut queue = Messages::default();
        queue.insert(Message::Alert(Run::First));
        Self {
            ledger: None,
            furthest: stage(None),
            payload_stored: false,
            queue,
            waits: Attempts::default(),
            waits_over: Attempts::default(),
            workers: [Worker::Idle; WORKERS],
            redelivery,
            declined: false,
            orphaned: false,
            ended_gone: false,
            switched_off: false,
            out_of_step: false,
            sent: Attempts::default(),
            sent_again: Attempts::default(),
            logged: Attempts::default(),
            logged_plain: Attempts::default(),
        }
    }

    pub(crate) fn state(&self) -> Option<State> {
        self.ledger.map(|entry| entry.state)
    }

    /// Writes the ledger. A replaced claim never returns, so all workers that saw it can be treated alike.
    pub(crate) fn write(&mut self, to: Entry) {
        if let Some(State::Sending { claim_id: replaced, .. }) = self.state() {
            self.rename_seen(replaced, REPLACED);
        }
        self.ledger = Some(Entry { state: canonical_state(to.state), ..to });
        self.furthest = self.furthest.max(stage(self.ledger.as_ref()));
    }

    /// A worker is done with its message. If it leaves a claim in the ledger, that becomes `claim_becomes`.
    pub(crate) fn leave(&mut self, worker: usize, claim_becomes: ClaimId) {
        let own = claim_of(worker);
        self.workers[worker] = Worker::Idle;
        self.rename_seen(own, claim_becomes);
        if let Some(Entry { state: State::Sending { claim_id, .. }, .. }) = &mut self.ledger
            && *claim_id == own
        {
            *claim_id = claim_becomes;
        }
    }

    fn rename_seen(&mut self, old: ClaimId, new: ClaimId) {
        for seen in self.workers.iter_mut().filter_map(Worker::claim_seen) {
            if *seen == old {
                *seen = new;
            }
        }
    }

    /// Starts the execution that waits for the attempt, unless there ever was one with its name.
    pub(crate) fn start_execution(&mut self, attempt: u8) {
        if !self.waits_over.contains(attempt) {
            self.waits.insert(attempt);
        }
    }

    pub(crate) fn end_execution(&mut self, attempt: u8) {
        self.waits.remove(attempt);
        self.waits_over.insert(attempt);
    }

    /// The lease of the claim in the ledger runs out, whether or not its worker is alive.
    pub(crate) fn end_lease(&mut self) {
        let Some(Entry { state: State::Sending { lease_until, claim_id, .. }, .. }) = &mut self.ledger else { return };
        *lease_until = LEASE_OVER;
        let holder = (0..WORKERS).find(|worker| claim_of(*worker) == *claim_id);
        if let Some(Worker::Busy(busy)) = holder.map(|holder| &mut self.workers[holder])
            && busy.attempt().is_some()
        {
            busy.lease_over = true;
        }
    }

    /// The due time comes closer or passes.
    pub(crate) fn pass_time(&mut self) {
        if let Some(Entry { state: State::Waiting { due_at, .. }, .. }) = &mut self.ledger {
            *due_at = match Due::of(*due_at) {
                Due::Far => Due::Near.at(),
                Due::Near | Due::Overdue => Due::Overdue.at(),
            };
        }
    }

    /// Adds an attempt to the log.
    pub(crate) fn log(&mut self, attempt: u32, freshness: Freshness) {
        self.logged.insert(attempt as u8);
        if freshness == Freshness::First {
            self.logged_plain.insert(attempt as u8);
        }
    }

    /// The endpoint receives an attempt.
    pub(crate) fn receive_request(&mut self, attempt: u8) {
        if self.sent.contains(attempt) {
            self.sent_again.insert(attempt);
        }
        self.sent.insert(attempt);
    }

    /// A worker found the alert event unwanted.
    pub(crate) fn decline(&mut self) {
        self.declined |= self.ledger.is_none();
    }

    /// The message or execution for the attempt was removed by hand.
    pub(crate) fn orphan(&mut self, attempt: u8) {
        self.orphaned |=
            matches!(self.state(), Some(State::Waiting { attempt: waiting, .. }) if waiting == u32::from(attempt));
    }

    /// What a message would mean for a worker that received it now and read the ledger.
    pub(crate) fn meaning(&self, message: Message) -> Decision {
        decide(self.state().as_ref(), message.in_protocol(), REPLACED, NOW)
    }

    /// The attempts that were sent more than once and are not marked so in the log.
    pub(crate) fn unlabelled_duplicates(&self) -> Attempts {
        self.sent_again.and(self.logged_plain)
    }

    /// The attempts that were sent, are over, and are not in the log.
    pub(crate) fn unlogged_requests(&self) -> Attempts {
        self.sent.without(self.logged).without(self.not_over())
    }

    /// The attempts that are not over.
    fn not_over(&self) -> Attempts {
        let (attempt, is_over) = stage(self.ledger.as_ref());
        Attempts::starting_at(attempt + u8::from(is_over))
    }

    /// Makes equivalent worlds equal: those that differ only in the order of the workers, or in attempts that are over
    /// for good.
    pub(crate) fn canonical(mut self) -> Self {
        let oldest = self.oldest_that_matters();
        for message in self.queue.iter().filter(|message| message.attempt() < oldest) {
            assert!(matches!(self.meaning(message), Decision::Drop(_)), "{message:?} is not stale in {self:?}");
            self.queue.remove(message);
        }
        self.waits = self.waits.and(Attempts::starting_at(oldest));
        self.waits_over = self.waits_over.and(Attempts::starting_at(oldest));
        self.forget_history();
        self.declined &= self.ledger.is_none();
        self.orphaned &= matches!(self.state(), Some(State::Waiting { .. }));
        self.ended_gone &= matches!(self.state(), Some(State::Ended { .. }));
        self.switched_off &= self.is_about_to_be_gone();
        if self.workers[1] < self.workers[0] {
            self.swap_workers();
        }
        self
    }

    /// Whether it matters that the integration is switched off.
    fn is_about_to_be_gone(&self) -> bool {
        let records = |worker: &Worker| {
            matches!(worker, Worker::Busy(Busy { answered_gone: true, next: Next::Do(Command::Record { .. }), .. }))
        };
        self.ended_gone || self.workers.iter().any(records)
    }

    /// The oldest attempt whose message may not be stale, now or later.
    fn oldest_that_matters(&self) -> u8 {
        match self.state() {
            None => 0,
            // The message of the attempt before schedules this one again, even if its claim has been taken back.
            Some(State::Waiting { attempt, .. } | State::Sending { attempt, .. }) => attempt as u8 - 1,
            // After a redelivery by hand, this is the message of the attempt before.
            Some(State::Ended { attempt, .. }) if self.redelivery == Redelivery::NotYet => attempt as u8,
            Some(State::Ended { .. }) => u8::MAX,
        }
    }

    /// Forgets attempts that will be neither sent nor logged any more, unless they violate a property.
    fn forget_history(&mut self) {
        let mut open = self.not_over().or(self.unlabelled_duplicates()).or(self.unlogged_requests());
        for attempt in self.workers.iter().filter_map(Worker::attempt) {
            open.insert(attempt);
        }
        for attempts in [&mut self.sent, &mut self.sent_again, &mut self.logged, &mut self.logged_plain] {
            *attempts = attempts.and(open);
        }
    }

    fn swap_workers(&mut self) {
        let swapped = |claim: &mut ClaimId| {
            if let Some(worker) = (0..WORKERS).find(|worker| claim_of(*worker) == *claim) {
                *claim = claim_of(1 - worker);
            }
        };
        if let Some(Entry { state: State::Sending { claim_id, .. }, .. }) = &mut self.ledger {
            swapped(claim_id);
        }
        self.workers.iter_mut().filter_map(Worker::claim_seen).for_each(swapped);
        self.workers.iter_mut().filter_map(Worker::claim_made).for_each(swapped);
        self.workers.swap(0, 1);
    }
}

impl Worker {
    /// Its current attempt.
    pub(crate) fn attempt(&self) -> Option<u8> {
        match self {
            Self::Idle => None,
            Self::Busy(busy) => busy.attempt(),
        }
    }

    /// The claim in the ledger that it is about to replace.
    fn claim_seen(&mut self) -> Option<&mut ClaimId> {
        match self {
            Self::Busy(Busy { next: Next::Do(Command::Claim { from, .. } | Command::Cancel { from, .. }), .. }) => {
                match from {
                    Condition::Sending { claim_id, .. } => Some(claim_id),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The claim that it is about to make, if its command contains it.
    fn claim_made(&mut self) -> Option<&mut ClaimId> {
        match self {
            Self::Busy(Busy { next: Next::Do(Command::Create(State::Sending { claim_id, .. })), .. }) => Some(claim_id),
            _ => None,
        }
    }
}

impl Busy {
    fn attempt(&self) -> Option<u8> {
        self.next.claimed().map(|claimed| claimed.attempt as u8)
    }
}

impl Next {
    /// The worker's current attempt.
    pub(crate) fn claimed(&self) -> Option<Claimed> {
        match *self {
            Self::Do(Command::Request(claimed) | Command::Disable(claimed) | Command::Record { made: claimed, .. }) => {
                Some(claimed)
            }
            _ => None,
        }
    }
}
