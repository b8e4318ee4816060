//! How far a run has come: how many deliveries have ended, and how many messages are left.

use std::collections::HashSet;

use domain::delivery::Status;
use serde_json::Value;
use support::function::Function;

use crate::testbed::{QUEUES, Testbed};

/// How far the run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Deliveries that have ended.
    pub(crate) ended: usize,
    /// Deliveries that have not ended.
    pub(crate) open: usize,
    /// Messages in the queues that the functions read: visible, being handled, or delayed.
    pub(crate) messages: usize,
}

impl Progress {
    /// Whether nothing is left that a function could be invoked for.
    pub(crate) fn is_complete(&self) -> bool {
        self.open == 0 && self.messages == 0
    }
}

impl Testbed {
    /// # Errors
    /// When the local cloud does not answer.
    pub(crate) async fn progress(&self) -> anyhow::Result<Progress> {
        let mut progress = Progress::default();
        for queue in QUEUES {
            progress.messages += self.stack.count_messages(queue).await?;
        }
        for (status, count) in self.stack.count_by_status().await? {
            if [Status::Sending.as_str(), Status::Waiting.as_str()].contains(&status.as_str()) {
                progress.open += count;
            } else {
                progress.ended += count;
            }
        }
        Ok(progress)
    }

    /// How many deliveries have an ERROR line in the log that says that they failed.
    ///
    /// # Errors
    /// When the local cloud does not answer.
    pub(crate) async fn logged_failures(&self) -> anyhow::Result<usize> {
        let mut failed = HashSet::new();
        for function in [Function::Deliver, Function::Retry] {
            let lines = self.stack.log_lines(function).await?;
            let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let failures = lines.filter(|line| line["level"] == "ERROR" && line["status"] == "failed");
            failed.extend(failures.filter_map(|line| line["delivery_id"].as_str().map(str::to_owned)));
        }
        Ok(failed.len())
    }
}
