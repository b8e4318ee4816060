//! The program that processes a message: claim, send, record, schedule, and then acknowledge.
//!
//! Given what happened, it returns what to do next, and nothing else. The functions run it against AWS (`aws::runner`);
//! the model check runs it against every possible order of events, crashes and lost answers (`tests/protocol`). It is
//! stateless: each command contains what is needed to continue after its reply.
//!
//! It works optimistically. It first assumes the entry that the ledger has in the healthy case, decides, and writes on
//! that condition. If the condition fails, the reply has the actual entry, and the program decides again. So the
//! healthy path never reads before it writes.
//!
//! The order of the steps makes crashes harmless. Secrets are decrypted and the payload is stored *before* the claim,
//! so that a fault there leaves no claim that looks like an attempt. The outcome is recorded before the next attempt is
//! scheduled, and only then is the message acknowledged. If a fault of ours occurs between the claim and the request,
//! the claim is taken back.

use std::time::Duration;

use jiff::Timestamp;

use crate::attempt::next_step::{NextStep, next_step};
use crate::attempt::outcome::Outcome;
use crate::attempt::schedule::Schedule;
use crate::delivery::CancelReason;
use crate::delivery::ledger::{
    ClaimId, Decision, End, Entry, Freshness, Message, Stale, State, decide, lease_until, whole_milliseconds,
};
use crate::delivery::transitions::{Condition, Transition};

/// One message, and what to do with its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    pub message: Message,
    pub intent: Intent,
    /// The id that this worker claims attempts with.
    pub claim_id: ClaimId,
    /// The last instant at which an attempt can be claimed and still be made and recorded in time.
    pub claim_by: Timestamp,
    /// The last instant at which a request can be sent and its outcome still be recorded in time.
    pub send_by: Timestamp,
}

/// What to do with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Intent {
    /// Send it to its endpoint.
    Send(AttemptMode),
    /// Cancel it: it is no longer wanted.
    Cancel(CancelReason),
}

/// Who makes an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AttemptMode {
    /// This worker.
    Inline,
    /// The worker that receives its message: the attempt is handed off. First attempts only.
    HandedOff,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Do(Command),
    /// Perform the follow-up, if any; then the message may be deleted.
    Acknowledge(FollowUp),
    /// Return the message to its queue.
    ReturnToQueue(Reason),
}

/// What to do before a message may be acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FollowUp {
    Nothing,
    /// Nothing: the message is stale, or its delivery does not exist.
    Drop(Stale),
    /// Send the first attempt's message.
    HandOff,
}

/// Why a message returns to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A fault of ours.
    Failed,
    /// Another worker has claimed the attempt, and its lease is not over.
    Busy { lease_until: Timestamp },
    /// Too little of the invocation's time is left.
    NoTimeLeft,
    /// The message is for an attempt that is still to come.
    Impossible,
    /// The delivery belongs to another organization than the message says.
    WrongOrganization,
    /// A bug: a reply that does not belong to the command, or an entry that no write produces.
    UnexpectedReply,
}

/// An attempt that this worker has claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Claimed {
    /// The attempt's number.
    pub attempt: u32,
    pub round_start: u32,
    pub freshness: Freshness,
}

/// What secrets are decrypted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// To create a delivery with its first attempt claimed.
    Creating,
    /// To claim an attempt.
    Claiming { from: Condition, freshness: Freshness },
    /// To continue with an attempt that is already claimed: the answer to the claim was lost.
    Resuming(Claimed),
}

