//! Deliberate mistakes, one at a time: the program's input, its output or the execution of its commands is altered.
//! Each must violate a property, to show that the model detects such bugs.

use domain::delivery::ledger::{ClaimId, End, Entry, Freshness, Stale, State};
use domain::delivery::transitions::{Condition, Transition};
use domain::delivery::worker::{Command, FollowUp, Reason, Reply, Turn, Worker as Program};
use jiff::Timestamp;

use crate::protocol::Protocol;
use crate::values::*;
use crate::world::*;

/// A deliberate mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    // Mistakes in the program's input.
    /// A lease counts as over before it is.
    LeaseNotChecked,
    /// A lease never counts as over.
    LeaseNeverOver,
    /// The worker does not recognise its own claim.
    OwnClaimNotRecognised,

    // Mistakes in its output.
    /// The next attempt's message is sent before the outcome is recorded.
    ScheduleBeforeRecord,
    /// If the next attempt is waiting already, its message is assumed to have been sent.
    DropInsteadOfReschedule,
    /// The message is acknowledged although the record was refused.
    RefusedRecordAcknowledged,
    /// A claim of an attempt whose worker died has no mark of a possible duplicate.
    LabelForgotten,
    /// One attempt more than the schedule has.
    OneAttemptTooMany,
    /// After a 410, the integration is switched off after the record instead of before.
    RecordBeforeDisable,
    /// A claim is taken back after its request was sent, because the outcome could not be recorded.
    TakenBackTooLate,
    /// After a failure between the claim and the request, the message returns to its queue, but the claim is not taken
    /// back.
    NotTakenBack,
    /// A cancellation ignores the mark of a possible duplicate on a claim that was taken back.
    LabelOverlooked,

    // Mistakes in the execution of its commands.
    /// The message is deleted as soon as it is received.
    AcknowledgeOnReceipt,
    /// The message is deleted after the outcome is recorded, before the next attempt is scheduled.
    AcknowledgeBeforeSchedule,
    /// When starting an execution is throttled, no substitute message is sent.
    StandInForgotten,
    /// A claim is written without its condition.
    ClaimUnconditional,
    /// An outcome is written without its condition.
    RecordUnconditional,
    /// A claim is taken back without a condition, whosever it is.
    TakeBackUnconditional,
    /// Taking a claim back removes the mark of a possible duplicate.
    LabelTakenBack,
    /// Taking a claim back does nothing.
    TakeBackForgotten,
    /// Cancelling a delivery in the middle of an attempt leaves that attempt out of the log.
    InterruptionForgotten,
    /// A first attempt whose worker died is assumed to be handed off, and no message is sent for it.
    HandOffForgotten,
    /// The request is sent before the claim is written.
    SentBeforeClaim,
    /// The payload is stored after the delivery is created.
    PayloadAfterCreation,

    // Mistakes outside the program.
    /// A redelivery by hand keeps the first round's start.
    RoundStartForgotten,
    /// There is no sweep for overdue deliveries.
    SweepAbsent,
    /// An alert event that is received again counts as new, like one moved back from the dead-letter queue.
    AlertTakenForNew,
}

