//! A message that a function has received.

use aws_lambda_events::event::sqs::SqsMessage;
use jiff::Timestamp;

/// A message of a batch.
#[derive(Debug)]
pub struct Received {
    /// SQS's id of the message, for the log and the batch response.
    pub id: String,
    pub body: String,
    /// The message group, which is the tenant in an SQS fair queue.
    pub group: Option<String>,
    /// The ARN of the queue that it came from.
    pub queue_arn: Option<String>,
    /// How often the message has been received, including this time.
    pub receive_count: u32,
    /// When it was first received.
    pub first_received_at: Option<Timestamp>,
    /// Identifies this receive when the message's visibility is changed.
    pub receipt_handle: String,
}

impl From<SqsMessage> for Received {
    fn from(message: SqsMessage) -> Self {
        let attribute = |name| message.attributes.get(name);
        let count = attribute("ApproximateReceiveCount").and_then(|count| count.parse().ok());
        let first = attribute("ApproximateFirstReceiveTimestamp").and_then(|time| time.parse().ok());
        Self {
            group: attribute("MessageGroupId").cloned(),
            id: message.message_id.unwrap_or_default(),
            body: message.body.unwrap_or_default(),
            queue_arn: message.event_source_arn,
            // Without a count, assume that it was received before, which is the safe assumption.
            receive_count: count.unwrap_or(2),
            first_received_at: first.and_then(|time| Timestamp::from_millisecond(time).ok()),
            receipt_handle: message.receipt_handle.unwrap_or_default(),
        }
    }
}