/// One thing to do. Each has the [`Reply`]s that are listed with it, or [`Reply::Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Command {
    /// Read the delivery without creating it. [`Reply::Found`], [`Reply::WrongOrganization`].
    Read,
    /// Decrypt the integration's secrets. [`Reply::Done`].
    OpenSecrets(Purpose),
    /// Store the payload, unless it fits into the delivery's item. [`Reply::Done`].
    StorePayload(AttemptMode),
    /// Write the delivery's first entry if there is none. [`Reply::Written`], [`Reply::Refused`],
    /// [`Reply::WrongOrganization`].
    Create(State),
    /// Claim the attempt. Replies as for [`Command::Create`].
    Claim { from: Condition, freshness: Freshness, lease_until: Timestamp },
    /// Read the payload, unless the message contains it. [`Reply::Done`].
    ReadPayload(Claimed),
    /// Send the request. [`Reply::Answered`]; [`Reply::Failed`] means that nothing was sent.
    Request(Claimed),
    /// Take the claim back, if it was made. [`Reply::Written`], [`Reply::Refused`].
    Unclaim { due_at: Timestamp, reason: Reason },
    /// Switch the integration off, because its endpoint answered 410. [`Reply::Done`].
    Disable(Claimed),
    /// Record the outcome. Replies as for [`Command::Create`].
    Record { made: Claimed, to: Transition },
    /// Cancel the delivery. Replies as for [`Command::Create`].
    Cancel { from: Condition, reason: CancelReason },
    /// Make sure that the message of this attempt arrives when it is due. [`Reply::Done`].
    Schedule { attempt: u32, due_at: Timestamp },
}

/// The result of a command.
#[derive(Clone, Debug)]
pub enum Reply {
    Done,
    /// The entry in the ledger, if any.
    Found(Option<Entry>),
    /// The write was made; this is the entry now.
    Written(Entry),
    /// The write's condition failed; this is the entry in the ledger, if any.
    Refused(Option<Entry>),
    /// The request was sent, with this outcome. `retry_after` is what the endpoint asked for.
    Answered {
        outcome: Outcome,
        retry_after: Option<Duration>,
    },
    /// The delivery belongs to another organization.
    WrongOrganization,
    /// A fault of ours. A write may have been made nevertheless.
    Failed,
}

impl Command {
    /// The condition and the effect of the command, if it is a write of an existing delivery.
    pub fn write(&self, job: &Job) -> Option<(Condition, Transition)> {
        let claim_id = job.claim_id;
        match *self {
            Self::Claim { from, freshness, lease_until } => {
                Some((from, Transition::Claim { claim_id, lease_until, freshness }))
            }
            Self::Unclaim { due_at, .. } => {
                Some((Condition::Sending { attempt: job.message.attempt(), claim_id }, Transition::Unclaim { due_at }))
            }
            Self::Record { made, to } => Some((Condition::Sending { attempt: made.attempt, claim_id }, to)),
            Self::Cancel { from, reason } => Some((from, Transition::Cancel(reason))),
            Self::Read
            | Self::OpenSecrets(_)
            | Self::StorePayload(_)
            | Self::Create(_)
            | Self::ReadPayload(_)
            | Self::Request(_)
            | Self::Disable(_)
            | Self::Schedule { .. } => None,
        }
    }
}

/// A worker that processes one message.
#[derive(Clone, Copy, Debug)]
pub struct Worker<'a> {
    pub job: Job,
    pub schedule: &'a Schedule,
    /// How long a claim's lease lasts.
    pub lease: Duration,
}

