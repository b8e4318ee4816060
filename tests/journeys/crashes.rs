//! What dies half-way: a worker in mid-request, a wait, a sender between the ledger and the queue. Nothing is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use libtest_mimic::Failed;
use serde_json::json;
use shared::alert_event::AlertEvent;
use shared::delivery::{Identity, Record, Status};
use shared::integration::Integration;
use shared::ledger::State;
use shared::payload::{Kept, keep};
use tests::receiver::Answer;
use tests::stack::{Function, Stack};

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

/// A worker that died after it had handed a first attempt off to the slow lane in the ledger, and before it had sent
/// the message.
pub async fn lost_hand_off_is_swept(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([]).await?;
    let body = scene.alert().to_string();
    let key = scene.delivery(&integration, &body)?;
    let event = AlertEvent::parse(&body)?;
    let now = Timestamp::now();
    let identity = Identity {
        integration_id: key.integration_id,
        delivery_id: key.delivery_id,
        organization_id: event.organization_id,
        event_type: event.event_type,
        alert_id: event.alert_id,
        created_at: now,
    };
    let handed_off = State::Waiting { attempt: 1, round_start: 1, due_at: eleven_minutes_ago() };
    let mut record = Record::new(identity, &handed_off, now + Duration::from_secs(24 * 60 * 60));
    let Kept::Inline(payload) = keep(body.as_bytes()) else {
        return Err("a sample alert fits beside its delivery".into());
    };
    record.payload = Some(payload.into());
    scene.stack.put_record(record).await?;

    let swept = scene.stack.invoke(Function::Sweep, &json!({})).await?;
    assert!(swept["overdue"].as_u64() >= Some(1), "{swept}");
    let record = scene.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    assert_eq!(scene.arrivals()[0].body, body.as_bytes());
    Ok(())
}

fn eleven_minutes_ago() -> Timestamp {
    Timestamp::now() - Duration::from_secs(11 * 60)
}
