//! The testbed: AWS and an endpoint on loopback, and the functions as `make build` made them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use aws::kms::seal::{DataKey, seal};
use domain::alert::filter::Filter;
use domain::ids::{IntegrationId, OrganizationId};
use domain::integration::Integration;
use domain::integration::health::Health;
use domain::integration::secrets::{Owner, SealedSecrets, Slot};
use hyper::body::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use support::function::Function;
use support::project::Project;
use support::template::Template;
use tokio::sync::Semaphore;

use crate::alerts::{Alerts, batch};
use crate::aws::{Aws, Destination, Item, Queue, Sent};
use crate::endpoint::Endpoint;
use crate::ensure_eq;
use crate::worker::{Answer, Program, Worker};

/// The signing secret of every integration, which is also the data key that seals it: the baselines use what KMS
/// decrypts as the signing secret itself.
pub const SECRET: &[u8; 32] = b"the-signing-secret-of-everybody!";

/// The organization that the sample alerts are of.
const ORGANIZATION: u64 = 1;

/// How many invocations can run at once in an account, by default ("Lambda quotas").
const ACCOUNT_CONCURRENCY: usize = 1_000;

/// Everything that a measurement needs, set up once.
pub struct Testbed {
    pub project: Project,
    pub template: Template,
    pub aws: Aws,
    pub endpoint: Endpoint,
    pub alerts: Alerts,
    /// What all functions together may use of the account's concurrency.
    pub account: Arc<Semaphore>,
}

/// Whether an integration's filters match the sample alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscription {
    Matching,
    /// It is for alerts of another project.
    Unrelated,
}

impl Testbed {
    /// # Errors
    /// When nothing is built, or no port can be had.
    pub async fn prepare() -> Result<Self> {
        let project = Project::built()?;
        let template = Template::read();
        let aws = Aws::start(&template, SECRET).await?;
        let endpoint = Endpoint::start(SECRET).await?;
        let account = Arc::new(Semaphore::new(ACCOUNT_CONCURRENCY));
        Ok(Self { project, template, aws, endpoint, alerts: Alerts::new()?, account })
    }

    /// Gives the organization these integrations, and none besides; the ledger is emptied.
    pub fn set_integrations(&self, subscriptions: impl IntoIterator<Item = Subscription>) {
        self.aws.clear("IntegrationsTable");
        self.aws.clear("DeliveriesTable");
        for (number, subscription) in subscriptions.into_iter().enumerate() {
            let integration = integration(ORGANIZATION, number as u64, self.endpoint.url(), subscription);
            self.aws.put("IntegrationsTable", item(&integration));
        }
    }

    /// Gives organizations integrations with these URLs, which match all their alerts, and none besides; the ledger is
    /// emptied.
    pub fn set_organizations(&self, urls: impl IntoIterator<Item = (u64, String)>) -> Vec<Integration> {
        self.set_integrations([]);
        let integrations: Vec<_> = (0..)
            .zip(urls)
            .map(|(number, (organization, url))| integration(organization, number, url, Subscription::Matching))
            .collect();
        for integration in &integrations {
            self.aws.put("IntegrationsTable", item(integration));
        }
        integrations
    }

    /// The health that the functions recorded for each integration.
    ///
    /// # Errors
    /// When an item of the table is no integration.
    pub fn health(&self) -> Result<Vec<Option<Health>>> {
        let integrations = self.aws.items("IntegrationsTable").into_iter().map(|item| {
            let item: serde_dynamo::Item = serde_json::from_value(Value::Object(item))?;
            Ok(serde_dynamo::from_item::<_, Integration>(item)?.health)
        });
        integrations.collect()
    }

    /// One of our functions, as `make build` made it.
    ///
    /// # Errors
    /// When it is not built.
    pub fn function(&self, function: Function) -> Result<Program> {
        let executable = ensure_exists(&self.project.bootstrap(function.logical_id()))?;
        let variables = self.template.variables(function.logical_id()).into_iter();
        let mut environment: BTreeMap<_, _> =
            variables.map(|(name, value)| (name.to_owned(), self.resolve(value))).collect();
        environment.insert("ALLOW_PRIVATE_NETWORKS".to_owned(), "127.0.0.0/8".to_owned());
        environment.insert("AWS_ENDPOINT_URL".to_owned(), self.aws.url());
        let folder = self.project.root().to_path_buf();
        Ok(Program { name: function.name(), executable, arguments: Vec::new(), folder, environment })
    }

    /// A program of the benchmark's own, as `make bench` built it.
    ///
    /// # Errors
    /// When it is not built.
    pub fn own_program(&self, name: &'static str) -> Result<Program> {
        let executable = ensure_exists(&self.project.root().join("target/lambda").join(name).join("bootstrap"))?;
        let folder = self.project.root().to_path_buf();
        Ok(Program { name, executable, arguments: Vec::new(), folder, environment: BTreeMap::new() })
    }

