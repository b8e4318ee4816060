//! One alert event, more integrations than one invocation should hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use domain::delivery::Status;
use harness::stack::NewIntegration;
use libtest_mimic::Failed;
use serde_json::json;
use support::function::Function;

use crate::scene::{CANARY, SOON, Scene, header, outcomes};

const INTEGRATIONS: usize = 120;

/// What one invocation of the deliver function makes itself at most.
const INLINE: usize = 100;

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

    // Who made the attempts stands in the log: the rest was handed off, and nobody made one twice.
    let (by_deliver, by_retry) = who_made(&scene, INTEGRATIONS).await?;
    assert_eq!(by_deliver.len() + by_retry.len(), INTEGRATIONS);
    assert!(by_deliver.len() <= INLINE, "{} of at most {INLINE} at once", by_deliver.len());
    assert!(by_deliver.values().chain(by_retry.values()).all(|attempts| *attempts == 1));
    Ok(())
}

/// A full batch, whose alerts match ten integrations each, needs nobody else.
pub async fn a_full_batch_of_ten_each_is_made_inline(scene: Scene) -> Result<(), Failed> {
    for number in 0..10 {
        scene.create(NewIntegration::to(scene.receiver.url(&format!("/{CANARY}/{number}")))).await?;
    }
    let records: Vec<_> = (0..10)
        .map(|number| {
            json!({
                "messageId": format!("5a2f2b5e-0000-4000-8000-00000000010{number}"),
                "body": scene.alert().to_string(),
                "attributes": { "ApproximateReceiveCount": "1" },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:journeys-alerts",
                "awsRegion": "us-east-1",
            })
        })
        .collect();
    let answer = scene.stack.invoke(Function::Deliver, &json!({ "Records": records })).await?;
    assert_eq!(answer, json!({ "batchItemFailures": [] }));
    assert_eq!(scene.receiver.arrivals().len(), 100, "all of them when the invocation is over");
    let (by_deliver, by_retry) = who_made(&scene, 100).await?;
    assert_eq!((by_deliver.len(), by_retry.len()), (100, 0));
    Ok(())
}

type Made = BTreeMap<String, usize>;

/// What `deliver` and what `retry` made, when they have logged that many attempts.
async fn who_made(scene: &Scene, attempts: usize) -> Result<(Made, Made), Failed> {
    let started = Instant::now();
    loop {
        let made = (attempts_by(scene, Function::Deliver).await?, attempts_by(scene, Function::Retry).await?);
        if made.0.len() + made.1.len() >= attempts || started.elapsed() > SOON {
            return Ok(made);
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// How many attempts a function has logged, for each delivery of this organization.
async fn attempts_by(scene: &Scene, function: Function) -> Result<Made, Failed> {
    let mut attempts = BTreeMap::new();
    for line in scene.stack.log_lines(function).await? {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        if line["organization_id"] == scene.organization.get() && line["outcome"] == "accepted" {
            *attempts.entry(line["delivery_id"].to_string()).or_default() += 1;
        }
    }
    Ok(attempts)
}
