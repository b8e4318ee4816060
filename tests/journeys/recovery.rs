//! Recovery of failed deliveries after an endpoint was down for long: each is sent once, and not all at the same time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use api::store::recovery_rate::RecoveryRate;
use api::store::token_bucket::TokenBuckets;
use domain::alert::event::EventType;
use domain::delivery::ledger::{End, MAX_ROUNDS, State};
use domain::delivery::payload::{StoredPayload, compress};
use domain::delivery::{DeliveryKey, Identity, Record, Status};
use domain::ids::DeliveryId;
use domain::integration::Integration;
use futures_util::{StreamExt, stream};
use harness::api::{Api, Content, Response};
use harness::local_cloud::sdk_config;
use harness::receiver::Arrival;
use harness::stack::Stack;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use support::function::Function;

use crate::integrations::{assert_problem, create_integration};
use crate::testbed::{PATH, SOON, Testbed, header};
use crate::{copy_error, shared};

/// How many deliveries have failed.
const FAILED: usize = 500;

/// How long until all of them have arrived: ten a second, and some time for a busy machine.
const PACED_WITHIN: Duration = Duration::from_secs(80);

/// How many may arrive within a second. Ten a second are due, but a queue's delays are whole seconds and a busy machine
/// has to catch up. Without pacing, each request would send a hundred at once.
const MAX_PER_SECOND: usize = 40;

/// A recovery that was interrupted before the journeys began, because a killed worker may hold any journey's request.
pub struct Interrupted(anyhow::Result<(Testbed, Vec<Record>, Interruption)>);

/// How far a recovery had come.
struct Interruption {
    integration: String,
    /// The last cursor that the caller received.
    cursor: Value,
    /// How many deliveries have been recovered, by the answers that the caller received.
    recovered: u64,
    /// How many of a hundred deliveries the killed worker had recovered.
    by_killed_worker: usize,
}

/// Writes five hundred failed deliveries and interrupts their recovery: the caller loses an answer, and then the worker
/// is killed in the middle of a request.
pub async fn interrupt(stack: &Arc<Stack>) -> Interrupted {
    Interrupted(start_and_interrupt(stack).await)
}

async fn start_and_interrupt(stack: &Arc<Stack>) -> anyhow::Result<(Testbed, Vec<Record>, Interruption)> {
    let testbed = Testbed::set_up(stack).await?;
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let failed = put_failed_deliveries(&testbed, &id).await?;
    let (from, to) = (failed[0].identity.created_at, failed[FAILED - 1].identity.created_at);

    let range = json!({"from": from.to_string(), "to": to.to_string()});
    assert_eq!(count_all(&api, &id, json!({"from": from.to_string(), "to": to.to_string()})).await?, FAILED as u64);
    let first_hundred = json!({"to": failed[99].identity.created_at.to_string(), "dry_run": true});
    assert_eq!(api.recover(&id, &first_hundred).await?["count"], 100, "the range's end counts in");

    let answer = api.recover(&id, &range).await?;
    assert!(answer["paced_until"].is_string());
    let (cursor, recovered) = (answer["next_cursor"].clone(), answer["count"].as_u64().unwrap_or_default());
    // The answer that the caller does not receive.
    let lost = api.recover(&id, &json!({"cursor": cursor})).await?;
    assert_eq!(lost["count"], 100);
    let dies = json!({"cursor": lost["next_cursor"]});
    let third_hundred = &failed[200..300];
    let (answer, killed) = tokio::join!(api.recover(&id, &dies), kill_in_the_middle(&testbed, third_hundred));
    killed?;
    assert!(answer.is_err(), "a killed worker does not answer: {answer:?}");
    let by_killed_worker = count_recovered(&testbed, third_hundred).await?;
    Ok((testbed, failed, Interruption { integration: id, cursor, recovered, by_killed_worker }))
}

/// How many of these have been recovered.
async fn count_recovered(testbed: &Testbed, of: &[Record]) -> anyhow::Result<usize> {
    let mut begun = 0;
    for record in of {
        let record = testbed.stack.record(record.identity.key()).await?.context("it was there")?;
        begun += usize::from(record.rounds > 1);
    }
    Ok(begun)
}

