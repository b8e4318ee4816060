//! Alerts to twenty endpoints at a steady rate, while all work, while four begin to hang, and while those are known to
//! hang.

use std::time::Duration;

use anyhow::{Result, ensure};
use domain::integration::Integration;
use tokio::time::Instant;

use super::comparison::{Condition, Sample};
use super::deployment::{Deployment, Expected, delivery_id, repeat, wait_for_arrivals};
use crate::alerts::Alerts;
use crate::endpoint::{Behavior, Endpoint};
use crate::testbed::{SECRET, Testbed};

/// How many organizations have an endpoint each, and which of them hang when they do.
const ENDPOINTS: usize = 20;
const HANGING: [usize; 4] = [4, 9, 14, 19];

/// How often alerts are sent.
const SENT_EVERY: Duration = Duration::from_millis(50);

/// Longer than an attempt's time limit, so that everything that hangs at the beginning times out meanwhile. At 20 a
/// second, two rounds have eleven delays beyond the 99th percentile.
const MEASURED_FOR: Duration = Duration::from_secs(35);

const WARM_UP_PER_SECOND: u32 = 100;
const WARM_UP: Duration = Duration::from_secs(5);

/// How long the last alerts may take to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// The experiment's rates, in alerts a second.
pub const RATES: [u32; 2] = [20, 200];

pub(super) async fn measure(testbed: &Testbed, per_second: u32, condition: Condition) -> Result<Sample> {
    let hanging = Endpoint::start(SECRET).await?;
    testbed.endpoint.set_behavior(Behavior::ACCEPTS);
    let url = |number| if HANGING.contains(&number) { hanging.url() } else { testbed.endpoint.url() };
    let integrations = testbed.set_organizations((0..ENDPOINTS).map(|number| (organization(number), url(number))));
    let deployment = Deployment::start(testbed).await?;
    let mut load = Load { deployment: &deployment, alerts: Alerts::new()?, integrations };
    deployment
        .run_during(async {
            // The sandboxes that are busy at these rates open all integrations' secrets.
            load.send(WARM_UP_PER_SECOND, WARM_UP).await?;
            if condition != Condition::Undisturbed {
                hanging.set_behavior(Behavior::HANGS);
                hanging.take();
            }
            if condition == Condition::SomeHang {
                let first = HANGING.map(|endpoint| load.alerts.of_organization(organization(endpoint)));
                deployment.alerts.send(first, Duration::ZERO);
                deployment.wait_until_slow(HANGING.len()).await?;
            }
            testbed.endpoint.take();
            let begun = Instant::now();
            let (expected, alerts) = load.send(per_second, MEASURED_FOR).await?;
            let arrival_ms = wait_for_arrivals(&testbed.endpoint, expected, ARRIVES_WITHIN).await?;
            let deliver = deployment.alerts.run_time_since(begun);
            let hung = hanging.take().deliveries.len();
            ensure!(condition == Condition::Undisturbed || hung > HANGING.len(), "only {hung} requests hung");
            Ok(Sample { arrival_ms, deliver, alerts, attack: None })
        })
        .await
}

struct Load<'a> {
    deployment: &'a Deployment<'a>,
    alerts: Alerts,
    integrations: Vec<Integration>,
}

impl Load<'_> {
    /// Sends alerts to all endpoints in turn; those that are to arrive at endpoints that work, and how many there were
    /// in all.
    async fn send(&mut self, per_second: u32, time: Duration) -> Result<(Vec<Expected>, usize)> {
        let at_once = (f64::from(per_second) * SENT_EVERY.as_secs_f64()).round() as usize;
        let mut endpoints = (0..ENDPOINTS).cycle();
        let (mut expected, mut count) = (Vec::new(), 0);
        repeat(SENT_EVERY, time, || {
            for endpoint in endpoints.by_ref().take(at_once) {
                let body = self.alerts.of_organization(organization(endpoint));
                count += 1;
                if !HANGING.contains(&endpoint) {
                    let delivery = delivery_id(&body, &self.integrations[endpoint])?;
                    expected.push(Expected { delivery, sent: Instant::now() });
                }
                self.deployment.alerts.send([body], Duration::ZERO);
            }
            Ok(())
        })
        .await?;
        Ok((expected, count))
    }
}

/// The organization of an endpoint.
fn organization(endpoint: usize) -> u64 {
    endpoint as u64 + 1
}
