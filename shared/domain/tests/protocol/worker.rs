//! What happens in the model's world: the workers' program, step by step as in `delivering.rs`, and what befalls it.
//!
//! The decisions are the product's own: `decide`, `redeliver`, `next_step`, `wait_until` and the conditions of the ledger's writes.
//! A [`Mistake`] changes one thing.

use domain::attempt::next_step::{NextStep, next_step};
use domain::attempt::outcome::Outcome;
use domain::attempt::schedule::Schedule;
use domain::delivery::ledger::{self, Decision, Freshness, Stale, decide};
use http::StatusCode;

use crate::values::*;
use crate::world::*;

/// The delays of the model: a short one, and one that takes an execution. Three attempts to a round.
const SCHEDULE: &str = "1m,30m";

/// The model: how the workers work.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    pub(crate) mistake: Option<Mistake>,
    pub(crate) schedule: Schedule,
    /// [`Redelivery::Over`] from the beginning where none is to be made.
    pub(crate) redelivery: Redelivery,
}

/// One thing done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    /// The next attempt's message is sent before the outcome is in the ledger.
    ScheduleBeforeRecord,
    /// The message is deleted as soon as it is received.
    AcknowledgeOnReceipt,
    /// The message is deleted when the outcome is in the ledger, and the next attempt scheduled after that.
    AcknowledgeBeforeSchedule,
    /// A follow-up found waiting is taken for granted.
    DropInsteadOfReschedule,
    /// A refused record is taken for done, and the message acknowledged.
    RefusedRecordAcknowledged,
    /// A throttled wait is taken for started.
    StandInForgotten,
    /// A lease is taken for over while it is alive.
    LeaseNotChecked,
    /// A lease is taken for alive when it is over.
    LeaseNeverOver,
    /// A claim is written whatever the ledger holds.
    ClaimUnconditional,
    /// An outcome is written whatever the ledger holds.
    RecordUnconditional,
    /// The worker does not know its own claim again.
    OwnClaimNotRecognised,
    /// A claim that takes over does not say so.
    LabelForgotten,
    /// Cancelling a delivery in the middle of an attempt leaves that attempt out of the log.
    InterruptionForgotten,
    /// One attempt more than the schedule has.
    OneAttemptTooMany,
    /// A redelivery by hand goes on counting from the first round's start.
    RoundStartForgotten,
    /// Nobody looks for what is overdue.
    SweepAbsent,
    /// A first attempt whose worker died is taken for handed off, and no message sent for it.
    HandOffForgotten,
    /// An alert event that comes back is taken for new, as one moved back from the dead-letter queue looks.
    AlertTakenForNew,
    /// The integration of an endpoint that is gone is switched off when that is in the ledger already.
    RecordBeforeDisable,
    /// A claim is taken back when its request was sent, and its outcome could not be recorded.
    TakenBackTooLate,
    /// A claim is taken back whoever holds it.
    TakeBackUnconditional,
    /// A claim that is taken back forgets that a worker died in the middle of the same attempt.
    LabelTakenBack,
    /// A delivery that waits is cancelled without looking whether a claim was taken back before.
    LabelOverlooked,
    /// A claim that is taken back is left as it is.
    TakeBackForgotten,
}

