//! What every experiment stands on: the deployed template, an endpoint and an organization for each number, a producer
//! that keeps its pace whatever becomes of what it sent, and the functions' own account of how long they ran.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use domain::delivery::Status;
use domain::ids::OrganizationId;
use domain::integration::Integration;
use domain::integration::health::Health;
use futures_util::future::try_join_all;
use harness::customer::NewIntegration;
use harness::local_cloud::{LocalCloud, Parameters};
use harness::stack::Stack;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use support::project::Project;
use support::screen::Screen;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::endpoints::{Answer, Arrival, EndpointNumber, Endpoints};

/// The delay before a second attempt.
pub const FIRST_DELAY: Duration = Duration::from_secs(1);

/// How long what was sent may take to be accepted once nothing hangs any more: a request that still hangs, two delays of
/// the schedule, and what has piled up.
const SETTLES_WITHIN: Duration = Duration::from_secs(90);

const LOOKS_EVERY: Duration = Duration::from_millis(200);

/// How often the local cloud is asked how long it takes to answer: often enough for a percentile, too seldom to be a load.
const PROBED_EVERY: Duration = Duration::from_millis(50);

/// How long to wait until the last invocations have written their report.
const REPORTS_WITHIN: Duration = Duration::from_millis(500);

/// What the template is deployed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// A tenth of production's time limits, and few invocations at once: what hangs is told in seconds, and would hold up
    /// everybody if it were not served apart.
    Tenth,
    /// Production's own time limits and concurrency.
    Full,
}

impl Scale {
    /// How long a request may take.
    pub fn request_timeout(self) -> Duration {
        match self {
            Self::Tenth => Duration::from_secs(3),
            Self::Full => Duration::from_secs(30),
        }
    }

    /// The template's parameters. All delays between attempts are the queue's, and short: nothing is to depend on the
    /// sped-up state machine, and what hung has to come to its end within the run.
    fn parameters(self) -> Parameters {
        let local = Parameters::local().with("RetrySchedule", "1s,3s,5s,5s").with("MaxIntegrations", "150");
        let scaled: &[_] = match self {
            Self::Tenth => &[("DeliverConcurrency", "5"), ("RetryConcurrency", "2"), ("SlowLaneConcurrency", "2")],
            // The concurrency is the template's own.
            Self::Full => &[("RequestTimeoutSeconds", "30")],
        };
        scaled.iter().fold(local, |parameters, (name, value)| parameters.with(name, *value))
    }

    /// A stack's name.
    fn stack(self) -> &'static str {
        match self {
            Self::Tenth => "isolation-tenth",
            Self::Full => "isolation-full",
        }
    }
}

/// Why an experiment could not be made, or did not end as it must.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    #[error("the endpoints: {0}")]
    Endpoints(io::Error),
    #[error("the sample alert: {0}")]
    Sample(io::Error),
    #[error("the sample alert is no JSON: {0}")]
    NoJson(#[from] serde_json::Error),
    #[error(transparent)]
    Harness(#[from] anyhow::Error),
    #[error("{operation}: {error}")]
    Aws { operation: &'static str, error: String },
    #[error("{missing} of {sent} alerts were not accepted within {} s, such as {example}", SETTLES_WITHIN.as_secs())]
    Lost { missing: usize, sent: usize, example: String },
    #[error("endpoints that hang were not recognised within {} s", within.as_secs())]
    NotRecognised { within: Duration },
    #[error("writing {path}: {error}")]
    Writing { path: String, error: io::Error },
}

fn aws<E: std::error::Error + 'static>(operation: &'static str) -> impl Fn(E) -> Trouble {
    move |error| Trouble::Aws { operation, error: DisplayErrorContext(error).to_string() }
}

/// An alert that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub endpoint: EndpointNumber,
    pub alert: u64,
    pub at: Timestamp,
    /// At how many endpoints it must arrive.
    copies: usize,
    group: String,
    body: String,
}

