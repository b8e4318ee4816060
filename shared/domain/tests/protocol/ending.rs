//! Whether every delivery ends.
//!
//! Some paths trivially never end: workers could crash forever, leases run out forever. The check is therefore that
//! *from every reachable state, the end can be reached by steps that are certain to happen*: workers continue, queues
//! deliver their messages, time passes, executions send, and the sweep runs, but only for messages that were removed by
//! hand. That excludes further failures, luck, and an endpoint that accepts. Since there are finitely many states, any
//! fair choice among the possible steps then reaches the end.
//!
//! stateright's `eventually` does not detect loops, so the states are collected here again, by fingerprint as there,
//! and searched backwards from those in which the delivery is over.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use domain::delivery::ledger::State;

use crate::properties::is_over;
use crate::protocol::{Action, Leaves, Protocol};
use crate::values::*;
use crate::world::World;

/// Every reachable state, and how it is reached.
pub(crate) struct Reached {
    /// The states' numbers by fingerprint. The chance that any two states share one is one in a million.
    numbers: HashMap<u64, u32>,
    /// The states in which the delivery is over.
    over: Vec<u32>,
    /// For each state the state before and the action that led from it; none for the first.
    origins: Vec<Option<(u32, Action)>>,
    /// The steps that are certain to happen, as pairs of the later state and the earlier one.
    certain: Vec<(u32, u32)>,
}

impl Reached {
    pub(crate) fn by(protocol: &Protocol) -> Self {
        let first = protocol.beginning();
        let numbers = HashMap::from([(fingerprint(&first), 0)]);
        let mut reached = Self { numbers, over: Vec::new(), origins: vec![None], certain: Vec::new() };
        let (mut frontier, mut actions) = (vec![(0, first)], Vec::new());
        while !frontier.is_empty() {
            let mut beyond = Vec::new();
            for (at, world) in frontier {
                protocol.possible(&world, &mut actions);
                for action in actions.drain(..) {
                    let after = protocol.after(&world, action);
                    let (to, is_new) = reached.enter(&after, (at, action));
                    if is_new {
                        beyond.push((to, after));
                    }
                    if is_certain(&world, action) {
                        reached.certain.push((to, at));
                    }
                }
            }
            frontier = beyond;
        }
        reached
    }

    fn enter(&mut self, world: &World, origin: (u32, Action)) -> (u32, bool) {
        match self.numbers.entry(fingerprint(world)) {
            Entry::Occupied(known) => (*known.get(), false),
            Entry::Vacant(unknown) => {
                let number = *unknown.insert(self.origins.len() as u32);
                self.origins.push(Some(origin));
                self.over.extend(is_over(world).then_some(number));
                (number, true)
            }
        }
    }

    pub(crate) fn states(&self) -> usize {
        self.origins.len()
    }

    /// The actions that lead to a state, near the beginning, from which the end cannot be reached; `None` if there is
    /// no such state.
    pub(crate) fn path_to_a_state_without_end(mut self) -> Option<Vec<Action>> {
        let mut ends = vec![false; self.states()];
        let mut found = std::mem::take(&mut self.over);
        self.certain.sort_unstable();
        while let Some(at) = found.pop() {
            if std::mem::replace(&mut ends[at as usize], true) {
                continue;
            }
            let first = self.certain.partition_point(|(to, _)| *to < at);
            let before = self.certain[first..].iter().take_while(|(to, _)| *to == at).map(|(_, from)| *from);
            found.extend(before.filter(|from| !ends[*from as usize]));
        }
        let endless = ends.iter().position(|ends| !ends)?;
        Some(self.path_to(endless))
    }

    fn path_to(&self, state: usize) -> Vec<Action> {
        let mut path: Vec<Action> =
            std::iter::successors(self.origins[state], |(before, _)| self.origins[*before as usize])
                .map(|(_, action)| action)
                .collect();
        path.reverse();
        path
    }
}

fn fingerprint(world: &World) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(world)
}

/// Whether an action happens by itself if it stays possible for long enough.
fn is_certain(world: &World, action: Action) -> bool {
    match action {
        Action::Receive { intent, leaves, own_calls, .. } => {
            intent != CANCEL && leaves == Leaves::Nothing && own_calls == OwnCalls::Succeed
        }
        Action::Execute { own_calls, .. } => own_calls == OwnCalls::Succeed,
        Action::Send { answer, .. } => answer == Answer::Rejected,
        Action::TimePasses | Action::ExecutionSends { .. } | Action::RedeliverySends { .. } => true,
        // Workers that are alive finish before their lease runs out, if nothing fails.
        Action::LeaseRunsOut => {
            matches!(world.state(), Some(State::Sending { claim_id, .. }) if claim_id == OF_THE_DEAD)
        }
        Action::Sweep => world.orphaned,
        Action::LoseAnswer { .. }
        | Action::Fail { .. }
        | Action::Throttle { .. }
        | Action::Crash { .. }
        | Action::Abort { .. }
        | Action::Redeliver
        | Action::RedeliverySenderDies { .. } => false,
    }
}