impl Worker<'_> {
    /// What to do first.
    pub fn start(&self, now: Timestamp) -> Turn {
        match (self.job.message, self.job.intent) {
            (Message::AlertEvent, Intent::Cancel(_)) => Turn::Do(Command::Read),
            (Message::AlertEvent, Intent::Send(_)) => self.decide(None, now),
            (Message::Due { attempt }, _) => {
                let state = State::Waiting { attempt, round_start: attempt, due_at: now };
                self.decide(Some(state.into()), now)
            }
        }
    }

    /// What to do after a command got its reply.
    pub fn next(&self, command: Command, reply: Reply, now: Timestamp) -> Turn {
        match (command, reply) {
            (_, Reply::WrongOrganization) => Turn::ReturnToQueue(Reason::WrongOrganization),
            // Best effort: if the claim was not taken back, the next receive waits for the lease to end.
            (Command::Unclaim { reason, .. }, _) => Turn::ReturnToQueue(reason),
            (Command::Read, Reply::Found(found)) => self.decide(found, now),
            (
                Command::Create(_) | Command::Claim { .. } | Command::Record { .. } | Command::Cancel { .. },
                Reply::Refused(found),
            ) => self.decide(found, now),

            (Command::OpenSecrets(Purpose::Creating), Reply::Done) => {
                Turn::Do(Command::StorePayload(AttemptMode::Inline))
            }
            (Command::OpenSecrets(Purpose::Claiming { from, freshness }), Reply::Done) => {
                self.claim(from, freshness, now)
            }
            (Command::OpenSecrets(Purpose::Resuming(claimed)), Reply::Done) => Turn::Do(Command::ReadPayload(claimed)),
            (Command::StorePayload(place), Reply::Done) => Turn::Do(Command::Create(self.first_state(place, now))),
            (Command::Create(State::Waiting { .. }), Reply::Written(_)) => Turn::Acknowledge(FollowUp::HandOff),
            (Command::Create(_) | Command::Claim { .. }, Reply::Written(entry)) => {
                claimed(&entry).map_or(UNEXPECTED_REPLY, |claimed| Turn::Do(Command::ReadPayload(claimed)))
            }

            (Command::ReadPayload(claimed), Reply::Done) if now <= self.job.send_by => {
                Turn::Do(Command::Request(claimed))
            }
            // Claiming and reading took too long: do not send a request whose outcome could not be recorded in time.
            (Command::ReadPayload(_), Reply::Done) => unclaim(Reason::NoTimeLeft, now),
            (
                Command::OpenSecrets(Purpose::Resuming(_))
                | Command::Create(State::Sending { .. })
                | Command::Claim { .. }
                | Command::ReadPayload(_)
                | Command::Request(_),
                Reply::Failed,
            ) => unclaim(Reason::Failed, now),

            (Command::Request(made), Reply::Answered { outcome, retry_after }) => {
                self.answered(made, &outcome, retry_after, now)
            }
            (Command::Disable(made), Reply::Done) => {
                Turn::Do(Command::Record { made, to: Transition::End(End::Failed) })
            }
            (Command::Record { .. }, Reply::Written(Entry { state: State::Waiting { attempt, due_at, .. }, .. })) => {
                Turn::Do(Command::Schedule { attempt, due_at })
            }
            (Command::Record { .. } | Command::Cancel { .. }, Reply::Written(_))
            | (Command::Schedule { .. }, Reply::Done) => Turn::Acknowledge(FollowUp::Nothing),

            (_, Reply::Failed) => Turn::ReturnToQueue(Reason::Failed),
            (_, Reply::Done | Reply::Found(_) | Reply::Written(_) | Reply::Refused(_) | Reply::Answered { .. }) => {
                UNEXPECTED_REPLY
            }
        }
    }

    /// What to do, given the delivery's entry.
    fn decide(&self, found: Option<Entry>, now: Timestamp) -> Turn {
        let decision = decide(found.as_ref().map(|found| &found.state), self.job.message, self.job.claim_id, now);
        match (decision, self.job.intent, found) {
            (Decision::Busy { lease_until }, ..) => Turn::ReturnToQueue(Reason::Busy { lease_until }),
            (Decision::Impossible, ..) => Turn::ReturnToQueue(Reason::Impossible),
            (Decision::Drop(stale), ..) => Turn::Acknowledge(FollowUp::Drop(stale)),

            (Decision::Create, Intent::Send(AttemptMode::Inline), _) => {
                Turn::Do(Command::OpenSecrets(Purpose::Creating))
            }
            (Decision::Create, Intent::Send(AttemptMode::HandedOff), _) => {
                Turn::Do(Command::StorePayload(AttemptMode::HandedOff))
            }
            // No delivery is created for an integration that does not want the event.
            (Decision::Create, Intent::Cancel(_), _) => Turn::Acknowledge(FollowUp::Nothing),

            // If the entry is `Sending`, its lease is over: the worker died, or could not record the outcome.
            (_, Intent::Cancel(reason), Some(found)) => {
                Turn::Do(Command::Cancel { from: Condition::with_duplicate_mark(&found), reason })
            }
            (Decision::HandOff, Intent::Send(_), _) => Turn::Acknowledge(FollowUp::HandOff),
            (Decision::Schedule { attempt, due_at }, Intent::Send(_), _) => {
                Turn::Do(Command::Schedule { attempt, due_at })
            }
            // Its worker died. The attempt is still handed off: this worker must not wait for an endpoint that hangs.
            (Decision::Claim(_), Intent::Send(AttemptMode::HandedOff), _) => Turn::Acknowledge(FollowUp::HandOff),
            (Decision::Claim(freshness), Intent::Send(AttemptMode::Inline), Some(found)) => {
                let from = Condition::of(&found.state);
                Turn::Do(Command::OpenSecrets(Purpose::Claiming { from, freshness }))
            }
            (Decision::Resume, Intent::Send(_), Some(found)) => claimed(&found)
                .map_or(UNEXPECTED_REPLY, |claimed| Turn::Do(Command::OpenSecrets(Purpose::Resuming(claimed)))),
            (Decision::Claim(_) | Decision::Resume | Decision::HandOff | Decision::Schedule { .. }, _, None) => {
                UNEXPECTED_REPLY
            }
        }
    }

    /// A delivery's first state: claimed if this worker makes the first attempt and has time for it.
    fn first_state(&self, place: AttemptMode, now: Timestamp) -> State {
        if place == AttemptMode::Inline && now <= self.job.claim_by {
            let (lease_until, claim_id) = (lease_until(now, self.lease), self.job.claim_id);
            return State::Sending { attempt: 1, round_start: 1, lease_until, claim_id };
        }
        State::Waiting { attempt: 1, round_start: 1, due_at: whole_milliseconds(now) }
    }

    fn claim(&self, from: Condition, freshness: Freshness, now: Timestamp) -> Turn {
        if now <= self.job.claim_by {
            return Turn::Do(Command::Claim { from, freshness, lease_until: lease_until(now, self.lease) });
        }
        match self.job.message {
            Message::AlertEvent => Turn::Acknowledge(FollowUp::HandOff),
            Message::Due { .. } => Turn::ReturnToQueue(Reason::NoTimeLeft),
        }
    }

    /// What follows an attempt.
    fn answered(&self, made: Claimed, outcome: &Outcome, retry_after: Option<Duration>, now: Timestamp) -> Turn {
        let record = |to| Turn::Do(Command::Record { made, to });
        let index = made.attempt.saturating_sub(made.round_start);
        match next_step(outcome, index, self.schedule, retry_after) {
            NextStep::Done => record(Transition::End(End::Delivered)),
            NextStep::GiveUp => record(Transition::End(End::Failed)),
            // Before the record: once the delivery has ended, no message would come back to do it.
            NextStep::DisableIntegration => Turn::Do(Command::Disable(made)),
            NextStep::Retry { after } => {
                let due_at = whole_milliseconds(now.saturating_add(after).unwrap_or(Timestamp::MAX));
                record(Transition::Retry { attempt: made.attempt.saturating_add(1), due_at })
            }
        }
    }
}

