//! The ledger protocol, model-checked: every order in which things can happen and go wrong to one delivery is gone
//! through, within the bounds below, and in every state that comes up the promises of [`properties`] must hold.
//!
//! The workers of the model run the product's own program, [`domain::delivery::worker`]: it says what is done, in which order,
//! and on which condition; [`domain::delivery::transitions`] says what a write makes of the ledger. What is modelled is the world
//! ([`world`]) and what befalls those who do what the program says ([`protocol`]). [`mistakes`] alter what it is told, what it
//! says, or how it is obeyed.
//!
//! # What can happen
//!
//! - Messages come in any order, early or late, and any number of times.
//! - A worker dies before or after any of its calls, or is so slow that its lease runs out and others overtake it.
//! - A call does its work and its answer is lost. The worker then makes it again, gives up, or dies.
//! - Any call fails and has done nothing, or has done its work. Opening secrets, storing and reading a payload take so long
//!   that no time is left for an attempt.
//! - Step Functions throttles; executions are aborted by hand; the sweep comes by.
//! - The endpoint accepts, refuses, or wants no more; `deliver` begins a first attempt itself or hands it off, also one whose
//!   worker died.
//! - The integration is disabled or enabled again, or its filter changed, between any two receipts.
//! - A redelivery by hand is made as soon as the delivery has ended, or the lease of its attempt, and its sender may die in the
//!   middle.
//!
//! # Bounds
//!
//! One alert event and its one delivery (deliveries share nothing), two workers, a schedule of three attempts whose second
//! wait takes an execution, one redelivery by hand. Everything else is unbounded: there is no limit to how often workers
//! crash, answers are lost, messages are duplicated or leases run out.
//!
//! # What is left out, and why that is harmless
//!
//! - *Time.* A lease can run out, a due time come closer and a message arrive at any moment: whatever real clocks do is
//!   among that.
//! - *Crashes that look alike.* Acknowledging, and sending the stand-in after a throttled call, are part of the step
//!   before. A worker that dies between the two leaves what one leaves that lost the answer and died, or died before.
//! - *What nobody else can see.* Opening secrets, storing and reading a payload happen together with what came before: a worker
//!   that dies between the two leaves what one leaves that died before.
//! - *Writes that arrive after their worker died.* They look like those of a slow worker that dies right after, while a
//!   copy of its message was handed out again.
//! - *Claim ids.* Each is fresh; the model only knows whose it is, and renames the dead's.
//! - *What is over for good.* Messages and executions of attempts that can only be dropped any more are forgotten.
//!
//! # What is not covered
//!
//! The text of DynamoDB's expressions (`tests/functions/moves.rs` holds it against the moves), time limits (unit tests of the
//! program), expiry (TTL after 30 days, messages after 14), dead-letter queues after 20 receipts, a message purged by hand while its attempt is being made, batches, and a message that names another organization
//! than its delivery's: no write's condition holds for it.

#![expect(clippy::print_stdout, reason = "tells the counterexamples")]

mod ending;
mod mistakes;
mod properties;
mod protocol;
mod values;
mod world;

use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path, Property};

