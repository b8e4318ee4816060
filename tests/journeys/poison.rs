//! Messages that nobody could do anything with, found in the dead-letter queues, understood by what they say of
//! themselves, mended, and moved back with `tools/redrive.py`.
//!
//! Prepared before the journeys begin: those that come after take out of the dead-letter queues whatever they find.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::delivery::retry_message::RetryMessage;
use domain::delivery::{DeliveryKey, Status};
use domain::integration::Integration;
use harness::receiver::Answer;
use harness::stack::Stack;
use libtest_mimic::Failed;
use serde_json::Value;
use support::project::Project;

use crate::STAGE;
use crate::redrive::{Redrive, text};
use crate::scene::{INTRUDER, Scene, outcomes};

/// What was found in the dead-letter queues, and what became of it.
pub struct Poisoned(Result<Told, Failed>);

struct Told {
    scene: Scene,
    integration: Integration,
    /// The alert event as it was mended.
    mended: String,
    /// A delivery that waits for a second attempt, which the mended retry message is of.
    waiting: DeliveryKey,
    /// What `look` said of the bad alert event, and of the bad retry message.
    said_of_alert: String,
    said_of_due: String,
    /// What `move` said of either.
    moved: [String; 2],
    /// What `look` said of either when all was over.
    left: [String; 2],
}

/// Puts a bad alert event and a bad retry message on their queues, waits until they are buried, mends them, and moves them
/// back.
pub async fn mend_and_move_back(stack: &Arc<Stack>, project: &Project) -> Poisoned {
    Poisoned(mend(stack, project).await)
}

async fn mend(stack: &Arc<Stack>, project: &Project) -> Result<Told, Failed> {
    let scene = Scene::open(stack).await?;
    let integration = scene.integration_that_meets([]).await?;
    let mut alert = scene.alert();
    let severity = alert["alert"]["severity"].take();
    alert["alert"].as_object_mut().ok_or("a sample alert has an alert")?.remove("severity");
    let bad = alert.to_string();
    scene.send(&bad).await?;
    let (due, waiting) = message_of_a_waiting_delivery(&scene).await?;
    let bad_due = due.replace("\"attempt\":2", &format!("\"attempt\":\"{INTRUDER}\""));
    assert_ne!(bad_due, due);
    stack.send_due(&bad_due).await?;

    let folder = tempfile::tempdir_in(project.scratch())?;
    let redrive = Redrive { project, endpoint: stack.endpoint() };
    let (alerts, retries) = (stack.output("AlertsDeadLetterQueueUrl")?, stack.output("RetryDeadLetterQueueUrl")?);
    let (alerts_folder, retries_folder) = (folder.path().join("alerts"), folder.path().join("retries"));
    let said_of_alert = redrive.look_until_one_is_there(alerts, &alerts_folder).await?;
    let said_of_due = redrive.look_until_one_is_there(retries, &retries_folder).await?;

    let file = only_file(&alerts_folder)?;
    let body = fs::read_to_string(&file)?;
    assert_eq!(body, bad, "the body is untouched");
    let mut alert: Value = serde_json::from_str(&body)?;
    alert["alert"]["severity"] = severity;
    let mended = alert.to_string();
    // As an editor leaves it.
    fs::write(&file, format!("{mended}\n"))?;
    let file = only_file(&retries_folder)?;
    assert_eq!(fs::read_to_string(&file)?, bad_due, "the body is untouched");
    fs::write(&file, due)?;
    let moved = [
        redrive.run(&["move", alerts, stack.output("AlertsQueueUrl")?, &text(&alerts_folder)]).await?,
        redrive.run(&["move", retries, stack.output("RetryQueueUrl")?, &text(&retries_folder)]).await?,
    ];
    let left_over = folder.path().join("left");
    let left = [
        redrive.run(&["look", alerts, &text(&left_over)]).await?,
        redrive.run(&["look", retries, &text(&left_over)]).await?,
    ];
    Ok(Told { scene, integration, mended, waiting, said_of_alert, said_of_due, moved, left })
}

/// A delivery whose second attempt is due in two hours, and the message that makes it now.
async fn message_of_a_waiting_delivery(scene: &Scene) -> Result<(String, DeliveryKey), Failed> {
    scene.receiver.script(WAITS, [Answer::with_header(429, "retry-after", "7200"), Answer::Status(200)]);
    let mut waits = scene.here();
    waits.url = scene.receiver.url(WAITS);
    let waits = scene.create(waits).await?;
    let key = scene.delivery(&waits, &scene.raise().await?)?;
    scene.waiting_for(key, 2).await?;
    let DeliveryKey { integration_id, delivery_id } = key;
    let message = RetryMessage { organization_id: scene.organization, integration_id, delivery_id, attempt: 2 };
    Ok((message.to_json(), key))
}

/// Where the endpoint puts the second attempt off.
const WAITS: &str = "/hooks/canary/waits";

fn only_file(folder: &Path) -> Result<PathBuf, Failed> {
    Ok(fs::read_dir(folder)?.next().ok_or("a file for each message")??.path())
}

pub async fn mended_and_moved_back(_: Scene) -> Result<(), Failed> {
    let Poisoned(told) = &STAGE.get().ok_or("the stage is set")?.poisoned;
    let told = told.as_ref().map_err(Clone::clone)?;
    assert!(told.said_of_alert.contains("field: alert.severity"), "{}", told.said_of_alert);
    assert!(told.said_of_alert.contains("error: `alert.severity` is missing"), "{}", told.said_of_alert);
    assert!(told.said_of_due.contains("field: attempt"), "{}", told.said_of_due);
    assert!(!told.said_of_due.contains(INTRUDER), "{}", told.said_of_due);
    assert_eq!(told.moved, ["1 message moved, 0 left where they were\n"; 2]);
    assert_eq!(told.left, ["0 messages\n"; 2]);

    let record = told.scene.record(told.waiting, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "rejected", Some(429)), (2, "accepted", Some(200))]);

    let key = told.scene.delivery(&told.integration, &told.mended)?;
    let record = told.scene.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    let arrivals = told.scene.arrivals();
    let mended = arrivals.iter().filter(|arrival| arrival.body == told.mended.as_bytes()).count();
    assert_eq!(mended, 1, "once, and what the editor added is no part of it");
    Ok(())
}
