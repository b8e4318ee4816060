//! Recovering what failed, for an endpoint that was down for long: all of it, once, and not all at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::store::recovery_rate::RecoveryRate;
use api::store::shared_value::SharedValues;
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
use libtest_mimic::Failed;
use serde_json::{Value, json};
use support::function::Function;

use crate::STAGE;
use crate::integrations::{assert_problem, created};
use crate::scene::{PATH, SOON, Scene, header};

/// How many deliveries have failed.
const FAILED: usize = 500;

/// Within that time everything that was announced has arrived: ten a second, and a loaded machine.
const PACED_WITHIN: Duration = Duration::from_secs(80);

/// How many arrive within a second at most. Ten a second are due; a queue's delays are whole seconds, and a loaded machine
/// catches up with what it was late for. Unpaced, each request would send a hundred at once.
const MOST_IN_A_SECOND: usize = 40;

/// A recovery that was interrupted, before the journeys began: a killed worker may hold anybody's request.
pub struct Interrupted(Result<(Scene, Vec<Record>, Begun), Failed>);

/// How far a recovery had come.
struct Begun {
    integration: String,
    /// The last cursor that the caller has seen.
    cursor: Value,
    /// How many deliveries the caller knows to be recovered.
    recovered: u64,
    /// How many of a hundred the killed worker had begun.
    begun_by_the_dead: usize,
}

/// Fails five hundred deliveries, and interrupts their recovery: its caller loses an answer, and then its worker is killed
/// while it is at it.
pub async fn interrupt(stack: &Arc<Stack>) -> Interrupted {
    Interrupted(begin_and_interrupt(stack).await)
}

async fn begin_and_interrupt(stack: &Arc<Stack>) -> Result<(Scene, Vec<Record>, Begun), Failed> {
    let scene = Scene::open(stack).await?;
    let api = scene.api().await?;
    let id = created(&api, &json!({"name": "Pager", "url": scene.receiver.url(PATH)})).await?;
    let failed = has_failed(&scene, &id).await?;
    let (from, to) = (failed[0].identity.created_at, failed[FAILED - 1].identity.created_at);

    let range = json!({"from": from.to_string(), "to": to.to_string()});
    let dry = json!({"from": from.to_string(), "to": to.to_string(), "dry_run": true});
    assert_eq!(api.recover(&id, &dry).await?["count"], FAILED);
    let first_hundred = json!({"to": failed[99].identity.created_at.to_string(), "dry_run": true});
    assert_eq!(api.recover(&id, &first_hundred).await?["count"], 100, "the range's end counts in");

    let answer = api.recover(&id, &range).await?;
    assert!(answer["paced_until"].is_string());
    let (cursor, recovered) = (answer["next_cursor"].clone(), answer["count"].as_u64().unwrap_or_default());
    // The answer that its caller does not see.
    let lost = api.recover(&id, &json!({"cursor": cursor})).await?;
    assert_eq!(lost["count"], 100);
    let dies = json!({"cursor": lost["next_cursor"]});
    let third_hundred = &failed[200..300];
    let (answer, killed) = tokio::join!(api.recover(&id, &dies), kill_in_the_middle(&scene, third_hundred));
    killed?;
    assert!(answer.is_err(), "nobody lived to answer: {answer:?}");
    let begun_by_the_dead = begun(&scene, third_hundred).await?;
    Ok((scene, failed, Begun { integration: id, cursor, recovered, begun_by_the_dead }))
}

/// How many of these have been sent again.
async fn begun(scene: &Scene, of: &[Record]) -> Result<usize, Failed> {
    let mut begun = 0;
    for record in of {
        let record = scene.stack.record(record.identity.key()).await?.ok_or("it was there")?;
        begun += usize::from(record.rounds > 1);
    }
    Ok(begun)
}

