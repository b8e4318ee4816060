//! Both delivering functions with the template's concurrency, their queues between them, and AWS calls that take time.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use domain::alert::event::AlertEvent;
use domain::ids::DeliveryId;
use domain::integration::Integration;
use domain::integration::health::{Health, Lane};
use support::function::Function;
use tokio::time::{Instant, MissedTickBehavior};

use crate::aws::{Destination, Queue};
use crate::endpoint::Endpoint;
use crate::ensure_eq;
use crate::event_source::EventSource;
use crate::prices::AWS_CALL_SECONDS;
use crate::statistics::milliseconds;
use crate::testbed::Testbed;

/// How often what is waited for is looked at.
const POLL: Duration = Duration::from_millis(50);

/// How long it may take until a slow endpoint is recognized: 5 s, and a little.
const RECOGNIZED_WITHIN: Duration = Duration::from_secs(10);

/// The functions and their queues. Ended when dropped.
pub struct Deployment<'a> {
    testbed: &'a Testbed,
    pub alerts: EventSource,
    pub retries: EventSource,
    slow_lane: EventSource,
}

impl<'a> Deployment<'a> {
    /// Starts as many sandboxes as the template allows.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn start(testbed: &'a Testbed) -> Result<Self> {
        let source = async |queue, function, concurrency| {
            EventSource::start(testbed, queue, function, testbed.template.number(concurrency) as usize).await
        };
        testbed.aws.take_sent();
        Ok(Self {
            testbed,
            alerts: source("AlertsQueue", Function::Deliver, "DeliverConcurrency").await?,
            retries: source("RetryQueue", Function::Retry, "RetryConcurrency").await?,
            slow_lane: source("SlowLaneQueue", Function::Retry, "SlowLaneConcurrency").await?,
        })
    }

    /// Keeps the queues going while something is measured.
    ///
    /// # Errors
    /// Those of the measurement; when an invocation fails, gives a message back, or makes a call that is not known.
    pub async fn run_during<T>(&self, measurement: impl Future<Output = Result<T>>) -> Result<T> {
        let aws = &self.testbed.aws;
        aws.set_latency(Duration::from_secs_f64(AWS_CALL_SECONDS));
        let measured = tokio::select! {
            measured = measurement => measured,
            ended = self.alerts.run() => ended.map(|never| match never {}),
            ended = self.retries.run() => ended.map(|never| match never {}),
            ended = self.slow_lane.run() => ended.map(|never| match never {}),
            ended = self.forward() => ended.map(|never| match never {}),
        };
        aws.set_latency(Duration::ZERO);
        aws.take_tally()?;
        measured
    }

    /// Puts what the functions send into the queues.
    async fn forward(&self) -> Result<Infallible> {
        loop {
            for sent in self.testbed.aws.next_sent().await {
                match sent.to {
                    Destination::Queue(Queue::Retry) => self.retries.send([sent.body], sent.delay),
                    Destination::Queue(Queue::SlowLane) => self.slow_lane.send([sent.body], sent.delay),
                    // It is over long after the run.
                    Destination::LongWait => {}
                    Destination::Queue(Queue::DeadLetters) => bail!("a message was sent to a dead-letter queue"),
                }
            }
        }
    }

    /// Waits until so many endpoints are known to be slow.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn wait_until_slow(&self, endpoints: usize) -> Result<()> {
        let deadline = Instant::now() + RECOGNIZED_WITHIN;
        loop {
            let health = self.testbed.health()?;
            let slow = health.iter().filter(|health| Health::lane(health.as_ref()) == Lane::Slow).count();
            if slow == endpoints {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{slow} instead of {endpoints} endpoints are known to be slow");
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Calls `send` at a steady pace, however long what it sends takes.
///
/// # Errors
/// Those of `send`.
pub async fn repeat(every: Duration, time: Duration, mut send: impl FnMut() -> Result<()>) -> Result<()> {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..(time.as_secs_f64() / every.as_secs_f64()).ceil() as usize {
        ticks.tick().await;
        send()?;
    }
    Ok(())
}

/// A delivery that is to arrive, and when its message was sent.
pub struct Expected {
    pub delivery: String,
    pub sent: Instant,
}

/// Waits until all deliveries have arrived, and returns how long each took, in milliseconds.
///
/// # Errors
/// When some do not arrive in time, or a signature is wrong.
pub async fn wait_for_arrivals(endpoint: &Endpoint, mut expected: Vec<Expected>, within: Duration) -> Result<Vec<f64>> {
    let deadline = Instant::now() + within;
    let mut arrived = HashMap::new();
    let mut took = Vec::with_capacity(expected.len());
    while !expected.is_empty() {
        ensure!(Instant::now() < deadline, "{} deliveries did not arrive within {within:?}", expected.len());
        tokio::time::sleep(POLL).await;
        let arrivals = endpoint.take();
        ensure_eq("requests with an invalid signature", &arrivals.invalid_signatures, &0)?;
        arrived.extend(arrivals.deliveries);
        expected.retain(|Expected { delivery, sent }| match arrived.get(delivery) {
            Some(received) => {
                took.push(milliseconds(received.arrived - sent.into_std()));
                false
            }
            None => true,
        });
    }
    Ok(took)
}

/// The id of an alert's delivery to an integration.
///
/// # Errors
/// When the alert is not valid.
pub fn delivery_id(alert: &str, integration: &Integration) -> Result<String> {
    let event = AlertEvent::parse(alert)?;
    let id = DeliveryId::of_alert(event.organization_id, integration.id, event.timestamp, alert.as_bytes());
    Ok(id.to_string())
}
