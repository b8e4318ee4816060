//! One alert event that matches more integrations than one invocation should handle.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use domain::delivery::Status;
use harness::customer::NewIntegration;
use serde_json::json;
use support::function::Function;

use crate::testbed::{CANARY, SOON, Testbed, header, outcomes};

const INTEGRATIONS: usize = 120;

/// How many attempts one invocation of the deliver function makes at most.
const INLINE: usize = 100;

pub async fn every_one_of_120_integrations_exactly_once(testbed: Testbed) -> anyhow::Result<()> {
    let url = |number: usize| testbed.receiver.url(&format!("/{CANARY}/{number}"));
    let mut integrations = vec![testbed.create(NewIntegration::to(url(0))).await?];
    for number in 1..INTEGRATIONS {
        integrations.push(testbed.stack.copy(&integrations[0], url(number)).await?);
    }
    let body = testbed.send_alert().await?;
    for integration in &integrations {
        let record = testbed.record_within(testbed.delivery(integration, &body)?, Status::Delivered, SOON * 2).await?;
        assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    }
    let arrivals = testbed.receiver.arrivals();
    let paths: BTreeSet<_> = arrivals.iter().map(|arrival| arrival.path.as_str()).collect();
    let deliveries: BTreeSet<_> = arrivals.iter().map(|arrival| header(arrival, "x-roboticks-delivery")).collect();
    assert_eq!((arrivals.len(), paths.len(), deliveries.len()), (INTEGRATIONS, INTEGRATIONS, INTEGRATIONS));

    // The log says who made the attempts: the rest was handed off, and none was made twice.
    let (by_deliver, by_retry) = who_made(&testbed, INTEGRATIONS).await?;
    assert_eq!(by_deliver.len() + by_retry.len(), INTEGRATIONS);
    assert!(by_deliver.len() <= INLINE, "{} of at most {INLINE} at once", by_deliver.len());
    assert!(by_deliver.values().chain(by_retry.values()).all(|attempts| *attempts == 1));
    Ok(())
}

/// A full batch whose alerts match ten integrations each is delivered without handing anything off.
pub async fn a_full_batch_of_ten_each_is_made_inline(testbed: Testbed) -> anyhow::Result<()> {
    for number in 0..10 {
        testbed.create(NewIntegration::to(testbed.receiver.url(&format!("/{CANARY}/{number}")))).await?;
    }
    let records: Vec<_> = (0..10)
        .map(|number| {
            json!({
                "messageId": format!("5a2f2b5e-0000-4000-8000-00000000010{number}"),
                "body": testbed.alert().to_string(),
                "attributes": { "ApproximateReceiveCount": "1" },
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:journeys-alerts",
                "awsRegion": "us-east-1",
            })
        })
        .collect();
    let answer = testbed.stack.invoke(Function::Deliver, &json!({ "Records": records })).await?;
    assert_eq!(answer, json!({ "batchItemFailures": [] }));
    assert_eq!(testbed.receiver.arrivals().len(), 100, "all of them when the invocation is over");
    let (by_deliver, by_retry) = who_made(&testbed, 100).await?;
    assert_eq!((by_deliver.len(), by_retry.len()), (100, 0));
    Ok(())
}

type Made = BTreeMap<String, usize>;

/// The attempts that `deliver` and `retry` made, once they have logged that many.
async fn who_made(testbed: &Testbed, attempts: usize) -> anyhow::Result<(Made, Made)> {
    let started = Instant::now();
    loop {
        let made = (attempts_by(testbed, Function::Deliver).await?, attempts_by(testbed, Function::Retry).await?);
        if made.0.len() + made.1.len() >= attempts || started.elapsed() > SOON {
            return Ok(made);
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

/// How many attempts a function has logged, for each delivery of this organization.
async fn attempts_by(testbed: &Testbed, function: Function) -> anyhow::Result<Made> {
    let mut attempts = BTreeMap::new();
    for line in testbed.stack.log_lines(function).await? {
        let Ok(line) = serde_json::from_str::<serde_json::Value>(&line) else { continue };
        if line["organization_id"] == testbed.organization.get() && line["outcome"] == "accepted" {
            *attempts.entry(line["delivery_id"].to_string()).or_default() += 1;
        }
    }
    Ok(attempts)
}
