//! Recovering what failed, for an endpoint that was down for long: all of it, once, and not all at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use shared::alert_event::EventType;
use shared::delivery::{DeliveryKey, Identity, Record, Status};
use shared::ids::DeliveryId;
use shared::ledger::{End, State};
use shared::payload::{Kept, keep};
use tests::stack::{Function, Stack};

use crate::STAGE;
use crate::integrations::created;
use crate::scene::{PATH, SOON, Scene, header};

/// How many deliveries have failed.
const FAILED: usize = 500;

/// Within that time everything that was announced has arrived: ten a second, and a loaded machine.
const PACED_WITHIN: Duration = Duration::from_secs(80);

/// A recovery that was interrupted, before the journeys began: a killed worker may hold anybody's request.
pub struct Interrupted(Result<(Scene, Vec<Record>, Begun), Failed>);

/// How far a recovery had come.
struct Begun {
    integration: String,
    /// The last cursor that the caller has seen.
    cursor: Value,
    /// How many deliveries the caller knows to be recovered.
    recovered: u64,
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
    let begun = Begun {
        cursor: answer["next_cursor"].clone(),
        recovered: answer["count"].as_u64().unwrap_or_default(),
        integration: id,
    };
    // The answer that its caller does not see.
    let lost = api.recover(&begun.integration, &json!({"cursor": begun.cursor})).await?;
    assert_eq!(lost["count"], 100);
    let dies = json!({"cursor": lost["next_cursor"]});
    let _ = tokio::join!(api.recover(&begun.integration, &dies), kill_in_the_middle(&scene, &failed[200..300]));
    Ok((scene, failed, begun))
}

/// Kills the function's workers as soon as a part of these has been sent again.
async fn kill_in_the_middle(scene: &Scene, of: &[Record]) -> Result<(), Failed> {
    let begun = Instant::now();
    let middle = of[of.len() / 2].identity.key();
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

    let (mut cursor, mut recovered) = (begun.cursor.clone(), begun.recovered);
    while !cursor.is_null() {
        let answer = api.recover(&begun.integration, &json!({ "cursor": cursor })).await?;
        recovered += answer["count"].as_u64().unwrap_or_default();
        cursor = answer["next_cursor"].clone();
    }
    assert!((300..400).contains(&recovered), "what was done unseen is not done again: {recovered}");
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
    let first_and_last = arrivals.first().zip(arrivals.last()).ok_or("they arrived")?;
    let took = first_and_last.1.at.duration_since(first_and_last.0.at);
    assert!(took.as_secs() >= 30, "ten a second, at most: {took}");
    Ok(())
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
            let body = scene.alert().to_string();
            let created_at = now - Duration::from_secs(3_600) + Duration::from_secs(number as u64 * 7);
            let identity = Identity {
                integration_id: integration.id,
                delivery_id: DeliveryId::of_alert(scene.organization, integration.id, created_at, body.as_bytes()),
                organization_id: scene.organization,
                event_type: EventType::Triggered,
                alert_id: number as u64,
                created_at,
            };
            let state = State::Ended { attempt: 5, round_start: 1, end: End::Failed };
            let mut record = Record::new(identity, &state, now + Duration::from_secs(3_600));
            if let Kept::Inline(deflated) = keep(body.as_bytes()) {
                record.payload = Some(deflated.into());
            }
            record
        })
        .collect();
    let writes = records.iter().map(|record| scene.stack.put_record(record.clone()));
    let written: Vec<_> = stream::iter(writes).buffer_unordered(8).collect().await;
    written.into_iter().collect::<Result<(), _>>()?;
    Ok(records)
}
