//! `RetryFunction`: each message is one attempt that is due, from the retry queue or the slow lane: a later one, or a first
//! one that `deliver` has handed off.

use std::convert::Infallible;
use std::sync::Arc;

use aws::delivering::{self, Course, Delivering, Left, Task};
use aws::environment::{BadSetting, Environment};
use aws::fault::Fault;
use aws::sqs::batch::Inbox;
use aws::sqs::queues::{DeadLetterQueue, RetryMessages, SourceQueues};
use aws::sqs::received::Received;
use aws_config::SdkConfig;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use domain::deadline::Deadline;
use domain::delivery::CancelReason;
use domain::delivery::retry_message::RetryMessage;
use domain::delivery::worker::Place;
use domain::integration::health::{Health, Lane};
use domain::integration::{Integration, Standing};
use jiff::Timestamp;
use lambda_runtime::LambdaEvent;
use sender::NoTrustedRoots;

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    delivering: delivering::Settings,
    dead_letter_queue_url: String,
    slow_lane_queue_url: String,
    slow_lane_queue_arn: String,
}

impl Settings {
    /// # Errors
    /// [`BadSetting`] for the first variable that is absent or cannot be used.
    pub fn read(environment: &Environment<'_>) -> Result<Self, BadSetting> {
        Ok(Self {
            delivering: delivering::Settings::read(environment)?,
            dead_letter_queue_url: environment.text("DEAD_LETTER_QUEUE_URL")?,
            slow_lane_queue_url: environment.text("SLOW_LANE_QUEUE_URL")?,
            slow_lane_queue_arn: environment.text("SLOW_LANE_QUEUE_ARN")?,
        })
    }
}

/// What the function works with, for as long as it lives.
pub struct Retry {
    delivering: Delivering,
    inbox: Arc<Inbox>,
    slow_lane: RetryMessages,
    slow_lane_queue_arn: String,
}

impl Retry {
    /// # Errors
    /// [`NoTrustedRoots`] when the system has no certificate authorities to trust.
    pub fn new(settings: Settings, aws: &SdkConfig) -> Result<Self, NoTrustedRoots> {
        let sqs = aws_sdk_sqs::Client::new(aws);
        let sources = vec![settings.delivering.retry_queue_url().to_owned(), settings.slow_lane_queue_url.clone()];
        Ok(Self {
            delivering: Delivering::new(settings.delivering, aws)?,
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
            Err(bad) => return self.inbox.bury(received, &bad.field, &bad.message).await,
        };
        let integration = self.delivering.integrations().find(message.organization_id, message.integration_id).await?;
        if let Some(integration) = &integration
            && changes_lane(integration, received.queue_arn.as_deref(), &self.slow_lane_queue_arn)
        {
            return self.lane(Lane::Slow).send(&message, 0).await;
        }
        let course = course(integration.as_ref());
        match self.delivering.carry_out(&Task::Due(message), course, deadline).await {
            Ok(Left::Nothing) => Ok(()),
            Ok(Left::HandOff { message, lane }) => self.lane(lane).send(&message, 0).await,
            Err(Fault::Impossible) => self.inbox.bury(received, "attempt", AHEAD).await,
            Err(Fault::Foreign) => self.inbox.bury(received, "organization_id", FOREIGN).await,
            Err(fault) => Err(fault),
        }
    }

    fn lane(&self, lane: Lane) -> &RetryMessages {
        match lane {
            Lane::Usual => self.delivering.retry_queue(),
            Lane::Slow => &self.slow_lane,
        }
    }
}

const AHEAD: &str = "`attempt` is ahead of its delivery: the ledger has not come to that attempt yet.";
const FOREIGN: &str = "`organization_id` is not the one that the delivery belongs to.";

/// Whether a due attempt goes to the slow lane first, because its endpoint takes long to answer: on the retry queue it would hold up
/// other endpoints' due attempts.
fn changes_lane(integration: &Integration, from: Option<&str>, slow_lane: &str) -> bool {
    integration.standing() == Standing::Enabled
        && Health::lane(integration.health.as_ref()) == Lane::Slow
        && from.is_some_and(|queue| queue != slow_lane)
}

fn course(integration: Option<&Integration>) -> Course<'_> {
    match integration.map(|integration| (integration.standing(), integration)) {
        Some((Standing::Enabled, integration)) => Course::Send(integration, Place::Here),
        Some((Standing::Disabled, _)) => Course::Cancel(CancelReason::IntegrationDisabled),
        Some((Standing::Deleted, _)) | None => Course::Cancel(CancelReason::IntegrationDeleted),
    }
}