/// Kills the function's workers as soon as a part of these has been sent again.
async fn kill_in_the_middle(scene: &Scene, of: &[Record]) -> Result<(), Failed> {
    let begun = Instant::now();
    // Early in it: what is left takes longer than killing.
    let middle = of[of.len() / 10].identity.key();
    while begun.elapsed() < SOON {
        let record = scene.stack.record(middle).await?.ok_or("it was there")?;
        if record.rounds > 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for worker in scene.stack.workers(Function::Api)? {
        worker.kill()?;
    }
    Ok(())
}

pub async fn five_hundred_interrupted_midway(_: Scene) -> Result<(), Failed> {
    let Interrupted(prepared) = &STAGE.get().ok_or("the stage is set")?.interrupted;
    let (scene, failed, begun) = prepared.as_ref().map_err(Clone::clone)?;
    let api = scene.api().await?;

    assert!((1..100).contains(&begun.begun_by_the_dead), "it was interrupted: {}", begun.begun_by_the_dead);
    let other_mode = json!({"cursor": begun.cursor, "dry_run": true});
    let refused = ask(&api, &begun.integration, &other_mode).await?;
    assert_problem(&refused, StatusCode::BAD_REQUEST, &["cursor"])?;

    let (mut cursor, mut recovered) = (begun.cursor.clone(), begun.recovered);
    while !cursor.is_null() {
        let answer = api.recover(&begun.integration, &json!({ "cursor": cursor })).await?;
        recovered += answer["count"].as_u64().unwrap_or_default();
        cursor = answer["next_cursor"].clone();
    }
    let unseen = 100 + begun.begun_by_the_dead;
    assert_eq!(recovered, (FAILED - unseen) as u64, "what was done unseen is not done again");
    assert_eq!(api.recover(&begun.integration, &json!({"dry_run": true})).await?["count"], 0);

    // What the killed worker had written to the ledger and not announced yet, the sweep finds when it is overdue.
    let all_paced = Instant::now();
    let mut missing = waiting(scene, failed).await?;
    while !missing.is_empty() && all_paced.elapsed() < PACED_WITHIN {
        tokio::time::sleep(Duration::from_secs(1)).await;
        missing = waiting(scene, failed).await?;
    }
    for key in missing {
        scene.stack.set_due_at(key, Timestamp::now() - Duration::from_secs(11 * 60)).await?;
    }
    scene.stack.invoke(Function::Sweep, &json!({})).await?;
    for record in failed {
        scene.record(record.identity.key(), Status::Delivered).await?;
    }

    scene.and_nothing_more().await;
    let mut arrived: BTreeMap<String, usize> = BTreeMap::new();
    let arrivals = scene.arrivals();
    for arrival in &arrivals {
        *arrived.entry(header(arrival, "x-roboticks-delivery").to_owned()).or_default() += 1;
    }
    assert_eq!(arrived.len(), FAILED);
    let twice: Vec<_> = arrived.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    assert!(most_in_a_second(&arrivals) <= MOST_IN_A_SECOND, "{} at once", most_in_a_second(&arrivals));
    let first_and_last = arrivals.first().zip(arrivals.last()).ok_or("they arrived")?;
    let took = first_and_last.1.at.duration_since(first_and_last.0.at);
    assert!(took.as_secs() >= 30, "ten a second, at most: {took}");
    Ok(())
}

/// The most that arrived within any one second.
fn most_in_a_second(arrivals: &[Arrival]) -> usize {
    let within_a_second_of = |first: &Arrival| {
        let second = first.at..first.at + Duration::from_secs(1);
        arrivals.iter().filter(|arrival| second.contains(&arrival.at)).count()
    };
    arrivals.iter().map(within_a_second_of).max().unwrap_or_default()
}

pub async fn a_dry_run_counts_what_would_be_sent(scene: Scene) -> Result<(), Failed> {
    let api = scene.api().await?;
    let id = created(&api, &json!({"name": "Pager", "url": scene.receiver.url(PATH)})).await?;
    let integration = scene.stack.find_integration(scene.organization, &id).await?;
    let an_hour_ago = Timestamp::now() - Duration::from_secs(3_600);
    let record = |number| failed_record(&scene, &integration, number, an_hour_ago);
    let once = record(0);
    let again = Record { rounds: MAX_ROUNDS - 1, redelivered_at: Some(an_hour_ago), ..record(1) };
    let to_send = [once.identity.key(), again.identity.key()];
    let too_often = Record { rounds: MAX_ROUNDS, redelivered_at: Some(an_hour_ago), ..record(2) };
    let test = Record { test: true, ..record(3) };
    for record in [once, again, too_often, test] {
        scene.stack.put_record(record).await?;
    }
    let counted = api.recover(&id, &json!({"dry_run": true})).await?;
    assert_eq!((&counted["count"], &counted["skipped"]), (&json!(2), &json!(1)));
    assert_eq!((&counted["next_cursor"], &counted["paced_until"]), (&Value::Null, &Value::Null));
    let recovered = api.recover(&id, &json!({})).await?;
    assert_eq!((&recovered["count"], &recovered["skipped"]), (&counted["count"], &counted["skipped"]));
    for key in to_send {
        scene.record(key, Status::Delivered).await?;
    }
    Ok(())
}

pub async fn refused_while_off_or_fully_booked(scene: Scene) -> Result<(), Failed> {
    let api = scene.api().await?;
    let id = created(&api, &json!({"name": "Pager", "url": scene.receiver.url(PATH)})).await?;
    let integration = scene.stack.find_integration(scene.organization, &id).await?;
    let record = failed_record(&scene, &integration, 0, Timestamp::now() - Duration::from_secs(3_600));
    let key = record.identity.key();
    scene.stack.put_record(record).await?;

    api.change(&id, &json!({"enabled": false})).await?;
    assert_problem(&ask(&api, &id, &json!({})).await?, StatusCode::CONFLICT, &[])?;
    assert_eq!(api.recover(&id, &json!({"dry_run": true})).await?["count"], 1, "counting needs no endpoint");
    api.change(&id, &json!({"enabled": true})).await?;

    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk_config(scene.stack.endpoint()));
    let values = SharedValues::new(dynamodb, scene.stack.output("IntegrationsTableName")?.to_owned());
    // Ten minutes' worth, from a time that is yet to come when the next one asks.
    let soon = Timestamp::now() + Duration::from_secs(30);
    let booked = RecoveryRate::new(values).reserve(&integration, 6_000, soon).await?;
    assert!(booked.is_ok());
    let refused = ask(&api, &id, &json!({})).await?;
    assert_problem(&refused, StatusCode::TOO_MANY_REQUESTS, &[])?;
    let seconds: u64 = refused.header("retry-after").ok_or("no Retry-After")?.parse()?;
    assert!((1..=31).contains(&seconds), "{seconds}");
    let untouched = scene.stack.record(key).await?.ok_or("it is there")?;
    assert_eq!((untouched.status, untouched.rounds), (Status::Failed, 1));
    assert_eq!(scene.arrivals().len(), 0);
    Ok(())
}