/// Something that happens. Workers are told apart by their place, and may change places between two actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A worker receives a message.
    Receive {
        worker: usize,
        message: Message,
        course: Course,
        leaves: Leaves,
    },
    /// A worker makes its next call.
    Call {
        worker: usize,
        step: Step,
    },
    /// A worker's call does what it should, but the answer is lost: it will make the call again.
    LoseAnswer {
        worker: usize,
        step: Step,
    },
    /// A worker sends its attempt's request, and this is the answer.
    Send {
        worker: usize,
        attempt: Attempt,
        answer: Answer,
    },
    /// Step Functions takes no more executions just now: a stand-in is sent instead.
    Throttle {
        worker: usize,
        attempt: u8,
    },
    /// A worker dies, or gives up with a fault; its message returns to the queue.
    Crash {
        worker: usize,
    },
    /// Something of ours fails before a worker has sent its request: it takes its claim back, whether or not it knows that
    /// it was made, and gives its message back.
    Fail {
        worker: usize,
        attempt: u8,
    },
    LeaseRunsOut,
    /// The due time comes closer, or goes by.
    TimePasses,
    /// An execution ends by sending its message.
    ExecutionSends {
        attempt: u8,
    },
    /// An execution is aborted by hand.
    Abort {
        attempt: u8,
    },
    Sweep,
    /// A redelivery by hand is written to the ledger.
    Redeliver,
    RedeliverySends {
        attempt: u8,
    },
    RedeliverySenderDies {
        attempt: u8,
    },
}

/// What a receipt leaves in the queue: queues deliver at least once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    Nothing,
    ACopy,
}

/// What a call to the world answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Done,
    Refused,
}

impl Protocol {
    /// Everything as it should be.
    pub(crate) fn right() -> Self {
        Self { mistake: None, schedule: SCHEDULE.parse().expect("a schedule"), redelivery: Redelivery::NotYet }
    }

    pub(crate) fn with(mistake: Mistake) -> Self {
        Self { mistake: Some(mistake), ..Self::right() }
    }

