//! `RetryFunction`: makes one due attempt for each message of the retry queue and the slow lane, be it a retry or a
//! first attempt that `deliver` has handed off.

use std::convert::Infallible;
use std::sync::Arc;

use aws::environment::{Environment, InvalidSetting};
use aws::fault::Fault;
use aws::runner::{self, Action, BeforeAck, Runner, Task};
use aws::sqs::batch::Inbox;
use aws::sqs::queues::{DeadLetterQueue, RetryMessages, SourceQueues};
use aws::sqs::received::Received;
use aws_config::SdkConfig;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::deadline::Deadline;
use domain::delivery::CancelReason;
use domain::delivery::retry_message::RetryMessage;
use domain::delivery::worker::AttemptMode;
use domain::integration::health::{Health, Lane};
use domain::integration::{Integration, Standing};
use jiff::Timestamp;
use lambda_runtime::LambdaEvent;
use sender::NoTrustedRoots;

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    runner: runner::Settings,
    dead_letter_queue_url: String,
    slow_lane_queue_url: String,
    slow_lane_queue_arn: String,
}

impl Settings {
    /// # Errors
    /// [`InvalidSetting`] for the first variable that is absent or invalid.
    pub fn read(environment: &Environment<'_>) -> Result<Self, InvalidSetting> {
        Ok(Self {
            runner: runner::Settings::read(environment)?,
            dead_letter_queue_url: environment.text("DEAD_LETTER_QUEUE_URL")?,
            slow_lane_queue_url: environment.text("SLOW_LANE_QUEUE_URL")?,
            slow_lane_queue_arn: environment.text("SLOW_LANE_QUEUE_ARN")?,
        })
    }
}

/// The function's state, shared by all invocations of a sandbox.
pub struct Retry {
    runner: Runner,
    inbox: Arc<Inbox>,
    slow_lane: RetryMessages,
    slow_lane_queue_arn: String,
}

impl Retry {
    /// # Errors
    /// [`NoTrustedRoots`] when the system has no certificate authorities to trust.
    pub fn new(settings: Settings, aws: &SdkConfig) -> Result<Self, NoTrustedRoots> {
        let sqs = aws_sdk_sqs::Client::new(aws);
        let sources = vec![settings.runner.retry_queue_url().to_owned(), settings.slow_lane_queue_url.clone()];
        Ok(Self {
            runner: Runner::new(settings.runner, aws)?,
            inbox: Arc::new(Inbox::new(
                SourceQueues::new(sqs.clone(), sources),
                DeadLetterQueue::new(sqs.clone(), settings.dead_letter_queue_url),
            )),
            slow_lane: RetryMessages::new(sqs, settings.slow_lane_queue_url),
            slow_lane_queue_arn: settings.slow_lane_queue_arn,
        })
    }
}

/// Processes a batch of due attempts. Never fails as a whole: the response names the messages that return to their
/// queue.
pub async fn handle(retry: Arc<Retry>, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Infallible> {
    let deadline = Deadline(Timestamp::try_from(event.context.deadline()).unwrap_or(Timestamp::MAX));
    let response = retry.inbox.each_message(event.payload, deadline, |message| {
        let retry = Arc::clone(&retry);
        async move { retry.process(&message, deadline).await }
    });
    Ok(response.await)
}

impl Retry {
    async fn process(&self, received: &Received, deadline: Deadline) -> Result<(), Fault> {
        let message = match RetryMessage::parse(&received.body) {
            Ok(message) => message,
            Err(bad) => return self.inbox.dead_letter(received, &bad.field, &bad.message).await,
        };
        let integration = self.runner.integrations().find(message.organization_id, message.integration_id).await?;
        if let Some(integration) = &integration
            && must_change_lane(integration, received.queue_arn.as_deref(), &self.slow_lane_queue_arn)
        {
            return self.queue_of(Lane::Slow).send(&message, 0).await;
        }
        let action = choose_action(integration.as_ref());
        match self.runner.run(&Task::Due(message), action, deadline).await {
            Ok(BeforeAck::Nothing) => Ok(()),
            Ok(BeforeAck::HandOff { message, lane }) => self.queue_of(lane).send(&message, 0).await,
            Err(Fault::Impossible) => self.inbox.dead_letter(received, "attempt", AHEAD).await,
            Err(Fault::WrongOrganization) => {
                self.inbox.dead_letter(received, "organization_id", WRONG_ORGANIZATION).await
            }
            Err(fault) => Err(fault),
        }
    }

    fn queue_of(&self, lane: Lane) -> &RetryMessages {
        match lane {
            Lane::Fast => self.runner.retry_queue(),
            Lane::Slow => &self.slow_lane,
        }
    }
}

const AHEAD: &str = "`attempt` is ahead of its delivery, which has not reached that attempt yet.";
const WRONG_ORGANIZATION: &str = "`organization_id` is not the one that the delivery belongs to.";

/// Whether a due attempt has to move to the slow lane because its endpoint is slow. If it were made from the retry
/// queue, it would delay other endpoints' attempts.
fn must_change_lane(integration: &Integration, from: Option<&str>, slow_lane_queue_arn: &str) -> bool {
    integration.standing() == Standing::Enabled
        && Health::lane(integration.health.as_ref()) == Lane::Slow
        && from.is_some_and(|queue| queue != slow_lane_queue_arn)
}

fn choose_action(integration: Option<&Integration>) -> Action<'_> {
    match integration.map(|integration| (integration.standing(), integration)) {
        Some((Standing::Enabled, integration)) => Action::Send(integration, AttemptMode::Inline),
        Some((Standing::Disabled, _)) => Action::Cancel(CancelReason::IntegrationDisabled),
        Some((Standing::Deleted, _)) | None => Action::Cancel(CancelReason::IntegrationDeleted),
    }
}