/// How fast alerts are sent: so many of them, every so often.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub alerts: usize,
    pub every: Duration,
}

impl Pace {
    /// That many a second, one by one up to fifty; faster ones as batches every 50 ms, so that the producer leaves the
    /// processor to what is measured.
    pub fn per_second(rate: u32) -> Self {
        if rate <= 50 {
            return Self { alerts: 1, every: Duration::from_secs(1) / rate.max(1) };
        }
        Self { alerts: (rate / 20) as usize, every: Duration::from_millis(50) }
    }
}

/// What the functions say they ran for, in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct FunctionSeconds {
    pub deliver: f64,
    pub retry: f64,
    pub invocations: usize,
}

/// What came of everything that was sent.
#[derive(Clone, Debug)]
pub struct Settled {
    pub arrivals: Vec<Arrival>,
    /// How many deliveries had all their attempts while their endpoint hung.
    pub given_up: usize,
}

/// A stack with its endpoints.
#[derive(Debug)]
pub struct Ground {
    pub scale: Scale,
    pub endpoints: Endpoints,
    stack: Stack,
    integrations: Vec<Integration>,
    /// How many of the endpoints, the first ones, have an organization each. The others share one.
    alone: usize,
    sample: Value,
    alerts: AtomicU64,
    sqs: aws_sdk_sqs::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
}

impl Ground {
    /// Prepares everything, telling each step: for that many endpoints with an organization each, and for a crowd of others
    /// that share one.
    ///
    /// # Errors
    /// [`Trouble`] when a part does not start.
    pub async fn prepare(
        screen: &Screen,
        cloud: &LocalCloud,
        scale: Scale,
        alone: usize,
        crowd: usize,
    ) -> Result<Self, Trouble> {
        let project = Project::built()?;
        let sample = serde_json::from_str(&project.sample_alert("triggered").map_err(Trouble::Sample)?)?;
        let endpoints = Endpoints::start(alone + crowd).await.map_err(Trouble::Endpoints)?;
        let deploy = cloud.deploy(&project, scale.stack(), scale.parameters());
        let stack = screen
            .step("deploying template.yaml", deploy, |_| match scale {
                Scale::Tenth => "template.yaml deployed, with a tenth of production's time limits".to_owned(),
                Scale::Full => "template.yaml deployed, with production's time limits and concurrency".to_owned(),
            })
            .await?;
        let integrations = screen
            .step("creating integrations", create(&stack, &endpoints, alone, crowd), |_| {
                let crowd = if crowd > 0 { format!(", and one with {crowd}") } else { String::new() };
                format!("{alone} organizations with an integration each{crowd}")
            })
            .await?;
        let config = cloud.sdk_config();
        Ok(Self {
            scale,
            endpoints,
            stack,
            integrations,
            alone,
            sample,
            alerts: AtomicU64::new(1),
            sqs: aws_sdk_sqs::Client::new(&config),
            logs: aws_sdk_cloudwatchlogs::Client::new(&config),
        })
    }

    fn alert(&self, endpoint: EndpointNumber) -> Sent {
        let alert = self.alerts.fetch_add(1, Ordering::Relaxed);
        let at = Timestamp::now();
        let mut body = self.sample.clone();
        body["timestamp"] = at.to_string().into();
        body["alert"]["id"] = alert.into();
        let organization = organization(endpoint, self.alone);
        body["organization"]["id"] = organization.into();
        body["sent_at_us"] = at.as_microsecond().into();
        let copies = if endpoint < self.alone { 1 } else { self.crowd().len() };
        Sent { endpoint, alert, at, copies, group: organization.to_string(), body: body.to_string() }
    }

    /// The endpoints that share an organization. An alert to any of them goes to all.
    pub fn crowd(&self) -> Vec<EndpointNumber> {
        (self.alone..self.integrations.len()).collect()
    }

