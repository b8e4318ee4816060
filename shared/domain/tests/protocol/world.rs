//! The model's world: the ledger, the queue, the waits, the workers, and what the endpoint has seen.

use domain::delivery::ledger::{Decision, decide};

use crate::values::*;

pub(crate) const WORKERS: usize = 2;

/// The world, with its only delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) ledger: Ledger,
    /// The furthest place that the ledger has been at.
    pub(crate) furthest: Place,
    /// The messages that lie in the queue. How many copies does not matter, where each can be received and still be there.
    pub(crate) queue: Messages,
    /// The attempts that an execution waits for, and those whose execution is over or was aborted: its name is taken.
    pub(crate) waits: Attempts,
    pub(crate) waits_over: Attempts,
    pub(crate) workers: [Worker; WORKERS],
    pub(crate) redelivery: Redelivery,
    /// A worker found the alert event unwanted, and there is no delivery.
    pub(crate) declined: bool,
    /// What led to the attempt that is waiting was taken away by hand; only the sweep can know.
    pub(crate) bereft: bool,
    /// The integration was switched off because its endpoint is gone.
    pub(crate) switched_off: bool,
    /// The attempts that the endpoint has seen, and those that it has seen again.
    pub(crate) sent: Attempts,
    pub(crate) sent_again: Attempts,
    /// The attempts that are in the log, and those among them that are not labelled possible duplicates.
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
    Holding { message: Message, next: Step },
    Idle,
}

/// The call to the world that a worker makes next. It may crash before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Put the delivery, if there is none.
    Create(Beginning),
    /// Claim the attempt, if the ledger is still as it was seen.
    Claim { from: Prior, label: Label },
    /// Cancel the delivery, if the ledger is still as it was seen, its label included.
    Cancel { from: Prior, label: Label },
    /// Send the request.
    Send(Attempt),
    /// Take the claim on that attempt back, if there is one: something of ours failed before its request was sent.
    TakeBack { attempt: u8 },
    /// Switch the integration off: its endpoint is gone.
    Disable(Attempt),
    /// Write the outcome, if the claim is still there.
    Record(Attempt, Answer),
    /// Send the first attempt's message, and leave the attempt to whoever receives that.
    HandOff,
    /// Send that attempt's message, or start its execution.
    Schedule { attempt: u8, due: Due },
}

/// How a delivery begins: claimed by its worker, or handed off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Beginning {
    Claimed,
    HandedOff,
}

/// Whether the integration wants the delivery, as it was found when the message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    Send,
    Cancel,
}

impl World {
    /// An alert event lies in the queue, and nothing else has happened.
    pub(crate) fn new(redelivery: Redelivery) -> Self {
        let mut queue = Messages::default();
        queue.insert(Message::Alert(Run::First));
        Self {
            ledger: Ledger::Nothing,
            furthest: Ledger::Nothing.place(),
            queue,
            waits: Attempts::default(),
            waits_over: Attempts::default(),
            workers: [Worker::Idle; WORKERS],
            redelivery,
            declined: false,
            bereft: false,
            switched_off: false,
            sent: Attempts::default(),
            sent_again: Attempts::default(),
            logged: Attempts::default(),
            logged_plain: Attempts::default(),
        }
    }

    /// Writes the ledger. Whoever saw the claim that is replaced, saw what will never be there again.
    pub(crate) fn write(&mut self, to: Ledger) {
        if let Ledger::Sending { claim: replaced, .. } = self.ledger {
            self.rename_seen(replaced, Claim::Replaced);
        }
        self.ledger = to;
        self.furthest = self.furthest.max(to.place());
    }

    /// A worker is done with its message. A claim that it leaves in the ledger becomes the dead's, or abandoned.
    pub(crate) fn leave(&mut self, worker: usize, claim_becomes: Claim) {
        let own = Claim::of(worker);
        self.workers[worker] = Worker::Idle;
        self.rename_seen(own, claim_becomes);
        if let Ledger::Sending { claim, .. } = &mut self.ledger
            && *claim == own
        {
            *claim = claim_becomes;
        }
    }

    fn rename_seen(&mut self, old: Claim, new: Claim) {
        for seen in self.workers.iter_mut().filter_map(Worker::claim_seen) {
            if *seen == old {
                *seen = new;
            }
        }
    }

    /// Starts the execution that waits for that attempt; if there ever was one of its name, that one is as good.
    pub(crate) fn start_execution(&mut self, attempt: u8) {
        if !self.waits_over.contains(attempt) {
            self.waits.insert(attempt);
        }
    }

    pub(crate) fn end_execution(&mut self, attempt: u8) {
        self.waits.remove(attempt);
        self.waits_over.insert(attempt);
    }

    /// The lease of the claim in the ledger runs out, whether or not its worker lives.
    pub(crate) fn end_lease(&mut self) {
        let Ledger::Sending { lease, claim, .. } = &mut self.ledger else { return };
        *lease = Lease::Over;
        let Claim::Of(holder) = *claim else { return };
        if let Worker::Holding {
            next: Step::Send(attempt) | Step::Disable(attempt) | Step::Record(attempt, _), ..
        } = &mut self.workers[usize::from(holder)]
        {
            attempt.lease = Lease::Over;
        }
    }

    /// The due time comes closer, or goes by.
    pub(crate) fn pass_time(&mut self) {
        if let Ledger::Waiting { due, .. } = &mut self.ledger {
            *due = match due {
                Due::Far => Due::Near,
                Due::Near | Due::Overdue => Due::Overdue,
            };
        }
    }