/// Kills the function's workers as soon as some of these have been recovered.
async fn kill_in_the_middle(testbed: &Testbed, of: &[Record]) -> anyhow::Result<()> {
    let begun = Instant::now();
    // Early, so that killing does not take longer than the rest of the request.
    let middle = of[of.len() / 10].identity.key();
    while begun.elapsed() < SOON {
        let record = testbed.stack.record(middle).await?.context("it was there")?;
        if record.rounds > 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for worker in testbed.stack.workers(Function::Api)? {
        worker.kill()?;
    }
    Ok(())
}

pub async fn five_hundred_interrupted_midway(_: Testbed) -> anyhow::Result<()> {
    let Interrupted(prepared) = &shared()?.interrupted;
    let (testbed, failed, interruption) = prepared.as_ref().map_err(copy_error)?;
    let api = testbed.api().await?;

    assert!((1..100).contains(&interruption.by_killed_worker), "it was interrupted: {}", interruption.by_killed_worker);
    let other_mode = json!({"cursor": interruption.cursor, "dry_run": true});
    let refused = ask(&api, &interruption.integration, &other_mode).await?;
    assert_problem(&refused, StatusCode::BAD_REQUEST, &["cursor"])?;

    let (mut cursor, mut recovered) = (interruption.cursor.clone(), interruption.recovered);
    while !cursor.is_null() {
        let answer = api.recover(&interruption.integration, &json!({ "cursor": cursor })).await?;
        recovered += answer["count"].as_u64().unwrap_or_default();
        cursor = answer["next_cursor"].clone();
    }
    let unseen = 100 + interruption.by_killed_worker;
    assert_eq!(recovered, (FAILED - unseen) as u64, "what was recovered before is not recovered again");
    assert_eq!(count_all(&api, &interruption.integration, json!({})).await?, 0);

    // What the killed worker had written to the ledger but sent no message for, the sweep finds when it is overdue.
    let all_paced = Instant::now();
    let mut missing = find_undelivered(testbed, failed).await?;
    while !missing.is_empty() && all_paced.elapsed() < PACED_WITHIN {
        tokio::time::sleep(Duration::from_secs(1)).await;
        missing = find_undelivered(testbed, failed).await?;
    }
    for key in missing {
        testbed.stack.set_due_at(key, Timestamp::now() - Duration::from_secs(11 * 60)).await?;
    }
    testbed.stack.invoke(Function::Sweep, &json!({})).await?;
    for record in failed {
        testbed.record(record.identity.key(), Status::Delivered).await?;
    }

    testbed.wait_a_moment().await;
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    let arrivals = testbed.arrivals();
    for arrival in &arrivals {
        *arrived.entry(header(arrival, "x-roboticks-delivery").to_owned()).or_default() += 1;
    }
    assert_eq!(arrived.len(), FAILED);
    let twice: Vec<_> = arrived.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(most_in_a_second(&arrivals) <= MAX_PER_SECOND, "{} at once", most_in_a_second(&arrivals));
    let first_and_last = arrivals.first().zip(arrivals.last()).context("they arrived")?;
    let took = first_and_last.1.at.duration_since(first_and_last.0.at);
    assert!(took.as_secs() >= 30, "ten a second, at most: {took}");
    Ok(())
}

/// The largest number of arrivals within one second.
fn most_in_a_second(arrivals: &[Arrival]) -> usize {
    let within_a_second_of = |first: &Arrival| {
        let second = first.at..first.at + Duration::from_secs(1);
        arrivals.iter().filter(|arrival| second.contains(&arrival.at)).count()
    };
    arrivals.iter().map(within_a_second_of).max().unwrap_or_default()
}

pub async fn a_dry_run_counts_what_would_be_sent(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    let an_hour_ago = Timestamp::now() - Duration::from_secs(3_600);
    let record = |number| failed_record(&testbed, &integration, number, an_hour_ago);
    let once = record(0);
    let again = Record { rounds: MAX_ROUNDS - 1, redelivered_at: Some(an_hour_ago), ..record(1) };
    let to_send = [once.identity.key(), again.identity.key()];
    let too_often = Record { rounds: MAX_ROUNDS, redelivered_at: Some(an_hour_ago), ..record(2) };
    let test = Record { test: true, ..record(3) };
    for record in [once, again, too_often, test] {
        testbed.stack.put_record(record).await?;
    }
    let counted = api.recover(&id, &json!({"dry_run": true})).await?;
    assert_eq!((&counted["count"], &counted["skipped"]), (&json!(2), &json!(1)));
    assert_eq!((&counted["next_cursor"], &counted["paced_until"]), (&Value::Null, &Value::Null));
    let recovered = api.recover(&id, &json!({})).await?;
    assert_eq!((&recovered["count"], &recovered["skipped"]), (&counted["count"], &counted["skipped"]));
    for key in to_send {
        testbed.record(key, Status::Delivered).await?;
    }
    Ok(())
}

pub async fn refused_while_off_or_fully_booked(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    let record = failed_record(&testbed, &integration, 0, Timestamp::now() - Duration::from_secs(3_600));
    let key = record.identity.key();
    testbed.stack.put_record(record).await?;

    api.change(&id, &json!({"enabled": false})).await?;
    assert_problem(&ask(&api, &id, &json!({})).await?, StatusCode::CONFLICT, &[])?;
    assert_eq!(api.recover(&id, &json!({"dry_run": true})).await?["count"], 1, "counting needs no endpoint");
    api.change(&id, &json!({"enabled": true})).await?;

    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk_config(testbed.stack.endpoint()));
    let buckets = TokenBuckets::new(dynamodb, testbed.stack.output("IntegrationsTableName")?.to_owned());
    // Ten minutes of recoveries, reserved from a time that is still in the future for the next request.
    let soon = Timestamp::now() + Duration::from_secs(30);
    let booked = RecoveryRate::new(buckets).reserve(&integration, 6_000, soon).await?;
    assert!(booked.is_ok());
    let refused = ask(&api, &id, &json!({})).await?;
    assert_problem(&refused, StatusCode::TOO_MANY_REQUESTS, &[])?;
    let seconds: u64 = refused.header("retry-after").context("no Retry-After")?.parse()?;
    assert!((1..=31).contains(&seconds), "{seconds}");
    let untouched = testbed.stack.record(key).await?.context("it is there")?;
    assert_eq!((untouched.status, untouched.rounds), (Status::Failed, 1));
    assert_eq!(testbed.arrivals().len(), 0);
    Ok(())
}