    /// Sends alerts to these endpoints in turn, at that pace until told to stop, however long each takes to be sent.
    ///
    /// # Errors
    /// [`Trouble`] when SQS refuses one.
    pub async fn load(
        &self,
        pace: Pace,
        endpoints: &[EndpointNumber],
        mut stop: oneshot::Receiver<()>,
    ) -> Result<Vec<Sent>, Trouble> {
        let mut ticks = tokio::time::interval(pace.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (mut sends, mut sent, mut next) = (JoinSet::new(), Vec::new(), endpoints.iter().cycle());
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => break,
                Some(ended) = sends.join_next() => join(ended)?,
                _ = ticks.tick() => {
                    let alerts: Vec<_> = next.by_ref().take(pace.alerts).map(|to| self.alert(*to)).collect();
                    sends.spawn(send(self.sqs.clone(), self.stack.output("AlertsQueueUrl")?.to_owned(), alerts.clone()));
                    sent.extend(alerts);
                }
            }
        }
        while let Some(ended) = sends.join_next().await {
            join(ended)?;
        }
        Ok(sent)
    }

    /// The same for a given time.
    ///
    /// # Errors
    /// [`Trouble`] when SQS refuses one.
    pub async fn load_for(
        &self,
        time: Duration,
        pace: Pace,
        endpoints: &[EndpointNumber],
    ) -> Result<Vec<Sent>, Trouble> {
        let (stop, stopped) = oneshot::channel();
        let after = async {
            tokio::time::sleep(time).await;
            drop(stop);
        };
        tokio::join!(self.load(pace, endpoints, stopped), after).0
    }

    /// Sends at least that many alerts to one endpoint, as fast as four senders with ten at a time can.
    ///
    /// # Errors
    /// [`Trouble`] when SQS refuses one.
    pub async fn burst(&self, count: usize, endpoint: EndpointNumber) -> Result<Vec<Sent>, Trouble> {
        let url = self.stack.output("AlertsQueueUrl")?;
        let senders = (0..4).map(|_| async {
            let mut sent = Vec::new();
            while sent.len() < count / 4 {
                let alerts: Vec<_> = (0..10).map(|_| self.alert(endpoint)).collect();
                send(self.sqs.clone(), url.to_owned(), alerts.clone()).await?;
                sent.extend(alerts);
            }
            Ok::<_, Trouble>(sent)
        });
        Ok(try_join_all(senders).await?.concat())
    }

    /// How long the local cloud takes to answer a call that costs it next to nothing, asked time and again for that long:
    /// what it holds up by itself.
    ///
    /// # Errors
    /// [`Trouble`] when SQS fails.
    pub async fn answers_of_the_cloud(&self, time: Duration) -> Result<Vec<Duration>, Trouble> {
        let url = self.stack.output("AlertsDeadLetterQueueUrl")?;
        let (begun, mut ticks) = (Instant::now(), tokio::time::interval(PROBED_EVERY));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut took = Vec::new();
        while begun.elapsed() < time {
            ticks.tick().await;
            let asked = Instant::now();
            let request = self.sqs.get_queue_attributes().queue_url(url);
            request.attribute_names(QueueAttributeName::QueueArn).send().await.map_err(aws("GetQueueAttributes"))?;
            took.push(asked.elapsed());
        }
        Ok(took)
    }

    /// Waits until all of these endpoints are known to be ailing.
    ///
    /// # Errors
    /// [`Trouble::NotRecognised`] when they are not in time.
    pub async fn ailing(&self, endpoints: &[EndpointNumber], within: Duration) -> Result<(), Trouble> {
        let started = Instant::now();
        while !self.all(endpoints, |health| matches!(health, Some(Health::Slow { .. }))).await? {
            if started.elapsed() > within {
                return Err(Trouble::NotRecognised { within });
            }
            tokio::time::sleep(LOOKS_EVERY).await;
        }
        Ok(())
    }

    async fn all(
        &self,
        endpoints: &[EndpointNumber],
        is_so: impl Fn(&Option<Health>) -> bool,
    ) -> Result<bool, anyhow::Error> {
        for endpoint in endpoints {
            if !is_so(&self.stack.integration(&self.integrations[*endpoint]).await?.health) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Waits until no alert waits for its first attempt, or has waited long enough for that.
    ///
    /// # Errors
    /// [`Trouble`] when SQS fails.
    pub async fn caught_up(&self, within: Duration) -> Result<(), Trouble> {
        let started = Instant::now();
        let url = self.stack.output("AlertsQueueUrl")?;
        while started.elapsed() < within {
            let waiting = QueueAttributeName::ApproximateNumberOfMessages;
            let request = self.sqs.get_queue_attributes().queue_url(url).attribute_names(waiting.clone());
            let answer = request.send().await.map_err(aws("GetQueueAttributes"))?;
            let number = answer.attributes().and_then(|all| all.get(&waiting)?.parse::<usize>().ok());
            if number.is_none_or(|number| number < aws::sqs::queues::BATCH) {
                return Ok(());
            }
            tokio::time::sleep(LOOKS_EVERY).await;
        }
        Ok(())
    }

    /// Waits until everything that was sent has come to its end, and returns all that arrived meanwhile. Nothing hangs
    /// any more when this is called; what was sent to endpoints that did may have been given up, as the schedule has it.
    ///
    /// # Errors
    /// [`Trouble::Lost`] when another alert was not accepted.
    pub async fn settle(&self, sent: &[Sent], hung: &[EndpointNumber]) -> Result<Settled, Trouble> {
        let started = Instant::now();
        let mut given_up = HashSet::new();
        loop {
            let arrivals = self.endpoints.arrivals();
            let mut accepted: HashMap<u64, HashSet<EndpointNumber>> = HashMap::new();
            for arrival in arrivals.iter().filter(|arrival| arrival.answer == Answer::Accepted) {
                accepted.entry(arrival.alert).or_default().insert(arrival.endpoint);
            }
            let is_accepted = |alert: &Sent| accepted.get(&alert.alert).is_some_and(|by| by.len() >= alert.copies);
            let open = |alert: &&Sent| !is_accepted(alert) && !given_up.contains(&alert.alert);
            let missing: Vec<_> = sent.iter().filter(open).collect();
            if missing.is_empty() {
                self.endpoints.forget();
                return Ok(Settled { arrivals, given_up: given_up.len() });
            }
            if started.elapsed() > SETTLES_WITHIN {
                let example = self.describe(missing[0]).await?;
                return Err(Trouble::Lost { missing: missing.len(), sent: sent.len(), example });
            }
            // Few are ever left by then, so that asking for them disturbs nothing.
            if started.elapsed() > SETTLES_WITHIN / 4 {
                for alert in missing.into_iter().filter(|alert| hung.contains(&alert.endpoint)) {
                    if self.status(alert).await? == Some(Status::Failed) {
                        given_up.insert(alert.alert);
                    }
                }
            }
            tokio::time::sleep(LOOKS_EVERY).await;
        }
    }

    async fn status(&self, sent: &Sent) -> Result<Option<Status>, anyhow::Error> {
        let key = self.stack.delivery(&self.integrations[sent.endpoint], &sent.body)?;
        Ok(self.stack.record(key).await?.map(|record| record.status))
    }

    async fn describe(&self, sent: &Sent) -> Result<String, anyhow::Error> {
        let status = self.status(sent).await?.map_or("no delivery".to_owned(), |status| status.to_string());
        Ok(format!("number {} of endpoint {}, sent at {}: {status}", sent.alert, sent.endpoint, sent.at))
    }

    /// What the functions have run for since then, by their reports.
    ///
    /// # Errors
    /// [`Trouble`] when CloudWatch Logs fails.
    pub async fn function_seconds(&self, since: Timestamp) -> Result<FunctionSeconds, Trouble> {
        tokio::time::sleep(REPORTS_WITHIN).await;
        let (deliver, delivered) = self.reported("deliver", since).await?;
        let (retry, retried) = self.reported("retry", since).await?;
        Ok(FunctionSeconds { deliver, retry, invocations: delivered + retried })
    }

    async fn reported(&self, function: &str, since: Timestamp) -> Result<(f64, usize), Trouble> {
        let group = format!("/aws/lambda/{}-{function}", self.stack.name());
        let request = self.logs.filter_log_events().log_group_name(group).filter_pattern("REPORT");
        let mut pages = request.start_time(since.as_millisecond()).into_paginator().send();
        let mut durations: Vec<f64> = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(aws("FilterLogEvents"))?;
            durations.extend(page.events().iter().filter_map(|event| event.message()).filter_map(reported_millis));
        }
        Ok((durations.iter().fold(0.0, |sum, millis| sum + millis / 1_000.0), durations.len()))
    }
}

