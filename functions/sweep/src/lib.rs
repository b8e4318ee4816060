//! `SweepFunction`: every five minutes, what is overdue is sent again.
//!
//! The net under every wait: an execution that was aborted by hand, a message that was purged, a sender that died
//! between the ledger and the queue. A message too many is harmless, the ledger makes it a stale copy.

use std::time::Duration;

use aws_config::SdkConfig;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use lambda_runtime::LambdaEvent;
use serde::Serialize;
use shared::delivering::Deadline;
use shared::delivery::DUE_SHARDS;
use shared::io::deliveries_table::{DeliveriesTable, Overdue};
use shared::io::environment::{BadSetting, Environment};
use shared::io::fault::Fault;
use shared::io::log;
use shared::io::queues::RetryMessages;
use shared::retry_message::RetryMessage;

/// How long after its due time an attempt counts as overdue: longer than any queue usually takes.
pub const OVERDUE_AFTER: Duration = Duration::from_secs(10 * 60);

/// How often the template's schedule sweeps.
const SWEEPS_EVERY: Duration = Duration::from_secs(5 * 60);

/// How much of the invocation's time is left to send what was found, when no more is looked for.
const TIME_TO_SEND: Duration = Duration::from_secs(15);

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    deliveries_table: String,
    retry_queue_url: String,
    slow_lane_queue_url: String,
}

impl Settings {
    /// # Errors
    /// [`BadSetting`] for the first variable that is absent.
    pub fn read(environment: &Environment<'_>) -> Result<Self, BadSetting> {
        Ok(Self {
            deliveries_table: environment.text("DELIVERIES_TABLE")?,
            retry_queue_url: environment.text("RETRY_QUEUE_URL")?,
            slow_lane_queue_url: environment.text("SLOW_LANE_QUEUE_URL")?,
        })
    }
}

/// What the function works with, for as long as it lives.
#[derive(Debug)]
pub struct Sweep {
    deliveries: DeliveriesTable,
    retry_queue: RetryMessages,
    slow_lane: RetryMessages,
}

impl Sweep {
    pub fn new(settings: Settings, aws: &SdkConfig) -> Self {
        let sqs = aws_sdk_sqs::Client::new(aws);
        Self {
            deliveries: DeliveriesTable::new(aws_sdk_dynamodb::Client::new(aws), settings.deliveries_table),
            retry_queue: RetryMessages::new(sqs.clone(), settings.retry_queue_url),
            slow_lane: RetryMessages::new(sqs, settings.slow_lane_queue_url),
        }
    }
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Swept {
    /// How many deliveries were overdue and had their message sent again.
    pub overdue: usize,
}

/// Sends what is overdue again.
///
/// # Errors
/// [`Fault`] when DynamoDB or SQS fails; the next sweep finds what this one left.
pub async fn handle<T>(sweep: &Sweep, event: LambdaEvent<T>) -> Result<Swept, Fault> {
    let deadline = Deadline(Timestamp::try_from(event.context.deadline()).unwrap_or(Timestamp::MAX));
    let before = Timestamp::now().saturating_sub(OVERDUE_AFTER).unwrap_or(Timestamp::MIN);
    let shards = (0..DUE_SHARDS).map(|shard| sweep.shard(shard, before, deadline));
    let overdue = try_join_all(shards).await?.into_iter().sum();
    log::swept(overdue);
    Ok(Swept { overdue })
}

impl Sweep {
    async fn shard(&self, due_shard: u8, before: Timestamp, deadline: Deadline) -> Result<usize, Fault> {
        let (mut found, mut next) = (0, None);
        while deadline.leaves(TIME_TO_SEND, Timestamp::now()) {
            let page = self.deliveries.overdue(due_shard, before, next).await?;
            let now = Timestamp::now();
            let sent_again = |overdue: &Overdue| is_sent_again(now.duration_since(overdue.due_at).unsigned_abs());
            let wanted: Vec<_> = page.deliveries.into_iter().filter(sent_again).collect();
            found += wanted.len();
            let (first, later): (Vec<_>, Vec<_>) = wanted.iter().map(message).partition(|message| message.attempt == 1);
            self.slow_lane.send_all(&first).await?;
            self.retry_queue.send_all(&later).await?;
            if page.next.is_none() {
                break;
            }
            next = page.next;
        }
        Ok(found)
    }
}

/// Whether the sweep at that time sends a message again: ten minutes after it was due, then after twenty, forty and so on.
/// What is overdue for long mostly waits behind others in a lane that is full, and another copy every five minutes would
/// only make that worse.
fn is_sent_again(overdue: Duration) -> bool {
    (overdue.as_secs() / SWEEPS_EVERY.as_secs()).is_power_of_two()
}

fn message(overdue: &Overdue) -> RetryMessage {
    let Overdue { organization_id, integration_id, delivery_id, attempt, due_at: _ } = *overdue;
    RetryMessage { organization_id, integration_id, delivery_id, attempt }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_overdue_is_sent_again_ever_more_rarely() {
        let at_minute = |minute: u64| is_sent_again(Duration::from_secs(minute * 60 + 1));
        // Whatever its offset, exactly one sweep falls into each of these five minutes.
        let minutes: Vec<_> = (10..=90).step_by(5).filter(|&minute| at_minute(minute)).collect();
        assert_eq!(minutes, [10, 20, 40, 80]);
    }
}
