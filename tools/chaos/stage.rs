//! Sets the stage: the local cloud, the deployed template, the proxy between them, the integrations and their endpoints.

use std::io;

use aws_sdk_dynamodb::error::DisplayErrorContext;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use domain::delivery::DeliveryKey;
use domain::ids::OrganizationId;
use domain::integration::Integration;
use futures_util::StreamExt;
use futures_util::stream;
use harness::dice::dice;
use harness::leaks::Secrets;
use harness::local_cloud::{CloudError, LocalCloud, Parameters};
use harness::proxy::{Guarded, Proxy};
use harness::stack::{NewIntegration, Stack, StackError};
use jiff::Timestamp;
use support::function::Function;
use support::project::{NotBuilt, Project};
use support::screen::Screen;

use crate::endpoints::{Endpoints, fate_of};
use crate::plan::{Alert, Fate, PAYLOAD_CANARY, Plan, REQUEST_TIMEOUT_SECONDS, RETRY_SCHEDULE, SECRET_CANARY};

/// The queues that work comes by.
pub(crate) const QUEUES: [&str; 3] = ["AlertsQueueUrl", "RetryQueueUrl", "SlowLaneQueueUrl"];

/// The functions that deliver, or see to it.
const PROXIED: [Function; 3] = [Function::Deliver, Function::Retry, Function::Sweep];

/// What the template gives with a request timeout of 1 s.
pub(crate) const FUNCTION_TIMEOUT_SECONDS: u64 = 30;

/// Less than the template sets, so that a message whose worker died is back sooner; more than the lease of 32 s.
pub(crate) const VISIBILITY_TIMEOUT_SECONDS: u64 = 34;

/// The template's own, which what it takes here is compared with.
pub(crate) const VISIBILITY_TIMEOUT_IN_PRODUCTION: u64 = 360;

/// How many integrations are created at a time.
const CREATED_AT_ONCE: usize = 4;

