//! What `demo` and `local` share: the receiver, the local cloud with the deployed template, and the integrations.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use anyhow::Context;
use aws::kms::vault::random;
use domain::alert::filter::Filter;
use domain::ids::OrganizationId;
use domain::integration::Integration;
use domain::request::signature::SigningSecret;
use harness::customer::NewIntegration;
use harness::dead_letters::DeadLetter;
use harness::leaks::{Leak, Secrets};
use harness::local_cloud::{LocalCloud, Parameters};
use harness::stack::Stack;
use jiff::Timestamp;
use support::project::Project;
use support::screen::Screen;

use crate::observations::{Delivery, Observations};
use crate::receiver::Receiver;
use crate::scenario::{Endpoint, RETRY_SCHEDULE, Scenario};

/// The organization that the files of `events/` are about.
pub const ORGANIZATION: u64 = 1;

/// A text in every alert of `events/`.
const IN_EVERY_PAYLOAD: &str = "warehouse-robot-01";

/// Everything that runs. It stops when dropped.
#[derive(Debug)]
pub struct Testbed {
    pub cloud: LocalCloud,
    pub stack: Stack,
    pub receiver: Receiver,
    pub integrations: Vec<(Scenario, Integration)>,
    /// The signing secret of all of them.
    secret: SigningSecret,
    dead_letters: Vec<(Timestamp, DeadLetter)>,
    known_messages: HashSet<String>,
}

impl Testbed {
    /// Sets everything up, showing each step. `name` is that of the stack and of the local cloud's log. With `also_at`,
    /// another address of this machine, the local cloud listens there too, and the receiver only there.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn set_up(screen: &Screen, name: &str, also_at: Option<Ipv4Addr>) -> anyhow::Result<Self> {
        let project = Project::built()?;
        let secret = SigningSecret::generate(random());

        let address = also_at.unwrap_or(Ipv4Addr::LOCALHOST);
        let receiver = screen
            .step("starting the receiver", Receiver::start(&project, secret.reveal(), address), |receiver| {
                format!("receiver (Flask) started at {}", receiver.url(""))
            })
            .await?;
        let parameters = Parameters::local().with("RetrySchedule", RETRY_SCHEDULE);
        let (cloud, stack) = harness::testbed::start(screen, &project, name, parameters, also_at).await?;
        let integrations = screen
            .step("creating integrations", create_integrations(&stack, &receiver, &secret), |integrations| {
                format!("{} integrations of organization {ORGANIZATION} created through the API", integrations.len())
            })
            .await?;
        Ok(Self {
            cloud,
            stack,
            receiver,
            integrations,
            secret,
            dead_letters: Vec::new(),
            known_messages: HashSet::new(),
        })
    }

    /// The texts that hold the signing secret or a payload and must not. Drains the dead-letter queues.
    ///
    /// # Errors
    /// When the local cloud does not answer.
    #[allow(dead_code, reason = "`make local` runs on, and leaves the dead letters where they are")]
    pub async fn find_leaks(&self) -> anyhow::Result<Vec<Leak>> {
        let secret = self.secret.reveal();
        let encoded = secret.trim_start_matches("whsec_");
        Ok(Secrets::new([secret, encoded, IN_EVERY_PAYLOAD]).find_in(self.stack.visible_texts().await?))
    }

    /// Looks at the ledger, the dead-letter queues and the receiver.
    ///
    /// # Errors
    /// When the local cloud does not answer.
    pub async fn update_health(&mut self) -> anyhow::Result<Observations> {
        let mut deliveries = Vec::new();
        for (scenario, integration) in &self.integrations {
            let records = self.stack.records_of(integration).await?.into_iter();
            deliveries.extend(records.map(|record| Delivery { scenario: *scenario, record }));
        }
        for letter in self.stack.peek_dead_letters().await? {
            if self.known_messages.insert(letter.message_id.clone()) {
                self.dead_letters.push((Timestamp::now(), letter));
            }
        }
        // Last, so that every attempt in the ledger has its request among them.
        let arrivals = self.receiver.arrivals();
        Ok(Observations { arrivals, deliveries, dead_letters: self.dead_letters.clone() })
    }
}

async fn create_integrations(
    stack: &Stack,
    receiver: &Receiver,
    secret: &SigningSecret,
) -> anyhow::Result<Vec<(Scenario, Integration)>> {
    let organization = OrganizationId::new(ORGANIZATION).context("an organization id is positive")?;
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
            // The API refuses such a URL, so it is written past the API: as if the name had been changed in DNS since.
            integration = stack.overwrite(&integration, |integration| integration.url = url.to_owned()).await?;
        }
        integrations.push((scenario, integration));
    }
    Ok(integrations)
}
