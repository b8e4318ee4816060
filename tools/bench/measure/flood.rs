//! What a flood of alerts for a slow endpoint does to others that go through `retry`: attempts that are due, and first
//! attempts that were handed off because an alert matches more integrations than one invocation makes them for.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use support::function::Function;
use tokio::time::Instant;

use super::comparison::{Condition, Sample};
use super::deployment::{Deployment, Expected, delivery_id, repeat, wait_for_arrivals};
use crate::alerts::{Alerts, FULL_BATCH, batch};
use crate::aws::Item;
use crate::endpoint::{Behavior, Endpoint};
use crate::ensure_eq;
use crate::testbed::{SECRET, Testbed, process_batch};
use crate::worker::Worker;

/// How many alerts the slow endpoint gets, and how long it takes to send them, ten at once: they should wait for the
/// slow endpoint, and not all processors for them.
const FLOOD: usize = 500;
const FLOOD_SENT_IN: Duration = Duration::from_secs(5);

/// It accepts, but only after that: longer than is measured, so that the flood is there all the while.
const SLOW: Behavior = Behavior { delay: Duration::from_secs(20), accepts_from: 1 };

const MEASURED_FOR: Duration = Duration::from_secs(15);

const WARM_UP: Duration = Duration::from_secs(4);

/// How long the last deliveries may take to arrive, and those of the flood, which wait for one another.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);
const FLOOD_ARRIVES_WITHIN: Duration = Duration::from_secs(60);

/// How many retries come due each second.
pub const RETRIES_PER_SECOND: usize = 20;
const WARM_UP_RETRIES: usize = 4 * RETRIES_PER_SECOND;

/// How many integrations an alert matches, and how often there is one: an invocation makes a hundred first attempts.
pub const MATCHING: usize = 130;
const ALERT_EVERY: Duration = Duration::from_millis(500);

/// The organization whose deliveries are measured, and that of the slow endpoint.
const MEASURED: u64 = 1;
const FLOODED: u64 = 2;

/// Second attempts become due at a steady pace. What they take is counted from when they are due.
pub(super) async fn measure_retries(testbed: &Testbed, condition: Condition) -> Result<Sample> {
    let slow = Endpoint::start(SECRET).await?;
    testbed.set_organizations([(MEASURED, testbed.endpoint.url()), (FLOODED, slow.url())]);
    let mut alerts = Alerts::new()?;
    let each = Duration::from_secs(1) / RETRIES_PER_SECOND as u32;
    let measured = RETRIES_PER_SECOND * MEASURED_FOR.as_secs() as usize;
    let mut due = refuse_first_attempts(testbed, &mut alerts, WARM_UP_RETRIES + measured).await?.into_iter();
    let deployment = Deployment::start(testbed).await?;
    let mut send_due = async |time| -> Result<Vec<Expected>> {
        let mut expected = Vec::new();
        repeat(each, time, || {
            let body = due.next().context("there are retries left")?;
            let message: Value = serde_json::from_str(&body)?;
            let delivery = message["delivery_id"].as_str().context("a message names its delivery")?.to_owned();
            expected.push(Expected { delivery, sent: Instant::now() });
            deployment.retries.send([body], Duration::ZERO);
            Ok(())
        })
        .await?;
        Ok(expected)
    };
    deployment
        .run_during(async {
            let warm_up = send_due(WARM_UP).await?;
            wait_for_arrivals(&testbed.endpoint, warm_up, ARRIVES_WITHIN).await?;
            let flood = Flood { testbed, deployment: &deployment, slow: &slow };
            if condition == Condition::Flooded {
                flood.make_slow(&mut alerts).await?;
            }
            let flooding =
                async { if condition == Condition::Flooded { flood.send(&mut alerts).await } else { Ok(()) } };
            let (expected, ()) = tokio::try_join!(send_due(MEASURED_FOR), flooding)?;
            let arrival_ms = wait_for_arrivals(&testbed.endpoint, expected, ARRIVES_WITHIN).await?;
            if condition == Condition::Flooded {
                flood.ensure_all_arrive().await?;
            }
            Ok(Sample { arrival_ms, ..Sample::default() })
        })
        .await
}

/// Has the endpoint refuse so many first attempts, and returns the messages of the second ones.
async fn refuse_first_attempts(testbed: &Testbed, alerts: &mut Alerts, count: usize) -> Result<Vec<String>> {
    testbed.endpoint.set_behavior(Behavior { accepts_from: 2, ..Behavior::ACCEPTS });
    let deliver = Worker::start(&testbed.function(Function::Deliver)?).await?;
    testbed.aws.take_sent();
    for _ in 0..count.div_ceil(FULL_BATCH) {
        let bodies: Vec<_> = (0..FULL_BATCH).map(|_| alerts.of_organization(MEASURED)).collect();
        process_batch(&deliver, batch("AlertsQueue", &bodies)).await?;
    }
    testbed.endpoint.take();
    let bodies: Vec<_> = testbed.aws.take_sent().into_iter().map(|sent| sent.body).collect();
    ensure_eq("second attempts", &bodies.len(), &count.next_multiple_of(FULL_BATCH))?;
    Ok(bodies)
}