/// The duration in a line such as `REPORT RequestId: …  Duration: 12 ms  Billed Duration: …`.
fn reported_millis(line: &str) -> Option<f64> {
    line.strip_prefix("REPORT ")?.split_once("\tDuration: ")?.1.split_once(" ms")?.0.parse().ok()
}

fn join(ended: Result<Result<(), Trouble>, tokio::task::JoinError>) -> Result<(), Trouble> {
    ended.unwrap_or_else(|error| Err(Trouble::Aws { operation: "SendMessage", error: error.to_string() }))
}

async fn send(sqs: aws_sdk_sqs::Client, url: String, alerts: Vec<Sent>) -> Result<(), Trouble> {
    for batch in alerts.chunks(aws::sqs::queues::BATCH) {
        if let [only] = batch {
            let message = sqs.send_message().queue_url(&url).message_body(&only.body);
            let message = message.message_group_id(&only.group);
            message.send().await.map_err(aws("SendMessage"))?;
            continue;
        }
        let mut request = sqs.send_message_batch().queue_url(&url);
        for (index, alert) in batch.iter().enumerate() {
            let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(&alert.body);
            let entry = entry.message_group_id(&alert.group);
            request = request.entries(entry.build().map_err(aws("SendMessageBatch"))?);
        }
        let answer = request.send().await.map_err(aws("SendMessageBatch"))?;
        if let Some(refused) = answer.failed.first() {
            return Err(Trouble::Aws { operation: "SendMessageBatch", error: refused.code.clone() });
        }
    }
    Ok(())
}

