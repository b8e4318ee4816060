//! Making sure that an attempt's message arrives when the attempt is due.

use domain::delivery::retry_message::RetryMessage;
use domain::delivery::wait::{Wait, longest_queue_delay, wait_until};
use jiff::Timestamp;

use crate::fault::Fault;
use crate::long_wait::{LongWait, Started};
use crate::sqs::queues::RetryMessages;

/// An attempt that the ledger says is waiting.
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

    /// Where the messages of attempts that are due go.
    pub fn retry_queue(&self) -> &RetryMessages {
        &self.retry_queue
    }

    /// Schedules an attempt. Works from the ledger's `due_at`, so that doing it again comes to the same.
    ///
    /// # Errors
    /// [`Fault`] when SQS or Step Functions fails; the attempt may then be scheduled or not.
    pub async fn schedule(&self, due: &DueAttempt, now: Timestamp) -> Result<(), Fault> {
        match wait_until(due.due_at, now) {
            Wait::OnQueue { delay_seconds } => self.retry_queue.send(&due.message, delay_seconds).await,
            Wait::InExecution => match self.long_wait.start(&due.message, due.due_at).await? {
                Started::Running => Ok(()),
                Started::Throttled => self.stand_in(due, now).await,
            },
        }
    }

    /// Puts a copy of the *previous* attempt's message on the queue: when it arrives, the ledger shows that its attempt
    /// is over, and this one is scheduled again.
    async fn stand_in(&self, due: &DueAttempt, now: Timestamp) -> Result<(), Fault> {
        let over = RetryMessage { attempt: due.message.attempt.saturating_sub(1).max(1), ..due.message };
        self.retry_queue.send(&over, longest_queue_delay(due.due_at, now)).await
    }
}
