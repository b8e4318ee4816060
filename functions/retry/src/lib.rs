//! `RetryFunction`: each message is one attempt that is due, from the retry queue or the slow lane: a later one, or a first
//! one that `deliver` has handed off.

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
    /// [`InvalidSetting`] for the first variable that is absent or cannot be used.
    pub fn read(environment: &Environment<'_>) -> Result<Self, InvalidSetting> {
        Ok(Self {
            runner: runner::Settings::read(environment)?,
            dead_letter_queue_url: environment.text("DEAD_LETTER_QUEUE_URL")?,
            slow_lane_queue_url: environment.text("SLOW_LANE_QUEUE_URL")?,
            slow_lane_queue_arn: environment.text("SLOW_LANE_QUEUE_ARN")?,
        })
    }
}

/// What the function works with, for as long as it lives.
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

/// Handles a batch of due attempts.
///
/// # Errors
/// Never as a whole: the response names the messages that go back to their queue.
pub async fn handle(retry: Arc<Retry>, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Infallible> {
    let deadline = Deadline(Timestamp::try_from(event.context.deadline()).unwrap_or(Timestamp::MAX));
    let answer = retry.inbox.each_message(event.payload, deadline, |message| {
        let retry = Arc::clone(&retry);
        async move { retry.due_attempt(&message, deadline).await }
    });
    Ok(answer.await)
}

impl Retry {
    async fn due_attempt(&self, received: &Received, deadline: Deadline) -> Result<(), Fault> {
        let message = match RetryMessage::parse(&received.body) {
            Ok(message) => message,
            Err(bad) => return self.inbox.dead_letter(received, &bad.field, &bad.message).await,
        };
        let integration = self.runner.integrations().find(message.organization_id, message.integration_id).await?;
        if let Some(integration) = &integration
            && changes_lane(integration, received.queue_arn.as_deref(), &self.slow_lane_queue_arn)
        {
            return self.lane(Lane::Slow).send(&message, 0).await;
        }
        let action = action(integration.as_ref());
        match self.runner.run(&Task::Due(message), action, deadline).await {
            Ok(BeforeAck::Nothing) => Ok(()),
            Ok(BeforeAck::HandOff { message, lane }) => self.lane(lane).send(&message, 0).await,
            Err(Fault::Impossible) => self.inbox.dead_letter(received, "attempt", AHEAD).await,
            Err(Fault::WrongOrganization) => {
                self.inbox.dead_letter(received, "organization_id", WRONG_ORGANIZATION).await
            }
            Err(fault) => Err(fault),
        }
    }

    fn lane(&self, lane: Lane) -> &RetryMessages {
        match lane {
            Lane::Fast => self.runner.retry_queue(),
            Lane::Slow => &self.slow_lane,
        }
    }
}

const AHEAD: &str = "`attempt` is ahead of its delivery: the ledger has not come to that attempt yet.";
const WRONG_ORGANIZATION: &str = "`organization_id` is not the one that the delivery belongs to.";

/// Whether a due attempt goes to the slow lane first, because its endpoint takes long to answer: on the retry queue it would hold up
/// other endpoints' due attempts.
fn changes_lane(integration: &Integration, from: Option<&str>, slow_lane: &str) -> bool {
    integration.standing() == Standing::Enabled
        && Health::lane(integration.health.as_ref()) == Lane::Slow
        && from.is_some_and(|queue| queue != slow_lane)
}

fn action(integration: Option<&Integration>) -> Action<'_> {
    match integration.map(|integration| (integration.standing(), integration)) {
        Some((Standing::Enabled, integration)) => Action::Send(integration, AttemptMode::Inline),
        Some((Standing::Disabled, _)) => Action::Cancel(CancelReason::IntegrationDisabled),
        Some((Standing::Deleted, _)) | None => Action::Cancel(CancelReason::IntegrationDeleted),
    }
}
