//! A slow endpoint is served by the slow lane, where it delays no other endpoint's alerts, until it is fast again.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use domain::delivery::ledger::{ClaimId, State};
use domain::delivery::retry_message::RetryMessage;
use domain::delivery::{DeliveryKey, Record, Status};
use domain::integration::Integration;
use domain::integration::health::{Health, Lane, SLOW_AFTER};
use harness::api::Content;
use harness::receiver::Answer;
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use support::function::Function;

use crate::testbed::{PATH, SOON, Testbed, outcomes};

/// How long it may take until an endpoint that is fast again has received everything: every delay of the schedule, a
/// timeout in each attempt, and a busy machine.
const ALL_ATTEMPTS: Duration = Duration::from_secs(120);

/// An integration as its owner sees it.
struct Seen {
    etag: String,
    body: Value,
}

impl Seen {
    fn state(&self) -> &str {
        self.body["health"]["state"].as_str().unwrap_or_default()
    }

    fn reason(&self) -> &str {
        self.body["health"]["reason"]["code"].as_str().unwrap_or_default()
    }
}

async fn look(testbed: &Testbed, integration: &Integration) -> anyhow::Result<Seen> {
    let path = format!("/integrations/{}", integration.id);
    let response = testbed.api().await?.call(Method::GET, &path, Content::none()).await?;
    let etag = response.header("etag").context("no ETag")?.to_owned();
    Ok(Seen { etag, body: response.json()? })
}

