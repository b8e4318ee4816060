//! `RetryFunction`: each message is one attempt that is due, from the retry queue or the slow lane.

use std::convert::Infallible;
use std::sync::Arc;

use aws_config::SdkConfig;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use jiff::Timestamp;
use lambda_runtime::LambdaEvent;
use shared::address::AllowedNetworks;
use shared::delivering::{Course, Deadline, Delivering, Policy, Task};
use shared::delivery::CancelReason;
use shared::integration::{Integration, Standing};
use shared::io::batch::{Received, each_message};
use shared::io::deliveries_table::DeliveriesTable;
use shared::io::environment::{BadSetting, Environment};
use shared::io::fault::Fault;
use shared::io::integrations_table::IntegrationsTable;
use shared::io::log;
use shared::io::long_wait::LongWait;
use shared::io::queues::{DeadLetterQueue, RetryMessages};
use shared::io::scheduler::Scheduler;
use shared::io::sender::{NoTrustedRoots, Sender, SenderConfig};
use shared::io::vault::Vault;
use shared::retry_message::RetryMessage;

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    integrations_table: String,
    deliveries_table: String,
    retry_queue_url: String,
    dead_letter_queue_url: String,
    long_wait_arn: String,
    policy: Policy,
    allowed_networks: AllowedNetworks,
}

impl Settings {
    /// # Errors
    /// [`BadSetting`] for the first variable that is absent or cannot be used.
    pub fn read(environment: &Environment<'_>) -> Result<Self, BadSetting> {
        Ok(Self {
            integrations_table: environment.text("INTEGRATIONS_TABLE")?,
            deliveries_table: environment.text("DELIVERIES_TABLE")?,
            retry_queue_url: environment.text("RETRY_QUEUE_URL")?,
            dead_letter_queue_url: environment.text("DEAD_LETTER_QUEUE_URL")?,
            long_wait_arn: environment.text("LONG_WAIT_ARN")?,
            policy: Policy::read(environment)?,
            allowed_networks: environment.parsed("ALLOW_PRIVATE_NETWORKS")?,
        })
    }
}

/// What the function works with, for as long as it lives.
pub struct Retry {
    delivering: Delivering,
    scheduler: Scheduler,
    dead_letters: DeadLetterQueue,
}

impl Retry {
    /// # Errors
    /// [`NoTrustedRoots`] when the system has no certificate authorities to trust.
    pub fn new(settings: Settings, aws: &SdkConfig) -> Result<Self, NoTrustedRoots> {
        let dynamodb = aws_sdk_dynamodb::Client::new(aws);
        let sqs = aws_sdk_sqs::Client::new(aws);
        let retry_queue = RetryMessages::new(sqs.clone(), settings.retry_queue_url);
        Ok(Self {
            delivering: Delivering {
                deliveries: DeliveriesTable::new(dynamodb.clone(), settings.deliveries_table),
                integrations: IntegrationsTable::new(dynamodb, settings.integrations_table),
                vault: Vault::new(aws_sdk_kms::Client::new(aws)),
                sender: Sender::new(SenderConfig {
                    request_timeout: settings.policy.request_timeout,
                    allowed_networks: settings.allowed_networks,
                })?,
                policy: settings.policy,
            },
            scheduler: Scheduler::new(
                retry_queue,
                LongWait::new(aws_sdk_sfn::Client::new(aws), settings.long_wait_arn),
            ),
            dead_letters: DeadLetterQueue::new(sqs, settings.dead_letter_queue_url),
        })
    }
}

/// Handles a batch of due attempts.
///
/// # Errors
/// Never as a whole: the response names the messages that go back to their queue.
pub async fn handle(retry: Arc<Retry>, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Infallible> {
    let deadline = Deadline(Timestamp::try_from(event.context.deadline()).unwrap_or(Timestamp::MAX));
    Ok(each_message(event.payload, |message| {
        let retry = Arc::clone(&retry);
        async move { retry.due_attempt(message, deadline).await }
    })
    .await)
}

impl Retry {
    async fn due_attempt(&self, received: Received, deadline: Deadline) -> Result<(), Fault> {
        let message = match RetryMessage::parse(&received.body) {
            Ok(message) => message,
            Err(bad) => return self.bury(&received, &bad.field, &bad.sentence).await,
        };
        let integration = self.delivering.integrations.find(message.organization_id, message.integration_id).await?;
        let course = course(integration.as_ref());
        match self.delivering.carry_out(&Task::Due(message), course, deadline).await {
            Ok(Some(due)) => self.scheduler.schedule(&due, Timestamp::now()).await,
            Ok(None) => Ok(()),
            Err(Fault::Impossible) => self.bury(&received, "attempt", AHEAD).await,
            Err(fault) => Err(fault),
        }
    }

    async fn bury(&self, received: &Received, field: &str, error: &str) -> Result<(), Fault> {
        self.dead_letters.bury(&received.body, field, error).await?;
        log::buried(&received.id, field, error);
        Ok(())
    }
}

const AHEAD: &str = "`attempt` is ahead of its delivery: the ledger has not come to that attempt yet.";

fn course(integration: Option<&Integration>) -> Course<'_> {
    match integration.map(|integration| (integration.standing(), integration)) {
        Some((Standing::Enabled, integration)) => Course::Send(integration),
        Some((Standing::Disabled, _)) => Course::Cancel(CancelReason::IntegrationDisabled),
        Some((Standing::Deleted, _)) | None => Course::Cancel(CancelReason::IntegrationDeleted),
    }
}