    /// An attempt comes into the log.
    pub(crate) fn log(&mut self, attempt: u8, label: Label) {
        self.logged.insert(attempt);
        if label == Label::Plain {
            self.logged_plain.insert(attempt);
        }
    }

    /// The endpoint sees an attempt.
    pub(crate) fn see(&mut self, attempt: u8) {
        if self.sent.contains(attempt) {
            self.sent_again.insert(attempt);
        }
        self.sent.insert(attempt);
    }

    /// Notes that a worker found the alert event unwanted.
    pub(crate) fn decline(&mut self) {
        self.declined |= self.ledger == Ledger::Nothing;
    }

    /// Notes that what led to that attempt was taken away by hand.
    pub(crate) fn bereave(&mut self, attempt: u8) {
        self.bereft |= matches!(self.ledger, Ledger::Waiting { attempt: waiting, .. } if waiting == attempt);
    }

    /// What a message would mean to a worker that received it now, and looked.
    pub(crate) fn meaning(&self, message: Message) -> Decision {
        decide(self.ledger.state().as_ref(), message.in_protocol(), Claim::Replaced.id(), NOW)
    }

    /// The attempts that were sent more than once without the log saying so.
    pub(crate) fn unlabelled_duplicates(&self) -> Attempts {
        self.sent_again.and(self.logged_plain)
    }

    /// The attempts that were sent, are over, and are not in the log.
    pub(crate) fn unlogged_requests(&self) -> Attempts {
        self.sent.but_for(self.logged).but_for(self.not_over())
    }

    /// The attempts that are not over.
    fn not_over(&self) -> Attempts {
        let (attempt, is_over) = self.ledger.place();
        Attempts::from_on(attempt + u8::from(is_over))
    }

    /// Makes equal what differs only in what can make no difference any more: which worker is which, and whatever belongs
    /// to attempts that are over for good.
    pub(crate) fn canonical(mut self) -> Self {
        let oldest = self.oldest_that_matters();
        for message in self.queue.iter().filter(|message| message.attempt() < oldest) {
            assert!(matches!(self.meaning(message), Decision::Drop(_)), "{message:?} is not stale in {self:?}");
            self.queue.remove(message);
        }
        self.waits = self.waits.and(Attempts::from_on(oldest));
        self.waits_over = self.waits_over.and(Attempts::from_on(oldest));
        self.forget_history();
        self.declined &= self.ledger == Ledger::Nothing;
        self.bereft &= matches!(self.ledger, Ledger::Waiting { .. });
        self.switched_off &= self.is_about_to_be_gone();
        if self.workers[1] < self.workers[0] {
            self.swap_workers();
        }
        self
    }

    /// Whether it matters if the integration is switched off.
    fn is_about_to_be_gone(&self) -> bool {
        let ended = matches!(self.ledger, Ledger::Ended { ending: Ending::Gone, .. });
        let records = |worker: &Worker| matches!(worker, Worker::Holding { next: Step::Record(_, Answer::Gone), .. });
        ended || self.workers.iter().any(records)
    }

    /// The oldest attempt whose message can still come to anything but being dropped, now or later.
    fn oldest_that_matters(&self) -> u8 {
        match self.ledger {
            Ledger::Nothing => 0,
            // The message of the attempt before schedules this one again, also when its claim has been taken back.
            Ledger::Waiting { attempt, .. } | Ledger::Sending { attempt, .. } => attempt - 1,
            // After a redelivery by hand it is the message of the attempt before.
            Ledger::Ended { attempt, .. } if self.redelivery == Redelivery::NotYet => attempt,
            Ledger::Ended { .. } => u8::MAX,
        }
    }

    /// Forgets about attempts that will be neither sent nor logged any more, unless there is something wrong with them.
    fn forget_history(&mut self) {
        let mut open = self.not_over().or(self.unlabelled_duplicates()).or(self.unlogged_requests());
        for attempt in self.workers.iter().filter_map(Worker::attempt) {
            open.insert(attempt.number);
        }
        for attempts in [&mut self.sent, &mut self.sent_again, &mut self.logged, &mut self.logged_plain] {
            *attempts = attempts.and(open);
        }
    }

    fn swap_workers(&mut self) {
        self.workers.swap(0, 1);
        let swapped = |claim: &mut Claim| {
            if let Claim::Of(worker) = claim {
                *worker = 1 - *worker;
            }
        };
        if let Ledger::Sending { claim, .. } = &mut self.ledger {
            swapped(claim);
        }
        self.workers.iter_mut().filter_map(Worker::claim_seen).for_each(swapped);
    }
}

impl Worker {
    /// The attempt that it is in the middle of.
    pub(crate) fn attempt(&self) -> Option<Attempt> {
        match self {
            Self::Holding { next: Step::Send(attempt) | Step::Disable(attempt) | Step::Record(attempt, _), .. } => {
                Some(*attempt)
            }
            _ => None,
        }
    }

    /// The claim that it has seen in the ledger, and is about to replace.
    fn claim_seen(&mut self) -> Option<&mut Claim> {
        let Self::Holding { next: Step::Claim { from, .. } | Step::Cancel { from, .. }, .. } = self else {
            return None;
        };
        match from {
            Prior::Sending { claim, .. } => Some(claim),
            Prior::Waiting { .. } => None,
        }
    }
}

impl Step {
    /// What its worker is out for: only one that is to cancel ever comes to that step, and it comes to no other.
    pub(crate) fn course(self) -> Course {
        match self {
            Self::Cancel { .. } => Course::Cancel,
            _ => Course::Send,
        }
    }
}