const UNEXPECTED_REPLY: Turn = Turn::ReturnToQueue(Reason::UnexpectedReply);

fn unclaim(reason: Reason, now: Timestamp) -> Turn {
    Turn::Do(Command::Unclaim { due_at: whole_milliseconds(now), reason })
}

/// The claimed attempt of an entry that is `Sending`.
fn claimed(entry: &Entry) -> Option<Claimed> {
    match entry.state {
        State::Sending { attempt, round_start, .. } => {
            Some(Claimed { attempt, round_start, freshness: entry.freshness })
        }
        State::Waiting { .. } | State::Ended { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    const CLAIM: ClaimId = ClaimId::new([1; 16]);
    const NOW: Timestamp = Timestamp::constant(1_736_500_000, 0);
    const CLAIM_BY: Timestamp = Timestamp::constant(1_736_500_005, 0);
    const SEND_BY: Timestamp = Timestamp::constant(1_736_500_010, 0);
    const LATE: Timestamp = Timestamp::constant(1_736_500_011, 0);

    fn answered(status: StatusCode) -> Reply {
        Reply::Answered { outcome: Outcome::of_status(status), retry_after: None }
    }

    fn written(state: State) -> Reply {
        Reply::Written(state.into())
    }

    fn sending(attempt: u32) -> State {
        State::Sending { attempt, round_start: 1, lease_until: NOW + Duration::from_secs(90), claim_id: CLAIM }
    }

    fn waiting(attempt: u32) -> State {
        State::Waiting { attempt, round_start: 1, due_at: NOW }
    }

    /// The names of a worker's turns, given these replies at these times.
    fn turns(message: Message, intent: Intent, replies: impl IntoIterator<Item = (Reply, Timestamp)>) -> Vec<String> {
        let schedule = "1m,5m".parse().unwrap();
        let job = Job { message, intent, claim_id: CLAIM, claim_by: CLAIM_BY, send_by: SEND_BY };
        let worker = Worker { job, schedule: &schedule, lease: Duration::from_secs(90) };
        let mut turn = worker.start(NOW);
        let mut turns = vec![summary(turn)];
        for (reply, now) in replies {
            let Turn::Do(command) = turn else { panic!("{turns:?} is over") };
            turn = worker.next(command, reply, now);
            turns.push(summary(turn));
        }
        turns
    }

    fn summary(turn: Turn) -> String {
        let text = match turn {
            Turn::Do(command) => format!("{command:?}"),
            Turn::Acknowledge(follow_up) => format!("Acknowledge {follow_up:?}"),
            Turn::ReturnToQueue(reason) => format!("ReturnToQueue {reason:?}"),
        };
        text.split(['(', '{']).next().unwrap_or_default().trim_end().to_owned()
    }

    fn now(replies: Vec<Reply>) -> Vec<(Reply, Timestamp)> {
        replies.into_iter().map(|reply| (reply, NOW)).collect()
    }

    const HERE: Intent = Intent::Send(AttemptMode::Inline);
    const DUE: Message = Message::Due { attempt: 2 };

    #[test]
    fn an_alert_is_claimed_sent_recorded_and_acknowledged() {
        let replies = vec![
            Reply::Done,
            Reply::Done,
            written(sending(1)),
            Reply::Done,
            answered(StatusCode::OK),
            written(State::Ended { attempt: 1, round_start: 1, end: End::Delivered }),
        ];
        let order =
            ["OpenSecrets", "StorePayload", "Create", "ReadPayload", "Request", "Record", "Acknowledge Nothing"];
        assert_eq!(turns(Message::AlertEvent, HERE, now(replies)), order);
    }

    #[test]
    fn a_failure_is_recorded_before_the_next_attempt_is_scheduled() {
        let before = || vec![Reply::Done, written(sending(2)), Reply::Done];
        let begun = ["OpenSecrets", "Claim", "ReadPayload", "Request"];
        let failed = [answered(StatusCode::BAD_GATEWAY), written(waiting(3)), Reply::Done];
        let order = [&begun[..], &["Record", "Schedule", "Acknowledge Nothing"]].concat();
        assert_eq!(turns(DUE, HERE, now([before(), failed.to_vec()].concat())), order);

        let gone = [answered(StatusCode::GONE), Reply::Done];
        let order = [&begun[..], &["Disable", "Record"]].concat();
        assert_eq!(turns(DUE, HERE, now([before(), gone.to_vec()].concat())), order);
    }

    #[test]
    fn nothing_is_started_that_would_end_too_late() {
        assert_eq!(turns(DUE, HERE, [(Reply::Done, LATE)]), ["OpenSecrets", "ReturnToQueue NoTimeLeft"]);
        let handed_off = [(Reply::Done, LATE), (Reply::Done, LATE), (written(waiting(1)), LATE)];
        let order = ["OpenSecrets", "StorePayload", "Create", "Acknowledge HandOff"];
        assert_eq!(turns(Message::AlertEvent, HERE, handed_off), order);

        let claimed = |read| [(Reply::Done, CLAIM_BY), (written(sending(2)), CLAIM_BY), (Reply::Done, read)];
        let order = ["OpenSecrets", "Claim", "ReadPayload"];
        assert_eq!(turns(DUE, HERE, claimed(SEND_BY)), [&order[..], &["Request"]].concat());
        assert_eq!(turns(DUE, HERE, claimed(LATE)), [&order[..], &["Unclaim"]].concat());
    }

    #[test]
    fn a_reply_to_another_command_is_a_fault() {
        assert_eq!(
            turns(DUE, HERE, [(answered(StatusCode::OK), NOW)]),
            ["OpenSecrets", "ReturnToQueue UnexpectedReply"]
        );
        let replies = vec![Reply::Done, written(waiting(2))];
        assert_eq!(turns(DUE, HERE, now(replies)), ["OpenSecrets", "Claim", "ReturnToQueue UnexpectedReply"]);
    }
}
