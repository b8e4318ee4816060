//! `SweepFunction`: every five minutes, what is overdue is sent again.
//!
//! The net under every wait: an execution that was aborted by hand, a message that was purged, a sender that died
//! between the ledger and the queue. A message too many is harmless, the ledger makes it a stale copy.

use std::time::Duration;

use aws::dynamodb::deliveries_table::{DeliveriesTable, Overdue};
use aws::environment::{Environment, InvalidSetting};
use aws::fault::Fault;
use aws::log;
use aws::sqs::queues::RetryMessages;
use aws_config::SdkConfig;
use domain::deadline::Deadline;
use domain::delivery::DUE_SHARDS;
use domain::delivery::retry_message::RetryMessage;
use futures_util::future::join_all;
use jiff::Timestamp;
use lambda_runtime::LambdaEvent;
use serde::Serialize;

/// How long after its due time an attempt counts as overdue: longer than any queue usually takes.
pub const OVERDUE_AFTER: Duration = Duration::from_secs(10 * 60);

/// How often the template's schedule sweeps.
pub const SWEEPS_EVERY: Duration = Duration::from_secs(5 * 60);

/// How far a sweep looks back: over the one before it too, which may have been late or have failed.
const LOOKS_BACK: Duration = Duration::from_secs(2 * SWEEPS_EVERY.as_secs());

/// How much of the invocation's time is left to send what was found, when no more is looked for.
const TIME_TO_SEND: Duration = Duration::from_secs(15);

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    deliveries_table: String,
    retry_queue_url: String,
}

impl Settings {
    /// # Errors
    /// [`InvalidSetting`] for the first variable that is absent.
    pub fn read(environment: &Environment<'_>) -> Result<Self, InvalidSetting> {
        Ok(Self {
            deliveries_table: environment.text("DELIVERIES_TABLE")?,
            retry_queue_url: environment.text("RETRY_QUEUE_URL")?,
        })
    }
}

/// What the function works with, for as long as it lives.
#[derive(Debug)]
pub struct Sweep {
    deliveries: DeliveriesTable,
    retry_queue: RetryMessages,
}

impl Sweep {
    pub fn new(settings: Settings, aws: &SdkConfig) -> Self {
        let sqs = aws_sdk_sqs::Client::new(aws);
        Self {
            deliveries: DeliveriesTable::new(aws_sdk_dynamodb::Client::new(aws), settings.deliveries_table),
            retry_queue: RetryMessages::new(sqs, settings.retry_queue_url),
        }
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Swept {
    /// How many deliveries were overdue and had their message sent again.
    pub overdue: usize,
    /// How many entries of the index could not be read, and were left out.
    pub unreadable: usize,
}

/// Sends what is overdue again. Each shard answers for itself: a fault of one leaves the others alone.
///
/// # Errors
/// [`Fault`] when DynamoDB or SQS failed for a shard; the next sweep finds what this one left.
pub async fn handle<T>(sweep: &Sweep, event: LambdaEvent<T>) -> Result<Swept, Fault> {
    let deadline = Deadline(Timestamp::try_from(event.context.deadline()).unwrap_or(Timestamp::MAX));
    let before = Timestamp::now().saturating_sub(OVERDUE_AFTER).unwrap_or(Timestamp::MIN);
    let shards = (0..DUE_SHARDS).map(async |shard| {
        let mut swept = Swept { overdue: 0, unreadable: 0 };
        let ended = sweep.shard(shard, before, deadline, &mut swept).await;
        log::unreadable_overdue(shard, swept.unreadable);
        if let Err(fault) = &ended {
            log::sweep_failed(shard, fault);
        }
        (swept, ended)
    });
    let (swept, ended): (Vec<_>, Vec<_>) = join_all(shards).await.into_iter().unzip();
    let overdue = swept.iter().map(|swept| swept.overdue).sum();
    log::swept(overdue);
    // After all of them, so that the invocation counts as failed.
    ended.into_iter().collect::<Result<(), Fault>>()?;
    Ok(Swept { overdue, unreadable: swept.iter().map(|swept| swept.unreadable).sum() })
}

impl Sweep {
    /// Sweeps one shard, and counts on the way: what was done before a fault was done.
    async fn shard(
        &self,
        due_shard: u8,
        before: Timestamp,
        deadline: Deadline,
        swept: &mut Swept,
    ) -> Result<(), Fault> {
        let mut next = None;
        while deadline.allows(TIME_TO_SEND, Timestamp::now()) {
            let page = self.deliveries.overdue(due_shard, before, next).await?;
            swept.unreadable += page.unreadable;
            let now = Timestamp::now();
            let sent_again = |overdue: &&Overdue| is_sent_again(now.duration_since(overdue.due_at).unsigned_abs());
            let messages: Vec<_> = page.deliveries.iter().filter(sent_again).map(message).collect();
            // Where an endpoint that takes long is passed on to the slow lane.
            self.retry_queue.send_all(&messages).await?;
            swept.overdue += messages.len();
            if page.next.is_none() {
                break;
            }
            next = page.next;
        }
        Ok(())
    }
}

/// Whether a sweep sends a message again that has been overdue for so long: when ten minutes, twenty, forty or so on went
/// by since the sweep before the last one. So each of these is acted upon even if a sweep fails, and twice if none does.
/// What is overdue for long mostly waits behind others in a lane that is full, and another copy every five minutes would
/// only make that worse.
fn is_sent_again(overdue: Duration) -> bool {
    let steps = |at: Duration| (at.as_secs() / OVERDUE_AFTER.as_secs()).checked_ilog2();
    steps(overdue) > steps(overdue.saturating_sub(LOOKS_BACK))
}

fn message(overdue: &Overdue) -> RetryMessage {
    let Overdue { organization_id, integration_id, delivery_id, attempt, due_at: _ } = *overdue;
    RetryMessage { organization_id, integration_id, delivery_id, attempt }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The five minutes after which a sweep sends it again, whatever its offset in them.
    fn sent_again(minutes: impl Iterator<Item = u64>) -> Vec<u64> {
        let is_sent_again = |minute: &u64| {
            let at = |second| is_sent_again(Duration::from_secs(minute * 60 + second));
            assert_eq!(at(0), at(299), "{minute}");
            at(0)
        };
        minutes.filter(is_sent_again).collect()
    }

    #[test]
    fn what_stays_overdue_is_sent_again_ever_more_rarely() {
        assert_eq!(sent_again((0..400).step_by(5)), [10, 15, 20, 25, 40, 45, 80, 85, 160, 165, 320, 325]);
    }

    #[test]
    fn a_sweep_that_failed_or_came_late_is_made_up_for() {
        for every_other in [0, 5] {
            let sent = sent_again((every_other..400).step_by(10));
            assert_eq!(sent.len(), 6, "{sent:?}");
        }
    }
}
