//! What the built functions do about a fault of ours: how long the message is hidden that they give back, what they
//! leave in the ledger, and what they give up.

use std::time::Duration;

use anyhow::Result;
use bench::alerts::received_batch;
use bench::aws::{Destination, Outage, Queue};
use bench::endpoint::Behavior;
use bench::measure::workload::Workers;
use bench::testbed::{Subscription, Testbed, batch_for_retry, process_batch};
use bench::worker::Worker;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A payload that the ledger keeps in an item of its own.
const LARGE: usize = 10_000;

const SECOND: Duration = Duration::from_secs(1);

struct Setup {
    testbed: Testbed,
    workers: Workers,
}

impl Setup {
    async fn start() -> Result<Self> {
        let testbed = Testbed::prepare().await?;
        testbed.set_integrations([Subscription::Matching]);
        let workers = Workers::start(&testbed).await?;
        Ok(Self { testbed, workers })
    }

    /// The delivery that is in the ledger; payloads have items of their own.
    fn delivery(&self) -> Value {
        let items = self.testbed.aws.items("DeliveriesTable");
        let mut deliveries = items.into_iter().filter(|item| item.contains_key("status"));
        let delivery = deliveries.next().expect("there is a delivery");
        assert_eq!(deliveries.next(), None, "there is one");
        Value::Object(delivery)
    }

    /// Has the endpoint refuse an alert's first attempt, and returns the message of the second.
    async fn second_attempt(&mut self, bytes: usize) -> Result<Bytes> {
        self.testbed.endpoint.set_behavior(Behavior { accepts_from: 2, ..Behavior::ACCEPTS });
        let (alert, _) = self.testbed.batch(1, bytes);
        process_batch(&self.workers.deliver, alert).await?;
        Ok(batch_for_retry(&self.testbed.aws.take_sent()))
    }
}

/// Hands a batch over, and returns how many of its messages were given back.
async fn count_given_back(worker: &Worker, batch: Bytes) -> Result<usize> {
    let answer: Value = serde_json::from_slice(&worker.invoke(batch).await?.body)?;
    Ok(answer["batchItemFailures"].as_array().map_or(0, Vec::len))
}

/// An alert that meets a fault is hidden for seconds, ever longer, and then delivered as if nothing had been.
#[tokio::test]
async fn a_fault_before_the_claim_hides_an_alert_for_seconds() -> Result<()> {
    let mut setup = Setup::start().await?;
    let alert = setup.testbed.alerts.sample();
    let received = |times| received_batch("AlertsQueue", std::slice::from_ref(&alert), times, Timestamp::now());
    setup.testbed.aws.set_outage(Outage::Tables);
    for (receives, hidden) in [(1, 5), (2, 10), (19, 900)] {
        assert_eq!(count_given_back(&setup.workers.deliver, received(receives)).await?, 1);
        assert_eq!(setup.testbed.aws.take_visibility_timeouts(), [hidden * SECOND]);
    }
    let calls = setup.testbed.aws.take_tally()?;
    assert_eq!(calls.of("Query").count, 3 * 5, "each call is tried five times");

    setup.testbed.aws.set_outage(Outage::None);
    process_batch(&setup.workers.deliver, received(20)).await?;
    assert_eq!(setup.delivery()["status"], json!({ "S": "delivered" }));
    assert!(setup.testbed.aws.take_visibility_timeouts().is_empty());
    Ok(())
}

/// Whoever gets the message next need not wait for the lease of a claim under which nothing was sent.
#[tokio::test]
async fn a_claim_whose_request_was_not_sent_is_taken_back() -> Result<()> {
    let mut setup = Setup::start().await?;
    let second = setup.second_attempt(LARGE).await?;
    setup.testbed.aws.set_outage(Outage::Payloads);
    assert_eq!(count_given_back(&setup.workers.retry, second.clone()).await?, 1);
    assert_eq!(setup.testbed.aws.take_visibility_timeouts(), [5 * SECOND]);
    let delivery = setup.delivery();
    assert_eq!((&delivery["status"], &delivery["attempt"]), (&json!({ "S": "waiting" }), &json!({ "N": "2" })));
    for attribute in ["claim_id", "lease_until", "possible_duplicate"] {
        assert_eq!(delivery[attribute], Value::Null, "{attribute}");
    }
    assert!(delivery["due_at"].is_object() && delivery["due_shard"].is_object(), "the sweep would find it");

    setup.testbed.aws.set_outage(Outage::None);
    process_batch(&setup.workers.retry, second).await?;
    let delivery = setup.delivery();
    assert_eq!(delivery["status"], json!({ "S": "delivered" }));
    assert_eq!(delivery["attempts"]["L"][1]["M"]["possible_duplicate"], Value::Null);
    let deliveries: u32 = setup.testbed.endpoint.take().deliveries.values().map(|deliveries| deliveries.requests).sum();
    assert_eq!(deliveries, 2);
    Ok(())
}

