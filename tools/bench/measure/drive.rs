//! Driving alerts through the functions until nothing is left to do, and keeping account of all that it takes.

use std::collections::HashMap;
use std::time::Duration;

use support::function::Function;

use crate::alerts::FULL_BATCH;
use crate::aws::{Queue, Sent, Tally, Way};
use crate::cost::{Invocation, Usage};
use crate::endpoint::{Manner, Seen};
use crate::ground::{Ground, Taste, handled, retry_batch};
use crate::trouble::{Trouble, must_be};
use crate::worker::{Answer, Worker};

/// What is driven through.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub batches: usize,
    /// Alerts of a batch.
    pub messages: usize,
    /// The least that an alert has, in bytes. Zero is the sample's size.
    pub bytes: usize,
    /// Integrations that get each alert, and others of the organization that do not.
    pub matching: usize,
    pub declining: usize,
    pub manner: Manner,
    /// How many requests each delivery makes.
    pub attempts: u32,
}

impl Load {
    /// Full batches of the sample alert to one integration that accepts them at once.
    pub const PLAIN: Self = Self {
        batches: 20,
        messages: FULL_BATCH,
        bytes: 0,
        matching: 1,
        declining: 0,
        manner: Manner::AT_ONCE,
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
    pub async fn start(ground: &Ground) -> Result<Self, Trouble> {
        Ok(Self {
            deliver: Worker::start(&ground.function(Function::Deliver)?).await?,
            retry: Worker::start(&ground.function(Function::Retry)?).await?,
        })
    }
}

/// Drives a load through `deliver`, and all that it sends on through `retry`, in batches as full as they come. Nothing
/// waits for its time: the ledger does not ask for that.
///
/// # Errors
/// When a function fails, a delivery does not arrive as often as it must, or its signature is wrong.
pub async fn drive(ground: &mut Ground, workers: &Workers, load: &Load) -> Result<Usage, Trouble> {
    let matching = std::iter::repeat_n(Taste::Matches, load.matching);
    ground.integrations(matching.chain(std::iter::repeat_n(Taste::Declines, load.declining)));
    // What the first request to an endpoint teaches about it is written once, not for every delivery.
    ground.endpoint.behave(Manner { after: Duration::ZERO, ..load.manner });
    let (event, _) = ground.batch(load.messages, load.bytes);
    handled(&workers.deliver, event).await?;
    start_counting(ground, workers).await?;

    ground.endpoint.behave(load.manner);

    let batches: Vec<_> = (0..load.batches).map(|_| ground.batch(load.messages, load.bytes)).collect();
    let mut account = Account::default();
    for (event, payload) in batches {
        let answer = handled(&workers.deliver, event).await?;
        account.invoked(ground, &answer, load.messages, payload)?;
    }
    while let Some(batch) = account.next_batch() {
        let event = retry_batch(&batch);
        let payload = batch.iter().map(|sent| sent.body.len() as u64).sum();
        let answer = handled(&workers.retry, event).await?;
        account.invoked(ground, &answer, batch.len(), payload)?;
    }

    let requests: Vec<u32> = account.requests.values().copied().collect();
    must_be("deliveries that arrived", &requests.len(), &load.deliveries())?;
    let wrong = requests.iter().filter(|&&requests| requests != load.attempts).count();
    must_be("deliveries requested more or less often than they must be", &wrong, &0)?;

    let deliver = workers.deliver.take_logged().await;
    let retry = workers.retry.take_logged().await;
    let mut usage = account.usage;
    usage.deliveries = load.deliveries() as u64;
    usage.requests = requests.iter().map(|&requests| u64::from(requests)).sum();
    usage.states_per_wait = ground.states_per_wait();
    usage.log_lines = deliver.lines + retry.lines;
    usage.log_bytes = deliver.bytes + retry.bytes;
    usage.memory_mb = ground.memory_mb(Function::Deliver);
    must_be("memory of `retry`", &ground.memory_mb(Function::Retry), &usage.memory_mb)?;
    Ok(usage)
}

/// Forgets what was counted before.
async fn start_counting(ground: &Ground, workers: &Workers) -> Result<(), Trouble> {
    ground.endpoint.take();
    ground.aws.take_sent();
    ground.aws.take_tally().map_err(Trouble::UnknownCall)?;
    workers.deliver.take_logged().await;
    workers.retry.take_logged().await;
    Ok(())
}

/// What invocations have used, and what they have left to do.
#[derive(Default)]
struct Account {
    usage: Usage,
    requests: HashMap<String, u32>,
    due: Vec<Sent>,
    first: Vec<Sent>,
}

impl Account {
    fn invoked(&mut self, ground: &Ground, answer: &Answer, messages: usize, payload: u64) -> Result<(), Trouble> {
        let arrivals = ground.endpoint.take();
        must_be("requests that are not signed right", &arrivals.forged, &0)?;
        let made: u64 = arrivals.seen.values().map(|Seen { requests, .. }| u64::from(*requests)).sum();
        for (delivery, seen) in arrivals.seen {
            *self.requests.entry(delivery).or_default() += seen.requests;
        }
        let calls: Tally = ground.aws.take_tally().map_err(Trouble::UnknownCall)?;
        let count: u64 = calls.0.values().map(|calls| calls.count).sum();
        self.usage.calls.add(&calls);
        self.usage.request_bytes += arrivals.bytes;
        self.usage.invocations.push(Invocation {
            duration: answer.ended - answer.started,
            cpu: answer.cpu,
            messages: messages as u64,
            payload,
            // Deliveries of a batch go on side by side: each makes its share of the calls in a row.
            calls_in_a_row: u32::try_from(count.div_ceil(made.max(messages as u64))).unwrap_or(u32::MAX),
        });
        for sent in ground.aws.take_sent() {
            match sent.way {
                Way::Queue(Queue::SlowLane) => self.first.push(sent),
                Way::Queue(Queue::Retry) => self.due.push(sent),
                Way::Wait => {
                    self.usage.waits += 1;
                    self.due.push(sent);
                }
                Way::Queue(Queue::DeadLetters) => {
                    return Err(Trouble::Failed {
                        worker: "a function".to_owned(),
                        answer: "it buried a message".to_owned(),
                    });
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
