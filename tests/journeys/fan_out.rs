//! One alert event, more integrations than one invocation should hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use libtest_mimic::Failed;
use shared::delivery::Status;
use tests::stack::{Function, NewIntegration};

use crate::scene::{CANARY, SOON, Scene, header, outcomes};

const INTEGRATIONS: usize = 120;

/// What one invocation of the deliver function makes itself at most.
const INLINE: usize = 50;

pub async fn every_one_of_120_integrations_exactly_once(scene: Scene) -> Result<(), Failed> {
    let mut integrations = Vec::with_capacity(INTEGRATIONS);
    for number in 0..INTEGRATIONS {
        let name = format!("Integration {number}");
        let url = scene.receiver.url(&format!("/{CANARY}/{number}"));
        integrations.push(scene.create(NewIntegration { name, ..NewIntegration::to(url) }).await?);
    }
    let body = scene.raise().await?;
    for integration in &integrations {
        let record = scene.record_within(scene.delivery(integration, &body)?, Status::Delivered, SOON * 2).await?;
        assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    }
    let arrivals = scene.receiver.arrivals();
    let paths: BTreeSet<_> = arrivals.iter().map(|arrival| arrival.path.as_str()).collect();
    let deliveries: BTreeSet<_> = arrivals.iter().map(|arrival| header(arrival, "x-roboticks-delivery")).collect();
    assert_eq!((arrivals.len(), paths.len(), deliveries.len()), (INTEGRATIONS, INTEGRATIONS, INTEGRATIONS));

    // Who made the attempts stands in the log: the rest came through the slow lane, and nobody made one twice.
    let started = Instant::now();
    let (by_deliver, by_retry) = loop {
        let made = (attempts_by(&scene, Function::Deliver).await?, attempts_by(&scene, Function::Retry).await?);
        if made.0.len() + made.1.len() >= INTEGRATIONS || started.elapsed() > SOON {
            break made;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    };
    assert_eq!(by_deliver.len() + by_retry.len(), INTEGRATIONS);
    assert!(by_deliver.len() <= INLINE, "{} of at most {INLINE} at once", by_deliver.len());
    assert!(by_deliver.values().chain(by_retry.values()).all(|attempts| *attempts == 1));
    Ok(())
}

/// How many attempts a function has logged, for each delivery of this organization.
async fn attempts_by(scene: &Scene, function: Function) -> Result<BTreeMap<String, usize>, Failed> {
    let mut attempts = BTreeMap::new();
    for line in scene.stack.log_lines(function).await? {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        if line["organization_id"] == scene.organization.get() && line["outcome"] == "accepted" {
            *attempts.entry(line["delivery_id"].to_string()).or_default() += 1;
        }
    }
    Ok(attempts)
}
