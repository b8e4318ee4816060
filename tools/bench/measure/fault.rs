//! How late an alert is that meets a fault of ours which is over after three seconds: from its first receive to the arrival of
//! its request. A message that is given back is handed over again when its queue would show it again.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use support::function::Function;

use crate::alerts::received_batch;
use crate::aws::Outage;
use crate::endpoint::Manner;
use crate::ground::{Ground, Taste};
use crate::statistics::Spread;
use crate::trouble::{Trouble, must_be};
use crate::worker::Worker;

const FAULT: Duration = Duration::from_secs(3);

/// How often each fault is made. When tries of a call meet it is left to chance.
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
pub async fn delay(ground: &mut Ground, (fault, outage): (&'static str, Outage)) -> Result<Delay, Trouble> {
    let deliver = Worker::start(&ground.function(Function::Deliver)?).await?;
    ground.integrations([Taste::Matches]);
    ground.endpoint.behave(Manner::AT_ONCE);
    let mut seconds = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        ground.endpoint.take();
        let alert = ground.alerts.sample();
        let begun = Instant::now();
        ground.aws.set_outage(outage);
        let over = async {
            tokio::time::sleep(FAULT).await;
            ground.aws.set_outage(Outage::None);
        };
        let ((), handled) = tokio::join!(over, hand_over_until_it_is_handled(ground, &deliver, &alert));
        handled?;
        let seen: Vec<_> = ground.endpoint.take().seen.into_values().collect();
        must_be("requests that arrived", &seen.iter().map(|seen| seen.requests).sum(), &1)?;
        seconds.push((seen[0].arrived - begun).as_secs_f64());
    }
    Ok(Delay { fault, seconds: Spread::of(seconds) })
}

async fn hand_over_until_it_is_handled(ground: &Ground, deliver: &Worker, alert: &str) -> Result<(), Trouble> {
    let first_at = jiff::Timestamp::now();
    for receives in 1.. {
        let batch = received_batch("AlertsQueue", &[alert.to_owned()], receives, first_at);
        let answer: Value = serde_json::from_slice(&deliver.invoke(batch).await?.body)?;
        if answer["batchItemFailures"].as_array().is_none_or(Vec::is_empty) {
            break;
        }
        let hidden = ground.aws.take_hidden();
        must_be("messages hidden", &hidden.len(), &1)?;
        tokio::time::sleep(hidden[0]).await;
    }
    Ok(())
}
