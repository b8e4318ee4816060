//! What the built functions do about a fault of ours: how long the message is hidden that they give back, what they leave in the
//! ledger, and what they give up.

use std::time::Duration;

use bench::alerts::received_batch;
use bench::aws::{Outage, Queue, Way};
use bench::endpoint::Manner;
use bench::ground::{Ground, Taste, handled, retry_batch};
use bench::measure::drive::Workers;
use bench::trouble::Trouble;
use bench::worker::Worker;
use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

/// A payload that the ledger keeps in an item of its own.
const LARGE: usize = 10_000;

const SECOND: Duration = Duration::from_secs(1);

struct Scene {
    ground: Ground,
    workers: Workers,
}

impl Scene {
    async fn open() -> Result<Self, Trouble> {
        let ground = Ground::prepare().await?;
        ground.integrations([Taste::Matches]);
        let workers = Workers::start(&ground).await?;
        Ok(Self { ground, workers })
    }

    /// The delivery that is in the ledger; payloads have items of their own.
    fn delivery(&self) -> Value {
        let items = self.ground.aws.items("DeliveriesTable");
        let mut deliveries = items.into_iter().filter(|item| item.contains_key("status"));
        let delivery = deliveries.next().expect("there is a delivery");
        assert_eq!(deliveries.next(), None, "there is one");
        Value::Object(delivery)
    }

    /// Has the endpoint refuse an alert's first attempt, and returns the message of the second.
    async fn second_attempt(&mut self, bytes: usize) -> Result<Bytes, Trouble> {
        self.ground.endpoint.behave(Manner { accepts_from: 2, ..Manner::AT_ONCE });
        let (alert, _) = self.ground.batch(1, bytes);
        handled(&self.workers.deliver, alert).await?;
        Ok(retry_batch(&self.ground.aws.take_sent()))
    }
}

/// Hands a batch over, and returns how many of its messages were given back.
async fn given_back(worker: &Worker, batch: Bytes) -> Result<usize, Trouble> {
    let answer: Value = serde_json::from_slice(&worker.invoke(batch).await?.body)?;
    Ok(answer["batchItemFailures"].as_array().map_or(0, Vec::len))
}

/// An alert that meets a fault is hidden for seconds, ever longer, and then delivered as if nothing had been.
#[tokio::test]
async fn a_fault_before_the_claim_hides_an_alert_for_seconds() -> Result<(), Trouble> {
    let mut scene = Scene::open().await?;
    let alert = scene.ground.alerts.sample();
    let received = |times| received_batch("AlertsQueue", std::slice::from_ref(&alert), times, Timestamp::now());
    scene.ground.aws.set_outage(Outage::Tables);
    for (receives, hidden) in [(1, 5), (2, 10), (19, 900)] {
        assert_eq!(given_back(&scene.workers.deliver, received(receives)).await?, 1);
        assert_eq!(scene.ground.aws.take_hidden(), [hidden * SECOND]);
    }
    let calls = scene.ground.aws.take_tally().map_err(Trouble::UnknownCall)?;
    assert_eq!(calls.of("Query").count, 3 * 5, "each call is tried five times");

    scene.ground.aws.set_outage(Outage::None);
    handled(&scene.workers.deliver, received(20)).await?;
    assert_eq!(scene.delivery()["status"], json!({ "S": "delivered" }));
    assert!(scene.ground.aws.take_hidden().is_empty());
    Ok(())
}

/// Whoever gets the message next need not wait for the lease of a claim under which nothing was sent.
#[tokio::test]
async fn a_claim_whose_request_was_not_sent_is_taken_back() -> Result<(), Trouble> {
    let mut scene = Scene::open().await?;
    let second = scene.second_attempt(LARGE).await?;
    scene.ground.aws.set_outage(Outage::Payloads);
    assert_eq!(given_back(&scene.workers.retry, second.clone()).await?, 1);
    assert_eq!(scene.ground.aws.take_hidden(), [5 * SECOND]);
    let delivery = scene.delivery();
    assert_eq!((&delivery["status"], &delivery["attempt"]), (&json!({ "S": "waiting" }), &json!({ "N": "2" })));
    for attribute in ["claim_id", "lease_until", "possible_duplicate"] {
        assert_eq!(delivery[attribute], Value::Null, "{attribute}");
    }
    assert!(delivery["due_at"].is_object() && delivery["due_shard"].is_object(), "the sweep would find it");

    scene.ground.aws.set_outage(Outage::None);
    handled(&scene.workers.retry, second).await?;
    let delivery = scene.delivery();
    assert_eq!(delivery["status"], json!({ "S": "delivered" }));
    assert_eq!(delivery["attempts"]["L"][1]["M"]["possible_duplicate"], Value::Null);
    let seen: u32 = scene.ground.endpoint.take().seen.values().map(|seen| seen.requests).sum();
    assert_eq!(seen, 2);
    Ok(())
}

