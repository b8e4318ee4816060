//! A deployed stack and the clients to use it with. What can be done with it is in files of their own, by who does it:
//! [`producer`](crate::producer), [`customer`](crate::customer) (and [`api`](crate::api)),
//! [`operator`](crate::operator), [`ledger`](crate::ledger), [`dead_letters`](crate::dead_letters).
//!
//! Everything here fails when the local cloud refuses a call or does not answer; docs name other errors only.

use std::collections::HashMap;
use std::sync::Mutex;

use anyhow::Context;
use aws::dynamodb::deliveries_table::DeliveriesTable;
use aws::dynamodb::integrations_table::IntegrationsTable;
use aws_config::SdkConfig;

use crate::api::Accounts;
use crate::aws_json::AwsJsonClient;
use crate::cloudformation::CloudFormation;
use crate::dead_letters::DeadLetter;
use crate::local_cloud::Parameters;

/// A stack, and the clients to use it with.
#[derive(Debug)]
pub struct Stack {
    name: String,
    endpoint: String,
    parameters: Parameters,
    outputs: HashMap<String, String>,
    resources: HashMap<String, String>,
    aws_json: AwsJsonClient,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) integrations: IntegrationsTable,
    pub(crate) deliveries: DeliveriesTable,
    pub(crate) accounts: Accounts,
    /// What has been taken out of the dead-letter queues so far, by whichever test.
    pub(crate) drained: Mutex<Vec<DeadLetter>>,
}

impl Stack {
    /// Looks up the outputs and resources of a deployed stack.
    ///
    /// # Errors
    /// When there is no such stack, or an output with a table's name is missing.
    pub async fn open(config: &SdkConfig, name: &str, parameters: Parameters) -> anyhow::Result<Self> {
        let dynamodb = aws_sdk_dynamodb::Client::new(config);
        let endpoint = config.endpoint_url().unwrap_or_default();
        let cloudformation = CloudFormation::new(endpoint)?;
        let outputs = cloudformation.outputs(name).await?;
        Ok(Self {
            name: name.to_owned(),
            aws_json: AwsJsonClient::new(endpoint)?,
            endpoint: endpoint.to_owned(),
            parameters,
            resources: cloudformation.resources(name).await?,
            sfn: aws_sdk_sfn::Client::new(config),
            sqs: aws_sdk_sqs::Client::new(config),
            integrations: IntegrationsTable::new(dynamodb.clone(), find(&outputs, "IntegrationsTableName")?.to_owned()),
            deliveries: DeliveriesTable::new(dynamodb.clone(), find(&outputs, "DeliveriesTableName")?.to_owned()),
            accounts: Accounts::new()?,
            outputs,
            dynamodb,
            drained: Mutex::default(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of all the local cloud's services.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The client of Cognito, CloudWatch Logs and Lambda.
    pub fn aws_json(&self) -> &AwsJsonClient {
        &self.aws_json
    }

    /// The parameters that the stack was deployed with.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// One of the template's outputs.
    ///
    /// # Errors
    /// When the template has no such output.
    pub fn output(&self, name: &str) -> anyhow::Result<&str> {
        find(&self.outputs, name)
    }

    /// The physical id of one of the template's resources.
    ///
    /// # Errors
    /// When the template has no such resource.
    pub fn resource(&self, logical_id: &str) -> anyhow::Result<&str> {
        find(&self.resources, logical_id)
    }
}

fn find<'a>(all: &'a HashMap<String, String>, name: &str) -> anyhow::Result<&'a str> {
    all.get(name).map(String::as_str).with_context(|| format!("the stack has no {name}"))
}
