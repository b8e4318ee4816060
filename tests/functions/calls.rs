//! What a delivery calls, counted on the built functions. Not how long it takes: that is `make bench`'s.

use std::time::Duration;

use anyhow::Result;
use bench::alerts::FULL_BATCH;
use bench::endpoint::Behavior;
use bench::measure::costs::ensure_healthy_path;
use bench::measure::workload::{Workers, Workload, run_workload};
use bench::testbed::{Subscription, Testbed, process_batch};

/// A claim and a record of one write unit each, and one query for the whole batch.
#[tokio::test]
async fn the_healthy_path_calls_what_it_must_and_nothing_else() -> Result<()> {
    let mut testbed = Testbed::prepare().await?;
    let workers = Workers::start(&testbed).await?;
    for messages in [1, 10] {
        let load = Workload { batches: 3, messages, ..Workload::PLAIN };
        let usage = run_workload(&mut testbed, &workers, &load).await?;
        ensure_healthy_path(&usage, load.batches as u64)?;
        assert_eq!(usage.log_lines, usage.deliveries, "one line for each attempt");
    }
    Ok(())
}

/// Each attempt of a delivery that fails is claimed and recorded once, and scheduled once: twice on the queue, twice by
/// a wait.
#[tokio::test]
async fn a_failing_delivery_calls_what_its_attempts_need() -> Result<()> {
    let mut testbed = Testbed::prepare().await?;
    let workers = Workers::start(&testbed).await?;
    let refuses = Behavior { accepts_from: u32::MAX, ..Behavior::ACCEPTS };
    let load = Workload { batches: 2, behavior: refuses, attempts: 5, ..Workload::PLAIN };
    let usage = run_workload(&mut testbed, &workers, &load).await?;
    let each = |operation| usage.calls.of(operation).count as f64 / usage.deliveries as f64;
    assert_eq!(each("PutItem DeliveriesTable"), 1.0);
    assert_eq!(each("UpdateItem DeliveriesTable"), 9.0, "four claims and five records");
    assert_eq!(each("UpdateItem IntegrationsTable"), 0.0, "what the endpoint does is no news any more");
    assert_eq!(each("SendMessage"), 2.0);
    assert_eq!(each("StartExecution"), 2.0);
    assert_eq!(each("GetItem IntegrationsTable"), 4.0, "at each retry");
    assert_eq!(usage.log_lines, 5 * usage.deliveries);
    Ok(())
}

/// A sandbox that has just started gets ten alerts for one integration at once, and asks KMS for its secrets once.
#[tokio::test]
async fn a_batch_opens_the_same_secrets_once() -> Result<()> {
    let mut testbed = Testbed::prepare().await?;
    let workers = Workers::start(&testbed).await?;
    testbed.set_integrations([Subscription::Matching]);
    // Long enough for all ten to ask before the first is answered.
    testbed.aws.set_latency(Duration::from_millis(100));
    let (event, _) = testbed.batch(FULL_BATCH, 0);
    process_batch(&workers.deliver, event).await?;
    let calls = testbed.aws.take_tally()?;
    assert_eq!(calls.of("PutItem DeliveriesTable").count, 10);
    assert_eq!(calls.of("Decrypt").count, 1);
    Ok(())
}
