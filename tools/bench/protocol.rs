//! What a delivery calls, counted on the built functions. Not how long it takes: that is `make bench`'s.

use std::time::Duration;

use bench::alerts::FULL_BATCH;
use bench::endpoint::Manner;
use bench::ground::{Ground, Taste, handled};
use bench::measure::costs::healthy_path;
use bench::measure::drive::{Load, Workers, drive};
use bench::trouble::Trouble;

/// A claim and a record of one write unit each, and one query for the whole batch.
#[tokio::test]
async fn the_healthy_path_calls_what_it_must_and_nothing_else() -> Result<(), Trouble> {
    let mut ground = Ground::prepare().await?;
    let workers = Workers::start(&ground).await?;
    for messages in [1, 10] {
        let load = Load { batches: 3, messages, ..Load::PLAIN };
        let usage = drive(&mut ground, &workers, &load).await?;
        healthy_path(&usage, load.batches as u64)?;
        assert_eq!(usage.log_lines, usage.deliveries, "one line for each attempt");
    }
    Ok(())
}

/// Each attempt of a delivery that fails is claimed and recorded once, and scheduled once: twice on the queue, twice by a
/// wait.
#[tokio::test]
async fn a_failing_delivery_calls_what_its_attempts_need() -> Result<(), Trouble> {
    let mut ground = Ground::prepare().await?;
    let workers = Workers::start(&ground).await?;
    let refuses = Manner { accepts_from: u32::MAX, ..Manner::AT_ONCE };
    let load = Load { batches: 2, manner: refuses, attempts: 5, ..Load::PLAIN };
    let usage = drive(&mut ground, &workers, &load).await?;
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
async fn a_batch_opens_the_same_secrets_once() -> Result<(), Trouble> {
    let mut ground = Ground::prepare().await?;
    let workers = Workers::start(&ground).await?;
    ground.integrations([Taste::Matches]);
    // Long enough for all ten to ask before the first is answered.
    ground.aws.answer_after(Duration::from_millis(100));
    let (event, _) = ground.batch(FULL_BATCH, 0);
    handled(&workers.deliver, event).await?;
    let calls = ground.aws.take_tally().map_err(Trouble::UnknownCall)?;
    assert_eq!(calls.of("PutItem DeliveriesTable").count, 10);
    assert_eq!(calls.of("Decrypt").count, 1);
    Ok(())
}