impl Protocol {
    /// The program's next turn after this reply, including the mistake.
    pub(crate) fn next_turn(
        &self,
        world: &mut World,
        program: &Program<'_>,
        busy: &Busy,
        command: Command,
        reply: Reply,
        now: Timestamp,
    ) -> Turn {
        let Some(mistake) = self.mistake else { return program.next(command, reply, now) };
        let looks = matches!(reply, Reply::Refused(_) | Reply::Found(_));
        let failed = matches!(reply, Reply::Failed);
        let turn = program.next(command, falsify(mistake, program.job.claim_id, reply), now);
        match (mistake, command, turn) {
            (Mistake::ScheduleBeforeRecord, Command::Request(_), Turn::Do(Command::Record { to, .. })) => {
                if let Transition::Retry { attempt, due_at } = to {
                    self.carry_out(world, busy, &program.job, Command::Schedule { attempt, due_at });
                }
                turn
            }
            (Mistake::ScheduleBeforeRecord, Command::Record { .. }, Turn::Do(Command::Schedule { .. })) if !looks => {
                Turn::Acknowledge(FollowUp::Nothing)
            }
            (
                Mistake::DropInsteadOfReschedule,
                _,
                Turn::Do(Command::Schedule { .. }) | Turn::Acknowledge(FollowUp::HandOff),
            ) if looks && matches!(world.state(), Some(State::Waiting { .. })) => {
                Turn::Acknowledge(FollowUp::Drop(Stale::Superseded))
            }
            (Mistake::RefusedRecordAcknowledged, Command::Record { .. }, _) if looks => {
                Turn::Acknowledge(FollowUp::Nothing)
            }
            (Mistake::LabelForgotten, _, Turn::Do(Command::Claim { from, lease_until, .. })) => {
                Turn::Do(Command::Claim { from, freshness: Freshness::First, lease_until })
            }
            (Mistake::RecordBeforeDisable, Command::Request(_), Turn::Do(Command::Disable(made))) => {
                Turn::Do(Command::Record { made, to: Transition::End(End::Failed) })
            }
            (Mistake::RecordBeforeDisable, Command::Record { made, .. }, Turn::Acknowledge(FollowUp::Nothing))
                if busy.answered_gone =>
            {
                Turn::Do(Command::Disable(made))
            }
            (Mistake::RecordBeforeDisable, Command::Disable(_), Turn::Do(Command::Record { .. })) => {
                Turn::Acknowledge(FollowUp::Nothing)
            }
            (Mistake::TakenBackTooLate, Command::Record { .. }, Turn::ReturnToQueue(Reason::Failed)) if failed => {
                Turn::Do(Command::Unclaim { due_at: NOW, reason: Reason::Failed })
            }
            (Mistake::NotTakenBack, _, Turn::Do(Command::Unclaim { reason, .. })) => Turn::ReturnToQueue(reason),
            (_, _, turn) => turn,
        }
    }

    /// The condition that a write really has, including the mistake; `None` if it has none.
    pub(crate) fn actual_condition(&self, from: Condition, to: Transition) -> Option<Condition> {
        match (self.mistake, to) {
            (Some(Mistake::ClaimUnconditional), Transition::Claim { .. })
            | (Some(Mistake::RecordUnconditional), Transition::Retry { .. } | Transition::End(_))
            | (Some(Mistake::TakeBackUnconditional), Transition::Unclaim { .. }) => None,
            (Some(Mistake::LabelOverlooked), Transition::Cancel(_)) => Some(match from {
                Condition::WaitingUnmarked { attempt } => Condition::Waiting { attempt },
                other => other,
            }),
            _ => Some(from),
        }
    }

    /// The entry after a transition, including the mistake; `None` if it stays unchanged.
    pub(crate) fn apply(&self, found: Entry, to: Transition) -> Option<Entry> {
        let entry = to.apply(found);
        match (self.mistake, to) {
            (Some(Mistake::TakeBackForgotten), Transition::Unclaim { .. }) => None,
            (Some(Mistake::LabelTakenBack), Transition::Unclaim { .. }) => Some(entry.state.into()),
            (Some(Mistake::RoundStartForgotten), Transition::Redeliver { attempt, due_at, .. }) => {
                Some(State::Waiting { attempt, round_start: found.state.round_start(), due_at }.into())
            }
            _ => Some(entry),
        }
    }
}

/// The reply that the program gets because of the mistake.
fn falsify(mistake: Mistake, own: ClaimId, reply: Reply) -> Reply {
    let alter = |found: Option<Entry>| {
        let Some(Entry { state: State::Sending { attempt, round_start, lease_until, claim_id }, freshness }) = found
        else {
            return found;
        };
        let (lease_until, claim_id) = match mistake {
            Mistake::LeaseNotChecked => (LEASE_OVER, claim_id),
            Mistake::LeaseNeverOver => (NOW + LEASE, claim_id),
            Mistake::OwnClaimNotRecognised if claim_id == own => (lease_until, REPLACED),
            _ => (lease_until, claim_id),
        };
        Some(Entry { state: State::Sending { attempt, round_start, lease_until, claim_id }, freshness })
    };
    match reply {
        Reply::Refused(found) => Reply::Refused(alter(found)),
        Reply::Found(found) => Reply::Found(alter(found)),
        other => other,
    }
}
