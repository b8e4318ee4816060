//! `SweepFunction`: every five minutes, sends the messages of overdue attempts again.
//!
//! This is the safety net for every wait: for an execution that was aborted by hand, a message that was purged, a
//! worker that died after it wrote to the ledger and before it sent the message. An extra message is harmless: the
//! ledger shows that it is stale.

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

/// How long after its due time an attempt counts as overdue; longer than any queue usually takes.
pub const OVERDUE_AFTER: Duration = Duration::from_secs(10 * 60);

/// The interval of the template's schedule.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// How far a sweep looks back: two intervals, in case the previous sweep was late or failed.
const LOOK_BACK: Duration = Duration::from_secs(2 * SWEEP_INTERVAL.as_secs());

/// The time reserved for sending what was found. When less is left, a sweep reads no further page.
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

/// The function's state, shared by all invocations of a sandbox.
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

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Swept {
    /// How many overdue deliveries had their message sent again.
    pub overdue: usize,
    /// How many entries of the index could not be read and were skipped.
    pub unreadable: usize,
}

/// Sends the messages of overdue attempts again. A fault in one shard does not affect the others.
///
/// # Errors
/// [`Fault`] when DynamoDB or SQS failed for a shard. The next sweep finds what this one missed.
pub async fn handle<T>(sweep: &Sweep, event: LambdaEvent<T>) -> Result<Swept, Fault> {
    let deadline = Deadline(Timestamp::try_from(event.context.deadline()).unwrap_or(Timestamp::MAX));
    let before = Timestamp::now().saturating_sub(OVERDUE_AFTER).unwrap_or(Timestamp::MIN);
    let shards = (0..DUE_SHARDS).map(async |shard| {
        let mut swept = Swept { overdue: 0, unreadable: 0 };
        let result = sweep.sweep_shard(shard, before, deadline, &mut swept).await;
        log::unreadable_overdue(shard, swept.unreadable);
        if let Err(fault) = &result {
            log::sweep_failed(shard, fault);
        }
        (swept, result)
    });
    let (swept, results): (Vec<_>, Vec<_>) = join_all(shards).await.into_iter().unzip();
    let overdue = swept.iter().map(|swept| swept.overdue).sum();
    log::swept(overdue);
    // Only now, so that every shard was swept; the invocation then counts as failed.
    results.into_iter().collect::<Result<(), Fault>>()?;
    Ok(Swept { overdue, unreadable: swept.iter().map(|swept| swept.unreadable).sum() })
}

impl Sweep {
    /// Sweeps one shard. Counts in `swept`, so that what was done before a fault is counted too.
    async fn sweep_shard(
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
            let is_resent = |overdue: &&Overdue| should_resend(now.duration_since(overdue.due_at).unsigned_abs());
            let messages: Vec<_> = page.deliveries.iter().filter(is_resent).map(message).collect();
            // `retry` moves those of slow endpoints to the slow lane.
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

/// Whether a sweep sends a message again that has been overdue for this long: if it has passed ten, twenty, forty, …
/// minutes within the last two intervals. So the message is sent for each of these even if one sweep fails, and twice
/// if none does. What has been overdue for long is mostly waiting in a full queue, and another copy every five minutes
/// would only make that worse.
fn should_resend(overdue: Duration) -> bool {
    let steps = |at: Duration| (at.as_secs() / OVERDUE_AFTER.as_secs()).checked_ilog2();
    steps(overdue) > steps(overdue.saturating_sub(LOOK_BACK))
}

fn message(overdue: &Overdue) -> RetryMessage {
    let Overdue { organization_id, integration_id, delivery_id, attempt, due_at: _ } = *overdue;
    RetryMessage { organization_id, integration_id, delivery_id, attempt }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After which of these minutes a sweep sends a message again, whatever its offset within the five minutes that
    /// follow.
    fn resent_after(minutes: impl Iterator<Item = u64>) -> Vec<u64> {
        let is_resent = |minute: &u64| {
            let at = |second| should_resend(Duration::from_secs(minute * 60 + second));
            assert_eq!(at(0), at(299), "{minute}");
            at(0)
        };
        minutes.filter(is_resent).collect()
    }

    #[test]
    fn what_stays_overdue_is_sent_again_less_and_less_often() {
        assert_eq!(resent_after((0..400).step_by(5)), [10, 15, 20, 25, 40, 45, 80, 85, 160, 165, 320, 325]);
    }

    #[test]
    fn the_next_sweep_makes_up_for_one_that_failed_or_was_late() {
        for every_other in [0, 5] {
            let sent = resent_after((every_other..400).step_by(10));
            assert_eq!(sent.len(), 6, "{sent:?}");
        }
    }
}