/// All deliveries of alerts that match more integrations than one invocation makes first attempts for, while what
/// `deliver` has handed off for the slow endpoint is under way.
pub(super) async fn measure_overflow(testbed: &Testbed, condition: Condition) -> Result<Sample> {
    let slow = Endpoint::start(SECRET).await?;
    testbed.endpoint.set_behavior(Behavior::ACCEPTS);
    let urls = std::iter::repeat_n((MEASURED, testbed.endpoint.url()), MATCHING).chain([(FLOODED, slow.url())]);
    let integrations = testbed.set_organizations(urls);
    let mut alerts = Alerts::new()?;
    let deployment = Deployment::start(testbed).await?;
    let send = async |alerts: &mut Alerts, time| -> Result<Vec<Expected>> {
        let mut expected = Vec::new();
        repeat(ALERT_EVERY, time, || {
            let body = alerts.of_organization(MEASURED);
            for integration in &integrations[..MATCHING] {
                expected.push(Expected { delivery: delivery_id(&body, integration)?, sent: Instant::now() });
            }
            deployment.alerts.send([body], Duration::ZERO);
            Ok(())
        })
        .await?;
        Ok(expected)
    };
    deployment
        .run_during(async {
            let warm_up = send(&mut alerts, WARM_UP).await?;
            wait_for_arrivals(&testbed.endpoint, warm_up, ARRIVES_WITHIN).await?;
            let flood = Flood { testbed, deployment: &deployment, slow: &slow };
            if condition == Condition::Flooded {
                flood.make_slow(&mut alerts).await?;
                flood.send(&mut alerts).await?;
                flood.wait_until_handed_off().await?;
            }
            let begun = Instant::now();
            let expected = send(&mut alerts, MEASURED_FOR).await?;
            let alerts = expected.len() / MATCHING;
            let arrival_ms = wait_for_arrivals(&testbed.endpoint, expected, ARRIVES_WITHIN).await?;
            let deliver = deployment.alerts.run_time_since(begun);
            if condition == Condition::Flooded {
                flood.ensure_all_arrive().await?;
            }
            Ok(Sample { arrival_ms, deliver, alerts, attack: None })
        })
        .await
}

/// Alerts for a slow endpoint.
struct Flood<'a> {
    testbed: &'a Testbed,
    deployment: &'a Deployment<'a>,
    slow: &'a Endpoint,
}

impl Flood<'_> {
    /// Sends one alert, and waits until the endpoint is known to be slow.
    async fn make_slow(&self, alerts: &mut Alerts) -> Result<()> {
        self.slow.set_behavior(SLOW);
        self.deployment.alerts.send([alerts.of_organization(FLOODED)], Duration::ZERO);
        self.deployment.wait_until_slow(1).await
    }

    async fn send(&self, alerts: &mut Alerts) -> Result<()> {
        repeat(FLOOD_SENT_IN * FULL_BATCH as u32 / FLOOD as u32, FLOOD_SENT_IN, || {
            let bodies = (0..FULL_BATCH).map(|_| alerts.of_organization(FLOODED));
            self.deployment.alerts.send(bodies, Duration::ZERO);
            Ok(())
        })
        .await
    }

    /// Waits until `deliver` has written all of it to the ledger.
    async fn wait_until_handed_off(&self) -> Result<()> {
        let deadline = Instant::now() + ARRIVES_WITHIN;
        let is_of_flood = |item: &Item| {
            item.get("organization_id").is_some_and(|id| id["N"].as_str().map(str::parse) == Some(Ok(FLOODED)))
        };
        while self.testbed.aws.items("DeliveriesTable").iter().filter(|item| is_of_flood(item)).count() <= FLOOD {
            ensure!(Instant::now() < deadline, "the flood was not handed off within {ARRIVES_WITHIN:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Nothing of the flood is lost either. The endpoint is quick from now on, to be done sooner.
    async fn ensure_all_arrive(&self) -> Result<()> {
        self.slow.set_behavior(Behavior::ACCEPTS);
        let deadline = Instant::now() + FLOOD_ARRIVES_WITHIN;
        let mut arrived = HashSet::new();
        while arrived.len() <= FLOOD {
            ensure!(Instant::now() < deadline, "{} of {FLOOD} alerts for the slow endpoint arrived", arrived.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
            arrived.extend(self.slow.take().deliveries.into_keys());
        }
        Ok(())
    }
}