async fn ask(api: &Api, id: &str, recovery: &Value) -> Result<Response, Failed> {
    Ok(api.call(Method::POST, &format!("/integrations/{id}/recover"), Content::json(recovery)).await?)
}

/// Which of these still wait.
async fn waiting(scene: &Scene, of: &[Record]) -> Result<Vec<DeliveryKey>, Failed> {
    let mut waiting = Vec::new();
    for record in of {
        let key = record.identity.key();
        if scene.stack.record(key).await?.is_some_and(|record| record.status != Status::Delivered) {
            waiting.push(key);
        }
    }
    Ok(waiting)
}

/// Failed deliveries as an hour of downtime leaves them, oldest first, written straight to the ledger.
async fn has_failed(scene: &Scene, id: &str) -> Result<Vec<Record>, Failed> {
    let integration = scene.stack.find_integration(scene.organization, id).await?;
    let now = Timestamp::now();
    let records: Vec<Record> = (0..FAILED)
        .map(|number| {
            let created_at = now - Duration::from_secs(3_600) + Duration::from_secs(number as u64 * 7);
            failed_record(scene, &integration, number as u64, created_at)
        })
        .collect();
    let writes = records.iter().map(|record| scene.stack.put_record(record.clone()));
    let written: Vec<_> = stream::iter(writes).buffer_unordered(8).collect().await;
    written.into_iter().collect::<Result<(), _>>()?;
    Ok(records)
}

/// A delivery that failed after all its attempts, of an alert of that number.
fn failed_record(scene: &Scene, integration: &Integration, number: u64, created_at: Timestamp) -> Record {
    let mut alert = scene.alert();
    alert["alert"]["id"] = number.into();
    let body = alert.to_string();
    let identity = Identity {
        integration_id: integration.id,
        delivery_id: DeliveryId::of_alert(scene.organization, integration.id, created_at, body.as_bytes()),
        organization_id: scene.organization,
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