/// Waits until its owner sees an integration in that state of health.
async fn wait_for_state(testbed: &Testbed, integration: &Integration, state: &str) -> anyhow::Result<Seen> {
    let started = Instant::now();
    loop {
        let seen = look(testbed, integration).await?;
        if seen.state() == state {
            return Ok(seen);
        }
        if started.elapsed() > SOON {
            bail!("never {state}; last seen: {}", seen.body["health"]);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until an integration's attempts are made on that lane.
async fn wait_for_lane(testbed: &Testbed, integration: &Integration, lane: Lane) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let health = testbed.stack.integration(integration).await?.health;
        if Health::lane(health.as_ref()) == lane {
            return Ok(());
        }
        if started.elapsed() > SOON {
            bail!("never on the lane {lane:?}; last seen: {health:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends as many alerts as it takes to recognize an endpoint as slow, and waits until it is, by its timeouts.
async fn make_slow(testbed: &Testbed, integration: &Integration) -> anyhow::Result<Vec<String>> {
    let mut bodies = Vec::new();
    for _ in 0..SLOW_AFTER {
        bodies.push(testbed.send_alert().await?);
    }
    let started = Instant::now();
    while wait_for_state(testbed, integration, "slow").await?.reason() != "timeout_response" {
        if started.elapsed() > SOON {
            bail!("no time-out was told of");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(bodies)
}

/// The function that made an attempt, by the logs.
async fn who_made(testbed: &Testbed, key: DeliveryKey, attempt: u32) -> anyhow::Result<Function> {
    let started = Instant::now();
    loop {
        for function in [Function::Deliver, Function::Retry] {
            let lines = testbed.stack.log_lines(function).await?;
            if lines.iter().any(|line| is_attempt(line, key, attempt)) {
                return Ok(function);
            }
        }
        if started.elapsed() > SOON {
            bail!("no function has logged attempt {attempt} of {}", key.delivery_id);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn is_attempt(line: &str, key: DeliveryKey, attempt: u32) -> bool {
    let Ok(line) = serde_json::from_str::<Value>(line) else { return false };
    line["delivery_id"] == key.delivery_id.to_string() && line["attempt"] == attempt && line["outcome"].is_string()
}

/// Waits until an attempt of a delivery is over.
async fn wait_for_attempt(testbed: &Testbed, key: DeliveryKey, attempt: u32) -> anyhow::Result<Record> {
    let is_over = |record: &Record| record.attempts.iter().any(|made| made.number == attempt);
    let wanted = format!("a delivery whose attempt {attempt} is over");
    testbed.stack.record_when(key, SOON, &wanted, is_over).await
}

/// It is recognized after half of the timeout, so its next alert need not wait for the end of the first.
pub async fn endpoint_that_hangs_is_recognized_before_its_first_timeout(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([Answer::Hang]).await?;
    let first = testbed.send_alert().await?;
    wait_for_lane(&testbed, &integration, Lane::Slow).await?;
    let first = testbed.delivery(&integration, &first)?;
    let record = testbed.stack.record(first).await?.context("the claim came before the request")?;
    assert_eq!((record.status, record.attempts.len()), (Status::Sending, 0), "its first request goes on");
    let seen = look(&testbed, &integration).await?;
    assert_eq!((seen.state(), seen.reason()), ("unknown", "slow"), "nothing is over yet, and one is awaited");

    let second = testbed.send_alert().await?;
    let second = testbed.delivery(&integration, &second)?;
    wait_for_attempt(&testbed, second, 1).await?;
    let made = (who_made(&testbed, first, 1).await?, who_made(&testbed, second, 1).await?);
    assert_eq!(made, (Function::Deliver, Function::Retry));
    Ok(())
}

/// A late acceptance occupies a worker as a timeout does: the delivery is delivered, but the endpoint stays slow.
pub async fn accepting_late_is_slow_too(testbed: Testbed) -> anyhow::Result<()> {
    let late = Answer::Late { after: Duration::from_secs(2), status: 200 };
    let integration = testbed.create_with_answers([late]).await?;
    // One after the other: deliveries at the same time may conflict when they record the endpoint's health.
    for _ in 0..SLOW_AFTER {
        let body = testbed.send_alert().await?;
        let record = testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;
        assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    }
    let slow = wait_for_state(&testbed, &integration, "slow").await?;
    assert_eq!(slow.reason(), "slow");

    testbed.receiver.script(PATH, [Answer::Status(200)]);
    let body = testbed.send_alert().await?;
    assert_eq!(who_made(&testbed, testbed.delivery(&integration, &body)?, 1).await?, Function::Retry);
    wait_for_state(&testbed, &integration, "healthy").await?;
    wait_for_lane(&testbed, &integration, Lane::Fast).await
}

/// The worker of an alert died, and the alert comes back. Its endpoint has become slow, and must not be waited for in
/// the fast lane.
pub async fn alert_that_comes_back_to_a_slow_endpoint_is_handed_off(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([Answer::Hang]).await?;
    make_slow(&testbed, &integration).await?;
    let died = State::Sending {
        attempt: 1,
        round_start: 1,
        lease_until: Timestamp::now() - Duration::from_secs(1),
        claim_id: ClaimId::new([7; 16]),
    };
    let body = testbed.alert().to_string();
    let key = testbed.put_delivery(&integration, &body, &died).await?;
    let said = invoke_with(&testbed, Function::Deliver, "AlertsQueue", &body, 2).await?;
    assert!(!said.lines().any(|line| is_attempt(line, key, 1)), "made where it holds up others: {said}");
    let record = wait_for_attempt(&testbed, key, 1).await?;
    assert!(record.attempts[0].possible_duplicate, "the endpoint may have seen it");
    assert_eq!(who_made(&testbed, key, 1).await?, Function::Retry);
    Ok(())
}

pub async fn slow_endpoint_is_served_by_the_slow_lane_until_it_answers(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([Answer::Hang]).await?;
    let before = look(&testbed, &integration).await?;
    assert_eq!(before.state(), "unknown");

    let mut bodies = make_slow(&testbed, &integration).await?;
    let slow = look(&testbed, &integration).await?;
    assert_eq!(slow.etag, before.etag, "an owner's If-Match does not fail for what an endpoint does");
    assert_eq!(slow.body["updated_at"], before.body["updated_at"]);
    assert_eq!(testbed.stack.integration(&integration).await?.version, integration.version);

    // The next first attempt is made by the slow lane, and as soon.
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    let record = wait_for_attempt(&testbed, key, 1).await?;
    assert_eq!(outcomes(&record)[0], (1, "timed_out", None));
    assert_eq!(who_made(&testbed, key, 1).await?, Function::Retry);
    bodies.push(body);

    // When it is fast again, it receives everything that it missed, and is healthy.
    testbed.receiver.script(PATH, [Answer::Status(200)]);
    for body in &bodies {
        testbed.record_within(testbed.delivery(&integration, body)?, Status::Delivered, ALL_ATTEMPTS).await?;
    }
    let healthy = wait_for_state(&testbed, &integration, "healthy").await?;
    assert_eq!((healthy.etag.as_str(), healthy.reason()), (before.etag.as_str(), ""));
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    testbed.record(key, Status::Delivered).await?;
    assert_eq!(who_made(&testbed, key, 1).await?, Function::Deliver);
    assert_eq!(look(&testbed, &integration).await?.etag, before.etag);
    Ok(())
}

pub async fn due_attempts_of_a_slow_endpoint_change_lane(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([Answer::Hang]).await?;
    make_slow(&testbed, &integration).await?;

    // Two deliveries whose second attempt is due. No message exists for them but those that the function is invoked
    // with.
    let (passed_on, made) = (waiting(&testbed, &integration).await?, waiting(&testbed, &integration).await?);

    let said = invoke_retry(&testbed, passed_on, "RetryQueue").await?;
    assert!(!said.lines().any(|line| is_attempt(line, passed_on, 2)), "made where it holds up others: {said}");
    wait_for_attempt(&testbed, passed_on, 2).await?;

    let said = invoke_retry(&testbed, made, "SlowLaneQueue").await?;
    assert!(said.lines().any(|line| is_attempt(line, made, 2)), "not made in the slow lane: {said}");

    // Once healthy again, it is served by the fast lane.
    testbed.receiver.script(PATH, [Answer::Status(200)]);
    wait_for_state(&testbed, &integration, "healthy").await?;
    let made = waiting(&testbed, &integration).await?;
    let said = invoke_retry(&testbed, made, "RetryQueue").await?;
    assert!(said.lines().any(|line| is_attempt(line, made, 2)), "passed on though it is well: {said}");
    Ok(())
}

/// Writes a delivery whose second attempt is due into the ledger.
async fn waiting(testbed: &Testbed, integration: &Integration) -> anyhow::Result<DeliveryKey> {
    let due = State::Waiting { attempt: 2, round_start: 1, due_at: Timestamp::now() };
    testbed.put_delivery(integration, &testbed.alert().to_string(), &due).await
}

/// Invokes the retry function with the message of a delivery's second attempt, as if it had come from that queue, and
/// returns what the invocation logged.
async fn invoke_retry(testbed: &Testbed, key: DeliveryKey, queue: &str) -> anyhow::Result<String> {
    let DeliveryKey { integration_id, delivery_id } = key;
    let message = RetryMessage { organization_id: testbed.organization, integration_id, delivery_id, attempt: 2 };
    invoke_with(testbed, Function::Retry, queue, &message.to_json(), 1).await
}

/// Invokes a function with a message, as if it had come from that queue with that receive count, and returns what the
/// invocation logged.
async fn invoke_with(
    testbed: &Testbed,
    function: Function,
    queue: &str,
    body: &str,
    receive_count: u32,
) -> anyhow::Result<String> {
    // On AWS and here, a queue's URL ends with its name.
    let name = testbed.stack.resource(queue)?.rsplit('/').next().unwrap_or_default();
    let event = json!({ "Records": [{
        "messageId": "5a2f2b5e-0000-4000-8000-000000000002",
        "body": body,
        "attributes": { "ApproximateReceiveCount": receive_count.to_string() },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{name}"),
        "awsRegion": "us-east-1",
    }] });
    let invocation = testbed.stack.invocation(function, &event).await?;
    assert_eq!(invocation.payload, json!({ "batchItemFailures": [] }));
    let log = BASE64_STANDARD.decode(invocation.log_result.unwrap_or_default())?;
    Ok(String::from_utf8_lossy(&log).into_owned())
}

pub async fn failing_at_once_is_not_slow(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([Answer::Status(500)]).await?;
    for _ in 0..=SLOW_AFTER {
        let body = testbed.send_alert().await?;
        wait_for_attempt(&testbed, testbed.delivery(&integration, &body)?, 2).await?;
    }
    let failing = look(&testbed, &integration).await?;
    assert_eq!((failing.state(), failing.reason()), ("failing", "server_error"));
    let body = testbed.send_alert().await?;
    assert_eq!(who_made(&testbed, testbed.delivery(&integration, &body)?, 1).await?, Function::Deliver);
    Ok(())
}

pub async fn another_url_is_another_endpoint(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([Answer::Hang]).await?;
    let mut bodies = make_slow(&testbed, &integration).await?;
    // In progress when the URL changes: its result is about the old endpoint.
    bodies.push(testbed.send_alert().await?);

    let patch = json!({ "url": testbed.receiver.url("/elsewhere/canary") });
    let changed = testbed.api().await?.change(&integration.id.to_string(), &patch).await?;
    assert_eq!(changed["health"], json!({ "state": "unknown", "since": null, "reason": null }));

    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    testbed.record(key, Status::Delivered).await?;
    assert_eq!(who_made(&testbed, key, 1).await?, Function::Deliver);
    wait_for_state(&testbed, &integration, "healthy").await?;
    for body in bodies {
        testbed.record_within(testbed.delivery(&integration, &body)?, Status::Delivered, ALL_ATTEMPTS).await?;
    }
    assert_eq!(
        look(&testbed, &integration).await?.state(),
        "healthy",
        "the old endpoint's time-outs are not the new one's"
    );
    Ok(())
}
