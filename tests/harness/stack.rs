//! A deployed stack, from outside: what a producer, a customer's settings page and an operator can do with it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use aws::dynamodb::deliveries_table::DeliveriesTable;
use aws::dynamodb::integrations_table::IntegrationsTable;
use aws::fault::Fault;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::error::{DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sfn::types::ExecutionListItem;
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use domain::alert::event::AlertEvent;
use domain::alert::filter::Filter;
use domain::delivery::{DeliveryKey, Record, Status};
use domain::ids::{DeliveryId, OrganizationId};
use domain::integration::{Integration, Method};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_dynamo::aws_sdk_dynamodb_1::from_item;
use serde_json::{Map, Value, json};
use support::function::Function;

use crate::api::Accounts;
use crate::leaks::Shown;
use crate::local_cloud::Parameters;

/// How long to rest between two looks at something that is waited for.
const LOOKS_EVERY: Duration = Duration::from_millis(100);

/// What went wrong between a test and the stack. The texts are for a person who reads a failed test.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error("{operation}: {error}")]
    Aws { operation: &'static str, error: String },
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("{0}")]
    Api(String),
    #[error("the stack has no {0}")]
    Absent(String),
    #[error("not within {} s: {wanted}. Last seen: {seen}", within.as_secs())]
    Late { wanted: String, within: Duration, seen: String },
    #[error("not an alert event: {0}")]
    NotAnAlert(#[from] domain::json::InvalidField),
}

pub(crate) fn aws<E, R>(operation: &'static str) -> impl Fn(SdkError<E, R>) -> StackError
where
    E: std::error::Error + 'static,
    R: Debug,
{
    move |error| StackError::Aws { operation, error: DisplayErrorContext(&error).to_string() }
}

/// Where a function's log goes.
fn log_group(stack: &str, function: Function) -> String {
    format!("/aws/lambda/{stack}-{}", function.name())
}

/// A dead-letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Graveyard {
    Alerts,
    Retries,
}

impl Graveyard {
    pub const ALL: [Self; 2] = [Self::Alerts, Self::Retries];

    fn output(self) -> &'static str {
        match self {
            Self::Alerts => "AlertsDeadLetterQueueUrl",
            Self::Retries => "RetryDeadLetterQueueUrl",
        }
    }
}

/// A message's group, among what SQS says of it.
pub const GROUP: MessageSystemAttributeName = MessageSystemAttributeName::MessageGroupId;

/// Where the bodies of dead retry messages are shown.
pub const RETRIES_BURIED: &str = "a dead retry message";

/// A message in a dead-letter queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    pub queue: Graveyard,
    pub body: String,
    /// Its `MessageGroupId`, by which it is one of many's or of one organization's when it is moved back.
    pub group: Option<String>,
    pub attributes: HashMap<String, String>,
}

/// An integration to be created.
#[derive(Clone, Debug)]
pub struct NewIntegration {
    pub name: String,
    pub url: String,
    pub method: Method,
    pub enabled: bool,
    pub filter: Filter,
    pub signing_secret: Option<String>,
    pub headers: Vec<(String, String)>,
}

impl NewIntegration {
    /// An enabled integration that wants everything, by POST, without a secret.
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            name: "Test".to_owned(),
            url: url.into(),
            method: Method::Post,
            enabled: true,
            filter: Filter::default(),
            signing_secret: None,
            headers: Vec::new(),
        }
    }

    fn into_json(self) -> Value {
        let headers: Map<_, _> = self.headers.into_iter().map(|(name, value)| (name, value.into())).collect();
        let Filter { event_types, severities, project_ids } = self.filter;
        let mut integration = json!({
            "name": self.name, "url": self.url, "method": self.method, "enabled": self.enabled, "headers": headers,
            "event_types": event_types, "severities": severities, "project_ids": project_ids,
        });
        if let Some(secret) = self.signing_secret {
            integration["signing_secret"] = secret.into();
        }
        integration
    }
}

/// A stack, and the clients to use it with.
#[derive(Debug)]
pub struct Stack {
    name: String,
    /// The one URL of the local cloud's services.
    endpoint: String,
    parameters: Parameters,
    outputs: HashMap<String, String>,
    resources: HashMap<String, String>,
    dynamodb: aws_sdk_dynamodb::Client,
    lambda: aws_sdk_lambda::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    sfn: aws_sdk_sfn::Client,
    sqs: aws_sdk_sqs::Client,
    integrations: IntegrationsTable,
    deliveries: DeliveriesTable,
    pub(crate) accounts: Accounts,
    /// What was taken out of the dead-letter queues so far, by whichever test.
    dead_letters: Mutex<Vec<DeadLetter>>,
}