/// Counts the failed deliveries of a range, in as many requests as it takes.
async fn count_all(api: &Api, id: &str, mut request: Value) -> anyhow::Result<u64> {
    let mut count = 0;
    loop {
        request["dry_run"] = json!(true);
        let counted = api.recover(id, &request).await?;
        count += counted["count"].as_u64().context("no count")?;
        match &counted["next_cursor"] {
            Value::Null => return Ok(count),
            cursor => request = json!({ "cursor": cursor }),
        }
    }
}

async fn ask(api: &Api, id: &str, recovery: &Value) -> anyhow::Result<Response> {
    api.call(Method::POST, &format!("/integrations/{id}/recover"), Content::json(recovery)).await
}

/// Which of these have not been delivered.
async fn find_undelivered(testbed: &Testbed, of: &[Record]) -> anyhow::Result<Vec<DeliveryKey>> {
    let mut waiting = Vec::new();
    for record in of {
        let key = record.identity.key();
        if testbed.stack.record(key).await?.is_some_and(|record| record.status != Status::Delivered) {
            waiting.push(key);
        }
    }
    Ok(waiting)
}

/// Writes failed deliveries into the ledger, as an hour of downtime leaves them, oldest first.
async fn put_failed_deliveries(testbed: &Testbed, id: &str) -> anyhow::Result<Vec<Record>> {
    let integration = testbed.stack.find_integration(testbed.organization, id).await?;
    let now = Timestamp::now();
    let records: Vec<Record> = (0..FAILED)
        .map(|number| {
            let created_at = now - Duration::from_secs(3_600) + Duration::from_secs(number as u64 * 7);
            failed_record(testbed, &integration, number as u64, created_at)
        })
        .collect();
    let writes = records.iter().map(|record| testbed.stack.put_record(record.clone()));
    let written: Vec<_> = stream::iter(writes).buffer_unordered(8).collect().await;
    written.into_iter().collect::<Result<(), _>>()?;
    Ok(records)
}

/// The record of a delivery that failed after all its attempts.
pub fn failed_record(testbed: &Testbed, integration: &Integration, number: u64, created_at: Timestamp) -> Record {
    let mut alert = testbed.alert();
    alert["alert"]["id"] = number.into();
    let body = alert.to_string();
    let identity = Identity {
        integration_id: integration.id,
        delivery_id: DeliveryId::of_alert(testbed.organization, integration.id, created_at, body.as_bytes()),
        organization_id: testbed.organization,
        event_type: EventType::Triggered,
        alert_id: number,
        created_at,
    };
    let state = State::Ended { attempt: 5, round_start: 1, end: End::Failed };
    let mut record = Record::new(identity, &state, created_at + Duration::from_secs(2 * 3_600));
    if let StoredPayload::Inline(deflated) = compress(body.as_bytes()) {
        record.payload = Some(deflated.into());
    }
    record
}
