//! A message that a function was handed, as its handler needs it.

use aws_lambda_events::event::sqs::SqsMessage;
use jiff::Timestamp;

/// A message of a batch.
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
    /// When it was received for the first time.
    pub first_received_at: Option<Timestamp>,
    /// What this receive can be changed by.
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
            // Not knowing, take the careful path.
            receive_count: count.unwrap_or(2),
            first_received_at: first.and_then(|time| Timestamp::from_millisecond(time).ok()),
            receipt_handle: message.receipt_handle.unwrap_or_default(),
        }
    }
}