impl Stack {
    /// Looks up what a deployed stack consists of.
    ///
    /// # Errors
    /// [`StackError`] when it is not there, or lacks a table.
    pub async fn open(config: SdkConfig, name: &str, parameters: Parameters) -> Result<Self, StackError> {
        let cloudformation = aws_sdk_cloudformation::Client::new(&config);
        let described =
            cloudformation.describe_stacks().stack_name(name).send().await.map_err(aws("DescribeStacks"))?;
        let outputs: HashMap<_, _> = described
            .stacks()
            .iter()
            .flat_map(|stack| stack.outputs())
            .filter_map(|output| Some((output.output_key()?.to_owned(), output.output_value()?.to_owned())))
            .collect();
        let described = cloudformation
            .describe_stack_resources()
            .stack_name(name)
            .send()
            .await
            .map_err(aws("DescribeStackResources"))?;
        let resources = described
            .stack_resources()
            .iter()
            .filter_map(|resource| {
                Some((resource.logical_resource_id()?.to_owned(), resource.physical_resource_id()?.to_owned()))
            })
            .collect();

        let table = |output: &str| outputs.get(output).cloned().ok_or_else(|| StackError::Absent(output.to_owned()));
        let dynamodb = aws_sdk_dynamodb::Client::new(&config);
        Ok(Self {
            name: name.to_owned(),
            endpoint: config.endpoint_url().unwrap_or_default().to_owned(),
            parameters,
            integrations: IntegrationsTable::new(dynamodb.clone(), table("IntegrationsTableName")?),
            deliveries: DeliveriesTable::new(dynamodb.clone(), table("DeliveriesTableName")?),
            accounts: Accounts::new(&config)?,
            outputs,
            resources,
            dynamodb,
            lambda: aws_sdk_lambda::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
            sfn: aws_sdk_sfn::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            dead_letters: Mutex::default(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The one URL of the local cloud's services.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What the stack was deployed with.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// One of the template's outputs.
    ///
    /// # Errors
    /// [`StackError::Absent`] when the template has no such output.
    pub fn output(&self, name: &str) -> Result<&str, StackError> {
        self.outputs.get(name).map(String::as_str).ok_or_else(|| StackError::Absent(name.to_owned()))
    }

    /// Sets, in seconds, how long a message is hidden from other workers: shorter than the template does, so that a test
    /// sees the message of a killed worker come back.
    ///
    /// # Errors
    /// [`StackError`] when SQS does not answer.
    pub async fn set_visibility_timeout(&self, seconds: u64) -> Result<(), StackError> {
        for queue in ["AlertsQueueUrl", "RetryQueueUrl", "SlowLaneQueueUrl"] {
            let request = self.sqs.set_queue_attributes().queue_url(self.output(queue)?);
            let request = request.attributes(QueueAttributeName::VisibilityTimeout, seconds.to_string());
            request.send().await.map_err(aws("SetQueueAttributes"))?;
        }
        Ok(())
    }

    /// The physical id of one of the template's resources.
    ///
    /// # Errors
    /// [`StackError::Absent`] when the template has no such resource.
    pub fn resource(&self, logical_id: &str) -> Result<&str, StackError> {
        self.resources.get(logical_id).map(String::as_str).ok_or_else(|| StackError::Absent(logical_id.to_owned()))
    }
}

/// What the owner of an integration does.
impl Stack {
    /// Creates an integration, through the API as any customer does.
    ///
    /// # Errors
    /// [`StackError`] when the API refuses it.
    pub async fn create(&self, organization: OrganizationId, new: NewIntegration) -> Result<Integration, StackError> {
        let created = self.api(organization).await?.create(&new.into_json()).await?;
        self.find_integration(organization, created["id"].as_str().unwrap_or_default()).await
    }

    /// Writes an integration into the table as its next version, past the API: for states that the API would refuse.
    ///
    /// # Errors
    /// [`StackError`] when DynamoDB fails.
    pub async fn overwrite(
        &self,
        integration: &Integration,
        edit: impl FnOnce(&mut Integration),
    ) -> Result<Integration, StackError> {
        let mut changed = integration.clone();
        edit(&mut changed);
        changed.version = integration.version + 1;
        self.integrations.put(&changed).await?;
        Ok(changed)
    }

    /// Changes an integration by a merge patch, through the API.
    ///
    /// # Errors
    /// [`StackError`] when the API refuses it.
    pub async fn change(&self, integration: &Integration, patch: &Value) -> Result<Integration, StackError> {
        self.api(integration.organization_id).await?.change(&integration.id.to_string(), patch).await?;
        self.integration(integration).await
    }

    /// Deletes an integration, through the API: leaves its tombstone.
    ///
    /// # Errors
    /// [`StackError`] when the API refuses it.
    pub async fn delete(&self, integration: &Integration) -> Result<(), StackError> {
        Ok(self.api(integration.organization_id).await?.delete(&integration.id.to_string()).await?)
    }

    /// An integration as the table has it now.
    ///
    /// # Errors
    /// [`StackError`] when DynamoDB fails or it is not there.
    pub async fn integration(&self, integration: &Integration) -> Result<Integration, StackError> {
        self.find_integration(integration.organization_id, &integration.id.to_string()).await
    }

    /// The integration of that id.
    ///
    /// # Errors
    /// [`StackError`] when DynamoDB fails or it is not there.
    pub async fn find_integration(&self, organization: OrganizationId, id: &str) -> Result<Integration, StackError> {
        let absent = || StackError::Absent(format!("integration {id}"));
        let found = self.integrations.find(organization, id.parse().map_err(|_| absent())?).await?;
        found.ok_or_else(absent)
    }
}

/// What a producer does.
impl Stack {
    /// Puts a message on the alerts queue. `group` is its `MessageGroupId`; producers are advised to give the
    /// organization's id.
    ///
    /// # Errors
    /// [`StackError`] when SQS refuses it.
    pub async fn send_alert(&self, body: &str, group: Option<&str>) -> Result<(), StackError> {
        self.send("AlertsQueueUrl", body, group).await
    }

    /// Puts a message on the retry queue.
    ///
    /// # Errors
    /// [`StackError`] when SQS refuses it.
    pub async fn send_due(&self, body: &str) -> Result<(), StackError> {
        self.send("RetryQueueUrl", body, None).await
    }

    async fn send(&self, queue: &str, body: &str, group: Option<&str>) -> Result<(), StackError> {
        let message = self.sqs.send_message().queue_url(self.output(queue)?).message_body(body);
        message.set_message_group_id(group.map(str::to_owned)).send().await.map(drop).map_err(aws("SendMessage"))
    }
}

/// What an operator can look at, and do to it.
impl Stack {
    /// The delivery that an alert event becomes for an integration.
    ///
    /// # Errors
    /// [`StackError::NotAnAlert`] when the body is none.
    pub fn delivery(&self, integration: &Integration, body: &str) -> Result<DeliveryKey, StackError> {
        let event = AlertEvent::parse(body)?;
        let delivery_id = DeliveryId::of_alert(event.organization_id, integration.id, event.timestamp, body.as_bytes());
        Ok(DeliveryKey { integration_id: integration.id, delivery_id })
    }

    /// What the ledger says of a delivery.
    ///
    /// # Errors
    /// [`StackError`] when DynamoDB fails or the item is broken.
    pub async fn record(&self, key: DeliveryKey) -> Result<Option<Record>, StackError> {
        Ok(self.deliveries.find(key).await?.map(|record| *record))
    }

    /// Waits until the ledger's record of a delivery is as wanted; `wanted` says so in words.
    ///
    /// # Errors
    /// [`StackError::Late`] with the last record seen.
    pub async fn record_when(
        &self,
        key: DeliveryKey,
        within: Duration,
        wanted: &str,
        is_so: impl Fn(&Record) -> bool,
    ) -> Result<Record, StackError> {
        let started = Instant::now();
        loop {
            let record = self.record(key).await?;
            if let Some(record) = record.as_ref().filter(|record| is_so(record)) {
                return Ok(record.clone());
            }
            if started.elapsed() > within {
                let seen = record.as_ref().map_or_else(|| "no such delivery".to_owned(), describe);
                return Err(StackError::Late { wanted: format!("{wanted} ({})", key.delivery_id), within, seen });
            }
            tokio::time::sleep(LOOKS_EVERY).await;
        }
    }

    /// Waits until a delivery has that status.
    ///
    /// # Errors
    /// [`StackError::Late`] with the last record seen.
    pub async fn record_with_status(
        &self,
        key: DeliveryKey,
        status: Status,
        within: Duration,
    ) -> Result<Record, StackError> {
        self.record_when(key, within, &format!("a delivery that is {status}"), |record| record.status == status).await
    }

    /// Every delivery in the ledger, whosever it is.
    ///
    /// # Errors
    /// [`StackError`] when DynamoDB fails or an item cannot be read.
    pub async fn all_records(&self) -> Result<Vec<Record>, StackError> {
        let scan = self
            .dynamodb
            .scan()
            .table_name(self.output("DeliveriesTableName")?)
            // Payloads that have an item of their own have no status.
            .filter_expression("attribute_exists(#status)")
            .expression_attribute_names("#status", "status");
        let mut items = scan.into_paginator().items().send();
        let mut records = Vec::new();
        while let Some(item) = items.next().await {
            let record = from_item(item.map_err(aws("Scan"))?);
            records.push(record.map_err(|error| StackError::Aws { operation: "Scan", error: error.to_string() })?);
        }
        Ok(records)
    }

    /// Writes a delivery into the ledger, as a worker that died after it would have.
    ///
    /// # Errors
    /// [`StackError`] when DynamoDB fails.
    pub async fn put_record(&self, record: Record) -> Result<(), StackError> {
        Ok(self.deliveries.create(Box::new(record)).await.map(drop)?)
    }

    /// Sets when a waiting delivery is due, in the ledger alone.
    ///
    /// # Errors
    /// [`StackError`] when DynamoDB fails.
    pub async fn set_due_at(&self, key: DeliveryKey, due_at: Timestamp) -> Result<(), StackError> {
        self.dynamodb
            .update_item()
            .table_name(self.output("DeliveriesTableName")?)
            .key("integration_id", AttributeValue::S(key.integration_id.to_string()))
            .key("delivery_id", AttributeValue::S(key.delivery_id.to_string()))
            .update_expression("SET due_at = :due_at")
            .expression_attribute_values(":due_at", AttributeValue::N(due_at.as_millisecond().to_string()))
            .send()
            .await
            .map(drop)
            .map_err(aws("UpdateItem"))
    }

    /// Takes an attribute away from a delivery's item that none can be read without.
    ///
    /// # Errors
    /// [`StackError`] when DynamoDB fails.
    pub async fn make_unreadable(&self, key: DeliveryKey) -> Result<(), StackError> {
        self.dynamodb
            .update_item()
            .table_name(self.output("DeliveriesTableName")?)
            .key("integration_id", AttributeValue::S(key.integration_id.to_string()))
            .key("delivery_id", AttributeValue::S(key.delivery_id.to_string()))
            .update_expression("REMOVE attempt")
            .send()
            .await
            .map(drop)
            .map_err(aws("UpdateItem"))
    }

    /// Deletes a delivery's item.
    ///
    /// # Errors
    /// [`StackError`] when DynamoDB fails.
    pub async fn forget(&self, key: DeliveryKey) -> Result<(), StackError> {
        self.dynamodb
            .delete_item()
            .table_name(self.output("DeliveriesTableName")?)
            .key("integration_id", AttributeValue::S(key.integration_id.to_string()))
            .key("delivery_id", AttributeValue::S(key.delivery_id.to_string()))
            .send()
            .await
            .map(drop)
            .map_err(aws("DeleteItem"))
    }

    /// The executions of the state machine that wait or waited for a delivery.
    ///
    /// # Errors
    /// [`StackError`] when Step Functions fails.
    pub async fn executions(&self, delivery: DeliveryId) -> Result<Vec<ExecutionListItem>, StackError> {
        let prefix = format!("{delivery}-");
        let all = self.all_executions().await?;
        Ok(all.into_iter().filter(|execution| execution.name().starts_with(&prefix)).collect())
    }

    /// All executions of the state machine.
    ///
    /// # Errors
    /// [`StackError`] when Step Functions fails.
    pub async fn all_executions(&self) -> Result<Vec<ExecutionListItem>, StackError> {
        let mut executions = Vec::new();
        let mut pages =
            self.sfn.list_executions().state_machine_arn(self.output("LongWaitArn")?).into_paginator().items().send();
        while let Some(execution) = pages.next().await {
            executions.push(execution.map_err(aws("ListExecutions"))?);
        }
        Ok(executions)
    }

    /// What an execution was started with.
    ///
    /// # Errors
    /// [`StackError`] when Step Functions fails.
    pub async fn execution_input(&self, execution: &ExecutionListItem) -> Result<String, StackError> {
        let described = self.sfn.describe_execution().execution_arn(execution.execution_arn()).send().await;
        Ok(described.map_err(aws("DescribeExecution"))?.input.unwrap_or_default())
    }

    /// Aborts an execution, as one can by hand in the console.
    ///
    /// # Errors
    /// [`StackError`] when Step Functions fails.
    pub async fn abort(&self, execution: &ExecutionListItem) -> Result<(), StackError> {
        let stopped = self.sfn.stop_execution().execution_arn(execution.execution_arn()).send().await;
        stopped.map(drop).map_err(aws("StopExecution"))
    }

    /// Everything that has come to the dead-letter queues so far. Takes the messages out of the queues, and remembers
    /// them.
    ///
    /// # Errors
    /// [`StackError`] when SQS fails.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, StackError> {
        for queue in Graveyard::ALL {
            self.exhume(queue).await?;
        }
        Ok(self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Everything that somebody other than the customer may come to see: log lines, what messages are marked with, the bodies
    /// of messages between the functions, what executions were started with, what is kept of failed attempts, and what the
    /// API said of requests that it refused. Takes the messages out of the dead-letter queues.
    ///
    /// # Errors
    /// [`StackError`] when one of them cannot be read.
    pub async fn shown(&self) -> Result<Vec<Shown>, StackError> {
        let mut shown = Vec::new();
        for function in Function::ALL {
            // The platform's own lines too: they are as public.
            let lines = self.all_log_lines(function).await?.into_iter();
            shown.extend(lines.map(|line| Shown::new(format!("the log of {}", function.logical_id()), line)));
        }
        for DeadLetter { queue, body, attributes, .. } in self.dead_letters().await? {
            shown.extend(
                attributes.into_iter().map(|(name, value)| Shown::new(format!("a dead letter's {name}"), value)),
            );
            // The body of an alert is the producer's own.
            if queue == Graveyard::Retries {
                shown.push(Shown::new(RETRIES_BURIED, body));
            }
        }
        for execution in self.all_executions().await? {
            shown.push(Shown::new("an execution", self.execution_input(&execution).await?));
            shown.push(Shown::new("an execution's name", execution.name));
        }
        for record in self.all_records().await? {
            let errors = record.attempts.into_iter().filter_map(|attempt| attempt.error);
            shown.extend(
                errors.map(|error| Shown::new("an attempt's error", format!("{} {}", error.code, error.message))),
            );
        }
        shown.extend(self.refusals().into_iter().map(|refusal| Shown::new("what the API refused with", refusal)));
        Ok(shown)
    }

    async fn exhume(&self, queue: Graveyard) -> Result<(), StackError> {
        let url = self.output(queue.output())?;
        loop {
            let request = self.sqs.receive_message().queue_url(url).max_number_of_messages(10);
            let request = request.message_attribute_names("All").message_system_attribute_names(GROUP);
            let received = request.send().await.map_err(aws("ReceiveMessage"))?;
            if received.messages().is_empty() {
                return Ok(());
            }
            for message in received.messages.unwrap_or_default() {
                let group = message.attributes.and_then(|mut attributes| attributes.remove(&GROUP));
                let attributes = message.message_attributes.unwrap_or_default().into_iter();
                let attributes =
                    attributes.filter_map(|(name, value)| Some((name, value.string_value()?.to_owned()))).collect();
                let letter = DeadLetter { queue, body: message.body.unwrap_or_default(), group, attributes };
                self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
                let delete = self.sqs.delete_message().queue_url(url);
                let deleted = delete.set_receipt_handle(message.receipt_handle).send().await;
                deleted.map_err(aws("DeleteMessage"))?;
            }
        }
    }

    /// The lines that a function has logged, those of invocations that have ended. The platform's own are left out.
    ///
    /// # Errors
    /// [`StackError`] when CloudWatch Logs fails.
    pub async fn log_lines(&self, function: Function) -> Result<Vec<String>, StackError> {
        let mut lines = self.all_log_lines(function).await?;
        lines.retain(|line| !["START ", "END ", "REPORT ", "INIT_START "].iter().any(|ours| line.starts_with(ours)));
        Ok(lines)
    }

    /// How often a function was invoked, counting what has ended.
    ///
    /// # Errors
    /// [`StackError`] when CloudWatch Logs fails.
    pub async fn invocations(&self, function: Function) -> Result<usize, StackError> {
        Ok(self.all_log_lines(function).await?.iter().filter(|line| line.starts_with("START ")).count())
    }

    async fn all_log_lines(&self, function: Function) -> Result<Vec<String>, StackError> {
        let request = self.logs.filter_log_events().log_group_name(log_group(&self.name, function));
        let mut pages = request.into_paginator().send();
        let mut lines = Vec::new();
        while let Some(page) = pages.next().await {
            let events = page.map_err(aws("FilterLogEvents"))?.events.unwrap_or_default();
            let messages = events.into_iter().filter_map(|event| event.message);
            lines.extend(messages.flat_map(|message| message.lines().map(str::to_owned).collect::<Vec<_>>()));
        }
        Ok(lines)
    }

    /// Waits for a JSON line that is as wanted, in the log of any function: which of them makes a first attempt depends
    /// on how much of its time the invocation has left.
    ///
    /// # Errors
    /// [`StackError::Late`] when none came.
    pub async fn log_line_when(
        &self,
        within: Duration,
        wanted: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<Value, StackError> {
        let started = Instant::now();
        loop {
            let mut lines = Vec::new();
            for function in Function::ALL {
                lines.extend(self.log_lines(function).await?);
            }
            let mut parsed = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            if let Some(line) = parsed.find(&is_so) {
                return Ok(line);
            }
            if started.elapsed() > within {
                let seen = format!("{} other lines", lines.len());
                return Err(StackError::Late { wanted: wanted.to_owned(), within, seen });
            }
            tokio::time::sleep(LOOKS_EVERY * 5).await;
        }
    }

    /// Invokes a function with an event, past its queues, and returns what it answers.
    ///
    /// # Errors
    /// [`StackError`] when the function fails or does not answer JSON.
    pub async fn invoke(&self, function: Function, event: &Value) -> Result<Value, StackError> {
        let request = self.lambda.invoke().function_name(self.resource(function.logical_id())?);
        let answer = request
            .payload(aws_sdk_lambda::primitives::Blob::new(event.to_string()))
            .send()
            .await
            .map_err(aws("Invoke"))?;
        let payload = answer.payload.map(|payload| payload.into_inner()).unwrap_or_default();
        if let Some(error) = answer.function_error {
            let error = format!("{error}: {}", String::from_utf8_lossy(&payload));
            return Err(StackError::Aws { operation: "Invoke", error });
        }
        serde_json::from_slice(&payload)
            .map_err(|error| StackError::Aws { operation: "Invoke", error: format!("no JSON in the answer: {error}") })
    }

    /// The environment variables that a function was deployed with.
    ///
    /// # Errors
    /// [`StackError`] when Lambda fails.
    pub async fn environment(&self, function: Function) -> Result<HashMap<String, String>, StackError> {
        let request = self.lambda.get_function_configuration().function_name(self.resource(function.logical_id())?);
        let configuration = request.send().await.map_err(aws("GetFunctionConfiguration"))?;
        Ok(configuration.environment.and_then(|environment| environment.variables).unwrap_or_default())
    }

    /// The processes that run a function now, busy or idle.
    ///
    /// # Errors
    /// [`StackError::Absent`] when there is no such function.
    pub fn workers(&self, function: Function) -> Result<Vec<Worker>, StackError> {
        let name = format!("AWS_LAMBDA_FUNCTION_NAME={}", self.resource(function.logical_id())?);
        let cloud = format!("AWS_ENDPOINT_URL={}", self.endpoint);
        let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let runs_it = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let has = |wanted: &str| environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes());
            has(&name) && has(&cloud)
        };
        Ok(pids.filter(runs_it).filter_map(Pid::from_raw).map(Worker).collect())
    }
}

/// A process that runs a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker(Pid);

impl Worker {
    /// Ends the process without giving it time for anything, as a machine that loses power does.
    ///
    /// # Errors
    /// When the process is gone already.
    pub fn kill(self) -> std::io::Result<()> {
        Ok(kill_process(self.0, Signal::KILL)?)
    }
}

/// A record as a failed test shows it: status, and what became of each attempt.
pub fn describe(record: &Record) -> String {
    let attempts = record.attempts.iter().map(|attempt| {
        let status = attempt.status_code.map(|status| format!(" {status}")).unwrap_or_default();
        let error = attempt.error.as_ref().map(|error| format!(" {}", error.code)).unwrap_or_default();
        format!("{}: {}{status}{error}", attempt.number, attempt.outcome)
    });
    let attempts: Vec<_> = attempts.collect();
    let due = record.due_at.map(|due_at| format!(", due at {due_at}")).unwrap_or_default();
    format!("{} in attempt {}{due} [{}]", record.status, record.attempt, attempts.join(", "))
}