/// Why a run could not be made, or its end not be seen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
    #[error("the endpoints or the proxy: {0}")]
    Listening(#[from] io::Error),
    #[error(transparent)]
    Cloud(#[from] CloudError),
    #[error(transparent)]
    Stack(#[from] StackError),
    #[error("{operation}: {error}")]
    Aws { operation: &'static str, error: String },
    #[error("{name} is not a number that can be used: {value}")]
    Setting { name: &'static str, value: String },
}

/// For `map_err` on an AWS call.
pub(crate) fn aws<E: std::error::Error>(operation: &'static str) -> impl Fn(E) -> Trouble {
    move |error| Trouble::Aws { operation, error: DisplayErrorContext(error).to_string() }
}

/// Everything that runs. Dropping it ends it all.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) cloud: LocalCloud,
    pub(crate) stack: Stack,
    pub(crate) proxy: Proxy,
    pub(crate) endpoints: Endpoints,
    /// In the order of their numbers.
    pub(crate) integrations: Vec<Integration>,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    began: Timestamp,
}

/// A delivery that there should be.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) key: DeliveryKey,
    /// The number of its alert.
    pub(crate) alert: u64,
    /// The number of its integration.
    pub(crate) integration: usize,
    pub(crate) fate: Fate,
    /// The alert event that it is of, as it was sent.
    pub(crate) body: String,
}

impl Stage {
    /// Sets everything up, telling each step.
    ///
    /// # Errors
    /// [`Trouble`] when a part does not start.
    pub(crate) async fn set(screen: &Screen, plan: &Plan) -> Result<Self, Trouble> {
        let project = Project::built()?;
        let cloud = screen
            .step("starting the local cloud", LocalCloud::start(&project, "chaos"), |cloud| {
                format!("local cloud, IAM enforced, answers at {}", cloud.endpoint())
            })
            .await?;
        let parameters = Parameters::local()
            .with("RetrySchedule", RETRY_SCHEDULE)
            .with("RequestTimeoutSeconds", REQUEST_TIMEOUT_SECONDS.to_string())
            // As many as two processors carry.
            .with("DeliverConcurrency", "6")
            .with("RetryConcurrency", "6")
            .with("SlowLaneConcurrency", "4");
        let stack = screen
            .step("deploying template.yaml with sam deploy", cloud.deploy(&project, "chaos", parameters), |_| {
                "template.yaml deployed with `sam deploy`".to_owned()
            })
            .await?;
        let config = cloud.sdk_config();
        let endpoints = Endpoints::start(plan.clone()).await?;
        let integrations = screen
            .step("creating integrations", create(&stack, plan, &endpoints), |integrations| {
                let kinds = Fate::ALL.len();
                format!("{} integrations of {} organizations, {kinds} fates", integrations.len(), plan.organizations)
            })
            .await?;
        let guarded = Guarded { secrets: Secrets::new([SECRET_CANARY]), payloads: Secrets::new([PAYLOAD_CANARY]) };
        let proxy = Proxy::start(cloud.endpoint(), plan.seed, guarded).await?;
        let sqs = aws_sdk_sqs::Client::new(&config);
        stack.set_visibility_timeout(VISIBILITY_TIMEOUT_SECONDS).await?;
        let lambda = aws_sdk_lambda::Client::new(&config);
        screen
            .step("leading the functions' calls through the proxy", proxy.lead(&stack, &lambda, &PROXIED), |()| {
                "calls to DynamoDB, SQS, Step Functions and KMS go through a proxy".to_owned()
            })
            .await?;
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        Ok(Self { cloud, stack, proxy, endpoints, integrations, dynamodb, sqs, began: Timestamp::now() })
    }

    /// An alert event as its producer sends it: the same each time it is asked for.
    pub(crate) fn body(&self, plan: &Plan, alert: &Alert) -> String {
        let organization = organization_number(alert.organization);
        let at = self.began.saturating_add(alert.at).unwrap_or(self.began);
        plan.body(alert, organization, &at.to_string()).to_string()
    }

    /// Every delivery that there should be.
    ///
    /// # Errors
    /// [`Trouble`] when an alert event of the plan is none.
    pub(crate) fn wanted(&self, plan: &Plan) -> Result<Vec<Wanted>, Trouble> {
        let mut wanted = Vec::with_capacity(plan.deliveries());
        for alert in &plan.alerts {
            let body = self.body(plan, alert);
            let first = alert.organization * Fate::ALL.len();
            for number in first..first + Fate::ALL.len() {
                let key = self.stack.delivery(&self.integrations[number], &body)?;
                let (alert, fate) = (alert.number, fate_of(number));
                wanted.push(Wanted { key, alert, integration: number, fate, body: body.clone() });
            }
        }
        Ok(wanted)
    }
}

/// The number of an organization in the cloud, given its index in the plan.
pub(crate) fn organization_number(index: usize) -> u64 {
    index as u64 + 1
}

async fn create(stack: &Stack, plan: &Plan, endpoints: &Endpoints) -> Result<Vec<Integration>, Trouble> {
    let numbers = 0..plan.organizations * Fate::ALL.len();
    let created = stream::iter(numbers).map(|number| async move {
        let organization = organization_number(number / Fate::ALL.len());
        let organization =
            OrganizationId::new(organization).ok_or_else(|| StackError::Absent("organization 0".to_owned()))?;
        let mut random = [0; 12];
        dice(plan.seed, [format!("secret {number}")]).fill(&mut random);
        let secret = BASE64_STANDARD.encode([SECRET_CANARY.as_bytes(), &random].concat());
        let mut new = NewIntegration::to(endpoints.url_at_first(number)?);
        new.name = fate_of(number).name().to_owned();
        new.signing_secret = Some(format!("whsec_{secret}"));
        new.headers = vec![("x-api-key".to_owned(), format!("{SECRET_CANARY}-{number}-and-more"))];
        let created = stack.create(organization, new).await?;
        if fate_of(number) != Fate::IsForbidden {
            return Ok(created);
        }
        let url = endpoints.url(number)?;
        Ok(stack.overwrite(&created, |integration| integration.url = url).await?)
    });
    let created: Vec<Result<Integration, Trouble>> = created.buffered(CREATED_AT_ONCE).collect().await;
    created.into_iter().collect()
}
