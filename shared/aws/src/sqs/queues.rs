//! Sending to the queues.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use domain::delivery::retry_message::RetryMessage;

use crate::fault::Fault;
use crate::sqs::received::Received;

/// The most messages that SQS takes in one batch.
pub const BATCH: usize = 10;

/// A queue of retry messages: due attempts, or the slow lane's first ones.
#[derive(Clone, Debug)]
pub struct RetryMessages {
    client: Client,
    url: String,
}

impl RetryMessages {
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Sends one message. `delay_seconds` is 0 to 900.
    ///
    /// # Errors
    /// [`Fault`] when SQS fails; whether the message was sent is then unknown.
    pub async fn send(&self, message: &RetryMessage, delay_seconds: i32) -> Result<(), Fault> {
        self.client
            .send_message()
            .queue_url(&self.url)
            .message_body(message.to_json())
            .message_group_id(group(message))
            .delay_seconds(delay_seconds)
            .send()
            .await
            .map(drop)
            .map_err(Fault::of("SendMessage"))
    }

    /// Sends messages without delay, in as many batches as needed.
    ///
    /// # Errors
    /// [`Fault`] when SQS fails or refuses one of them; which were sent is then unknown.
    pub async fn send_all(&self, messages: &[RetryMessage]) -> Result<(), Fault> {
        let now: Vec<_> = messages.iter().map(|&message| (message, 0)).collect();
        self.send_each(&now).await
    }

    /// Sends messages, each with its delay of 0 to 900 seconds, in as many batches as needed.
    ///
    /// # Errors
    /// [`Fault`] when SQS fails or refuses one of them; which were sent is then unknown.
    pub async fn send_each(&self, messages: &[(RetryMessage, i32)]) -> Result<(), Fault> {
        for batch in messages.chunks(BATCH) {
            let mut request = self.client.send_message_batch().queue_url(&self.url);
            for (index, (message, delay_seconds)) in batch.iter().enumerate() {
                let entry = SendMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .message_body(message.to_json())
                    .message_group_id(group(message))
                    .delay_seconds(*delay_seconds)
                    .build()
                    .expect("a batch entry has an id and a body");
                request = request.entries(entry);
            }
            let answer = request.send().await.map_err(Fault::of("SendMessageBatch"))?;
            if let Some(refused) = answer.failed.first() {
                return Err(Fault::Aws { operation: "SendMessageBatch", code: refused.code.clone() });
            }
        }
        Ok(())
    }
}

/// The tenant that SQS's fair queues take turns by, on every queue: an organization with fifty integrations is one.
fn group(message: &RetryMessage) -> String {
    message.organization_id.to_string()
}

/// The queues that a function reads from.
#[derive(Clone, Debug)]
pub struct SourceQueues {
    client: Client,
    urls: Vec<String>,
}

impl SourceQueues {
    pub fn new(client: Client, urls: Vec<String>) -> Self {
        Self { client, urls }
    }

    /// Has a message's queue hide it for so long from now on, instead of for the rest of its visibility timeout.
    ///
    /// # Errors
    /// [`Fault`] when SQS fails, or the message is of none of the queues.
    pub async fn set_visibility_timeout(&self, message: &Received, time: Duration) -> Result<(), Fault> {
        let name = message.queue_arn.as_deref().and_then(|arn| arn.rsplit(':').next());
        let url = self.urls.iter().find(|url| url.rsplit('/').next() == name).ok_or(Fault::UnknownQueue)?;
        self.client
            .change_message_visibility()
            .queue_url(url)
            .receipt_handle(&message.receipt_handle)
            .visibility_timeout(i32::try_from(time.as_secs()).unwrap_or(i32::MAX))
            .send()
            .await
            .map(drop)
            .map_err(Fault::of("ChangeMessageVisibility"))
    }
}

/// A dead-letter queue: where a message goes that no retry mends.
#[derive(Clone, Debug)]
pub struct DeadLetterQueue {
    client: Client,
    url: String,
}

impl DeadLetterQueue {
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Lays a message to rest: its body untouched, in the group that it came with if any, so that it goes back there when
    /// it is moved; what is wrong with it as the attributes `error` and, if it is one of its fields, `field`.
    ///
    /// # Errors
    /// [`Fault`] when SQS fails. A message that does not fit with its attributes fails too; it goes back to its queue,
    /// whose redrive policy takes it as it is.
    pub async fn send(&self, message: &Received, field: Option<&str>, error: &str) -> Result<(), Fault> {
        let mut request = self
            .client
            .send_message()
            .queue_url(&self.url)
            .message_body(&message.body)
            .set_message_group_id(message.group.clone())
            .message_attributes("error", text(error));
        if let Some(field) = field {
            request = request.message_attributes("field", text(field));
        }
        request.send().await.map(drop).map_err(Fault::of("SendMessage"))
    }
}

fn text(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder()
        .data_type("String")
        .string_value(value)
        .build()
        .expect("a message attribute has a type")
}
