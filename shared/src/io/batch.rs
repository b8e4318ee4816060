//! Lifting a function of one message to a batch: every message is a task of its own, and answers for itself alone.

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use tokio::task::JoinSet;

use crate::io::fault::Fault;
use crate::io::log;

/// A message of a batch, as its handler needs it.
#[derive(Debug)]
pub struct Received {
    /// SQS's id of the message: names it in the log and in the batch's answer.
    pub id: String,
    pub body: String,
    /// The group that it was sent in: SQS's fair queues go by it.
    pub group: Option<String>,
    /// The queue that it came from.
    pub queue_arn: Option<String>,
    /// How often the message was received, this time included.
    pub receive_count: u32,
}

impl From<SqsMessage> for Received {
    fn from(message: SqsMessage) -> Self {
        let attribute = |name| message.attributes.get(name);
        let count = attribute("ApproximateReceiveCount").and_then(|count| count.parse().ok());
        Self {
            group: attribute("MessageGroupId").cloned(),
            id: message.message_id.unwrap_or_default(),
            body: message.body.unwrap_or_default(),
            queue_arn: message.event_source_arn,
            // Not knowing, take the careful path.
            receive_count: count.unwrap_or(2),
        }
    }
}

/// Handles every message of a batch, all at once. The answer names those that go back to their queue: whose handling
/// ended in a fault, or panicked.
pub async fn each_message<H, F>(event: SqsEvent, handle: H) -> SqsBatchResponse
where
    H: Fn(Received) -> F,
    F: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut names = std::collections::HashMap::new();
    for message in event.records {
        let message = Received::from(message);
        let id = message.id.clone();
        names.insert(tasks.spawn(handle(message)).id(), id);
    }
    let mut response = SqsBatchResponse::default();
    while let Some(ended) = tasks.join_next_with_id().await {
        let failed = match ended {
            Ok((_, Ok(()))) => continue,
            Ok((task, Err(fault))) => {
                let id = names.remove(&task).unwrap_or_default();
                log::given_back(&id, &fault);
                id
            }
            Err(panic) => {
                let id = names.remove(&panic.id()).unwrap_or_default();
                log::panicked(&id);
                id
            }
        };
        // The record's own id to the letter: SQS takes an unknown one for "all done".
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = failed;
        response.batch_item_failures.push(failure);
    }
    response
}

#[cfg(test)]
mod tests {
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

    #[tokio::test]
    async fn a_fault_or_a_panic_is_its_own_messages_failure() {
        let response = each_message(batch(&["good", "fault", "panic", "fine"]), |message| async move {
            match message.body.as_str() {
                "fault" => Err(Fault::Contended),
                "panic" => panic!("on purpose"),
                _ => Ok(()),
            }
        })
        .await;
        let mut failed: Vec<_> =
            response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
        failed.sort_unstable();
        assert_eq!(failed, ["fault", "panic"]);
    }

    #[tokio::test]
    async fn a_batch_without_failures_answers_with_an_empty_list() {
        let response = each_message(batch(&["a", "b"]), |_| async { Ok(()) }).await;
        assert_eq!(serde_json::to_string(&response).unwrap(), r#"{"batchItemFailures":[]}"#);
    }
}
