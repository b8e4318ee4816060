//! What must hold in every state that can be reached, and what must be reachable for that to mean anything.

use domain::delivery::ledger::Decision;
use stateright::Property;

use crate::values::*;
use crate::worker::Protocol;
use crate::world::*;

pub(crate) const ONE_LIVE_CLAIM: &str = "an attempt has at most one live claim";
pub(crate) const SOMETHING_LEADS_ON: &str = "what is not over has a message or a wait that leads on";
pub(crate) const WITHIN_THE_SCHEDULE: &str = "a round has no more attempts than the schedule";
pub(crate) const THE_WHOLE_SCHEDULE: &str = "no delivery fails before its round's last attempt";
pub(crate) const DUPLICATES_ARE_LABELLED: &str = "an attempt that was sent twice is labelled so";
pub(crate) const REQUESTS_ARE_LOGGED: &str = "an attempt that was sent and is over is in the log";
pub(crate) const NOTHING_FROM_THE_FUTURE: &str = "no message is ahead of its delivery";
pub(crate) const NEVER_BACKWARDS: &str = "the ledger never goes back";
pub(crate) const GONE_IS_SWITCHED_OFF: &str = "no delivery ends gone before its integration is switched off";
pub(crate) const NO_CLAIM_ABANDONED: &str = "no living worker leaves its claim behind";

pub(crate) fn all() -> Vec<Property<Protocol>> {
    let (always, sometimes) = (Property::<Protocol>::always, Property::<Protocol>::sometimes);
    vec![
        always(ONE_LIVE_CLAIM, |_, world| (1..=HIGHEST_ATTEMPT).all(|attempt| live_claims(world, attempt) <= 1)),
        always(SOMETHING_LEADS_ON, |protocol, world| {
            is_over(world) || is_left_to_the_sweep(world) || something_leads_on(protocol, world)
        }),
        always(WITHIN_THE_SCHEDULE, |protocol, world| index(world) < protocol.schedule.attempts()),
        always(THE_WHOLE_SCHEDULE, |protocol, world| {
            !matches!(world.ledger, Ledger::Ended { ending: Ending::Failed, .. })
                || index(world) + 1 == protocol.schedule.attempts()
        }),
        always(DUPLICATES_ARE_LABELLED, |_, world| world.unlabelled_duplicates().is_empty()),
        always(REQUESTS_ARE_LOGGED, |_, world| world.unlogged_requests().is_empty()),
        always(NOTHING_FROM_THE_FUTURE, |_, world| {
            under_way(world).all(|message| world.meaning(message) != Decision::Impossible)
        }),
        always(NEVER_BACKWARDS, |_, world| world.ledger.place() == world.furthest),
        always(GONE_IS_SWITCHED_OFF, |_, world| !ended(world, Ending::Gone) || world.switched_off),
        always(NO_CLAIM_ABANDONED, |_, world| !matches!(world.ledger, Ledger::Sending { claim: Claim::Abandoned, .. })),
        sometimes("a delivery is delivered", |_, world| ended(world, Ending::Delivered)),
        sometimes("a delivery is cancelled", |_, world| ended(world, Ending::Cancelled)),
        sometimes("an endpoint is gone", |_, world| ended(world, Ending::Gone)),
        sometimes("a redelivery fails", |_, world| ended(world, Ending::Failed) && world.ledger.round_start() > 1),
        sometimes("an attempt is sent twice", |_, world| !world.sent_again.is_empty()),
        sometimes("both workers are in the middle of one attempt", |_, world| {
            let [one, other] = world.workers.map(|worker| worker.attempt().map(|attempt| attempt.number));
            one.is_some() && one == other
        }),
        sometimes("only the sweep leads on", |protocol, world| {
            is_left_to_the_sweep(world) && !something_leads_on(protocol, world)
        }),
    ]
}

fn ended(world: &World, by: Ending) -> bool {
    matches!(world.ledger, Ledger::Ended { ending, .. } if ending == by)
}

/// Whether the delivery has ended, or never was wanted.
pub(crate) fn is_over(world: &World) -> bool {
    matches!(world.ledger, Ledger::Ended { .. }) || world.ledger == Ledger::Nothing && world.declined
}

fn is_left_to_the_sweep(world: &World) -> bool {
    world.bereft && matches!(world.ledger, Ledger::Waiting { .. })
}

/// How many workers may believe that the attempt is theirs alone.
fn live_claims(world: &World, number: u8) -> usize {
    let is_live = |worker: usize| {
        let own = Claim::of(worker);
        let in_its_mind = world.workers[worker].attempt();
        let in_the_ledger = matches!(world.ledger,
            Ledger::Sending { attempt, claim, lease: Lease::Alive, .. } if attempt == number && claim == own);
        in_the_ledger || in_its_mind.is_some_and(|attempt| attempt.number == number && attempt.lease == Lease::Alive)
    };
    (0..WORKERS).filter(|&worker| is_live(worker)).count()
}

/// The attempt's index in its round.
fn index(world: &World) -> usize {
    world.ledger.state().map_or(0, |state| state.index() as usize)
}

fn something_leads_on(protocol: &Protocol, world: &World) -> bool {
    let leads_on = |message| !matches!(world.meaning(message), Decision::Drop(_) | Decision::Impossible);
    let held = world.workers.iter().filter_map(|worker| match *worker {
        Worker::Idle => None,
        Worker::Holding { message, next } => (!protocol.is_acknowledged_before(next)).then_some(message),
    });
    let redelivered = match world.redelivery {
        Redelivery::AboutToSend(attempt) => Some(Message::Due(attempt)),
        Redelivery::NotYet | Redelivery::Over => None,
    };
    under_way(world).chain(held).chain(redelivered).any(leads_on)
}

/// The messages that lie in the queue, or that an execution will put there.
fn under_way(world: &World) -> impl Iterator<Item = Message> {
    world.queue.iter().chain(world.waits.iter().map(Message::Due))
}
