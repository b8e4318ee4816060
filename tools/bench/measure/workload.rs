//! Alerts that go through the functions until nothing is left to do, with everything counted that this takes.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, bail};
use support::function::Function;

use crate::alerts::FULL_BATCH;
use crate::aws::{Destination, Queue, Sent, Tally};
use crate::cost::{Invocation, Usage};
use crate::endpoint::{Behavior, Received};
use crate::ensure_eq;
use crate::testbed::{Subscription, Testbed, batch_for_retry, process_batch};
use crate::worker::{Answer, Worker};

/// A number of alerts, and what becomes of them.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    pub batches: usize,
    /// Alerts of a batch.
    pub messages: usize,
    /// The least that an alert has, in bytes. Zero is the sample's size.
    pub bytes: usize,
    /// Integrations that get each alert, and others of the organization that do not.
    pub matching: usize,
    pub unrelated: usize,
    pub behavior: Behavior,
    /// How many requests each delivery makes.
    pub attempts: u32,
}

impl Workload {
    /// Full batches of the sample alert to one integration that accepts them at once.
    pub const PLAIN: Self = Self {
        batches: 20,
        messages: FULL_BATCH,
        bytes: 0,
        matching: 1,
        unrelated: 0,
        behavior: Behavior::ACCEPTS,
        attempts: 1,
    };

    pub fn deliveries(&self) -> usize {
        self.batches * self.messages * self.matching
    }
}

/// Both functions that deliver.
pub struct Workers {
    pub deliver: Worker,
    pub retry: Worker,
}

impl Workers {
    /// # Errors
    /// When one does not start.
    pub async fn start(testbed: &Testbed) -> Result<Self> {
        Ok(Self {
            deliver: Worker::start(&testbed.function(Function::Deliver)?).await?,
            retry: Worker::start(&testbed.function(Function::Retry)?).await?,
        })
    }
}

/// Sends a workload's alerts through `deliver`, and all messages that come of it through `retry`, in batches as full as
/// possible. Nothing waits until it is due, which the ledger does not look at.
///
/// # Errors
/// When a function fails, a delivery makes another number of requests, or a signature is wrong.
pub async fn run_workload(testbed: &mut Testbed, workers: &Workers, load: &Workload) -> Result<Usage> {
    let matching = std::iter::repeat_n(Subscription::Matching, load.matching);
    testbed.set_integrations(matching.chain(std::iter::repeat_n(Subscription::Unrelated, load.unrelated)));
    // What the first request to an endpoint teaches about it is written once, not for every delivery.
    testbed.endpoint.set_behavior(Behavior { delay: Duration::ZERO, ..load.behavior });
    let (event, _) = testbed.batch(load.messages, load.bytes);
    process_batch(&workers.deliver, event).await?;
    start_counting(testbed, workers).await?;

    testbed.endpoint.set_behavior(load.behavior);

    let batches: Vec<_> = (0..load.batches).map(|_| testbed.batch(load.messages, load.bytes)).collect();
    let mut account = Account::default();
    for (event, payload) in batches {
        let answer = process_batch(&workers.deliver, event).await?;
        account.invoked(testbed, &answer, load.messages, payload)?;
    }
    while let Some(batch) = account.next_batch() {
        let event = batch_for_retry(&batch);
        let payload = batch.iter().map(|sent| sent.body.len() as u64).sum();
        let answer = process_batch(&workers.retry, event).await?;
        account.invoked(testbed, &answer, batch.len(), payload)?;
    }

    let requests: Vec<u32> = account.requests.values().copied().collect();
    ensure_eq("deliveries that arrived", &requests.len(), &load.deliveries())?;
    let wrong = requests.iter().filter(|&&requests| requests != load.attempts).count();
    ensure_eq("deliveries with a wrong number of requests", &wrong, &0)?;

    let deliver = workers.deliver.take_logged().await;
    let retry = workers.retry.take_logged().await;
    let mut usage = account.usage;
    usage.deliveries = load.deliveries() as u64;
    usage.requests = requests.iter().map(|&requests| u64::from(requests)).sum();
    usage.states_per_wait = testbed.states_per_wait();
    usage.log_lines = deliver.lines + retry.lines;
    usage.log_bytes = deliver.bytes + retry.bytes;
    usage.memory_mb = testbed.memory_mb(Function::Deliver);
    ensure_eq("memory of `retry`", &testbed.memory_mb(Function::Retry), &usage.memory_mb)?;
    Ok(usage)
}

/// Starts all counts at zero.
async fn start_counting(testbed: &Testbed, workers: &Workers) -> Result<()> {
    testbed.endpoint.take();
    testbed.aws.take_sent();
    testbed.aws.take_tally()?;
    workers.deliver.take_logged().await;
    workers.retry.take_logged().await;
    Ok(())
}

/// What invocations have used, and the messages that are left.
#[derive(Default)]
struct Account {
    usage: Usage,
    requests: HashMap<String, u32>,
    due: Vec<Sent>,
    first: Vec<Sent>,
}

impl Account {
    fn invoked(&mut self, testbed: &Testbed, answer: &Answer, messages: usize, payload: u64) -> Result<()> {
        let arrivals = testbed.endpoint.take();
        ensure_eq("requests with an invalid signature", &arrivals.invalid_signatures, &0)?;
        let made: u64 = arrivals.deliveries.values().map(|Received { requests, .. }| u64::from(*requests)).sum();
        for (delivery, received) in arrivals.deliveries {
            *self.requests.entry(delivery).or_default() += received.requests;
        }
        let calls: Tally = testbed.aws.take_tally()?;
        let count: u64 = calls.0.values().map(|calls| calls.count).sum();
        self.usage.calls.add(&calls);
        self.usage.request_bytes += arrivals.bytes;
        self.usage.invocations.push(Invocation {
            duration: answer.ended - answer.started,
            cpu: answer.cpu,
            messages: messages as u64,
            payload,
            // The deliveries of a batch are made concurrently, so one after the other are only the calls of one.
            calls_in_a_row: u32::try_from(count.div_ceil(made.max(messages as u64))).unwrap_or(u32::MAX),
        });
        for sent in testbed.aws.take_sent() {
            match sent.to {
                Destination::Queue(Queue::SlowLane) => self.first.push(sent),
                Destination::Queue(Queue::Retry) => self.due.push(sent),
                Destination::LongWait => {
                    self.usage.waits += 1;
                    self.due.push(sent);
                }
                Destination::Queue(Queue::DeadLetters) => {
                    bail!("a function sent a message to a dead-letter queue");
                }
            }
        }
        Ok(())
    }

    /// The next batch for `retry`: messages of one queue.
    fn next_batch(&mut self) -> Option<Vec<Sent>> {
        let queue = if self.first.is_empty() { &mut self.due } else { &mut self.first };
        let batch: Vec<_> = queue.drain(..queue.len().min(FULL_BATCH)).collect();
        (!batch.is_empty()).then_some(batch)
    }
}
