//! Properties that must hold in every reachable state, and situations that must be reachable for that to be meaningful.

use domain::delivery::ledger::{Decision, End, Freshness, State};
use stateright::Property;

use crate::protocol::Protocol;
use crate::values::*;
use crate::world::*;

pub(crate) const ONE_LIVE_CLAIM: &str = "an attempt has at most one live claim";
pub(crate) const SOMETHING_LEADS_ON: &str = "a delivery that is not over has a message or a wait that continues it";
pub(crate) const WITHIN_THE_SCHEDULE: &str = "a round has no more attempts than the schedule";
pub(crate) const THE_WHOLE_SCHEDULE: &str = "no delivery fails before its round's last attempt";
pub(crate) const DUPLICATES_ARE_LABELLED: &str = "an attempt that was sent twice is marked as a possible duplicate";
pub(crate) const REQUESTS_ARE_LOGGED: &str = "an attempt that was sent and is over is in the log";
pub(crate) const NOTHING_FROM_THE_FUTURE: &str = "no message is ahead of its delivery";
pub(crate) const NEVER_BACKWARDS: &str = "the ledger never goes back";
pub(crate) const GONE_IS_SWITCHED_OFF: &str = "no delivery ends by a 410 before its integration is switched off";
pub(crate) const PAYLOAD_FIRST: &str = "a delivery that exists has its payload";
pub(crate) const ALWAYS_IN_STEP: &str = "no worker gets a reply that its program does not expect";
pub(crate) const NO_CLAIM_ABANDONED: &str = "no worker that is alive leaves its claim behind";

pub(crate) fn all() -> Vec<Property<Protocol>> {
    let (always, sometimes) = (Property::<Protocol>::always, Property::<Protocol>::sometimes);
    vec![
        always(ONE_LIVE_CLAIM, |_, world| (1..=HIGHEST_ATTEMPT).all(|attempt| live_claims(world, attempt) <= 1)),
        always(SOMETHING_LEADS_ON, |protocol, world| {
            is_over(world) || is_left_to_the_sweep(world) || something_leads_on(protocol, world)
        }),
        always(WITHIN_THE_SCHEDULE, |protocol, world| index(world) < protocol.schedule.attempts()),
        always(THE_WHOLE_SCHEDULE, |protocol, world| {
            !ended(world, End::Failed) || world.ended_gone || index(world) + 1 == protocol.schedule.attempts()
        }),
        always(DUPLICATES_ARE_LABELLED, |_, world| world.unlabelled_duplicates().is_empty()),
        always(REQUESTS_ARE_LOGGED, |_, world| world.unlogged_requests().is_empty()),
        always(NOTHING_FROM_THE_FUTURE, |_, world| {
            pending(world).all(|message| world.meaning(message) != Decision::Impossible)
        }),
        always(NEVER_BACKWARDS, |_, world| stage(world.ledger.as_ref()) == world.furthest),
        always(GONE_IS_SWITCHED_OFF, |_, world| !world.ended_gone || world.switched_off),
        always(
            NO_CLAIM_ABANDONED,
            |_, world| !matches!(world.state(), Some(State::Sending { claim_id, .. }) if claim_id == ABANDONED),
        ),
        always(PAYLOAD_FIRST, |_, world| world.ledger.is_none() || world.payload_stored),
        always(ALWAYS_IN_STEP, |_, world| !world.out_of_step),
        sometimes("a delivery is delivered", |_, world| ended(world, End::Delivered)),
        sometimes("a delivery is cancelled", |_, world| ended(world, End::Cancelled)),
        sometimes("a delivery ends by a 410", |_, world| world.ended_gone),
        sometimes("a redelivery fails", |_, world| {
            ended(world, End::Failed) && world.state().is_some_and(|state| state.round_start() > 1)
        }),
        sometimes("a claim is taken back", |_, world| {
            world.ledger.is_some_and(|found| {
                matches!(found.state, State::Waiting { .. }) && found.freshness == Freshness::PossibleDuplicate
            })
        }),
        sometimes("an attempt is sent twice", |_, world| !world.sent_again.is_empty()),
        sometimes("both workers are in the middle of one attempt", |_, world| {
            let [one, other] = world.workers.map(|worker| worker.attempt());
            one.is_some() && one == other
        }),
        sometimes("only the sweep can continue a delivery", |protocol, world| {
            is_left_to_the_sweep(world) && !something_leads_on(protocol, world)
        }),
    ]
}

fn ended(world: &World, by: End) -> bool {
    matches!(world.state(), Some(State::Ended { end, .. }) if end == by)
}

/// Whether the delivery has ended, or was never wanted.
pub(crate) fn is_over(world: &World) -> bool {
    matches!(world.state(), Some(State::Ended { .. })) || world.ledger.is_none() && world.declined
}

fn is_left_to_the_sweep(world: &World) -> bool {
    world.orphaned && matches!(world.state(), Some(State::Waiting { .. }))
}

/// How many workers have a valid claim on the attempt, in the ledger or in their own memory.
fn live_claims(world: &World, number: u8) -> usize {
    let is_live = |worker: usize| {
        let in_the_ledger = matches!(world.state(), Some(State::Sending { attempt, claim_id, lease_until, .. })
            if attempt == u32::from(number) && claim_id == claim_of(worker) && !is_lease_over(lease_until));
        let in_its_memory = matches!(world.workers[worker], Worker::Busy(busy) if !busy.lease_over)
            && world.workers[worker].attempt() == Some(number);
        in_the_ledger || in_its_memory
    };
    (0..WORKERS).filter(|&worker| is_live(worker)).count()
}

/// The attempt's index in its round.
fn index(world: &World) -> usize {
    world.state().map_or(0, |state| state.index() as usize)
}

fn something_leads_on(protocol: &Protocol, world: &World) -> bool {
    let leads_on = |message| !matches!(world.meaning(message), Decision::Drop(_) | Decision::Impossible);
    let held = world.workers.iter().filter_map(|worker| match *worker {
        Worker::Idle => None,
        Worker::Busy(Busy { message, next, .. }) => (!protocol.is_acknowledged_before(next)).then_some(message),
    });
    let redelivered = match world.redelivery {
        Redelivery::AboutToSend(attempt) => Some(Message::Due(attempt)),
        Redelivery::NotYet | Redelivery::Over => None,
    };
    pending(world).chain(held).chain(redelivered).any(leads_on)
}

/// The messages in the queue, and those that executions will send.
fn pending(world: &World) -> impl Iterator<Item = Message> {
    world.queue.iter().chain(world.waits.iter().map(Message::Due))
}
