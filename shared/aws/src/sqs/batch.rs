//! Processes a batch of messages: each in a task of its own, so that one's failure or panic does not affect the others.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use domain::backoff::{Receives, Return, return_to_queue};
use domain::deadline::Deadline;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fault::Fault;
use crate::log;
use crate::sqs::queues::{DeadLetterQueue, SourceQueues};
use crate::sqs::received::Received;

/// A function's source queues, and the dead-letter queue for messages that no retry can help.
#[derive(Debug)]
pub struct Inbox {
    sources: SourceQueues,
    dead_letters: DeadLetterQueue,
}

/// The result of processing a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It may be deleted.
    Acknowledged,
    Returned,
}

impl Inbox {
    pub fn new(sources: SourceQueues, dead_letters: DeadLetterQueue) -> Self {
        Self { sources, dead_letters }
    }

    /// Sends a message to the dead-letter queue, with what is wrong with one of its fields, and logs that.
    ///
    /// # Errors
    /// As [`DeadLetterQueue::send`].
    pub async fn dead_letter(&self, message: &Received, field: &str, error: &str) -> Result<(), Fault> {
        self.dead_letters.send(message, Some(field), error).await?;
        log::dead_lettered(&message.id, Some(field), error);
        Ok(())
    }

    /// Processes all messages of a batch concurrently. The response names those that return to their queue because
    /// processing them ended in a fault or a panic. [`return_to_queue`] decides for how long each is hidden there,
    /// counted from the moment its own processing ended, however long the others take.
    pub async fn each_message<H, F>(
        self: &Arc<Self>,
        event: SqsEvent,
        deadline: Deadline,
        handle: H,
    ) -> SqsBatchResponse
    where
        H: Fn(Arc<Received>) -> F,
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        let mut messages = HashMap::new();
        for message in event.records {
            let message = Arc::new(Received::from(message));
            let handled = handle(Arc::clone(&message));
            let (inbox, received) = (Arc::clone(self), Arc::clone(&message));
            let task = tasks.spawn(async move {
                match handled.await {
                    Ok(()) => End::Acknowledged,
                    Err(fault) => inbox.return_message(&received, &fault, deadline).await,
                }
            });
            messages.insert(task.id(), message);
        }
        let mut response = SqsBatchResponse::default();
        while let Some(ended) = tasks.join_next_with_id().await {
            let (message, end) = match ended {
                Ok((task, end)) => (messages.remove(&task), end),
                Err(panic) => {
                    let message = messages.remove(&panic.id());
                    if let Some(message) = &message {
                        self.return_message(message, &Fault::Panicked, deadline).await;
                    }
                    (message, End::Returned)
                }
            };
            if let (Some(message), End::Returned) = (message, end) {
                // Exactly the record's own id: with an unknown one, the whole batch would count as processed.
                let mut failure = BatchItemFailure::default();
                failure.item_identifier.clone_from(&message.id);
                response.batch_item_failures.push(failure);
            }
        }
        response
    }

    /// Returns a message to its queue after a fault, or sends it to the dead-letter queue if it has been failing for
    /// too long.
    async fn return_message(&self, message: &Received, fault: &Fault, deadline: Deadline) -> End {
        let now = Timestamp::now();
        let receives = Receives { count: message.receive_count, first_at: message.first_received_at.unwrap_or(now) };
        let time = deadline.remaining_before_response(now);
        match return_to_queue(fault.cause(), receives, now) {
            Return::DeadLetter => {
                let error = format!("A failure of our own was not over within an hour: {fault}.");
                if let Ok(Ok(())) = timeout(time, self.dead_letters.send(message, None, &error)).await {
                    log::dead_lettered(&message.id, None, &error);
                    return End::Acknowledged;
                }
                log::returned(&message.id, fault, None);
            }
            Return::Hidden(hidden) => {
                // If this fails too, the message is hidden for the rest of its queue's visibility timeout.
                let is_hidden =
                    matches!(timeout(time, self.sources.set_visibility_timeout(message, hidden)).await, Ok(Ok(())));
                log::returned(&message.id, fault, is_hidden.then_some(hidden));
            }
        }
        End::Returned
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_sdk_sqs::config::{BehaviorVersion, Region};

    use super::*;

    fn batch(ids: &[&str]) -> SqsEvent {
        let records: Vec<_> = ids
            .iter()
            .map(|id| {
                serde_json::json!({
                    "messageId": id, "body": id, "eventSource": "aws:sqs", "awsRegion": "us-east-1",
                    "attributes": {"ApproximateReceiveCount": "1"}, "messageAttributes": {}
                })
            })
            .collect();
        serde_json::from_value(serde_json::json!({ "Records": records })).unwrap()
    }

    /// Its queues cannot be reached.
    fn inbox() -> Arc<Inbox> {
        let config = aws_sdk_sqs::Config::builder().behavior_version(BehaviorVersion::v2026_01_12());
        let config = config.region(Region::from_static("us-east-1"));
        let client = aws_sdk_sqs::Client::from_conf(config.build());
        let dead_letters = DeadLetterQueue::new(client.clone(), "nowhere".to_owned());
        Arc::new(Inbox::new(SourceQueues::new(client, vec!["nowhere".to_owned()]), dead_letters))
    }

    fn deadline() -> Deadline {
        Deadline(Timestamp::now() + Duration::from_secs(60))
    }

    #[tokio::test]
    async fn a_fault_or_a_panic_fails_only_its_own_message() {
        let messages = batch(&["good", "fault", "lasting", "panic", "fine"]);
        let inbox = inbox();
        let response = inbox.each_message(messages, deadline(), |message| async move {
            match message.body.as_str() {
                "fault" => Err(Fault::Contended),
                "lasting" => Err(Fault::PayloadMissing),
                "panic" => panic!("on purpose"),
                _ => Ok(()),
            }
        });
        let failures = response.await.batch_item_failures;
        let mut failed: Vec<_> = failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
        failed.sort_unstable();
        assert_eq!(failed, ["fault", "lasting", "panic"]);
    }

    #[tokio::test]
    async fn the_response_of_a_batch_without_failures_is_empty() {
        let response = inbox().each_message(batch(&["a", "b"]), deadline(), |_| async { Ok(()) }).await;
        assert_eq!(serde_json::to_string(&response).unwrap(), r#"{"batchItemFailures":[]}"#);
    }
}