/// A message that meets another worker's claim comes back when its lease is over.
#[tokio::test]
async fn a_message_comes_back_behind_somebodys_lease() -> Result<(), Trouble> {
    let mut scene = Scene::open().await?;
    let second = scene.second_attempt(0).await?;
    let Value::Object(mut claimed) = scene.delivery() else { unreachable!("an item is an object") };
    let lease_until = Timestamp::now() + 60 * SECOND;
    claimed.insert("status".to_owned(), json!({ "S": "sending" }));
    claimed.insert("claim_id".to_owned(), json!({ "B": "AAAAAAAAAAAAAAAAAAAAAA==" }));
    claimed.insert("lease_until".to_owned(), json!({ "N": lease_until.as_millisecond().to_string() }));
    scene.ground.aws.put("DeliveriesTable", claimed);
    assert_eq!(given_back(&scene.workers.retry, second).await?, 1);
    let hidden = scene.ground.aws.take_hidden();
    assert!(matches!(hidden[..], [hidden] if (45 * SECOND..=65 * SECOND).contains(&hidden)), "{hidden:?}");
    Ok(())
}

/// What time does not mend is given up after an hour, with its reason, and not before.
#[tokio::test]
async fn a_fault_that_lasts_ends_in_the_dead_letter_queue() -> Result<(), Trouble> {
    let mut scene = Scene::open().await?;
    let integrations = scene.ground.aws.items("IntegrationsTable");
    for mut integration in integrations {
        integration.insert("url".to_owned(), json!({ "N": "1" }));
        scene.ground.aws.put("IntegrationsTable", integration);
    }
    let alert = scene.ground.alerts.sample();
    let received =
        |ago: Duration| received_batch("AlertsQueue", std::slice::from_ref(&alert), 9, Timestamp::now() - ago);
    assert_eq!(given_back(&scene.workers.deliver, received(3_500 * SECOND)).await?, 1);
    assert_eq!(scene.ground.aws.take_hidden(), [900 * SECOND]);
    assert!(scene.ground.aws.take_sent().is_empty());

    handled(&scene.workers.deliver, received(3_600 * SECOND)).await?;
    let buried = scene.ground.aws.take_sent();
    assert_eq!(buried.len(), 1);
    assert_eq!((buried[0].way, buried[0].body.as_str()), (Way::Queue(Queue::DeadLetters), alert.as_str()));
    Ok(())
}

/// An organization with fifty integrations is one tenant: SQS's fair queues go by the group, on each queue and after each wait.
#[tokio::test]
async fn every_message_is_in_its_organizations_group() -> Result<(), Trouble> {
    let mut scene = Scene::open().await?;
    scene.ground.endpoint.behave(Manner { accepts_from: u32::MAX, ..Manner::AT_ONCE });
    let (alert, _) = scene.ground.batch(1, 0);
    handled(&scene.workers.deliver, alert).await?;
    for way in [Way::Queue(Queue::Retry), Way::Queue(Queue::Retry), Way::Wait, Way::Wait] {
        let sent = scene.ground.aws.take_sent();
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].way, sent[0].group.as_deref()), (way, Some("1")));
        handled(&scene.workers.retry, retry_batch(&sent)).await?;
    }
    Ok(())
}

/// Whoever can put a message on a retry queue reaches no other organization's delivery by it.
#[tokio::test]
async fn a_message_of_another_organization_changes_nothing() -> Result<(), Trouble> {
    let mut scene = Scene::open().await?;
    scene.ground.endpoint.behave(Manner { accepts_from: 2, ..Manner::AT_ONCE });
    let (alert, _) = scene.ground.batch(1, 0);
    handled(&scene.workers.deliver, alert).await?;
    let before = scene.delivery();
    let mut sent = scene.ground.aws.take_sent();
    let mine = retry_batch(&sent);
    sent[0].body = sent[0].body.replace("\"organization_id\":1,", "\"organization_id\":2,");
    let foreign = sent[0].body.clone();
    handled(&scene.workers.retry, retry_batch(&sent)).await?;
    let buried = scene.ground.aws.take_sent();
    assert_eq!(buried.len(), 1);
    assert_eq!((buried[0].way, &buried[0].body), (Way::Queue(Queue::DeadLetters), &foreign));
    assert_eq!(scene.delivery(), before);

    handled(&scene.workers.retry, mine).await?;
    assert_eq!(scene.delivery()["status"], json!({ "S": "delivered" }));
    Ok(())
}
