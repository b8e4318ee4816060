//! A queue and the sandboxes of the function that reads it, as Lambda's event source mapping connects them: a free
//! sandbox gets what is due, up to a full batch, at once. The one that was used last is used again, since it is the
//! warmest.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use support::function::Function;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::alerts::{FULL_BATCH, batch};
use crate::testbed::{Testbed, process_batch};
use crate::worker::Worker;

/// The messages of a queue that nobody has received yet, by when they are due and in which order they were sent.
#[derive(Default)]
struct Messages {
    waiting: BTreeMap<(Instant, u64), String>,
    sent: u64,
}

impl Messages {
    fn add(&mut self, body: String, due: Instant) {
        self.sent += 1;
        self.waiting.insert((due, self.sent), body);
    }

    /// Takes what is due, up to a full batch.
    fn take_due(&mut self, now: Instant) -> Vec<String> {
        let mut bodies = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            if first.key().0 > now || bodies.len() == FULL_BATCH {
                break;
            }
            bodies.push(first.remove());
        }
        bodies
    }

    /// When the next one is due.
    fn next_due(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }
}

/// An event source. Its sandboxes end when it is dropped.
pub struct EventSource {
    /// The queue's logical id.
    queue: &'static str,
    messages: RefCell<Messages>,
    changed: Notify,
    sandboxes: Vec<Worker>,
    account: Arc<Semaphore>,
    /// When each invocation began that has ended, and how long it ran.
    ended: RefCell<Vec<(Instant, Duration)>>,
}

impl EventSource {
    /// Starts so many sandboxes of a function.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(testbed: &Testbed, queue: &'static str, function: Function, sandboxes: usize) -> Result<Self> {
        let program = testbed.function(function)?;
        let mut started = Vec::with_capacity(sandboxes);
        for _ in 0..sandboxes {
            started.push(Worker::start(&program).await?);
        }
        Ok(Self {
            queue,
            messages: RefCell::default(),
            changed: Notify::new(),
            sandboxes: started,
            account: Arc::clone(&testbed.account),
            ended: RefCell::default(),
        })
    }

    /// Sends messages to the queue, which holds them back that long.
    pub fn send(&self, bodies: impl IntoIterator<Item = String>, delay: Duration) {
        let due = Instant::now() + delay;
        let mut messages = self.messages.borrow_mut();
        bodies.into_iter().for_each(|body| messages.add(body, due));
        self.changed.notify_one();
    }

    /// Hands messages to the sandboxes until it is dropped.
    ///
    /// # Errors
    /// When an invocation fails, or gives a message back.
    pub async fn run(&self) -> Result<Infallible> {
        let mut free: Vec<&Worker> = self.sandboxes.iter().collect();
        let mut invocations = FuturesUnordered::new();
        loop {
            tokio::select! {
                bodies = self.receive(), if !free.is_empty() => {
                    invocations.extend(free.pop().map(|sandbox| self.invoke(sandbox, bodies)));
                }
                Some(ended) = invocations.next() => free.push(ended?),
            }
        }
    }

    async fn invoke<'a>(&self, sandbox: &'a Worker, bodies: Vec<String>) -> Result<&'a Worker> {
        // Lambda tries again as long as the account has no concurrency left.
        let _running = self.account.acquire().await?;
        let answer = process_batch(sandbox, batch(self.queue, &bodies)).await?;
        self.ended.borrow_mut().push((answer.started.into(), answer.ended - answer.started));
        Ok(sandbox)
    }

    /// How long the invocations ran that began since then and have ended.
    pub fn run_time_since(&self, then: Instant) -> Duration {
        self.ended.borrow().iter().filter(|(began, _)| *began >= then).map(|(_, ran)| *ran).sum()
    }

    /// Waits for the next batch. Nothing is taken by one that is dropped before.
    async fn receive(&self) -> Vec<String> {
        loop {
            let bodies = self.messages.borrow_mut().take_due(Instant::now());
            if !bodies.is_empty() {
                return bodies;
            }
            let next = self.messages.borrow().next_due();
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_in_its_order_and_in_batches() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut messages = Messages::default();
        messages.add("late".to_owned(), now + second);
        (0..12).for_each(|number| messages.add(number.to_string(), now));
        let numbers = |numbers: std::ops::Range<usize>| numbers.map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(messages.take_due(now), numbers(0..10));
        assert_eq!(messages.take_due(now), numbers(10..12));
        assert_eq!((messages.take_due(now), messages.next_due()), (Vec::new(), Some(now + second)));
        assert_eq!((messages.take_due(now + second), messages.next_due()), (vec!["late".to_owned()], None));
    }
}