/// A message that meets another worker's claim comes back when its lease is over.
#[tokio::test]
async fn a_message_comes_back_behind_somebodys_lease() -> Result<()> {
    let mut setup = Setup::start().await?;
    let second = setup.second_attempt(0).await?;
    let Value::Object(mut claimed) = setup.delivery() else { unreachable!("an item is an object") };
    let lease_until = Timestamp::now() + 60 * SECOND;
    claimed.insert("status".to_owned(), json!({ "S": "sending" }));
    claimed.insert("claim_id".to_owned(), json!({ "B": "AAAAAAAAAAAAAAAAAAAAAA==" }));
    claimed.insert("lease_until".to_owned(), json!({ "N": lease_until.as_millisecond().to_string() }));
    setup.testbed.aws.put("DeliveriesTable", claimed);
    assert_eq!(count_given_back(&setup.workers.retry, second).await?, 1);
    let hidden = setup.testbed.aws.take_visibility_timeouts();
    assert!(matches!(hidden[..], [hidden] if (45 * SECOND..=65 * SECOND).contains(&hidden)), "{hidden:?}");
    Ok(())
}

/// What time does not mend is given up after an hour, with its reason, and not before.
#[tokio::test]
async fn a_fault_that_lasts_ends_in_the_dead_letter_queue() -> Result<()> {
    let mut setup = Setup::start().await?;
    let integrations = setup.testbed.aws.items("IntegrationsTable");
    for mut integration in integrations {
        integration.insert("url".to_owned(), json!({ "N": "1" }));
        setup.testbed.aws.put("IntegrationsTable", integration);
    }
    let alert = setup.testbed.alerts.sample();
    let received =
        |ago: Duration| received_batch("AlertsQueue", std::slice::from_ref(&alert), 9, Timestamp::now() - ago);
    assert_eq!(count_given_back(&setup.workers.deliver, received(3_500 * SECOND)).await?, 1);
    assert_eq!(setup.testbed.aws.take_visibility_timeouts(), [900 * SECOND]);
    assert!(setup.testbed.aws.take_sent().is_empty());

    process_batch(&setup.workers.deliver, received(3_600 * SECOND)).await?;
    let dead_letters = setup.testbed.aws.take_sent();
    assert_eq!(dead_letters.len(), 1);
    assert_eq!(
        (dead_letters[0].to, dead_letters[0].body.as_str()),
        (Destination::Queue(Queue::DeadLetters), alert.as_str())
    );
    Ok(())
}

/// An organization with fifty integrations is one tenant: SQS's fair queues go by the group, on each queue and after
/// each wait.
#[tokio::test]
async fn every_message_is_in_its_organizations_group() -> Result<()> {
    let mut setup = Setup::start().await?;
    setup.testbed.endpoint.set_behavior(Behavior { accepts_from: u32::MAX, ..Behavior::ACCEPTS });
    let (alert, _) = setup.testbed.batch(1, 0);
    process_batch(&setup.workers.deliver, alert).await?;
    for to in [
        Destination::Queue(Queue::Retry),
        Destination::Queue(Queue::Retry),
        Destination::LongWait,
        Destination::LongWait,
    ] {
        let sent = setup.testbed.aws.take_sent();
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].to, sent[0].group.as_deref()), (to, Some("1")));
        process_batch(&setup.workers.retry, batch_for_retry(&sent)).await?;
    }
    Ok(())
}

/// Whoever can put a message on a retry queue reaches no other organization's delivery by it.
#[tokio::test]
async fn a_message_of_another_organization_changes_nothing() -> Result<()> {
    let mut setup = Setup::start().await?;
    setup.testbed.endpoint.set_behavior(Behavior { accepts_from: 2, ..Behavior::ACCEPTS });
    let (alert, _) = setup.testbed.batch(1, 0);
    process_batch(&setup.workers.deliver, alert).await?;
    let before = setup.delivery();
    let mut sent = setup.testbed.aws.take_sent();
    let mine = batch_for_retry(&sent);
    sent[0].body = sent[0].body.replace("\"organization_id\":1,", "\"organization_id\":2,");
    let foreign = sent[0].body.clone();
    process_batch(&setup.workers.retry, batch_for_retry(&sent)).await?;
    let dead_letters = setup.testbed.aws.take_sent();
    assert_eq!(dead_letters.len(), 1);
    assert_eq!((dead_letters[0].to, &dead_letters[0].body), (Destination::Queue(Queue::DeadLetters), &foreign));
    assert_eq!(setup.delivery(), before);

    process_batch(&setup.workers.retry, mine).await?;
    assert_eq!(setup.delivery()["status"], json!({ "S": "delivered" }));
    Ok(())
}
