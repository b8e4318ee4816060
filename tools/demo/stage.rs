//! Sets the stage, which `demo` and `local` share: the receiver, the local cloud, the deployed template, the integrations.

use std::collections::HashSet;
use std::io;
use std::net::Ipv4Addr;

use aws::kms::vault::random;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::alert::filter::Filter;
use domain::ids::OrganizationId;
use domain::integration::Integration;
use domain::request::signature::SigningSecret;
use harness::leaks::{Leak, Secrets};
use harness::local_cloud::{CloudError, LocalCloud, Parameters};
use harness::local_variables::NotWritten;
use harness::stack::{DeadLetter, GROUP, Graveyard, NewIntegration, Stack, StackError};
use jiff::Timestamp;
use serde_dynamo::aws_sdk_dynamodb_1::from_item;
use support::project::{NotBuilt, Project};
use support::screen::Screen;

use crate::receiver::Receiver;
use crate::scenario::{Endpoint, RETRY_SCHEDULE, Scenario};
use crate::seen::{Delivery, Seen};

/// The stack's name.
pub const STACK: &str = "webhooks-local";

const GRAVEYARDS: [(Graveyard, &str); 2] =
    [(Graveyard::Alerts, "AlertsDeadLetterQueueUrl"), (Graveyard::Retries, "RetryDeadLetterQueueUrl")];

/// The organization that the files of `events/` are about.
pub const ORGANIZATION: u64 = 1;

