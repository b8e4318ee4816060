//! The ledger protocol, model-checked: every order in which events and failures can happen to one delivery is explored,
//! within the bounds below, and the [`properties`] must hold in every reachable state.
//!
//! The workers of the model run the product's own program, [`domain::delivery::worker`], which determines what is done,
//! in which order and on which condition. [`domain::delivery::transitions`] determines the effect of each write on the
//! ledger. What is modelled is the world ([`world`]), and what can happen while workers execute the program's commands
//! ([`protocol`]). [`mistakes`] alter the program's input, its output, or how commands are executed.
//!
//! # What can happen
//!
//! - Messages arrive in any order, early or late, and any number of times.
//! - A worker dies before or after any of its calls, or is so slow that its lease runs out and others overtake it.
//! - A call takes effect, but its answer is lost. The worker then repeats it, gives up, or dies.
//! - Any call fails, with or without having taken effect. Decrypting secrets, storing or reading a payload takes so long that
//!   no time is left for an attempt.
//! - Step Functions throttles; executions are aborted by hand; the sweep runs.
//! - The endpoint accepts, rejects, or answers 410. `deliver` makes a first attempt itself or hands it off, also one whose
//!   worker died.
//! - The integration is disabled or enabled again, or its filter changed, between any two receives.
//! - A redelivery by hand is made as soon as the delivery has ended or the lease of its attempt is over, and its sender may die
//!   in the middle.
//!
//! # Bounds
//!
//! One alert event and its one delivery (deliveries share nothing), two workers, a schedule of three attempts whose
//! second wait takes an execution, one redelivery by hand. Everything else is unbounded: there is no limit on how often
//! workers crash, answers are lost, messages are duplicated or leases run out.
//!
//! # What is left out, and why that is harmless
//!
//! - *Time.* A lease can run out, a due time come closer and a message arrive at any moment, which includes everything that
//!   real clocks do.
//! - *Equivalent crashes.* Acknowledging, and sending the substitute message after a throttled call, are part of the step
//!   before. A crash between the two leaves the same state as a lost answer followed by a crash, or as a crash before.
//! - *Calls that nobody else can observe.* Decrypting secrets and storing or reading a payload are part of the step before. A
//!   crash between the two leaves the same state as a crash before.
//! - *Writes that arrive after their worker died.* They are equivalent to those of a slow worker that dies right after, while
//!   a copy of its message was delivered again.
//! - *Claim ids.* Each is new; the model only tracks whose it is, and replaces those of dead workers.
//! - *The settled past.* Messages and executions of attempts that could only be dropped are removed.
//!
//! # What is not covered
//!
//! The text of DynamoDB's expressions (`tests/functions/moves.rs` compares it with the transitions), time limits (unit
//! tests of the program), expiry (TTL after 30 days, messages after 14), dead-letter queues after 20 receives, a
//! message purged by hand during its attempt, batches, and a message that names another organization than its
//! delivery's (no write's condition holds for it).

#![expect(clippy::print_stdout, reason = "prints the counterexamples")]

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
fn every_reachable_state_is_sound() {
    let (protocol, started) = (Protocol::correct(), now());
    let checker = protocol.clone().checker().threads(2).spawn_bfs().join();
    for property in properties::all().iter().filter(|property| property.expectation == Expectation::Always) {
        if let Some(path) = checker.discovery(property.name) {
            let actions = up_to_the_violation(&protocol, property, path);
            panic!("`{}` is violated here:\n{}", property.name, trace(&protocol, &actions));
        }
    }
    checker.assert_properties();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    let (steps, seconds) = (checker.state_count(), started.elapsed().as_secs());
    println!("{states} states, {steps} steps between them, at most {depth} steps deep, {seconds} s");
}

#[test]
fn every_delivery_ends() {
    let (protocol, started) = (Protocol::correct(), now());
    let reached = Reached::by(&protocol);
    println!("{} states, {} s", reached.states(), started.elapsed().as_secs());
    if let Some(actions) = reached.path_to_a_state_without_end() {
        panic!("from here, the end cannot be reached:\n{}", trace(&protocol, &actions));
    }
}

#[test]
fn mistakes_that_violate_a_property_are_caught() {
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

#[expect(clippy::disallowed_methods, reason = "the duration is only printed")]
fn now() -> Instant {
    Instant::now()
}

/// Checks that this mistake leads to a state in which the property is violated.
#[track_caller]
fn caught(mistake: Mistake, property: &'static str) {
    let protocol = Protocol::with(mistake);
    let until = HasDiscoveries::AllOf([property].into());
    let checker = protocol.clone().checker().finish_when(until).spawn_bfs().join();
    let Some(path) = checker.discovery(property) else { panic!("{mistake:?} does not violate `{property}`") };
    let actions = up_to_the_violation(&protocol, &protocol.property(property), path);
    println!("{mistake:?} violates `{property}`:\n{}", trace(&protocol, &actions));
}

/// Checks that this mistake leads to a state from which the end cannot be reached. One round is enough to show it.
#[track_caller]
fn never_ends(mistake: Mistake) {
    let protocol = Protocol { redelivery: Redelivery::Over, ..Protocol::with(mistake) };
    let Some(actions) = Reached::by(&protocol).path_to_a_state_without_end() else {
        panic!("with {mistake:?} every delivery still ends")
    };
    println!("{mistake:?} leaves a delivery without an end:\n{}", trace(&protocol, &actions));
}

/// The actions up to the first violation of the property: the checker's path may be longer.
fn up_to_the_violation(protocol: &Protocol, property: &Property<Protocol>, path: Path<World, Action>) -> Vec<Action> {
    let sound = |(world, _): &(World, Option<Action>)| (property.condition)(protocol, world);
    path.into_vec().into_iter().take_while(sound).filter_map(|(_, action)| action).collect()
}

/// The actions, and the ledger after each. Workers may swap places where that makes no difference.
fn trace(protocol: &Protocol, actions: &[Action]) -> String {
    let mut world = protocol.beginning();
    let lines = actions.iter().map(|action| {
        world = protocol.after(&world, *action);
        format!("  {action:?}\n    -> {:?}\n", world.ledger)
    });
    lines.collect()
}
