//! Makes sure that an attempt's message arrives when the attempt is due.

use domain::delivery::retry_message::RetryMessage;
use domain::delivery::wait::{Wait, longest_queue_delay, wait_until};
use jiff::Timestamp;

use crate::fault::Fault;
use crate::long_wait::{LongWait, Started};
use crate::sqs::queues::RetryMessages;

/// An attempt that is waiting, according to the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueAttempt {
    pub message: RetryMessage,
    pub due_at: Timestamp,
}

/// Schedules attempts, on the retry queue or in the state machine.
#[derive(Clone, Debug)]
pub struct Scheduler {
    retry_queue: RetryMessages,
    long_wait: LongWait,
}

impl Scheduler {
    pub fn new(retry_queue: RetryMessages, long_wait: LongWait) -> Self {
        Self { retry_queue, long_wait }
    }

    /// The queue for attempts that are due.
    pub fn retry_queue(&self) -> &RetryMessages {
        &self.retry_queue
    }

    /// Schedules an attempt. `due_at` comes from the ledger, so that scheduling an attempt again has the same effect.
    ///
    /// # Errors
    /// On a [`Fault`] the attempt may or may not have been scheduled.
    pub async fn schedule(&self, due: &DueAttempt, now: Timestamp) -> Result<(), Fault> {
        match wait_until(due.due_at, now) {
            Wait::OnQueue { delay_seconds } => self.retry_queue.send(&due.message, delay_seconds).await,
            Wait::InExecution => match self.long_wait.start(&due.message, due.due_at).await? {
                Started::Running => Ok(()),
                Started::Throttled => self.send_previous_message(due, now).await,
            },
        }
    }

    /// Puts a copy of the *previous* attempt's message on the queue instead. When it arrives, the ledger shows that the
    /// previous attempt is over, and this one is scheduled again.
    async fn send_previous_message(&self, due: &DueAttempt, now: Timestamp) -> Result<(), Fault> {
        let previous = RetryMessage { attempt: due.message.attempt.saturating_sub(1).max(1), ..due.message };
        self.retry_queue.send(&previous, longest_queue_delay(due.due_at, now)).await
    }
}
