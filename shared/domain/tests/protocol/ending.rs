//! Whether every delivery ends.
//!
//! A path that never ends exists trivially: workers that crash for ever, leases that run out for ever. What is checked
//! instead is that *from every state that can be reached, the end can be reached by what is bound to happen*: workers go
//! on, queues hand out what they hold, time passes, executions send, and the sweep looks, but only for what was taken
//! away by hand. Without any further mishap, luck or an endpoint that accepts. Since the states are finite, whatever
//! chooses fairly among the possible steps then comes to the end.
//!
//! stateright's `eventually` does not look at loops, so the states are gathered here once more, with their fingerprints as
//! there, and searched backwards from those in which the delivery is over.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use domain::delivery::ledger::State;

use crate::properties::is_over;
use crate::protocol::{Action, Leaves, Protocol};
use crate::values::*;
use crate::world::World;

/// Every state that can be reached, with how.
pub(crate) struct Reached {
    /// By fingerprint. That two of them have the same is one chance in a million.
    numbers: HashMap<u64, u32>,
    /// Those in which the delivery is over.
    over: Vec<u32>,
    /// The state before, and what happened then; by state. The first one has neither.
    origins: Vec<Option<(u32, Action)>>,
    /// Between which states something is bound to happen: from the later to the earlier.
    bound: Vec<(u32, u32)>,
}

impl Reached {
    pub(crate) fn by(protocol: &Protocol) -> Self {
        let first = protocol.beginning();
        let numbers = HashMap::from([(fingerprint(&first), 0)]);
        let mut reached = Self { numbers, over: Vec::new(), origins: vec![None], bound: Vec::new() };
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
                    if is_bound_to_happen(&world, action) {
                        reached.bound.push((to, at));
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

    /// What happened up to a state, near the beginning, from which the end cannot be reached; `None` if there is no such
    /// state.
    pub(crate) fn way_to_no_end(mut self) -> Option<Vec<Action>> {
        let mut ends = vec![false; self.states()];
        let mut found = std::mem::take(&mut self.over);
        self.bound.sort_unstable();
        while let Some(at) = found.pop() {
            if std::mem::replace(&mut ends[at as usize], true) {
                continue;
            }
            let first = self.bound.partition_point(|(to, _)| *to < at);
            let before = self.bound[first..].iter().take_while(|(to, _)| *to == at).map(|(_, from)| *from);
            found.extend(before.filter(|from| !ends[*from as usize]));
        }
        let endless = ends.iter().position(|ends| !ends)?;
        Some(self.way_to(endless))
    }

    fn way_to(&self, state: usize) -> Vec<Action> {
        let mut way: Vec<Action> =
            std::iter::successors(self.origins[state], |(before, _)| self.origins[*before as usize])
                .map(|(_, action)| action)
                .collect();
        way.reverse();
        way
    }
}

fn fingerprint(world: &World) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(world)
}

/// Whether that will happen of itself, if it stays possible for long enough.
fn is_bound_to_happen(world: &World, action: Action) -> bool {
    match action {
        Action::Receive { intent, leaves, own_calls, .. } => {
            intent != CANCEL && leaves == Leaves::Nothing && own_calls == OwnCalls::Succeed
        }
        Action::Obey { own_calls, .. } => own_calls == OwnCalls::Succeed,
        Action::Send { answer, .. } => answer == Answer::Rejected,
        Action::TimePasses | Action::ExecutionSends { .. } | Action::RedeliverySends { .. } => true,
        // Those whom it could happen to alive are in time, if nothing goes wrong.
        Action::LeaseRunsOut => {
            matches!(world.state(), Some(State::Sending { claim_id, .. }) if claim_id == OF_THE_DEAD)
        }
        Action::Sweep => world.bereft,
        Action::LoseAnswer { .. }
        | Action::Fail { .. }
        | Action::Throttle { .. }
        | Action::Crash { .. }
        | Action::Abort { .. }
        | Action::Redeliver
        | Action::RedeliverySenderDies { .. } => false,
    }
}
