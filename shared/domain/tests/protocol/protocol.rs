//! What happens in the model's world: workers execute the commands of the product's program, and things go wrong.

use std::slice;

use domain::attempt::outcome::Outcome;
use domain::attempt::schedule::Schedule;
use domain::delivery::ledger::{self, Entry, State};
use domain::delivery::transitions::{Condition, Transition};
use domain::delivery::wait::{Wait, wait_until};
use domain::delivery::worker::{Command, FollowUp, Intent, Job, Reason, Reply, Turn, Worker as Program};
use http::StatusCode;
use jiff::Timestamp;

use crate::mistakes::Mistake;
use crate::values::*;
use crate::world::*;

/// The delays of the model: a short one, and one that takes an execution. That makes three attempts a round.
const SCHEDULE: &str = "1m,30m";

/// The model: how the workers work.
#[derive(Clone, Debug)]
pub(crate) struct Protocol {
    pub(crate) mistake: Option<Mistake>,
    pub(crate) schedule: Schedule,
    /// The schedule that the workers use, which a mistake may alter.
    pub(crate) followed: Schedule,
    /// The initial state: [`Redelivery::Over`] if none is to be made.
    pub(crate) redelivery: Redelivery,
}

/// Something that happens. Workers are identified by index, and may swap places between two actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A worker receives a message.
    Receive {
        worker: usize,
        message: Message,
        intent: Intent,
        leaves: Leaves,
        own_calls: OwnCalls,
    },
    /// A worker executes its next command and gets the reply.
    Execute {
        worker: usize,
        own_calls: OwnCalls,
    },
    /// The same, but the reply is lost, so the worker will repeat the command.
    LoseAnswer {
        worker: usize,
    },
    /// A worker's next command fails without taking effect.
    Fail {
        worker: usize,
    },
    /// A worker sends its attempt's request and gets this answer.
    Send {
        worker: usize,
        answer: Answer,
    },
    /// Step Functions throttles: the message of the attempt before is sent as a substitute.
    Throttle {
        worker: usize,
        attempt: u8,
    },
    /// A worker dies; its message returns to the queue.
    Crash {
        worker: usize,
    },
    LeaseRunsOut,
    /// The due time comes closer or passes.
    TimePasses,
    /// An execution sends its message and ends.
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

/// What stays in the queue after a receive: queues deliver at least once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    Nothing,
    ACopy,
}

impl Protocol {
    /// The protocol without mistakes.
    pub(crate) fn correct() -> Self {
        let schedule: Schedule = SCHEDULE.parse().expect("a schedule");
        Self { mistake: None, followed: schedule.clone(), schedule, redelivery: Redelivery::NotYet }
    }

    pub(crate) fn with(mistake: Mistake) -> Self {
        let surplus = if mistake == Mistake::OneAttemptTooMany { ",30m" } else { "" };
        let followed = format!("{SCHEDULE}{surplus}").parse().expect("a schedule");
        Self { mistake: Some(mistake), followed, ..Self::correct() }
    }

    pub(crate) fn beginning(&self) -> World {
        World::new(self.redelivery)
    }

