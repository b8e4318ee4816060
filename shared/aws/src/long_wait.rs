//! Waits beyond what SQS can hold a message back for: one Step Functions execution each.

use aws_sdk_sfn::Client;
use aws_sdk_sfn::error::SdkError;
use domain::delivery::retry_message::RetryMessage;
use domain::delivery::wait::execution_name;
use jiff::Timestamp;
use serde::Serialize;

use crate::fault::{Fault, code_of};

/// The state machine `LongWait`: waits until a time, then sends a retry message.
#[derive(Clone, Debug)]
pub struct LongWait {
    client: Client,
    state_machine_arn: String,
}

/// Whether a wait runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// It runs, or ran: an execution of that name exists.
    Running,
    /// Step Functions takes no more executions just now.
    Throttled,
}

/// What an execution is started with. Comes from the ledger alone, so that the same wait has the same input.
#[derive(Serialize)]
struct Input {
    /// RFC 3339, whole seconds: what a Wait state's timestamp takes.
    due_at: Timestamp,
    /// The message's group: an organization is one tenant.
    organization_id: String,
    /// The message to send, as the text to send.
    message: String,
}

impl LongWait {
    pub fn new(client: Client, state_machine_arn: String) -> Self {
        Self { client, state_machine_arn }
    }

    /// Starts the wait for an attempt. Starting it again is the same as once.
    ///
    /// # Errors
    /// [`Fault`] when Step Functions fails in another way than by throttling.
    pub async fn start(&self, message: &RetryMessage, due_at: Timestamp) -> Result<Started, Fault> {
        let input = Input {
            due_at: Timestamp::from_second(due_at.as_second()).unwrap_or(due_at),
            organization_id: message.organization_id.to_string(),
            message: message.to_json(),
        };
        let answer = self
            .client
            .start_execution()
            .state_machine_arn(&self.state_machine_arn)
            .name(execution_name(message.delivery_id, message.attempt, due_at))
            .input(serde_json::to_string(&input).expect("the input has only strings"))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Started::Running),
            Err(error) => verdict(&error),
        }
    }
}

fn verdict<E, R>(error: &SdkError<E, R>) -> Result<Started, Fault>
where
    E: aws_sdk_sfn::error::ProvideErrorMetadata,
{
    match code_of(error) {
        // AWS says so for a closed execution or other input; a running one with equal input is a success there.
        "ExecutionAlreadyExists" => Ok(Started::Running),
        "ThrottlingException" | "ExecutionLimitExceeded" | "TooManyRequestsException" => Ok(Started::Throttled),
        code => Err(Fault::Aws { operation: "StartExecution", code: code.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_sfn::error::ErrorMetadata;

    #[track_caller]
    fn check(code: &str, expected: Option<Started>) {
        let error = SdkError::<_, ()>::service_error(ErrorMetadata::builder().code(code).build(), ());
        assert_eq!(verdict(&error).ok(), expected, "{code}");
    }

    #[test]
    fn a_wait_that_exists_runs_and_a_throttled_one_is_told_apart() {
        check("ExecutionAlreadyExists", Some(Started::Running));
        check("ThrottlingException", Some(Started::Throttled));
        check("ExecutionLimitExceeded", Some(Started::Throttled));
        check("StateMachineDoesNotExist", None);
        check("AccessDeniedException", None);
    }
}