/// The organization that an endpoint belongs to: its own, or that of the crowd.
fn organization(endpoint: EndpointNumber, alone: usize) -> u64 {
    endpoint.min(alone) as u64 + 1
}

async fn create(
    stack: &Stack,
    endpoints: &Endpoints,
    alone: usize,
    crowd: usize,
) -> Result<Vec<Integration>, anyhow::Error> {
    let mut integrations = Vec::new();
    for endpoint in 0..alone + crowd {
        let owner = OrganizationId::new(organization(endpoint, alone));
        let owner = owner.ok_or_else(|| anyhow::anyhow!("an organization's id is positive"))?;
        integrations.push(stack.create(owner, NewIntegration::to(endpoints.url(endpoint))).await?);
    }
    Ok(integrations)
}

/// The first arrival of each alert at each of these endpoints: what the healthy ones are judged by.
pub fn first_arrivals(arrivals: &[Arrival], endpoints: &[EndpointNumber]) -> HashMap<(u64, EndpointNumber), Arrival> {
    let mut first: HashMap<_, Arrival> = HashMap::new();
    for arrival in arrivals.iter().filter(|arrival| endpoints.contains(&arrival.endpoint)) {
        first.entry((arrival.alert, arrival.endpoint)).or_insert(*arrival);
    }
    first
}
