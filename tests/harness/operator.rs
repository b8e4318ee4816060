//! What an operator can look at and change: functions and their processes, logs, executions, queues.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use aws_sdk_sfn::types::ExecutionListItem;
use aws_sdk_sqs::types::QueueAttributeName;
use domain::ids::DeliveryId;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::function::Function;

use crate::aws_json::Invocation;
use crate::dead_letters::{DeadLetter, DeadLetterQueue};
use crate::leaks::VisibleText;
use crate::stack::Stack;

/// How long to sleep between two looks at something that is waited for.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The place of the bodies of dead retry messages, among the [visible texts](Stack::visible_texts).
pub const DEAD_RETRY_MESSAGE: &str = "a dead retry message";

/// Functions.
impl Stack {
    /// Invokes a function with an event, past its queues, and returns its answer.
    ///
    /// # Errors
    /// When the function fails or does not answer with JSON.
    pub async fn invoke(&self, function: Function, event: &Value) -> anyhow::Result<Value> {
        Ok(self.invocation(function, event).await?.payload)
    }

    /// The same, with what it logged.
    ///
    /// # Errors
    /// The same.
    pub async fn invocation(&self, function: Function, event: &Value) -> anyhow::Result<Invocation> {
        let id = function.logical_id();
        let invocation = self.aws_json().invoke(self.resource(id)?, event.to_string().into_bytes()).await;
        let invocation = invocation.with_context(|| format!("invoking {id}"))?;
        if let Some(error) = invocation.function_error {
            bail!("{id} failed ({error}): {}", invocation.payload);
        }
        Ok(invocation)
    }

    /// A function's environment variables.
    pub async fn environment(&self, function: Function) -> anyhow::Result<HashMap<String, String>> {
        let configuration = self.aws_json().function_configuration(self.resource(function.logical_id())?).await;
        let mut configuration = configuration.context("GetFunctionConfiguration")?;
        let variables = configuration["Environment"]["Variables"].take();
        serde_json::from_value(variables).context("a function's environment variables")
    }

    /// Replaces a function's environment variables.
    pub async fn set_environment(&self, function: Function, variables: HashMap<String, String>) -> anyhow::Result<()> {
        let changes = json!({ "Environment": { "Variables": variables } });
        let name = self.resource(function.logical_id())?;
        let updated = self.aws_json().update_function_configuration(name, &changes).await;
        updated.context("UpdateFunctionConfiguration")?;
        Ok(())
    }

    /// The processes that run a function now, busy or idle.
    pub fn workers(&self, function: Function) -> anyhow::Result<Vec<Worker>> {
        let name = format!("AWS_LAMBDA_FUNCTION_NAME={}", self.resource(function.logical_id())?);
        let cloud = format!("AWS_ENDPOINT_URL={}", self.endpoint());
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
    /// Kills the process with SIGKILL, so that it cannot clean up: as when a machine loses power.
    ///
    /// # Errors
    /// When the process has ended already.
    pub fn kill(self) -> std::io::Result<()> {
        Ok(kill_process(self.0, Signal::KILL)?)
    }
}

/// Logs.
impl Stack {
    /// The lines that a function has logged in invocations that have ended, without the platform's own.
    pub async fn log_lines(&self, function: Function) -> anyhow::Result<Vec<String>> {
        let mut lines = self.all_log_lines(function).await?;
        lines.retain(|line| !["START ", "END ", "REPORT ", "INIT_START "].iter().any(|start| line.starts_with(start)));
        Ok(lines)
    }

    /// How many invocations of a function have ended.
    pub async fn invocations(&self, function: Function) -> anyhow::Result<usize> {
        Ok(self.all_log_lines(function).await?.iter().filter(|line| line.starts_with("START ")).count())
    }

    async fn all_log_lines(&self, function: Function) -> anyhow::Result<Vec<String>> {
        let group = format!("/aws/lambda/{}-{}", self.name(), function.name());
        let mut input = json!({ "logGroupName": group });
        let mut lines = Vec::new();
        loop {
            let mut page = self.aws_json().logs("FilterLogEvents", &input).await.context("FilterLogEvents")?;
            let events = page["events"].as_array().context("FilterLogEvents returned no events")?;
            let messages = events.iter().filter_map(|event| event["message"].as_str());
            lines.extend(messages.flat_map(str::lines).map(str::to_owned));
            input["nextToken"] = page["nextToken"].take();
            if input["nextToken"].is_null() {
                return Ok(lines);
            }
        }
    }