    /// A value of the template as it is here: resources are named by their logical ids, queues have a URL that ends
    /// with it.
    fn resolve(&self, value: &Value) -> String {
        if let Some(name) = value["Ref"].as_str() {
            if self.template.section("Parameters").contains_key(name) {
                return self.template.default_of(name);
            }
            let is_queue = self.template.of_type("AWS::SQS::Queue").contains_key(name);
            return if is_queue { format!("{}/000000000000/{name}", self.aws.url()) } else { name.to_owned() };
        }
        if let Some(name) = value["Fn::GetAtt"][0].as_str() {
            return format!("arn:aws:sqs:us-east-1:000000000000:{name}");
        }
        if let Some([map, key, name]) = value["Fn::FindInMap"].as_array().map(Vec::as_slice) {
            let [map, key, name] = [map, key, name].map(|part| self.resolve(part));
            return self.resolve(&self.template.section("Mappings")[&map][&key][&name]);
        }
        // The bench is an AWS.
        if let Some([condition, on_aws, _]) = value["Fn::If"].as_array().map(Vec::as_slice)
            && condition == "OnAws"
        {
            return self.resolve(on_aws);
        }
        // Whatever else there is, such as an issuer, is not called; it only has to read as a URL.
        value.as_str().unwrap_or("https://example.com").to_owned()
    }

    /// The memory that the template gives a function, in MB.
    pub fn memory_mb(&self, function: Function) -> f64 {
        let globals = self.template.section("Globals");
        let own = &self.template.properties(function.logical_id())["MemorySize"];
        own.as_f64().or(globals["Function"]["MemorySize"].as_f64()).expect("the template sets a memory size")
    }

    /// How many states an execution of `LongWait` passes through.
    pub fn states_per_wait(&self) -> u64 {
        let states = &self.template.properties("LongWait")["Definition"]["States"];
        states.as_object().map_or(0, |states| states.len() as u64)
    }

    /// A batch of new alerts, and the bytes of their bodies.
    pub fn batch(&mut self, messages: usize, bytes: usize) -> (Bytes, u64) {
        let bodies: Vec<_> = (0..messages).map(|_| self.alerts.with_size(bytes)).collect();
        let payload = bodies.iter().map(|body| body.len() as u64).sum();
        (batch("AlertsQueue", &bodies), payload)
    }
}

/// A batch for `retry` of messages that were sent.
pub fn batch_for_retry(sent: &[Sent]) -> Bytes {
    let queue = match sent.first().map(|sent| sent.to) {
        Some(Destination::Queue(Queue::SlowLane)) => "SlowLaneQueue",
        _ => "RetryQueue",
    };
    let bodies: Vec<_> = sent.iter().map(|sent| sent.body.clone()).collect();
    batch(queue, &bodies)
}

/// Invokes a function with a batch, of which no message may be given back.
///
/// # Errors
/// When it fails, or gives a message back.
pub async fn process_batch(worker: &Worker, event: Bytes) -> Result<Answer> {
    let answer = worker.invoke(event).await?;
    let response: Value = serde_json::from_slice(&answer.body)?;
    let given_back = response["batchItemFailures"].as_array().map_or(0, Vec::len);
    ensure_eq("messages given back", &given_back, &0)?;
    Ok(answer)
}

/// An integration of an organization.
fn integration(organization: u64, number: u64, url: String, subscription: Subscription) -> Integration {
    let now = Timestamp::from_second(1_736_504_625).expect("an instant of 2025");
    let organization_id = OrganizationId::new(organization).expect("it is positive");
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    let id = IntegrationId::new(now, random);
    let owner = Owner::new(organization_id, id, &url);
    let secret = std::str::from_utf8(SECRET).expect("it is text");
    let sealed = SealedSecrets {
        // As long as what KMS makes of a data key.
        data_key: vec![7; 184].into(),
        signing_secret: Some(seal(&DataKey::new(*SECRET), &owner, Slot::SigningSecret, secret, [1; 12])),
        signing_secret_last4: Some("ody!".to_owned()),
        signing_secret_format: None,
        previous_signing_secret: None,
        previous_valid_until: None,
        headers: BTreeMap::new(),
        header_last4: BTreeMap::new(),
    };
    let project_ids = if subscription == Subscription::Unrelated { vec![4_711] } else { Vec::new() };
    Integration {
        organization_id,
        id,
        url,
        filter: Filter { project_ids, ..Filter::default() },
        secrets: Some(sealed),
        created_at: now,
        updated_at: now,
        ..domain::fixtures::integration()
    }
}

/// What a table holds for it.
pub fn item(value: &impl Serialize) -> Item {
    let item: serde_dynamo::Item = serde_dynamo::to_item(value).expect("it is an item");
    match serde_json::to_value(item) {
        Ok(Value::Object(item)) => item,
        other => unreachable!("an item is an object of JSON, not {other:?}"),
    }
}

fn ensure_exists(path: &Path) -> Result<std::path::PathBuf> {
    if path.exists() {
        return Ok(path.to_path_buf());
    }
    bail!("{} does not exist: run `make bench`, which builds it", path.display())
}

/// A program's size in bytes, as it is and zipped: an archive's other parts come to a few hundred bytes.
///
/// # Errors
/// When it cannot be read.
pub fn sizes(program: &Program) -> io::Result<(u64, u64)> {
    let bytes = std::fs::read(&program.executable)?;
    let mut zipped = flate2::write::DeflateEncoder::new(io::sink(), flate2::Compression::default());
    io::Write::write_all(&mut zipped, &bytes)?;
    zipped.try_finish()?;
    Ok((bytes.len() as u64, zipped.total_out()))
}
