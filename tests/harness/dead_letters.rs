//! The messages in the dead-letter queues.

use std::collections::HashMap;
use std::sync::PoisonError;

use anyhow::Context;
use aws_sdk_sqs::types::MessageSystemAttributeName;

use crate::stack::Stack;

/// A dead-letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterQueue {
    Alerts,
    Retries,
}

impl DeadLetterQueue {
    const ALL: [Self; 2] = [Self::Alerts, Self::Retries];

    fn output(self) -> &'static str {
        match self {
            Self::Alerts => "AlertsDeadLetterQueueUrl",
            Self::Retries => "RetryDeadLetterQueueUrl",
        }
    }
}

/// A message in a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub message_id: String,
    pub queue: DeadLetterQueue,
    pub body: String,
    /// Its `MessageGroupId`, which it keeps when it is moved back.
    pub group: Option<String>,
    pub attributes: HashMap<String, String>,
}

/// A dead letter, and the handle to delete it by.
type Received = (DeadLetter, Option<String>);

impl Stack {
    /// Everything that has been sent to the dead-letter queues so far. Drains the queues, and remembers the messages.
    pub async fn dead_letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        for queue in DeadLetterQueue::ALL {
            self.drain(queue).await?;
        }
        Ok(self.drained.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The first ten messages of each dead-letter queue, which stay visible to whoever looks next.
    pub async fn peek_dead_letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        let mut letters = Vec::new();
        for queue in DeadLetterQueue::ALL {
            letters.extend(self.receive(queue, Some(0)).await?.into_iter().map(|(letter, _)| letter));
        }
        Ok(letters)
    }

    async fn drain(&self, queue: DeadLetterQueue) -> anyhow::Result<()> {
        let url = self.output(queue.output())?;
        loop {
            let received = self.receive(queue, None).await?;
            if received.is_empty() {
                return Ok(());
            }
            for (letter, handle) in received {
                self.drained.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
                let delete = self.sqs.delete_message().queue_url(url).set_receipt_handle(handle);
                delete.send().await.context("DeleteMessage")?;
            }
        }
    }

    /// Up to ten messages, hidden for that many seconds, or for the queue's own visibility timeout.
    async fn receive(&self, queue: DeadLetterQueue, hidden_seconds: Option<i32>) -> anyhow::Result<Vec<Received>> {
        const GROUP: MessageSystemAttributeName = MessageSystemAttributeName::MessageGroupId;
        let request = self.sqs.receive_message().queue_url(self.output(queue.output())?).max_number_of_messages(10);
        let request = request.message_attribute_names("All").message_system_attribute_names(GROUP);
        let received = request.set_visibility_timeout(hidden_seconds).send().await.context("ReceiveMessage")?;
        let messages = received.messages.unwrap_or_default().into_iter();
        Ok(messages
            .map(|message| {
                let attributes = message.message_attributes.unwrap_or_default().into_iter();
                let letter = DeadLetter {
                    message_id: message.message_id.unwrap_or_default(),
                    queue,
                    body: message.body.unwrap_or_default(),
                    group: message.attributes.and_then(|mut attributes| attributes.remove(&GROUP)),
                    attributes: attributes.filter_map(|(name, value)| Some((name, value.string_value?))).collect(),
                };
                (letter, message.receipt_handle)
            })
            .collect())
    }
}
