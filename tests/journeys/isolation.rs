//! An endpoint that takes long to answer is served apart, where it holds up nobody else's alerts, until it is quick again.

use std::time::{Duration, Instant};

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::LogType;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use domain::delivery::ledger::{ClaimId, State};
use domain::delivery::retry_message::RetryMessage;
use domain::delivery::{DeliveryKey, Record, Status};
use domain::integration::Integration;
use domain::integration::health::{Health, Lane, SLOW_AFTER};
use harness::api::Content;
use harness::local_cloud::sdk_config;
use harness::receiver::Answer;
use http::Method;
use jiff::Timestamp;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use support::function::Function;

use crate::scene::{PATH, SOON, Scene, outcomes};

/// The longest that what an endpoint missed takes to reach it: every delay of the schedule, each attempt's time-out, and
/// a loaded machine.
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

async fn look(scene: &Scene, integration: &Integration) -> Result<Seen, Failed> {
    let path = format!("/integrations/{}", integration.id);
    let response = scene.api().await?.call(Method::GET, &path, Content::none()).await?;
    let etag = response.header("etag").ok_or("no ETag")?.to_owned();
    Ok(Seen { etag, body: response.json()? })
}

/// Waits until its owner sees an integration in that state of health.
async fn seen_to_be(scene: &Scene, integration: &Integration, state: &str) -> Result<Seen, Failed> {
    let started = Instant::now();
    loop {
        let seen = look(scene, integration).await?;
        if seen.state() == state {
            return Ok(seen);
        }
        if started.elapsed() > SOON {
            return Err(format!("never {state}; last seen: {}", seen.body["health"]).into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until an integration's attempts are made on that lane.
async fn is_on(scene: &Scene, integration: &Integration, lane: Lane) -> Result<(), Failed> {
    let started = Instant::now();
    loop {
        let health = scene.stack.integration(integration).await?.health;
        if Health::lane(health.as_ref()) == lane {
            return Ok(());
        }
        if started.elapsed() > SOON {
            return Err(format!("never on the lane {lane:?}; last seen: {health:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Raises as many alerts as an endpoint has to be slow about to be slow, and waits until it is, and for what it is known.
async fn become_slow(scene: &Scene, integration: &Integration) -> Result<Vec<String>, Failed> {
    let mut bodies = Vec::new();
    for _ in 0..SLOW_AFTER {
        bodies.push(scene.raise().await?);
    }
    let started = Instant::now();
    while seen_to_be(scene, integration, "slow").await?.reason() != "timeout_response" {
        if started.elapsed() > SOON {
            return Err("no time-out was told of".into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(bodies)
}

/// The function that made an attempt, as the logs have it.
async fn who_made(scene: &Scene, key: DeliveryKey, attempt: u32) -> Result<Function, Failed> {
    let started = Instant::now();
    loop {
        for function in [Function::Deliver, Function::Retry] {
            let lines = scene.stack.log_lines(function).await?;
            if lines.iter().any(|line| tells_of(line, key, attempt)) {
                return Ok(function);
            }
        }
        if started.elapsed() > SOON {
            return Err(format!("no function has logged attempt {attempt} of {}", key.delivery_id).into());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn tells_of(line: &str, key: DeliveryKey, attempt: u32) -> bool {
    let Ok(line) = serde_json::from_str::<Value>(line) else { return false };
    line["delivery_id"] == key.delivery_id.to_string() && line["attempt"] == attempt && line["outcome"].is_string()
}

/// Waits until an attempt of a delivery is over.
async fn attempted(scene: &Scene, key: DeliveryKey, attempt: u32) -> Result<Record, Failed> {
    let is_over = |record: &Record| record.attempts.iter().any(|made| made.number == attempt);
    let wanted = format!("a delivery whose attempt {attempt} is over");
    Ok(scene.stack.record_when(key, SOON, &wanted, is_over).await?)
}

/// Half of its time limit is enough to know it by, and its next alert need not wait for the end of the first.
pub async fn endpoint_that_hangs_is_known_before_its_first_time_out(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([Answer::Hang]).await?;
    let first = scene.raise().await?;
    is_on(&scene, &integration, Lane::Slow).await?;
    let first = scene.delivery(&integration, &first)?;
    let record = scene.stack.record(first).await?.ok_or("the claim came before the request")?;
    assert_eq!((record.status, record.attempts.len()), (Status::Sending, 0), "its first request goes on");
    let seen = look(&scene, &integration).await?;
    assert_eq!((seen.state(), seen.reason()), ("unknown", "slow"), "nothing is over yet, and one is awaited");

    let second = scene.raise().await?;
    let second = scene.delivery(&integration, &second)?;
    attempted(&scene, second, 1).await?;
    let made = (who_made(&scene, first, 1).await?, who_made(&scene, second, 1).await?);
    assert_eq!(made, (Function::Deliver, Function::Retry));
    Ok(())
}

/// What is accepted after long holds a worker as what times out does. It is delivered, and served apart: accepting late is
/// no recovery.
pub async fn accepting_late_is_slow_too(scene: Scene) -> Result<(), Failed> {
    let late = Answer::Late { after: Duration::from_secs(2), status: 200 };
    let integration = scene.integration_that_meets([late]).await?;
    // One after the other: of those that are under way together, one may find its place taken twice, and give up.
    for _ in 0..SLOW_AFTER {
        let body = scene.raise().await?;
        let record = scene.record(scene.delivery(&integration, &body)?, Status::Delivered).await?;
        assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    }
    let slow = seen_to_be(&scene, &integration, "slow").await?;
    assert_eq!(slow.reason(), "slow");

    scene.receiver.script(PATH, [Answer::Status(200)]);
    let body = scene.raise().await?;
    assert_eq!(who_made(&scene, scene.delivery(&integration, &body)?, 1).await?, Function::Retry);
    seen_to_be(&scene, &integration, "healthy").await?;
    is_on(&scene, &integration, Lane::Fast).await
}

/// The worker of an alert died, and the alert comes back. Its endpoint takes long by now: it must not be waited for where
/// everybody's alerts are.
pub async fn alert_that_comes_back_to_a_slow_endpoint_is_handed_off(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([Answer::Hang]).await?;
    become_slow(&scene, &integration).await?;
    let died = State::Sending {
        attempt: 1,
        round_start: 1,
        lease_until: Timestamp::now() - Duration::from_secs(1),
        claim_id: ClaimId::new([7; 16]),
    };
    let body = scene.alert().to_string();
    let key = scene.put(&integration, &body, &died).await?;
    let said = is_given(&scene, Function::Deliver, "AlertsQueue", &body, 2).await?;
    assert!(!said.lines().any(|line| tells_of(line, key, 1)), "made where it holds up others: {said}");
    let record = attempted(&scene, key, 1).await?;
    assert!(record.attempts[0].possible_duplicate, "the endpoint may have seen it");
    assert_eq!(who_made(&scene, key, 1).await?, Function::Retry);
    Ok(())
}

pub async fn slow_endpoint_has_a_lane_of_its_own_until_it_answers(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([Answer::Hang]).await?;
    let before = look(&scene, &integration).await?;
    assert_eq!(before.state(), "unknown");

    let mut bodies = become_slow(&scene, &integration).await?;
    let slow = look(&scene, &integration).await?;
    assert_eq!(slow.etag, before.etag, "an owner's If-Match does not fail for what an endpoint does");
    assert_eq!(slow.body["updated_at"], before.body["updated_at"]);
    assert_eq!(scene.stack.integration(&integration).await?.version, integration.version);

    // Known to be slow, it gets its next first attempt from the slow lane, and as soon.
    let body = scene.raise().await?;
    let key = scene.delivery(&integration, &body)?;
    let record = attempted(&scene, key, 1).await?;
    assert_eq!(outcomes(&record)[0], (1, "timed_out", None));
    assert_eq!(who_made(&scene, key, 1).await?, Function::Retry);
    bodies.push(body);

    // What it missed finds it when it is back, and with that it is healthy.
    scene.receiver.script(PATH, [Answer::Status(200)]);
    for body in &bodies {
        scene.record_within(scene.delivery(&integration, body)?, Status::Delivered, ALL_ATTEMPTS).await?;
    }
    let healthy = seen_to_be(&scene, &integration, "healthy").await?;
    assert_eq!((healthy.etag.as_str(), healthy.reason()), (before.etag.as_str(), ""));
    let body = scene.raise().await?;
    let key = scene.delivery(&integration, &body)?;
    scene.record(key, Status::Delivered).await?;
    assert_eq!(who_made(&scene, key, 1).await?, Function::Deliver);
    assert_eq!(look(&scene, &integration).await?.etag, before.etag);
    Ok(())
}

pub async fn due_attempts_of_a_slow_endpoint_change_lane(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([Answer::Hang]).await?;
    become_slow(&scene, &integration).await?;

    // Two deliveries whose second attempt is due. Nothing is on its way for them but what is given to the function here.
    let (passed_on, made) = (waiting(&scene, &integration).await?, waiting(&scene, &integration).await?);

    let said = retry_is_given(&scene, passed_on, "RetryQueue").await?;
    assert!(!said.lines().any(|line| tells_of(line, passed_on, 2)), "made where it holds up others: {said}");
    attempted(&scene, passed_on, 2).await?;

    let said = retry_is_given(&scene, made, "SlowLaneQueue").await?;
    assert!(said.lines().any(|line| tells_of(line, made, 2)), "not made in the slow lane: {said}");

    // Healthy again, it is served where everybody is.
    scene.receiver.script(PATH, [Answer::Status(200)]);
    seen_to_be(&scene, &integration, "healthy").await?;
    let made = waiting(&scene, &integration).await?;
    let said = retry_is_given(&scene, made, "RetryQueue").await?;
    assert!(said.lines().any(|line| tells_of(line, made, 2)), "passed on though it is well: {said}");
    Ok(())
}

/// Writes a delivery whose second attempt is due into the ledger.
async fn waiting(scene: &Scene, integration: &Integration) -> Result<DeliveryKey, Failed> {
    let due = State::Waiting { attempt: 2, round_start: 1, due_at: Timestamp::now() };
    scene.put(integration, &scene.alert().to_string(), &due).await
}

/// Invokes the retry function with the message of a delivery's second attempt, as if it had come by that queue, and
/// returns what this invocation logged.
async fn retry_is_given(scene: &Scene, key: DeliveryKey, queue: &str) -> Result<String, Failed> {
    let DeliveryKey { integration_id, delivery_id } = key;
    let message = RetryMessage { organization_id: scene.organization, integration_id, delivery_id, attempt: 2 };
    is_given(scene, Function::Retry, queue, &message.to_json(), 1).await
}

/// Invokes a function with a message, as if it had come by that queue for the so-manieth time, and returns what this
/// invocation logged.
async fn is_given(
    scene: &Scene,
    function: Function,
    queue: &str,
    body: &str,
    receive_count: u32,
) -> Result<String, Failed> {
    // On AWS and here, a queue's URL ends with its name.
    let name = scene.stack.resource(queue)?.rsplit('/').next().unwrap_or_default();
    let event = json!({ "Records": [{
        "messageId": "5a2f2b5e-0000-4000-8000-000000000002",
        "body": body,
        "attributes": { "ApproximateReceiveCount": receive_count.to_string() },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{name}"),
        "awsRegion": "us-east-1",
    }] });
    let lambda = aws_sdk_lambda::Client::new(&sdk_config(scene.stack.endpoint()));
    let invoke = lambda.invoke().function_name(scene.stack.resource(function.logical_id())?);
    let answer = invoke.log_type(LogType::Tail).payload(Blob::new(event.to_string())).send().await?;
    let failures: Value = serde_json::from_slice(answer.payload().map(AsRef::as_ref).unwrap_or_default())?;
    assert_eq!(failures, json!({ "batchItemFailures": [] }));
    let log = BASE64_STANDARD.decode(answer.log_result().unwrap_or_default())?;
    Ok(String::from_utf8_lossy(&log).into_owned())
}

pub async fn failing_at_once_is_not_slow(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([Answer::Status(500)]).await?;
    for _ in 0..=SLOW_AFTER {
        let body = scene.raise().await?;
        attempted(&scene, scene.delivery(&integration, &body)?, 2).await?;
    }
    let failing = look(&scene, &integration).await?;
    assert_eq!((failing.state(), failing.reason()), ("failing", "server_error"));
    let body = scene.raise().await?;
    assert_eq!(who_made(&scene, scene.delivery(&integration, &body)?, 1).await?, Function::Deliver);
    Ok(())
}

pub async fn another_url_is_another_endpoint(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([Answer::Hang]).await?;
    let mut bodies = become_slow(&scene, &integration).await?;
    // Under way when the URL changes: what it learns is about the old endpoint.
    bodies.push(scene.raise().await?);

    let patch = json!({ "url": scene.receiver.url("/elsewhere/canary") });
    let changed = scene.api().await?.change(&integration.id.to_string(), &patch).await?;
    assert_eq!(changed["health"], json!({ "state": "unknown", "since": null, "reason": null }));

    let body = scene.raise().await?;
    let key = scene.delivery(&integration, &body)?;
    scene.record(key, Status::Delivered).await?;
    assert_eq!(who_made(&scene, key, 1).await?, Function::Deliver);
    seen_to_be(&scene, &integration, "healthy").await?;
    for body in bodies {
        scene.record_within(scene.delivery(&integration, &body)?, Status::Delivered, ALL_ATTEMPTS).await?;
    }
    assert_eq!(
        look(&scene, &integration).await?.state(),
        "healthy",
        "the old endpoint's time-outs are not the new one's"
    );
    Ok(())
}
