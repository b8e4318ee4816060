//! What dies half-way: a worker in mid-request, a wait, a sender between the ledger and the queue. Nothing is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::delivery::Status;
use domain::delivery::ledger::{ClaimId, GIVEN_UP_AFTER, State};
use domain::integration::Integration;
use harness::receiver::Answer;
use harness::stack::Stack;
use jiff::Timestamp;
use libtest_mimic::Failed;
use serde_json::json;
use support::function::Function;

use crate::STAGE;
use crate::scene::{SOON, Scene, header, outcomes};

/// A message whose worker was killed is back after the queue's visibility timeout.
const IT_COMES_BACK: Duration = Duration::from_secs(120);

/// A worker that was killed in the middle of a request, before the journeys began: a batch holds several messages, and
/// this one's must hold nobody else's.
pub struct Killed(Result<(Scene, Integration, String), Failed>);

/// Sends an alert event to an endpoint that hangs, and kills the worker that waits for it.
pub async fn kill_a_worker(stack: &Arc<Stack>) -> Killed {
    Killed(kill(stack).await)
}

async fn kill(stack: &Arc<Stack>) -> Result<(Scene, Integration, String), Failed> {
    let scene = Scene::open(stack).await?;
    let integration = scene.integration_that_meets([Answer::Hang, Answer::Status(200)]).await?;
    let body = scene.raise().await?;
    let sent = Instant::now();
    while scene.arrivals().is_empty() {
        if sent.elapsed() > SOON {
            return Err("the request that was to be interrupted never came".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let workers = stack.workers(Function::Deliver)?;
    if workers.is_empty() {
        return Err("no process runs the deliver function".into());
    }
    for worker in workers {
        worker.kill()?;
    }
    Ok((scene, integration, body))
}

pub async fn worker_killed_in_mid_request(_: Scene) -> Result<(), Failed> {
    let Killed(prepared) = &STAGE.get().ok_or("the stage is set")?.killed;
    let (scene, integration, body) = prepared.as_ref().map_err(Clone::clone)?;
    let key = scene.delivery(integration, body)?;
    let claimed = scene.stack.record(key).await?.ok_or("the claim came before the request")?;
    assert_eq!((claimed.status, claimed.attempt), (Status::Sending, 1));

    let record = scene.record_within(key, Status::Delivered, IT_COMES_BACK).await?;
    assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    assert!(record.attempts[0].possible_duplicate, "the endpoint may have seen it twice, and did");
    let arrivals = scene.arrivals();
    assert_eq!(arrivals.len(), 2);
    for arrival in &arrivals {
        assert_eq!(header(arrival, "x-roboticks-attempt"), "1");
        assert_eq!(header(arrival, "x-roboticks-delivery"), key.delivery_id.to_string());
    }
    let delivery_id = key.delivery_id.to_string();
    let is_it = |line: &serde_json::Value| line["delivery_id"] == delivery_id.as_str() && line["status"] == "delivered";
    let line = scene.stack.log_line_when(SOON, "the attempt's line", is_it).await?;
    assert_eq!(line["possible_duplicate"], true);
    Ok(())
}

pub async fn aborted_execution_is_swept(scene: Scene) -> Result<(), Failed> {
    // Two hours are 14 seconds here: time enough to abort the wait.
    let answers = [Answer::with_header(429, "retry-after", "7200"), Answer::Status(200)];
    let integration = scene.integration_that_meets(answers).await?;
    let body = scene.raise().await?;
    let key = scene.delivery(&integration, &body)?;
    let started = Instant::now();
    let execution = loop {
        match scene.stack.executions(key.delivery_id).await?.into_iter().next() {
            Some(execution) => break execution,
            None if started.elapsed() > SOON => return Err("no execution waits for the second attempt".into()),
            None => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    };
    scene.stack.abort(&execution).await?;
    scene.waiting_for(key, 2).await?;

    // Not overdue yet: it is left alone. Then it is, by eleven minutes.
    scene.stack.invoke(Function::Sweep, &json!({})).await?;
    scene.waiting_for(key, 2).await?;
    scene.stack.set_due_at(key, eleven_minutes_ago()).await?;
    let swept = scene.stack.invoke(Function::Sweep, &json!({})).await?;
    assert!(swept["overdue"].as_u64() >= Some(1), "{swept}");

    let record = scene.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "rejected", Some(429)), (2, "accepted", Some(200))]);
    assert_eq!(scene.arrivals().len(), 2);
    Ok(())
}

/// A worker that died after it had handed a first attempt off in the ledger, and before it had sent the message.
pub async fn lost_hand_off_is_swept(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([]).await?;
    let body = scene.alert().to_string();
    let handed_off = State::Waiting { attempt: 1, round_start: 1, due_at: eleven_minutes_ago() };
    let key = scene.put(&integration, &body, &handed_off).await?;

    let swept = scene.stack.invoke(Function::Sweep, &json!({})).await?;
    assert!(swept["overdue"].as_u64() >= Some(1), "{swept}");
    let record = scene.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    assert_eq!(scene.arrivals()[0].body, body.as_bytes());
    Ok(())
}

/// An entry of the index that cannot be read hides none of the others, and is told of.
pub async fn unreadable_entry_hides_no_other(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([]).await?;
    let broken = scene.alert().to_string();
    let overdue = |due_at| State::Waiting { attempt: 1, round_start: 1, due_at };
    let longest = Timestamp::now() - Duration::from_secs(12 * 60);
    let broken = scene.put(&integration, &broken, &overdue(longest)).await?;
    scene.stack.make_unreadable(broken).await?;
    // One in the same shard, behind it.
    let (body, key) = loop {
        let body = scene.alert().to_string();
        let key = scene.delivery(&integration, &body)?;
        if key.due_shard() == broken.due_shard() {
            break (body, key);
        }
    };
    scene.put(&integration, &body, &overdue(eleven_minutes_ago())).await?;
    let swept = scene.stack.invoke(Function::Sweep, &json!({})).await?;
    assert!(swept["unreadable"].as_u64() >= Some(1), "{swept}");
    scene.record(key, Status::Delivered).await?;
    let is_it = |line: &serde_json::Value| line["unreadable"].is_u64() && line["level"] == "ERROR";
    scene.stack.log_line_when(SOON, "what was left out", is_it).await?;
    scene.stack.forget(broken).await?;
    Ok(())
}

/// An alert that was moved back from the dead-letter queue looks new to SQS. Its run of long ago left a claim, and the
/// integration was switched off since: the delivery ends all the same.
pub async fn old_alert_is_taken_for_one_that_comes_back(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([]).await?;
    let mut alert = scene.alert();
    alert["timestamp"] = (Timestamp::now() - Duration::from_secs(3 * 60 * 60)).to_string().into();
    let body = alert.to_string();
    let given_up = State::Sending {
        attempt: 1,
        round_start: 1,
        lease_until: eleven_minutes_ago(),
        claim_id: ClaimId::new([7; 16]),
    };
    let key = scene.put(&integration, &body, &given_up).await?;
    scene.stack.change(&integration, &json!({"enabled": false})).await?;
    scene.send(&body).await?;
    let record = scene.record(key, Status::Cancelled).await?;
    assert_eq!(outcomes(&record), [(1, "unknown", None)]);
    assert_eq!(scene.arrivals().len(), 0);
    Ok(())
}

/// A message that was purged in the middle of its attempt leaves nothing that would lead on but its owner's hand.
pub async fn given_up_attempt_is_sent_again_by_hand(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([]).await?;
    let sending =
        |lease_until| State::Sending { attempt: 1, round_start: 1, lease_until, claim_id: ClaimId::new([7; 16]) };
    let (id, api) = (integration.id.to_string(), scene.api().await?);
    let key = scene.put(&integration, &scene.alert().to_string(), &sending(eleven_minutes_ago())).await?;
    let refused = api.redeliver(&id, &key.delivery_id.to_string()).await;
    assert!(refused.is_err(), "its message may come back yet");

    let given_up = sending(Timestamp::now() - GIVEN_UP_AFTER);
    let key = scene.put(&integration, &scene.alert().to_string(), &given_up).await?;
    api.redeliver(&id, &key.delivery_id.to_string()).await?;
    let record = scene.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "unknown", None), (2, "accepted", Some(200))]);
    assert_eq!((record.claim_id, record.lease_until), (None, None));
    Ok(())
}

fn eleven_minutes_ago() -> Timestamp {
    Timestamp::now() - Duration::from_secs(11 * 60)
}
