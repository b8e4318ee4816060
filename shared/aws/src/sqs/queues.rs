//! Sends messages, and changes how long a received one is hidden.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use domain::delivery::retry_message::RetryMessage;

use crate::fault::Fault;
use crate::sqs::received::Received;

/// The most messages that SQS accepts in one batch.
pub const BATCH: usize = 10;

/// A queue of retry messages: the retry queue or the slow lane's.
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
    /// On a [`Fault`] it is unknown whether the message was sent.
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
    /// [`Fault`] when SQS fails or refuses one of them. It is then unknown which were sent.
    pub async fn send_all(&self, messages: &[RetryMessage]) -> Result<(), Fault> {
        let undelayed: Vec<_> = messages.iter().map(|&message| (message, 0)).collect();
        self.send_each(&undelayed).await
    }

    /// Sends messages, each with its delay of 0 to 900 seconds, in as many batches as needed.
    ///
    /// # Errors
    /// [`Fault`] when SQS fails or refuses one of them. It is then unknown which were sent.
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
            let response = request.send().await.map_err(Fault::of("SendMessageBatch"))?;
            if let Some(refused) = response.failed.first() {
                return Err(Fault::Aws { operation: "SendMessageBatch", code: refused.code.clone() });
            }
        }
        Ok(())
    }
}

/// The message group, which is the tenant in an SQS fair queue: an organization, however many integrations it has.
fn group(message: &RetryMessage) -> String {
    message.organization_id.to_string()
}

/// The queues that a function receives messages from.
#[derive(Clone, Debug)]
pub struct SourceQueues {
    client: Client,
    urls: Vec<String>,
}

impl SourceQueues {
    pub fn new(client: Client, urls: Vec<String>) -> Self {
        Self { client, urls }
    }

    /// Hides a message for this long from now on, instead of the rest of its queue's visibility timeout.
    ///
    /// # Errors
    /// [`Fault::UnknownQueue`] when the message came from none of the queues; another [`Fault`] when SQS fails.
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

/// A dead-letter queue: for messages that no retry can help.
#[derive(Clone, Debug)]
pub struct DeadLetterQueue {
    client: Client,
    url: String,
}

impl DeadLetterQueue {
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Sends a message with its body unchanged and in its group, if it has one, so that it keeps the group when it is
    /// moved back. The attribute `error` says what is wrong with it and, if a particular field is wrong, `field` names
    /// it.
    ///
    /// # Errors
    /// [`Fault`] when SQS fails, or when the message is too large with these attributes. Such a message returns to its
    /// queue, whose redrive policy moves it without them.
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
