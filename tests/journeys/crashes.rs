//! Crashes: of a worker in the middle of a request, of a wait, of a sender between ledger and queue. Nothing is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use domain::delivery::Status;
use domain::delivery::ledger::{ClaimId, GIVEN_UP_AFTER, State};
use domain::integration::Integration;
use harness::receiver::Answer;
use harness::stack::Stack;
use jiff::Timestamp;
use serde_json::json;
use support::function::Function;

use crate::testbed::{SOON, Testbed, header, outcomes};
use crate::{copy_error, shared};

/// How long it may take until a message whose worker was killed comes back, after the queue's visibility timeout.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(120);

/// A worker that was killed in the middle of a request, before the journeys began, so that its batch holds no other
/// journey's message.
pub struct Killed(anyhow::Result<(Testbed, Integration, String)>);

/// Sends an alert event to an endpoint that hangs, and kills the worker that waits for its answer.
pub async fn kill_a_worker(stack: &Arc<Stack>) -> Killed {
    Killed(kill(stack).await)
}

async fn kill(stack: &Arc<Stack>) -> anyhow::Result<(Testbed, Integration, String)> {
    let testbed = Testbed::set_up(stack).await?;
    let integration = testbed.create_with_answers([Answer::Hang, Answer::Status(200)]).await?;
    let body = testbed.send_alert().await?;
    let sent = Instant::now();
    while testbed.arrivals().is_empty() {
        if sent.elapsed() > SOON {
            bail!("the request that was to be interrupted never came");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let workers = stack.workers(Function::Deliver)?;
    if workers.is_empty() {
        bail!("no process runs the deliver function");
    }
    for worker in workers {
        worker.kill()?;
    }
    Ok((testbed, integration, body))
}

pub async fn worker_killed_in_mid_request(_: Testbed) -> anyhow::Result<()> {
    let Killed(prepared) = &shared()?.killed;
    let (testbed, integration, body) = prepared.as_ref().map_err(copy_error)?;
    let key = testbed.delivery(integration, body)?;
    let claimed = testbed.stack.record(key).await?.context("the claim came before the request")?;
    assert_eq!((claimed.status, claimed.attempt), (Status::Sending, 1));

    let record = testbed.record_within(key, Status::Delivered, COMES_BACK_WITHIN).await?;
    assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    assert!(record.attempts[0].possible_duplicate, "the endpoint may have seen it twice, and did");
    let arrivals = testbed.arrivals();
    assert_eq!(arrivals.len(), 2);
    for arrival in &arrivals {
        assert_eq!(header(arrival, "x-roboticks-attempt"), "1");
        assert_eq!(header(arrival, "x-roboticks-delivery"), key.delivery_id.to_string());
    }
    let delivery_id = key.delivery_id.to_string();
    let is_it = |line: &serde_json::Value| line["delivery_id"] == delivery_id.as_str() && line["status"] == "delivered";
    let line = testbed.stack.log_line_when(SOON, "the attempt's line", is_it).await?;
    assert_eq!(line["possible_duplicate"], true);
    Ok(())
}

pub async fn aborted_execution_is_swept(testbed: Testbed) -> anyhow::Result<()> {
    // Two hours are 14 seconds here, which is enough time to abort the wait.
    let answers = [Answer::with_header(429, "retry-after", "7200"), Answer::Status(200)];
    let integration = testbed.create_with_answers(answers).await?;
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    let started = Instant::now();
    let execution = loop {
        match testbed.stack.executions(key.delivery_id).await?.into_iter().next() {
            Some(execution) => break execution,
            None if started.elapsed() > SOON => bail!("no execution waits for the second attempt"),
            None => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    };
    testbed.stack.abort(&execution).await?;
    testbed.record_waiting_for(key, 2).await?;

    // The sweep ignores it until it is overdue, here by eleven minutes.
    testbed.stack.invoke(Function::Sweep, &json!({})).await?;
    testbed.record_waiting_for(key, 2).await?;
    testbed.stack.set_due_at(key, eleven_minutes_ago()).await?;
    let swept = testbed.stack.invoke(Function::Sweep, &json!({})).await?;
    assert!(swept["overdue"].as_u64() >= Some(1), "{swept}");

    let record = testbed.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "rejected", Some(429)), (2, "accepted", Some(200))]);
    assert_eq!(testbed.arrivals().len(), 2);
    Ok(())
}