    /// Waits for a JSON line that fulfils a condition, which `wanted` says in words, in the log of any function: which
    /// of them makes a first attempt depends on how much of its time the invocation has left.
    ///
    /// # Errors
    /// After `within`.
    pub async fn log_line_when(
        &self,
        within: Duration,
        wanted: &str,
        is_so: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
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
                bail!("not logged within {} s: {wanted}; {} other lines were", within.as_secs(), lines.len());
            }
            tokio::time::sleep(POLL_INTERVAL * 5).await;
        }
    }

    /// Everything that somebody other than the customer may come to see: log lines, the attributes and bodies of
    /// messages between the functions, the input and names of executions, the errors of failed attempts, and the API's
    /// answers to requests that it refused. Drains the dead-letter queues.
    pub async fn visible_texts(&self) -> anyhow::Result<Vec<VisibleText>> {
        let mut texts = Vec::new();
        for function in Function::ALL {
            // The platform's own lines too: they are just as visible.
            let lines = self.all_log_lines(function).await?.into_iter();
            texts.extend(lines.map(|line| VisibleText::new(format!("the log of {}", function.logical_id()), line)));
        }
        for DeadLetter { queue, body, attributes, .. } in self.dead_letters().await? {
            let attributes = attributes.into_iter();
            texts.extend(
                attributes.map(|(name, value)| VisibleText::new(format!("a dead letter's attribute {name}"), value)),
            );
            // The body of an alert is the producer's own.
            if queue == DeadLetterQueue::Retries {
                texts.push(VisibleText::new(DEAD_RETRY_MESSAGE, body));
            }
        }
        for execution in self.all_executions().await? {
            texts.push(VisibleText::new("an execution's input", self.execution_input(&execution).await?));
            texts.push(VisibleText::new("an execution's name", execution.name));
        }
        for record in self.all_records().await? {
            let errors = record.attempts.into_iter().filter_map(|attempt| attempt.error);
            let errors = errors.map(|error| format!("{} {}", error.code, error.message));
            texts.extend(errors.map(|error| VisibleText::new("an attempt's error", error)));
        }
        texts.extend(self.refusals().into_iter().map(|refusal| VisibleText::new("a refusal of the API", refusal)));
        Ok(texts)
    }
}

/// The state machine, and queues.
impl Stack {
    /// The executions that wait or waited for a delivery.
    pub async fn executions(&self, delivery: DeliveryId) -> anyhow::Result<Vec<ExecutionListItem>> {
        let prefix = format!("{delivery}-");
        let mut executions = self.all_executions().await?;
        executions.retain(|execution| execution.name().starts_with(&prefix));
        Ok(executions)
    }

    /// All executions of the state machine.
    pub async fn all_executions(&self) -> anyhow::Result<Vec<ExecutionListItem>> {
        let list = self.sfn.list_executions().state_machine_arn(self.output("LongWaitArn")?);
        let executions = list.into_paginator().items().send().collect::<Result<_, _>>().await;
        executions.context("ListExecutions")
    }

    /// What an execution was started with.
    async fn execution_input(&self, execution: &ExecutionListItem) -> anyhow::Result<String> {
        let described = self.sfn.describe_execution().execution_arn(execution.execution_arn()).send().await;
        Ok(described.context("DescribeExecution")?.input.unwrap_or_default())
    }

    /// Aborts an execution, as one can in the AWS console.
    pub async fn abort(&self, execution: &ExecutionListItem) -> anyhow::Result<()> {
        let stop = self.sfn.stop_execution().execution_arn(execution.execution_arn());
        stop.send().await.context("StopExecution")?;
        Ok(())
    }

    /// Sets, in seconds, how long a message that was received is hidden: shorter than the template does, so that a test
    /// sees the message of a killed worker come back.
    pub async fn set_visibility_timeout(&self, seconds: u64) -> anyhow::Result<()> {
        for queue in ["AlertsQueueUrl", "RetryQueueUrl", "SlowLaneQueueUrl"] {
            self.set_queue_attribute(queue, QueueAttributeName::VisibilityTimeout, seconds.to_string()).await?;
        }
        Ok(())
    }

    /// Sets an attribute of the queue whose URL is that output.
    pub async fn set_queue_attribute(
        &self,
        output: &str,
        name: QueueAttributeName,
        value: impl Into<String>,
    ) -> anyhow::Result<()> {
        let request = self.sqs.set_queue_attributes().queue_url(self.output(output)?).attributes(name, value);
        request.send().await.context("SetQueueAttributes")?;
        Ok(())
    }

    /// How many messages are in the queue whose URL is that output: visible, being handled, or delayed.
    pub async fn count_messages(&self, output: &str) -> anyhow::Result<usize> {
        let request = self.sqs.get_queue_attributes().queue_url(self.output(output)?);
        let counts = request
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesNotVisible)
            .attribute_names(QueueAttributeName::ApproximateNumberOfMessagesDelayed);
        let counts = counts.send().await.context("GetQueueAttributes")?.attributes.unwrap_or_default();
        Ok(counts.values().filter_map(|count| count.parse::<usize>().ok()).sum())
    }
}