/// Why the demo could not be given, or its end not be seen.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
    #[error("the receiver: {0}")]
    Receiver(io::Error),
    #[error(transparent)]
    Cloud(#[from] CloudError),
    #[error(transparent)]
    Stack(#[from] StackError),
    #[error(transparent)]
    Variables(#[from] NotWritten),
    #[error("reading the ledger: {0}")]
    Ledger(String),
    #[error("looking for dead letters: {0}")]
    DeadLetters(String),
}

/// Every alert of `events/` has it.
const IN_EVERY_PAYLOAD: &str = "warehouse-robot-01";

/// Everything that runs. Dropping it ends it all.
#[derive(Debug)]
pub struct Stage {
    pub cloud: LocalCloud,
    pub stack: Stack,
    pub receiver: Receiver,
    pub integrations: Vec<(Scenario, Integration)>,
    /// The signing secret of all of them.
    secret: SigningSecret,
    dynamodb: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
    dead_letters: Vec<(Timestamp, DeadLetter)>,
    known_messages: HashSet<String>,
}

impl Stage {
    /// Sets everything up, telling each step. `name` is that of the local cloud's log. With another address of this machine,
    /// the local cloud is there too, and the receiver only there.
    ///
    /// # Errors
    /// [`Trouble`] when a part does not start.
    pub async fn set(screen: &Screen, name: &str, also_at: Option<Ipv4Addr>) -> Result<Self, Trouble> {
        let project = Project::built()?;
        let secret = SigningSecret::generate(random());

        let address = also_at.unwrap_or(Ipv4Addr::LOCALHOST);
        let start = async { Receiver::start(&project, secret.reveal(), address).await.map_err(Trouble::Receiver) };
        let receiver = screen
            .step("starting the receiver", start, |receiver| {
                format!("receiver, written with Flask, listens at {}", receiver.url(""))
            })
            .await?;
        let cloud = screen
            .step("starting the local cloud", LocalCloud::start_also_at(&project, name, also_at), |cloud| {
                format!("local cloud, IAM enforced, answers at {}", cloud.endpoint())
            })
            .await?;
        let parameters = Parameters::local().with("RetrySchedule", RETRY_SCHEDULE).with_endpoints_at(also_at);
        let stack = screen
            .step("deploying template.yaml with sam deploy", cloud.deploy(&project, STACK, parameters), |_| {
                format!("template.yaml deployed with `sam deploy` as {STACK}")
            })
            .await?;
        let integrations = screen
            .step("creating integrations", create(&stack, &receiver, &secret), |integrations| {
                format!("{} integrations of organization {ORGANIZATION} created through the API", integrations.len())
            })
            .await?;

        let config = cloud.sdk_config();
        Ok(Self {
            cloud,
            stack,
            receiver,
            integrations,
            secret,
            dynamodb: aws_sdk_dynamodb::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            dead_letters: Vec::new(),
            known_messages: HashSet::new(),
        })
    }

    /// Where the signing secret or a payload is that must not be there. Takes the messages out of the dead-letter queues.
    ///
    /// # Errors
    /// [`Trouble`] when the local cloud does not answer.
    #[allow(dead_code, reason = "`make local` does not end, and leaves the dead letters to whoever looks")]
    pub async fn leaks(&self) -> Result<Vec<Leak>, Trouble> {
        let secret = self.secret.reveal();
        let encoded = secret.trim_start_matches("whsec_");
        Ok(Secrets::new([secret, encoded, IN_EVERY_PAYLOAD]).leaks(self.stack.shown().await?))
    }

    /// Looks at everything there is to see: the ledger, the dead-letter queues, the receiver.
    ///
    /// # Errors
    /// [`Trouble`] when the local cloud does not answer.
    pub async fn look(&mut self) -> Result<Seen, Trouble> {
        let mut deliveries = Vec::new();
        for (scenario, integration) in &self.integrations {
            deliveries.extend(self.deliveries_of(*scenario, integration).await?);
        }
        self.look_at_dead_letters().await?;
        // Last, so that each attempt in the ledger has its arrival.
        let arrivals = self.receiver.arrivals();
        Ok(Seen { arrivals, deliveries, dead_letters: self.dead_letters.clone() })
    }

    /// Looks into the dead-letter queues and takes nothing out, so that others can look too. Sees the first ten of each.
    async fn look_at_dead_letters(&mut self) -> Result<(), Trouble> {
        for (queue, output) in GRAVEYARDS {
            let request = self.sqs.receive_message().queue_url(self.stack.output(output)?);
            let request = request.visibility_timeout(0).max_number_of_messages(10).message_attribute_names("All");
            let request = request.message_system_attribute_names(GROUP);
            let received = request.send().await;
            let received = received.map_err(|error| Trouble::DeadLetters(DisplayErrorContext(error).to_string()))?;
            for message in received.messages.unwrap_or_default() {
                if !self.known_messages.insert(message.message_id.unwrap_or_default()) {
                    continue;
                }
                let group = message.attributes.and_then(|mut attributes| attributes.remove(&GROUP));
                let attributes = message.message_attributes.unwrap_or_default().into_iter();
                let attributes = attributes.filter_map(|(name, value)| Some((name, value.string_value?))).collect();
                let letter = DeadLetter { queue, body: message.body.unwrap_or_default(), group, attributes };
                self.dead_letters.push((Timestamp::now(), letter));
            }
        }
        Ok(())
    }

    /// All that the ledger holds for an integration, not only what is expected there.
    async fn deliveries_of(&self, scenario: Scenario, integration: &Integration) -> Result<Vec<Delivery>, Trouble> {
        let query = self
            .dynamodb
            .query()
            .table_name(self.stack.output("DeliveriesTableName")?)
            .key_condition_expression("integration_id = :integration AND begins_with(delivery_id, :prefix)")
            .expression_attribute_values(":integration", AttributeValue::S(integration.id.to_string()))
            .expression_attribute_values(":prefix", AttributeValue::S("dlv_".to_owned()))
            .consistent_read(true);
        let mut items = query.into_paginator().items().send();
        let mut deliveries = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| Trouble::Ledger(DisplayErrorContext(error).to_string()))?;
            let record = from_item(item).map_err(|error| Trouble::Ledger(error.to_string()))?;
            deliveries.push(Delivery { scenario, record });
        }
        Ok(deliveries)
    }
}

async fn create(
    stack: &Stack,
    receiver: &Receiver,
    secret: &SigningSecret,
) -> Result<Vec<(Scenario, Integration)>, StackError> {
    let organization =
        OrganizationId::new(ORGANIZATION).ok_or_else(|| StackError::Absent("organization".to_owned()))?;
    let mut integrations = Vec::new();
    for scenario in Scenario::ALL {
        let endpoint = scenario.endpoint();
        let url = match endpoint {
            Endpoint::Receiver(path) => receiver.url(path),
            Endpoint::Elsewhere(_) => receiver.url("/"),
        };
        let new = NewIntegration {
            name: scenario.name().to_owned(),
            enabled: scenario.is_enabled(),
            filter: Filter { event_types: scenario.event_types().to_vec(), ..Filter::default() },
            signing_secret: Some(secret.reveal().to_owned()),
            ..NewIntegration::to(url)
        };
        let mut integration = stack.create(organization, new).await?;
        if let Endpoint::Elsewhere(url) = endpoint {
            // The API refuses such a URL, so it is put there behind its back: as when a name comes to resolve to it later.
            integration = stack.overwrite(&integration, |integration| integration.url = url.to_owned()).await?;
        }
        integrations.push((scenario, integration));
    }
    Ok(integrations)
}