    pub(crate) fn beginning(&self) -> World {
        World::new(self.redelivery)
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// Everything that can happen now.
    pub(crate) fn possible(&self, world: &World, actions: &mut Vec<Action>) {
        for (worker, state) in world.workers.iter().enumerate() {
            match *state {
                // Two idle workers are the same: only one of them needs to try.
                Worker::Idle if world.workers[..worker].contains(&Worker::Idle) => {}
                Worker::Idle => receipts(worker, world, actions),
                Worker::Holding { message, next } => {
                    actions.push(Action::Crash { worker });
                    actions.extend(self.taken_back(next).map(|attempt| Action::Fail { worker, attempt }));
                    calls(worker, message, next, world, actions);
                }
            }
        }
        for attempt in world.waits.iter() {
            actions.extend([Action::ExecutionSends { attempt }, Action::Abort { attempt }]);
        }
        match world.ledger {
            Ledger::Waiting { due: Due::Far | Due::Near, .. } => actions.push(Action::TimePasses),
            Ledger::Waiting { due: Due::Overdue, .. } if !self.makes(Mistake::SweepAbsent) => {
                actions.push(Action::Sweep);
            }
            Ledger::Sending { lease: Lease::Alive, .. } => actions.push(Action::LeaseRunsOut),
            Ledger::Sending { lease: Lease::Over, .. } if world.redelivery == Redelivery::NotYet => {
                actions.push(Action::Redeliver);
            }
            Ledger::Ended { .. } if world.redelivery == Redelivery::NotYet => actions.push(Action::Redeliver),
            _ => {}
        }
        if let Redelivery::AboutToSend(attempt) = world.redelivery {
            actions.extend([Action::RedeliverySends { attempt }, Action::RedeliverySenderDies { attempt }]);
        }
    }

    /// The world after that.
    pub(crate) fn after(&self, world: &World, action: Action) -> World {
        let mut world = *world;
        match action {
            Action::Receive { worker, message, course, leaves } => {
                if leaves == Leaves::Nothing {
                    world.queue.remove(message);
                }
                self.receive(&mut world, worker, message, course);
            }
            Action::Call { worker, step } => {
                let reply = self.call(&mut world, worker, step);
                self.go_on(&mut world, worker, step, reply);
            }
            Action::LoseAnswer { worker, step } => {
                self.call(&mut world, worker, step);
            }
            Action::Send { worker, attempt, answer } => self.send(&mut world, worker, attempt, answer),
            Action::Throttle { worker, attempt } => {
                if !self.makes(Mistake::StandInForgotten) {
                    world.queue.insert(Message::Due(attempt - 1));
                }
                world.leave(worker, Claim::Abandoned);
            }
            Action::Crash { worker } => self.crash(&mut world, worker),
            Action::Fail { worker, attempt } => {
                if let Worker::Holding { next, .. } = &mut world.workers[worker] {
                    *next = Step::TakeBack { attempt };
                }
            }
            Action::LeaseRunsOut => world.end_lease(),
            Action::TimePasses => world.pass_time(),
            Action::ExecutionSends { attempt } => {
                world.end_execution(attempt);
                world.queue.insert(Message::Due(attempt));
            }
            Action::Abort { attempt } => {
                world.end_execution(attempt);
                world.bereave(attempt);
            }
            Action::Sweep => world.queue.insert(Message::Due(world.ledger.place().0)),
            Action::Redeliver => self.redeliver(&mut world),
            Action::RedeliverySends { attempt } => {
                world.redelivery = Redelivery::Over;
                world.queue.insert(Message::Due(attempt));
            }
            Action::RedeliverySenderDies { attempt } => {
                world.redelivery = Redelivery::Over;
                world.bereave(attempt);
            }
        }
        world.canonical()
    }

    /// Takes a message, presumes the state that the healthy path finds, and decides.
    fn receive(&self, world: &mut World, worker: usize, message: Message, course: Course) {
        let presumed = match (message, course) {
            // Whoever sees it for the first time and does not want it has nothing to do with it.
            (Message::Alert(Run::First), Course::Cancel) => return world.decline(),
            // Looked at, because it must not be created by asking.
            (Message::Alert(Run::Again), Course::Cancel) => world.ledger,
            (Message::Alert(_), Course::Send) => Ledger::Nothing,
            (Message::Due(attempt), _) => {
                Ledger::Waiting { attempt, round_start: attempt, due: Due::Near, label: Label::Plain }
            }
        };
        self.decide(world, worker, message.received(), course, presumed);
    }

    /// Decides what to do about a message, given what the ledger is believed or was found to hold.
    fn decide(&self, world: &mut World, worker: usize, message: Message, course: Course, ledger: Ledger) {
        let from = || ledger.seen().expect("only what is there and not over is moved on");
        let next = match (self.decision(ledger, message, worker), course) {
            (Decision::Busy { .. }, _) => {
                self.put_back(world, message);
                return world.leave(worker, Claim::Abandoned);
            }
            // The impossible goes to the dead-letter queue; that it comes to this is caught as such.
            (Decision::Impossible | Decision::Drop(_), _) => return world.leave(worker, Claim::Abandoned),
            (Decision::Create, Course::Cancel) => {
                world.decline();
                return world.leave(worker, Claim::Abandoned);
            }
            (Decision::Create, Course::Send) => Step::Create(Beginning::Claimed),
            (_, Course::Cancel) => Step::Cancel { from: from(), label: ledger.label() },
            (Decision::HandOff, Course::Send) => Step::HandOff,
            (Decision::Schedule { attempt, due_at }, Course::Send) => {
                Step::Schedule { attempt: attempt as u8, due: Due::of(due_at) }
            }
            (Decision::Claim(freshness), Course::Send) => Step::Claim { from: from(), label: freshness.into() },
            (Decision::GoOn, Course::Send) => Step::Send(ledger.claimed().expect("only a claim is gone on with")),
        };
        world.workers[worker] = Worker::Holding { message, next };
    }

    fn decision(&self, ledger: Ledger, message: Message, worker: usize) -> Decision {
        let decision = decide(ledger.state().as_ref(), message.in_protocol(), Claim::of(worker).id(), NOW);
        match (decision, self.mistake) {
            (Decision::Busy { .. }, Some(Mistake::LeaseNotChecked)) => Decision::Claim(Freshness::PossibleDuplicate),
            (Decision::Claim(Freshness::PossibleDuplicate), Some(Mistake::LeaseNeverOver)) => {
                Decision::Busy { lease_until: NOW }
            }
            (Decision::Claim(_), Some(Mistake::LabelForgotten)) => Decision::Claim(Freshness::First),
            (Decision::GoOn, Some(Mistake::OwnClaimNotRecognised)) => Decision::Busy { lease_until: NOW },
            (Decision::Schedule { .. } | Decision::HandOff, Some(Mistake::DropInsteadOfReschedule)) => {
                Decision::Drop(Stale::Overtaken)
            }
            (decision, _) => decision,
        }
    }

    /// What a call does to the world, all at once.
    fn call(&self, world: &mut World, worker: usize, step: Step) -> Reply {
        let claim = Claim::of(worker);
        match step {
            Step::Create(_) if world.ledger != Ledger::Nothing => return Reply::Refused,
            Step::Create(Beginning::Claimed) => world.write(Ledger::Sending {
                attempt: 1,
                round_start: 1,
                lease: Lease::Alive,
                claim,
                label: Label::Plain,
            }),
            Step::Create(Beginning::HandedOff) => {
                world.write(Ledger::Waiting { attempt: 1, round_start: 1, due: Due::Near, label: Label::Plain });
            }
            Step::Claim { from, .. } if !world.ledger.is_still(from) && !self.makes(Mistake::ClaimUnconditional) => {
                return Reply::Refused;
            }
            Step::Claim { from, label } => world.write(Ledger::Sending {
                attempt: from.attempt(),
                round_start: world.ledger.round_start(),
                lease: Lease::Alive,
                claim,
                label: label.max(world.ledger.label()),
            }),
            Step::Cancel { from, .. } if !world.ledger.is_still(from) => return Reply::Refused,
            Step::Cancel { label, .. } if label != world.ledger.label() && !self.makes(Mistake::LabelOverlooked) => {
                return Reply::Refused;
            }
            Step::Cancel { from, label } => {
                // Of a claim that was taken back, the label says that its attempt may have been sent before.
                let interrupted = matches!(from, Prior::Sending { .. }) || label == Label::PossibleDuplicate;
                if interrupted && !self.makes(Mistake::InterruptionForgotten) {
                    world.log(from.attempt(), world.ledger.label());
                }
                world.write(Ledger::Ended {
                    attempt: from.attempt(),
                    round_start: world.ledger.round_start(),
                    ending: Ending::Cancelled,
                });
            }
            Step::Record(Attempt { number: attempt, .. }, _)
                if !world.ledger.is_still(Prior::Sending { attempt, claim })
                    && !self.makes(Mistake::RecordUnconditional) =>
            {
                return Reply::Refused;
            }
            Step::Record(attempt, answer) => {
                world.write(self.recorded(attempt, answer));
                world.log(attempt.number, attempt.label);
            }
            Step::TakeBack { attempt }
                if !world.ledger.is_still(Prior::Sending { attempt, claim })
                    && !self.makes(Mistake::TakeBackUnconditional) =>
            {
                return Reply::Refused;
            }
            Step::TakeBack { .. } if self.makes(Mistake::TakeBackForgotten) => {}
            Step::TakeBack { attempt } => {
                let label = if self.makes(Mistake::LabelTakenBack) { Label::Plain } else { world.ledger.label() };
                let round_start = world.ledger.round_start();
                world.write(Ledger::Waiting { attempt, round_start, due: Due::Near, label });
            }
            Step::Disable(_) => world.switched_off = true,
            // Of the delivery that is handed off, or of one whose worker died: the latter's claim stays as it is.
            Step::HandOff
                if self.makes(Mistake::HandOffForgotten) && matches!(world.ledger, Ledger::Sending { .. }) => {}
            Step::HandOff => world.queue.insert(Message::Due(1)),
            Step::Schedule { attempt, due: Due::Far } => world.start_execution(attempt),
            Step::Schedule { attempt, due: Due::Near | Due::Overdue } => world.queue.insert(Message::Due(attempt)),
            Step::Send(_) => {}
        }
        Reply::Done
    }

    /// What a worker does when its call has been answered. With nothing left to do, it acknowledges its message.
    fn go_on(&self, world: &mut World, worker: usize, step: Step, reply: Reply) {
        let Worker::Holding { message, .. } = world.workers[worker] else { return };
        let found = world.ledger;
        let next = match (step, reply) {
            (Step::TakeBack { .. }, _) => {
                self.put_back(world, message);
                return world.leave(worker, Claim::Abandoned);
            }
            (Step::Record(..), Reply::Refused) if self.makes(Mistake::RefusedRecordAcknowledged) => None,
            (_, Reply::Refused) => return self.decide(world, worker, message, step.course(), found),
            (Step::Create(Beginning::HandedOff), _) => Some(Step::HandOff),
            (Step::Disable(attempt), _) => {
                (!self.makes(Mistake::RecordBeforeDisable)).then_some(Step::Record(attempt, Answer::Gone))
            }
            (Step::Record(attempt, Answer::Gone), _) if self.makes(Mistake::RecordBeforeDisable) => {
                Some(Step::Disable(attempt))
            }
            (Step::Create(Beginning::Claimed) | Step::Claim { .. }, _) => found.claimed().map(Step::Send),
            (Step::Record(..), _) => match found {
                Ledger::Waiting { attempt, due, .. } if !self.makes(Mistake::ScheduleBeforeRecord) => {
                    Some(Step::Schedule { attempt, due })
                }
                _ => None,
            },
            (Step::Cancel { .. } | Step::HandOff | Step::Schedule { .. } | Step::Send(_), _) => None,
        };
        match next {
            Some(next) => world.workers[worker] = Worker::Holding { message, next },
            None => world.leave(worker, Claim::Abandoned),
        }
    }

    fn send(&self, world: &mut World, worker: usize, attempt: Attempt, answer: Answer) {
        world.see(attempt.number);
        if self.makes(Mistake::ScheduleBeforeRecord)
            && let Ledger::Waiting { attempt, due, .. } = self.recorded(attempt, answer)
        {
            self.call(world, worker, Step::Schedule { attempt, due });
        }
        if let Worker::Holding { next, .. } = &mut world.workers[worker] {
            *next = match answer {
                Answer::Gone if !self.makes(Mistake::RecordBeforeDisable) => Step::Disable(attempt),
                answer => Step::Record(attempt, answer),
            };
        }
    }

    /// The ledger after an attempt.
    fn recorded(&self, made: Attempt, answer: Answer) -> Ledger {
        let Attempt { number: attempt, round_start, .. } = made;
        let outcome = Outcome::of_status(match answer {
            Answer::Accepted => StatusCode::OK,
            Answer::Rejected => StatusCode::SERVICE_UNAVAILABLE,
            Answer::Gone => StatusCode::GONE,
        });
        let surplus = u8::from(self.makes(Mistake::OneAttemptTooMany));
        let index = attempt.saturating_sub(round_start).saturating_sub(surplus);
        let ended = |ending| Ledger::Ended { attempt, round_start, ending };
        match next_step(&outcome, index.into(), &self.schedule, None) {
            NextStep::Done => ended(Ending::Delivered),
            NextStep::GiveUp => ended(Ending::Failed),
            NextStep::DisableIntegration => ended(Ending::Gone),
            NextStep::Retry { after } => {
                Ledger::Waiting { attempt: attempt + 1, round_start, due: Due::of(NOW + after), label: Label::Plain }
            }
        }
    }

    /// A worker lets go of a message, which returns to the queue if it is not deleted yet.
    fn put_back(&self, world: &mut World, message: Message) {
        let message = match message {
            Message::Alert(_) if self.makes(Mistake::AlertTakenForNew) => Message::Alert(Run::First),
            message => message,
        };
        if !self.makes(Mistake::AcknowledgeOnReceipt) {
            world.queue.insert(message);
        }
    }

    fn crash(&self, world: &mut World, worker: usize) {
        let Worker::Holding { message, next } = world.workers[worker] else { return };
        if !self.is_acknowledged_before(next) {
            self.put_back(world, message);
        }
        world.leave(worker, Claim::OfTheDead);
    }

    /// Whether a worker's message is deleted already when it comes to that step.
    pub(crate) fn is_acknowledged_before(&self, step: Step) -> bool {
        let schedules = matches!(step, Step::Schedule { .. });
        self.makes(Mistake::AcknowledgeOnReceipt) || self.makes(Mistake::AcknowledgeBeforeSchedule) && schedules
    }

    /// The attempt whose claim a worker takes back that cannot go on with that step.
    fn taken_back(&self, next: Step) -> Option<u8> {
        match next {
            Step::Create(_) => Some(1),
            Step::Claim { from, .. } => Some(from.attempt()),
            Step::Send(attempt) => Some(attempt.number),
            Step::Record(attempt, _) if self.makes(Mistake::TakenBackTooLate) => Some(attempt.number),
            _ => None,
        }
    }

    fn redeliver(&self, world: &mut World) {
        let round_start = world.ledger.round_start();
        let Some(Ok(attempt)) = world.ledger.state().map(|state| ledger::redeliver(&state, 1, NOW)) else { return };
        let attempt = u8::try_from(attempt).expect("the model's attempts are few");
        let round_start = if self.makes(Mistake::RoundStartForgotten) { round_start } else { attempt };
        if let Some(given_up) = world.ledger.claimed() {
            world.log(given_up.number, given_up.label);
        }
        world.write(Ledger::Waiting { attempt, round_start, due: Due::Near, label: Label::Plain });
        world.redelivery = Redelivery::AboutToSend(attempt);
    }
}

/// The ways to receive each message that lies in the queue.
fn receipts(worker: usize, world: &World, actions: &mut Vec<Action>) {
    for message in world.queue.iter() {
        for course in [Course::Send, Course::Cancel] {
            let receive = |leaves| Action::Receive { worker, message, course, leaves };
            actions.extend([receive(Leaves::Nothing), receive(Leaves::ACopy)]);
        }
    }
}

/// What a worker's next step can come to.
fn calls(worker: usize, message: Message, step: Step, world: &World, actions: &mut Vec<Action>) {
    let call = |step| [Action::Call { worker, step }, Action::LoseAnswer { worker, step }];
    match step {
        Step::Send(attempt) => {
            let send = |answer| Action::Send { worker, attempt, answer };
            actions.extend([send(Answer::Accepted), send(Answer::Rejected), send(Answer::Gone)]);
        }
        Step::Create(_) => {
            actions.extend(call(Step::Create(Beginning::Claimed)));
            actions.extend(call(Step::Create(Beginning::HandedOff)));
        }
        Step::Schedule { attempt, due: Due::Far } => {
            actions.extend(call(step));
            actions.push(Action::Throttle { worker, attempt });
        }
        Step::Claim { .. } => {
            actions.extend(call(step));
            // An alert event's attempt may be handed off instead: its endpoint takes long, or there is no time left. That
            // is decided before claiming, so not when a claim was made whose answer was lost.
            let made = matches!(world.ledger, Ledger::Sending { claim, .. } if claim == Claim::of(worker));
            if matches!(message, Message::Alert(_)) && !made {
                actions.extend(call(Step::HandOff));
            }
        }
        Step::Cancel { .. }
        | Step::TakeBack { .. }
        | Step::Disable(_)
        | Step::Record(..)
        | Step::HandOff
        | Step::Schedule { .. } => {
            actions.extend(call(step));
        }
    }
}