/// A worker died after it had recorded a handed-off first attempt in the ledger, and before it sent the message.
pub async fn lost_hand_off_is_swept(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([]).await?;
    let body = testbed.alert().to_string();
    let handed_off = State::Waiting { attempt: 1, round_start: 1, due_at: eleven_minutes_ago() };
    let key = testbed.put_delivery(&integration, &body, &handed_off).await?;

    let swept = testbed.stack.invoke(Function::Sweep, &json!({})).await?;
    assert!(swept["overdue"].as_u64() >= Some(1), "{swept}");
    let record = testbed.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    assert_eq!(testbed.arrivals()[0].body, body.as_bytes());
    Ok(())
}

/// An entry of the index that cannot be read does not hide the others, and is logged.
pub async fn unreadable_entry_hides_no_other(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([]).await?;
    let broken = testbed.alert().to_string();
    let overdue = |due_at| State::Waiting { attempt: 1, round_start: 1, due_at };
    let longest = Timestamp::now() - Duration::from_secs(12 * 60);
    let broken = testbed.put_delivery(&integration, &broken, &overdue(longest)).await?;
    testbed.stack.make_unreadable(broken).await?;
    // Another one in the same shard, after it.
    let (body, key) = loop {
        let body = testbed.alert().to_string();
        let key = testbed.delivery(&integration, &body)?;
        if key.due_shard() == broken.due_shard() {
            break (body, key);
        }
    };
    testbed.put_delivery(&integration, &body, &overdue(eleven_minutes_ago())).await?;
    let swept = testbed.stack.invoke(Function::Sweep, &json!({})).await?;
    assert!(swept["unreadable"].as_u64() >= Some(1), "{swept}");
    testbed.record(key, Status::Delivered).await?;
    let is_it = |line: &serde_json::Value| line["unreadable"].is_u64() && line["level"] == "ERROR";
    testbed.stack.log_line_when(SOON, "what was left out", is_it).await?;
    testbed.stack.delete_record(broken).await?;
    Ok(())
}

/// An alert that was moved back from the dead-letter queue looks new to SQS. It was handled long ago, which left a
/// claim, and its integration has been switched off since. Its delivery has to end all the same.
pub async fn alert_moved_back_ends_its_old_claim(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([]).await?;
    let mut alert = testbed.alert();
    alert["timestamp"] = (Timestamp::now() - Duration::from_secs(3 * 60 * 60)).to_string().into();
    let body = alert.to_string();
    let given_up = State::Sending {
        attempt: 1,
        round_start: 1,
        lease_until: eleven_minutes_ago(),
        claim_id: ClaimId::new([7; 16]),
    };
    let key = testbed.put_delivery(&integration, &body, &given_up).await?;
    testbed.stack.change(&integration, &json!({"enabled": false})).await?;
    testbed.send(&body).await?;
    let record = testbed.record(key, Status::Cancelled).await?;
    assert_eq!(outcomes(&record), [(1, "unknown", None)]);
    assert_eq!(testbed.arrivals().len(), 0);
    Ok(())
}

/// After its message was purged in the middle of an attempt, a delivery goes on only when its owner sends it again.
pub async fn attempt_without_a_message_is_sent_again_by_hand(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([]).await?;
    let sending =
        |lease_until| State::Sending { attempt: 1, round_start: 1, lease_until, claim_id: ClaimId::new([7; 16]) };
    let (id, api) = (integration.id.to_string(), testbed.api().await?);
    let key = testbed.put_delivery(&integration, &testbed.alert().to_string(), &sending(eleven_minutes_ago())).await?;
    let refused = api.redeliver(&id, &key.delivery_id.to_string()).await;
    assert!(refused.is_err(), "its message may come back yet");

    let given_up = sending(Timestamp::now() - GIVEN_UP_AFTER);
    let key = testbed.put_delivery(&integration, &testbed.alert().to_string(), &given_up).await?;
    api.redeliver(&id, &key.delivery_id.to_string()).await?;
    let record = testbed.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "unknown", None), (2, "accepted", Some(200))]);
    assert_eq!((record.claim_id, record.lease_until), (None, None));
    Ok(())
}

fn eleven_minutes_ago() -> Timestamp {
    Timestamp::now() - Duration::from_secs(11 * 60)
}
