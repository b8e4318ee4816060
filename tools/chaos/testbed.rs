//! What a run needs: the local cloud with the deployed template, the proxy between functions and cloud, the
//! integrations and their endpoints.

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use domain::delivery::DeliveryKey;
use domain::ids::OrganizationId;
use domain::integration::Integration;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use harness::customer::NewIntegration;
use harness::leaks::Secrets;
use harness::local_cloud::{LocalCloud, Parameters};
use harness::proxy::{Forbidden, Proxy};
use harness::seeded_rng::seeded_rng;
use harness::stack::Stack;
use jiff::Timestamp;
use support::function::Function;
use support::project::Project;
use support::screen::Screen;

use crate::endpoints::{Endpoints, behaviour_of};
use crate::plan::{Alert, Behaviour, PAYLOAD_CANARY, Plan, REQUEST_TIMEOUT_SECONDS, RETRY_SCHEDULE, SECRET_CANARY};

/// The queues that the functions read.
pub(crate) const QUEUES: [&str; 3] = ["AlertsQueueUrl", "RetryQueueUrl", "SlowLaneQueueUrl"];

/// The functions whose calls go through the proxy.
const PROXIED: [Function; 3] = [Function::Deliver, Function::Retry, Function::Sweep];

/// What the template sets for a request timeout of 1 s.
pub(crate) const FUNCTION_TIMEOUT_SECONDS: u64 = 30;

/// Shorter than the template sets, so that a message whose worker died comes back sooner; longer than the lease of 32 s.
pub(crate) const VISIBILITY_TIMEOUT_SECONDS: u64 = 34;

/// The template's default.
pub(crate) const PRODUCTION_VISIBILITY_TIMEOUT_SECONDS: u64 = 360;

/// How many integrations are created at a time.
const CREATED_AT_ONCE: usize = 4;

/// Everything that runs. It stops when dropped.
#[derive(Debug)]
pub(crate) struct Testbed {
    pub(crate) cloud: LocalCloud,
    pub(crate) stack: Stack,
    pub(crate) proxy: Proxy,
    pub(crate) endpoints: Endpoints,
    /// In the order of their numbers.
    pub(crate) integrations: Vec<Integration>,
    started_at: Timestamp,
}

/// A delivery that there has to be.
#[derive(Clone, Debug)]
pub(crate) struct ExpectedDelivery {
    pub(crate) key: DeliveryKey,
    /// The number of its alert.
    pub(crate) alert: u64,
    /// The number of its integration.
    pub(crate) integration: usize,
    pub(crate) behaviour: Behaviour,
    /// The alert event, as it was sent.
    pub(crate) body: String,
}

impl Testbed {
    /// Sets everything up, showing each step.
    ///
    /// # Errors
    /// When a part does not start.
    pub(crate) async fn set_up(screen: &Screen, plan: &Plan) -> anyhow::Result<Self> {
        let project = Project::built()?;
        let parameters = Parameters::local()
            .with("RetrySchedule", RETRY_SCHEDULE)
            .with("RequestTimeoutSeconds", REQUEST_TIMEOUT_SECONDS.to_string())
            // As many as two processors can run.
            .with("DeliverConcurrency", "6")
            .with("RetryConcurrency", "6")
            .with("SlowLaneConcurrency", "4");
        let (cloud, stack) = harness::testbed::start(screen, &project, "chaos", parameters, None).await?;
        let endpoints = Endpoints::start(plan.clone()).await.context("starting the endpoints")?;
        let integrations = screen
            .step("creating integrations", create_integrations(&stack, plan, &endpoints), |integrations| {
                let (count, organizations) = (integrations.len(), plan.organizations);
                format!(
                    "{count} integrations of {organizations} organizations, endpoints of {} kinds",
                    Behaviour::ALL.len()
                )
            })
            .await?;
        let forbidden = Forbidden { secrets: Secrets::new([SECRET_CANARY]), payloads: Secrets::new([PAYLOAD_CANARY]) };
        let proxy = Proxy::start(cloud.endpoint(), plan.seed, forbidden).await.context("starting the proxy")?;
        stack.set_visibility_timeout(VISIBILITY_TIMEOUT_SECONDS).await?;
        screen
            .step("routing the functions' calls through a proxy", proxy.route(&stack, &PROXIED), |()| {
                "calls to DynamoDB, SQS, Step Functions and KMS go through a proxy".to_owned()
            })
            .await?;
        Ok(Self { cloud, stack, proxy, endpoints, integrations, started_at: Timestamp::now() })
    }

    /// The alert event that a producer sends, the same on every call.
    pub(crate) fn body(&self, plan: &Plan, alert: &Alert) -> String {
        let organization = organization_number(alert.organization);
        let at = self.started_at.saturating_add(alert.at).unwrap_or(self.started_at);
        plan.body(alert, organization, &at.to_string()).to_string()
    }

    /// Every delivery that there has to be, if no integration is switched off.
    ///
    /// # Errors
    /// When an alert of the plan is not a valid alert event.
    pub(crate) fn expected_deliveries(&self, plan: &Plan) -> anyhow::Result<Vec<ExpectedDelivery>> {
        let mut expected = Vec::with_capacity(plan.deliveries());
        for alert in &plan.alerts {
            let body = self.body(plan, alert);
            let first = alert.organization * Behaviour::ALL.len();
            for integration in first..first + Behaviour::ALL.len() {
                let key = self.stack.delivery(&self.integrations[integration], &body)?;
                let (alert, behaviour, body) = (alert.number, behaviour_of(integration), body.clone());
                expected.push(ExpectedDelivery { key, alert, integration, behaviour, body });
            }
        }
        Ok(expected)
    }
}

/// The id of the organization with that index in the plan.
pub(crate) fn organization_number(index: usize) -> u64 {
    index as u64 + 1
}

async fn create_integrations(stack: &Stack, plan: &Plan, endpoints: &Endpoints) -> anyhow::Result<Vec<Integration>> {
    let numbers = 0..plan.organizations * Behaviour::ALL.len();
    let created = stream::iter(numbers).map(|number| async move {
        let organization = organization_number(number / Behaviour::ALL.len());
        let organization = OrganizationId::new(organization).context("an organization id is positive")?;
        let mut random = [0; 12];
        seeded_rng(plan.seed, [format!("secret {number}")]).fill(&mut random);
        let secret = BASE64_STANDARD.encode([SECRET_CANARY.as_bytes(), &random].concat());
        let mut new = NewIntegration::to(endpoints.first_url(number)?);
        new.name = behaviour_of(number).name().to_owned();
        new.signing_secret = Some(format!("whsec_{secret}"));
        if behaviour_of(number) != Behaviour::BlockedAddress {
            new.headers = vec![("x-api-key".to_owned(), format!("{SECRET_CANARY}-{number}-and-more"))];
            return stack.create(organization, new).await;
        }
        // Without headers, whose values would not open for another URL than they were given for.
        let created = stack.create(organization, new).await?;
        let url = endpoints.url(number)?;
        stack.overwrite(&created, |integration| integration.url = url).await
    });
    created.buffered(CREATED_AT_ONCE).try_collect().await
}
