//! What a producer does: putting alert events on their queue. And what our own functions do as producers of retries.

use anyhow::Context;

use crate::stack::Stack;

impl Stack {
    /// Puts a message on the alerts queue. `group` is its `MessageGroupId`; producers are advised to give the
    /// organization's id.
    pub async fn send_alert(&self, body: &str, group: Option<&str>) -> anyhow::Result<()> {
        self.send("AlertsQueueUrl", body, group).await
    }

    /// Puts a message on the retry queue.
    pub async fn send_retry_message(&self, body: &str) -> anyhow::Result<()> {
        self.send("RetryQueueUrl", body, None).await
    }

    async fn send(&self, queue: &str, body: &str, group: Option<&str>) -> anyhow::Result<()> {
        let message = self.sqs.send_message().queue_url(self.output(queue)?).message_body(body);
        message.set_message_group_id(group.map(str::to_owned)).send().await.context("SendMessage")?;
        Ok(())
    }
}