use ending::Reached;
use mistakes::Mistake;
use protocol::{Action, Protocol};
use world::{Redelivery, World};

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.beginning()]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        self.possible(world, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        Some(self.after(world, action)).filter(|after| after != world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

#[test]
fn every_state_that_can_be_reached_is_sound() {
    let (protocol, began) = (Protocol::right(), now());
    let checker = protocol.clone().checker().threads(2).spawn_bfs().join();
    for property in properties::all().iter().filter(|property| property.expectation == Expectation::Always) {
        if let Some(path) = checker.discovery(property.name) {
            let way = up_to_where_it_breaks(&protocol, property, path);
            panic!("`{}` is broken here:\n{}", property.name, tell(&protocol, &way));
        }
    }
    checker.assert_properties();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    let (steps, seconds) = (checker.state_count(), began.elapsed().as_secs());
    println!("{states} states, {steps} steps between them, at most {depth} steps deep, {seconds} s");
}

#[test]
fn every_delivery_ends() {
    let (protocol, began) = (Protocol::right(), now());
    let reached = Reached::by(&protocol);
    println!("{} states, {} s", reached.states(), began.elapsed().as_secs());
    if let Some(way) = reached.way_to_no_end() {
        panic!("from here, the end cannot be reached:\n{}", tell(&protocol, &way));
    }
}

#[test]
fn mistakes_that_break_a_promise_are_caught() {
    use properties::*;
    caught(Mistake::ScheduleBeforeRecord, NOTHING_FROM_THE_FUTURE);
    caught(Mistake::AcknowledgeOnReceipt, SOMETHING_LEADS_ON);
    caught(Mistake::AcknowledgeBeforeSchedule, SOMETHING_LEADS_ON);
    caught(Mistake::DropInsteadOfReschedule, SOMETHING_LEADS_ON);
    caught(Mistake::RefusedRecordAcknowledged, SOMETHING_LEADS_ON);
    caught(Mistake::StandInForgotten, SOMETHING_LEADS_ON);
    caught(Mistake::LeaseNotChecked, ONE_LIVE_CLAIM);
    caught(Mistake::ClaimUnconditional, ONE_LIVE_CLAIM);
    caught(Mistake::RecordUnconditional, NEVER_BACKWARDS);
    caught(Mistake::OwnClaimNotRecognised, NO_CLAIM_ABANDONED);
    caught(Mistake::LabelForgotten, DUPLICATES_ARE_LABELLED);
    caught(Mistake::InterruptionForgotten, REQUESTS_ARE_LOGGED);
    caught(Mistake::OneAttemptTooMany, WITHIN_THE_SCHEDULE);
    caught(Mistake::RoundStartForgotten, THE_WHOLE_SCHEDULE);
    caught(Mistake::HandOffForgotten, SOMETHING_LEADS_ON);
    caught(Mistake::AlertTakenForNew, SOMETHING_LEADS_ON);
    caught(Mistake::RecordBeforeDisable, GONE_IS_SWITCHED_OFF);
    caught(Mistake::TakenBackTooLate, DUPLICATES_ARE_LABELLED);
    caught(Mistake::TakeBackUnconditional, NEVER_BACKWARDS);
    caught(Mistake::LabelTakenBack, DUPLICATES_ARE_LABELLED);
    caught(Mistake::TakeBackForgotten, NO_CLAIM_ABANDONED);
    caught(Mistake::LabelOverlooked, REQUESTS_ARE_LOGGED);
    caught(Mistake::NotTakenBack, NO_CLAIM_ABANDONED);
    caught(Mistake::SentBeforeClaim, DUPLICATES_ARE_LABELLED);
    caught(Mistake::PayloadAfterCreation, PAYLOAD_FIRST);
}

#[test]
fn mistakes_that_leave_a_delivery_without_an_end_are_caught() {
    never_ends(Mistake::LeaseNeverOver);
    never_ends(Mistake::SweepAbsent);
}

#[expect(clippy::disallowed_methods, reason = "how long it takes is told, and nothing depends on it")]
fn now() -> Instant {
    Instant::now()
}

/// Checks that workers who make that mistake come to a state in which that property is broken.
#[track_caller]
fn caught(mistake: Mistake, property: &'static str) {
    let protocol = Protocol::with(mistake);
    let until = HasDiscoveries::AllOf([property].into());
    let checker = protocol.clone().checker().finish_when(until).spawn_bfs().join();
    let Some(path) = checker.discovery(property) else { panic!("{mistake:?} does not break `{property}`") };
    let way = up_to_where_it_breaks(&protocol, &protocol.property(property), path);
    println!("{mistake:?} breaks `{property}`:\n{}", tell(&protocol, &way));
}

/// Checks that workers who make that mistake come to a state from which the end cannot be reached. One round is enough to
/// see it.
#[track_caller]
fn never_ends(mistake: Mistake) {
    let protocol = Protocol { redelivery: Redelivery::Over, ..Protocol::with(mistake) };
    let Some(way) = Reached::by(&protocol).way_to_no_end() else { panic!("{mistake:?} lets every delivery end") };
    println!("{mistake:?} leaves a delivery without an end:\n{}", tell(&protocol, &way));
}

/// What happened before the property was broken first: the checker goes on for a little.
fn up_to_where_it_breaks(protocol: &Protocol, property: &Property<Protocol>, path: Path<World, Action>) -> Vec<Action> {
    let sound = |(world, _): &(World, Option<Action>)| (property.condition)(protocol, world);
    path.into_vec().into_iter().take_while(sound).filter_map(|(_, action)| action).collect()
}

/// What happened, and the ledger after each step. The workers change places where that makes no difference.
fn tell(protocol: &Protocol, actions: &[Action]) -> String {
    let mut world = protocol.beginning();
    let lines = actions.iter().map(|action| {
        world = protocol.after(&world, *action);
        format!("  {action:?}\n    -> {:?}\n", world.ledger)
    });
    lines.collect()
}