    pub(crate) fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// The product's program, as a worker with this message runs it.
    fn program(&self, worker: usize, message: Message, intent: Intent) -> Program<'_> {
        let job =
            Job { message: message.in_protocol(), intent, claim_id: claim_of(worker), claim_by: NOW, send_by: NOW };
        Program { job, schedule: &self.followed, lease: LEASE }
    }

    /// Everything that can happen now.
    pub(crate) fn possible(&self, world: &World, actions: &mut Vec<Action>) {
        for (worker, state) in world.workers.iter().enumerate() {
            match *state {
                // Idle workers are interchangeable, so only the first receives.
                Worker::Idle if world.workers[..worker].contains(&Worker::Idle) => {}
                Worker::Idle => receives(worker, world, actions),
                Worker::Busy(Busy { next, .. }) => {
                    actions.push(Action::Crash { worker });
                    self.steps(worker, next, world, actions);
                }
            }
        }
        for attempt in world.waits.iter() {
            actions.extend([Action::ExecutionSends { attempt }, Action::Abort { attempt }]);
        }
        match world.state() {
            Some(State::Waiting { due_at, .. }) if Due::of(due_at) != Due::Overdue => actions.push(Action::TimePasses),
            Some(State::Waiting { .. }) if !self.makes(Mistake::SweepAbsent) => actions.push(Action::Sweep),
            Some(State::Sending { lease_until, .. }) if !is_lease_over(lease_until) => {
                actions.push(Action::LeaseRunsOut);
            }
            Some(State::Sending { .. } | State::Ended { .. }) if world.redelivery == Redelivery::NotYet => {
                actions.push(Action::Redeliver);
            }
            _ => {}
        }
        if let Redelivery::AboutToSend(attempt) = world.redelivery {
            actions.extend([Action::RedeliverySends { attempt }, Action::RedeliverySenderDies { attempt }]);
        }
    }

    /// The actions that are possible for a worker's next step.
    fn steps(&self, worker: usize, next: Next, world: &World, actions: &mut Vec<Action>) {
        let Next::Do(command) = next else {
            return actions
                .extend([Action::Execute { worker, own_calls: OwnCalls::Succeed }, Action::LoseAnswer { worker }]);
        };
        actions.push(Action::Fail { worker });
        if let Command::Request(_) = command {
            let send = |answer| Action::Send { worker, answer };
            return actions.extend([send(Answer::Accepted), send(Answer::Rejected), send(Answer::Gone)]);
        }
        actions.push(Action::LoseAnswer { worker });
        let made = self.write(worker, command).is_none_or(|(from, _)| from.holds(world.ledger.as_ref()));
        let own_calls = match command {
            // None of the worker's own calls follow directly.
            Command::Schedule { .. } | Command::Unclaim { .. } | Command::Disable(_) => slice::from_ref(&OWN_CALLS[0]),
            Command::Record { .. } | Command::Cancel { .. } if made => slice::from_ref(&OWN_CALLS[0]),
            _ => &OWN_CALLS,
        };
        actions.extend(own_calls.iter().map(|&own_calls| Action::Execute { worker, own_calls }));
        if let Command::Schedule { attempt, due_at } = command
            && Due::of(due_at) == Due::Far
        {
            actions.push(Action::Throttle { worker, attempt: attempt as u8 });
        }
    }

    /// The condition and the effect of a command, if it is a write. (Not for taking a claim back, which needs the
    /// worker's actual message.)
    fn write(&self, worker: usize, command: Command) -> Option<(Condition, Transition)> {
        command.write(&self.program(worker, Message::Alert(Run::Again), HERE).job)
    }

    /// The world after an action.
    pub(crate) fn after(&self, world: &World, action: Action) -> World {
        let mut world = *world;
        match action {
            Action::Receive { worker, message, intent, leaves, own_calls } => {
                if leaves == Leaves::Nothing {
                    world.queue.remove(message);
                }
                self.receive(&mut world, worker, message, intent, own_calls);
            }
            Action::Execute { worker, own_calls } => self.execute(&mut world, worker, own_calls),
            Action::LoseAnswer { worker } => self.lose_answer(&mut world, worker),
            Action::Fail { worker } => self.fail(&mut world, worker),
            Action::Send { worker, answer } => self.send(&mut world, worker, answer),
            Action::Throttle { worker, attempt } => {
                if !self.makes(Mistake::StandInForgotten) {
                    world.queue.insert(Message::Due(attempt - 1));
                }
                world.leave(worker, ABANDONED);
            }
            Action::Crash { worker } => self.crash(&mut world, worker),
            Action::LeaseRunsOut => world.end_lease(),
            Action::TimePasses => world.pass_time(),
            Action::ExecutionSends { attempt } => {
                world.end_execution(attempt);
                world.queue.insert(Message::Due(attempt));
            }
            Action::Abort { attempt } => {
                world.end_execution(attempt);
                world.orphan(attempt);
            }
            Action::Sweep => world.queue.insert(Message::Due(stage(world.ledger.as_ref()).0)),
            Action::Redeliver => self.redeliver(&mut world),
            Action::RedeliverySends { attempt } => {
                world.redelivery = Redelivery::Over;
                world.queue.insert(Message::Due(attempt));
            }
            Action::RedeliverySenderDies { attempt } => {
                world.redelivery = Redelivery::Over;
                world.orphan(attempt);
            }
        }
        world.canonical()
    }

    fn receive(&self, world: &mut World, worker: usize, message: Message, intent: Intent, own_calls: OwnCalls) {
        // An alert event that is unwanted when it is first received has no delivery.
        if (message, intent) == (Message::Alert(Run::First), CANCEL) {
            return world.decline();
        }
        let message = message.received();
        let program = self.program(worker, message, intent);
        self.proceed(world, &program, message, program.start(NOW), own_calls);
    }

    /// Executes the worker's next command, and passes the reply to the program.
    fn execute(&self, world: &mut World, worker: usize, own_calls: OwnCalls) {
        let Worker::Busy(busy) = world.workers[worker] else { return };
        match busy.next {
            Next::HandOff => {
                self.hand_off(world);
                world.leave(worker, ABANDONED);
            }
            Next::Do(command) => {
                let program = self.program(worker, busy.message, busy.intent);
                let reply = self.carry_out(world, &busy, &program.job, command);
                let turn = self.next_turn(world, &program, &busy, command, reply, NOW);
                self.proceed(world, &program, busy.message, turn, own_calls);
            }
        }
    }

    fn lose_answer(&self, world: &mut World, worker: usize) {
        let Worker::Busy(busy) = world.workers[worker] else { return };
        match busy.next {
            Next::HandOff => self.hand_off(world),
            Next::Do(command) => {
                let job = self.program(worker, busy.message, busy.intent).job;
                self.carry_out(world, &busy, &job, command);
            }
        }
    }

    fn fail(&self, world: &mut World, worker: usize) {
        let Worker::Busy(busy) = world.workers[worker] else { return };
        let Next::Do(command) = busy.next else { return };
        let program = self.program(worker, busy.message, busy.intent);
        let turn = self.next_turn(world, &program, &busy, command, Reply::Failed, NOW);
        match (turn, command) {
            // The claim stays, if there is one: the next worker with the message waits for its lease to end.
            (
                Turn::ReturnToQueue(Reason::Failed),
                Command::Unclaim { .. }
                | Command::Disable(_)
                | Command::Record { .. }
                | Command::Cancel { .. }
                | Command::Schedule { .. },
            ) => self.crash(world, worker),
            (Turn::ReturnToQueue(_), Command::Unclaim { .. }) => self.crash(world, worker),
            _ => self.proceed(world, &program, busy.message, turn, OwnCalls::Succeed),
        }
    }

    fn send(&self, world: &mut World, worker: usize, answer: Answer) {
        let Worker::Busy(busy) = world.workers[worker] else { return };
        let Next::Do(command @ Command::Request(claimed)) = busy.next else { return };
        if !self.makes(Mistake::SentBeforeClaim) {
            world.receive_request(claimed.attempt as u8);
        }
        let outcome = Outcome::of_status(match answer {
            Answer::Accepted => StatusCode::OK,
            Answer::Rejected => StatusCode::SERVICE_UNAVAILABLE,
            Answer::Gone => StatusCode::GONE,
        });
        let busy = Busy { answered_gone: answer == Answer::Gone, ..busy };
        world.workers[worker] = Worker::Busy(busy);
        let program = self.program(worker, busy.message, busy.intent);
        let reply = Reply::Answered { outcome, retry_after: None };
        let turn = self.next_turn(world, &program, &busy, command, reply, NOW);
        self.proceed(world, &program, busy.message, turn, OwnCalls::Succeed);
    }

    /// Continues with a turn, up to the next command that others can observe. The worker's own calls happen
    /// immediately.
    fn proceed(&self, world: &mut World, program: &Program<'_>, message: Message, turn: Turn, own_calls: OwnCalls) {
        let worker = usize::from(program.job.claim_id.as_bytes()[0]);
        let before = match world.workers[worker] {
            Worker::Busy(busy) => Some(busy),
            Worker::Idle => None,
        };
        let intent = program.job.intent;
        let mut turn = turn;
        let next = loop {
            match turn {
                Turn::Do(command) => {
                    let Some((reply, now)) = self.own_call(world, command, own_calls) else { break Next::Do(command) };
                    let next = Next::Do(command);
                    let busy = Busy { message, intent, next, lease_over: false, answered_gone: false };
                    turn = self.next_turn(world, program, &busy, command, reply, now);
                }
                Turn::Acknowledge(FollowUp::HandOff) => break Next::HandOff,
                Turn::Acknowledge(FollowUp::Nothing | FollowUp::Drop(_)) => {
                    if intent == CANCEL {
                        world.decline();
                    }
                    return world.leave(worker, ABANDONED);
                }
                // The message goes to the dead-letter queue. A property checks that this never happens.
                Turn::ReturnToQueue(Reason::Impossible) => return world.leave(worker, ABANDONED),
                Turn::ReturnToQueue(reason) => {
                    world.out_of_step |= reason == Reason::UnexpectedReply;
                    self.put_back(world, message);
                    return world.leave(worker, ABANDONED);
                }
            }
        };
        let next = match next {
            Next::Do(command) => Next::Do(canonical_command(command)),
            Next::HandOff => next,
        };
        if self.makes(Mistake::SentBeforeClaim)
            && matches!(next, Next::Do(Command::Claim { .. } | Command::Create(State::Sending { .. })))
        {
            world.receive_request(message.attempt());
        }
        let same_attempt = before.filter(|before| next.claimed().is_some() && before.next.claimed() == next.claimed());
        let (lease_over, answered_gone) = match (same_attempt, world.state()) {
            (Some(before), _) => (before.lease_over, before.answered_gone),
            (None, Some(State::Sending { lease_until, .. })) if next.claimed().is_some() => {
                (is_lease_over(lease_until), false)
            }
            (None, _) => (false, false),
        };
        world.workers[worker] = Worker::Busy(Busy { message, intent, next, lease_over, answered_gone });
    }

    /// The reply to a command that only its worker can observe; `None` if others can observe it.
    fn own_call(&self, world: &mut World, command: Command, own_calls: OwnCalls) -> Option<(Reply, Timestamp)> {
        let (reply, now) = match own_calls {
            OwnCalls::Succeed => (Reply::Done, NOW),
            OwnCalls::Fail => (Reply::Failed, NOW),
            OwnCalls::TakeTooLong => (Reply::Done, LATE),
        };
        match command {
            Command::Read => Some((Reply::Found(world.ledger), NOW)),
            Command::OpenSecrets(_) | Command::ReadPayload(_) => Some((reply, now)),
            Command::StorePayload(_) => {
                world.payload_stored |= own_calls != OwnCalls::Fail && !self.makes(Mistake::PayloadAfterCreation);
                Some((reply, now))
            }
            _ => None,
        }
    }

    /// Applies a command to the world, atomically.
    pub(crate) fn carry_out(&self, world: &mut World, busy: &Busy, job: &Job, command: Command) -> Reply {
        match command {
            Command::Create(_) if world.ledger.is_some() => Reply::Refused(world.ledger),
            Command::Create(state) => {
                let entry = Entry::from(state);
                world.write(entry);
                Reply::Written(entry)
            }
            Command::Disable(_) => {
                world.switched_off = true;
                Reply::Done
            }
            Command::Schedule { attempt, due_at } => {
                match wait_until(due_at, NOW) {
                    Wait::InExecution => world.start_execution(attempt as u8),
                    Wait::OnQueue { .. } => world.queue.insert(Message::Due(attempt as u8)),
                }
                Reply::Done
            }
            other => {
                let (from, to) = other.write(job).expect("all other commands are writes or own calls");
                self.make(world, busy, other, from, to)
            }
        }
    }

    /// Makes a conditional write.
    fn make(&self, world: &mut World, busy: &Busy, command: Command, from: Condition, to: Transition) -> Reply {
        let Some(found) =
            world.ledger.filter(|found| self.actual_condition(from, to).is_none_or(|from| from.holds(Some(found))))
        else {
            return Reply::Refused(world.ledger);
        };
        if let Some(entry) = self.apply(found, to) {
            world.write(entry);
        }
        match command {
            Command::Record { made, .. } => {
                world.ended_gone = busy.answered_gone;
                world.log(made.attempt, made.freshness);
            }
            // The mark on a waiting delivery means that its attempt may have been sent.
            Command::Cancel { from, .. }
                if !matches!(from, Condition::WaitingUnmarked { .. })
                    && !self.makes(Mistake::InterruptionForgotten) =>
            {
                world.log(found.state.attempt(), found.freshness);
            }
            _ => {}
        }
        world.ledger.map_or(Reply::Refused(None), Reply::Written)
    }

    fn hand_off(&self, world: &mut World) {
        // Hands off a new delivery, or one whose worker died. In the latter case the claim stays.
        let forgotten = self.makes(Mistake::HandOffForgotten) && matches!(world.state(), Some(State::Sending { .. }));
        if !forgotten {
            world.queue.insert(Message::Due(1));
        }
    }

    /// A worker's message returns to the queue, unless it was deleted.
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
        let Worker::Busy(busy) = world.workers[worker] else { return };
        if !self.is_acknowledged_before(busy.next) {
            self.put_back(world, busy.message);
        }
        world.leave(worker, OF_THE_DEAD);
    }

    /// Whether a mistake has already deleted the worker's message before this step.
    pub(crate) fn is_acknowledged_before(&self, next: Next) -> bool {
        let schedules = matches!(next, Next::Do(Command::Schedule { .. }));
        self.makes(Mistake::AcknowledgeOnReceipt) || self.makes(Mistake::AcknowledgeBeforeSchedule) && schedules
    }

    fn redeliver(&self, world: &mut World) {
        let Some(found) = world.ledger else { return };
        let Ok(attempt) = ledger::redeliver(&found.state, 1, NOW) else { return };
        if let State::Sending { attempt: abandoned, .. } = found.state {
            world.log(abandoned, found.freshness);
        }
        let to = Transition::Redeliver { attempt, due_at: NOW, rounds: 2, now: NOW };
        if let Some(entry) = self.apply(found, to) {
            world.write(entry);
        }
        world.redelivery = Redelivery::AboutToSend(attempt as u8);
    }
}

/// The ways to receive each message in the queue.
fn receives(worker: usize, world: &World, actions: &mut Vec<Action>) {
    for message in world.queue.iter() {
        for leaves in [Leaves::Nothing, Leaves::ACopy] {
            let receive = |intent, own_calls| Action::Receive { worker, message, intent, leaves, own_calls };
            actions.push(receive(CANCEL, OwnCalls::Succeed));
            actions.extend(OWN_CALLS.map(|own_calls| receive(HERE, own_calls)));
            if let Message::Alert(_) = message {
                actions.extend(OWN_CALLS.map(|own_calls| receive(ELSEWHERE, own_calls)));
            }
        }
    }
}
