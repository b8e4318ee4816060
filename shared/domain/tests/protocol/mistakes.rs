//! Things done wrong, one at a time: what the program is told, what it says, or how it is obeyed is altered. Each has to
//! break a promise, or the model would not notice who broke it.

use domain::delivery::ledger::{ClaimId, End, Entry, Freshness, Stale, State};
use domain::delivery::transitions::{Condition, Transition};
use domain::delivery::worker::{Command, FollowUp, Reason, Reply, Turn, Worker as Program};
use jiff::Timestamp;

use crate::protocol::Protocol;
use crate::values::*;
use crate::world::*;

/// One thing done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    // What the program is told is altered.
    /// A lease is taken for over while it is alive.
    LeaseNotChecked,
    /// A lease is taken for alive when it is over.
    LeaseNeverOver,
    /// The worker does not know its own claim again.
    OwnClaimNotRecognised,

    // What it says is altered.
    /// The next attempt's message is sent before the outcome is in the ledger.
    ScheduleBeforeRecord,
    /// A follow-up found waiting is taken for granted.
    DropInsteadOfReschedule,
    /// A refused record is taken for done, and the message acknowledged.
    RefusedRecordAcknowledged,
    /// A claim that takes over does not say so.
    LabelForgotten,
    /// One attempt more than the schedule has.
    OneAttemptTooMany,
    /// The integration of an endpoint that is gone is switched off when that is in the ledger already.
    RecordBeforeDisable,
    /// A claim is taken back when its request was sent, and its outcome could not be recorded.
    TakenBackTooLate,
    /// A failure between the claim and the request gives the message back and leaves the claim.
    NotTakenBack,
    /// A cancellation looks at the state only, not at the mark of a claim that was taken back.
    LabelOverlooked,

    // How it is obeyed is altered.
    /// The message is deleted as soon as it is received.
    AcknowledgeOnReceipt,
    /// The message is deleted when the outcome is in the ledger, and the next attempt scheduled after that.
    AcknowledgeBeforeSchedule,
    /// A throttled wait is taken for started.
    StandInForgotten,
    /// A claim is written whatever the ledger holds.
    ClaimUnconditional,
    /// An outcome is written whatever the ledger holds.
    RecordUnconditional,
    /// A claim is taken back whoever holds it.
    TakeBackUnconditional,
    /// A claim that is taken back forgets that a worker died in the middle of the same attempt.
    LabelTakenBack,
    /// A claim that is taken back is left as it is.
    TakeBackForgotten,
    /// Cancelling a delivery in the middle of an attempt leaves that attempt out of the log.
    InterruptionForgotten,
    /// A first attempt whose worker died is taken for handed off, and no message sent for it.
    HandOffForgotten,
    /// The request is on its way when the claim is written.
    SentBeforeClaim,
    /// The payload is stored when the delivery is there already.
    PayloadAfterCreation,

    // What is around the program is altered.
    /// A redelivery by hand goes on counting from the first round's start.
    RoundStartForgotten,
    /// Nobody looks for what is overdue.
    SweepAbsent,
    /// An alert event that comes back is taken for new, as one moved back from the dead-letter queue looks.
    AlertTakenForNew,
}

impl Protocol {
    /// What the program says when it is told that, mistakes included.
    pub(crate) fn told(
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
        let turn = program.next(command, mistaken(mistake, program.job.claim_id, reply), now);
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

    /// What a write really depends on; `None` is nothing.
    pub(crate) fn depends(&self, from: Condition, to: Transition) -> Option<Condition> {
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

    /// What a move really makes of an entry; `None` is that it leaves it as it is.
    pub(crate) fn made(&self, found: Entry, to: Transition) -> Option<Entry> {
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

/// What the program is told instead of what is.
fn mistaken(mistake: Mistake, own: ClaimId, reply: Reply) -> Reply {
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
