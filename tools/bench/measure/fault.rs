//! How late an alert is that meets a fault of ours which is over after three seconds: from its first receive to the
//! arrival of its request. A message that is given back is handed over again when its queue would show it again.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use support::function::Function;

use crate::alerts::received_batch;
use crate::aws::Outage;
use crate::endpoint::Behavior;
use crate::ensure_eq;
use crate::statistics::Spread;
use crate::testbed::{Subscription, Testbed};
use crate::worker::Worker;

const FAULT: Duration = Duration::from_secs(3);

/// How often each fault is caused. Which tries of a call it meets is left to chance.
const ROUNDS: usize = 5;

/// The faults, and none for comparison.
pub const FAULTS: [(&str, Outage); 3] = [
    ("no fault", Outage::None),
    ("DynamoDB and KMS fail for 3 s", Outage::Tables),
    ("DynamoDB and KMS throttle for 3 s", Outage::Throttles),
];

/// How late an alert arrived.
#[derive(Clone, Debug, Serialize)]
pub struct Delay {
    pub fault: &'static str,
    pub seconds: Spread,
}

/// Measures a fault, with an alert that is received just when it begins.
///
/// # Errors
/// When the alert does not arrive once.
pub async fn delay(testbed: &mut Testbed, (fault, outage): (&'static str, Outage)) -> Result<Delay> {
    let deliver = Worker::start(&testbed.function(Function::Deliver)?).await?;
    testbed.set_integrations([Subscription::Matching]);
    testbed.endpoint.set_behavior(Behavior::ACCEPTS);
    let mut seconds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        testbed.endpoint.take();
        let alert = testbed.alerts.sample();
        let begun = Instant::now();
        testbed.aws.set_outage(outage);
        let over = async {
            tokio::time::sleep(FAULT).await;
            testbed.aws.set_outage(Outage::None);
        };
        let ((), delivered) = tokio::join!(over, deliver_with_redelivery(testbed, &deliver, &alert));
        delivered?;
        let received: Vec<_> = testbed.endpoint.take().deliveries.into_values().collect();
        ensure_eq("requests that arrived", &received.iter().map(|delivery| delivery.requests).sum(), &1)?;
        seconds.push((received[0].arrived - begun).as_secs_f64());
    }
    Ok(Delay { fault, seconds: Spread::of(seconds) })
}

async fn deliver_with_redelivery(testbed: &Testbed, deliver: &Worker, alert: &str) -> Result<()> {
    let first_at = jiff::Timestamp::now();
    for receives in 1.. {
        let batch = received_batch("AlertsQueue", &[alert.to_owned()], receives, first_at);
        let answer: Value = serde_json::from_slice(&deliver.invoke(batch).await?.body)?;
        if answer["batchItemFailures"].as_array().is_none_or(Vec::is_empty) {
            break;
        }
        let hidden = testbed.aws.take_visibility_timeouts();
        ensure_eq("messages hidden", &hidden.len(), &1)?;
        tokio::time::sleep(hidden[0]).await;
    }
    Ok(())
}
