//! Waits that are longer than SQS can delay a message: one Step Functions execution each.

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

/// The result of starting a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// The wait is running or over: an execution of that name exists.
    Running,
    /// Step Functions accepts no more executions at the moment.
    Throttled,
}

/// The input of an execution. It depends on the ledger alone, so that the same wait always has the same input.
#[derive(Serialize)]
struct Input {
    /// In whole seconds; written in RFC 3339, the format of a Wait state's timestamp.
    due_at: Timestamp,
    /// The message's group.
    organization_id: String,
    /// The body of the message to send.
    message: String,
}

impl LongWait {
    pub fn new(client: Client, state_machine_arn: String) -> Self {
        Self { client, state_machine_arn }
    }

    /// Starts the wait for an attempt. Starting it again changes nothing.
    ///
    /// # Errors
    /// [`Fault::Aws`] when Step Functions fails for any reason but throttling.
    pub async fn start(&self, message: &RetryMessage, due_at: Timestamp) -> Result<Started, Fault> {
        let input = Input {
            due_at: Timestamp::from_second(due_at.as_second()).unwrap_or(due_at),
            organization_id: message.organization_id.to_string(),
            message: message.to_json(),
        };
        let response = self
            .client
            .start_execution()
            .state_machine_arn(&self.state_machine_arn)
            .name(execution_name(message.delivery_id, message.attempt, due_at))
            .input(serde_json::to_string(&input).expect("the input has only strings"))
            .send()
            .await;
        match response {
            Ok(_) => Ok(Started::Running),
            Err(error) => classify(&error),
        }
    }
}

fn classify<E, R>(error: &SdkError<E, R>) -> Result<Started, Fault>
where
    E: aws_sdk_sfn::error::ProvideErrorMetadata,
{
    match code_of(error) {
        // The execution is closed, or its input differs. For a running one with equal input, AWS returns success.
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
        assert_eq!(classify(&error).ok(), expected, "{code}");
    }

    #[test]
    fn an_existing_wait_is_success_and_throttling_is_no_fault() {
        check("ExecutionAlreadyExists", Some(Started::Running));
        check("ThrottlingException", Some(Started::Throttled));
        check("ExecutionLimitExceeded", Some(Started::Throttled));
        check("StateMachineDoesNotExist", None);
        check("AccessDeniedException", None);
    }
}
