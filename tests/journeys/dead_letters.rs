//! Bad messages are found in the dead-letter queues with what is wrong with them, repaired, and moved back with
//! `tools/redrive.py`.
//!
//! This is prepared before the journeys, because they drain the dead-letter queues.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use domain::delivery::retry_message::RetryMessage;
use domain::delivery::{DeliveryKey, Status};
use domain::integration::Integration;
use harness::receiver::Answer;
use harness::stack::Stack;
use serde_json::Value;
use support::project::Project;

use crate::redrive::{Redrive, text};
use crate::testbed::{INTRUDER, Testbed, outcomes};
use crate::{copy_error, shared};

/// What was found in the dead-letter queues and moved back.
pub struct MovedBack(anyhow::Result<Seen>);

struct Seen {
    testbed: Testbed,
    integration: Integration,
    /// The repaired alert event.
    repaired: String,
    /// The delivery of the repaired retry message, which waits for a second attempt.
    waiting: DeliveryKey,
    /// What `look` printed about the bad alert event, and about the bad retry message.
    alert_output: String,
    retry_output: String,
    /// What `move` printed for each queue.
    moved: [String; 2],
    /// What `look` printed for each queue at the end.
    left: [String; 2],
}

/// Sends a bad alert event and a bad retry message, waits until they are in the dead-letter queues, repairs them, and
/// moves them back.
pub async fn repair_and_move_back(stack: &Arc<Stack>, project: &Project) -> MovedBack {
    MovedBack(try_to_move_back(stack, project).await)
}

async fn try_to_move_back(stack: &Arc<Stack>, project: &Project) -> anyhow::Result<Seen> {
    let testbed = Testbed::set_up(stack).await?;
    let integration = testbed.create_with_answers([]).await?;
    let mut alert = testbed.alert();
    let severity = alert["alert"]["severity"].take();
    alert["alert"].as_object_mut().context("a sample alert has an alert")?.remove("severity");
    let bad = alert.to_string();
    testbed.send(&bad).await?;
    let (retry_message, waiting) = create_waiting_delivery(&testbed).await?;
    let bad_retry = retry_message.replace("\"attempt\":2", &format!("\"attempt\":\"{INTRUDER}\""));
    assert_ne!(bad_retry, retry_message);
    stack.send_retry_message(&bad_retry).await?;

    let folder = tempfile::tempdir_in(project.scratch())?;
    let redrive = Redrive { project, endpoint: stack.endpoint() };
    let (alerts, retries) = (stack.output("AlertsDeadLetterQueueUrl")?, stack.output("RetryDeadLetterQueueUrl")?);
    let (alerts_folder, retries_folder) = (folder.path().join("alerts"), folder.path().join("retries"));
    let alert_output = redrive.look_for_one(alerts, &alerts_folder).await?;
    let retry_output = redrive.look_for_one(retries, &retries_folder).await?;

    let file = only_file(&alerts_folder)?;
    let body = fs::read_to_string(&file)?;
    assert_eq!(body, bad, "the body is untouched");
    let mut alert: Value = serde_json::from_str(&body)?;
    alert["alert"]["severity"] = severity;
    let repaired = alert.to_string();
    // Editors add a newline.
    fs::write(&file, format!("{repaired}\n"))?;
    let file = only_file(&retries_folder)?;
    assert_eq!(fs::read_to_string(&file)?, bad_retry, "the body is untouched");
    fs::write(&file, retry_message)?;
    let moved = [
        redrive.run(&["move", alerts, stack.output("AlertsQueueUrl")?, &text(&alerts_folder)]).await?,
        redrive.run(&["move", retries, stack.output("RetryQueueUrl")?, &text(&retries_folder)]).await?,
    ];
    let left_over = folder.path().join("left");
    let left = [
        redrive.run(&["look", alerts, &text(&left_over)]).await?,
        redrive.run(&["look", retries, &text(&left_over)]).await?,
    ];
    Ok(Seen { testbed, integration, repaired, waiting, alert_output, retry_output, moved, left })
}

/// A delivery whose second attempt is due in two hours, and the retry message that makes it due now.
async fn create_waiting_delivery(testbed: &Testbed) -> anyhow::Result<(String, DeliveryKey)> {
    testbed.receiver.script(WAITS, [Answer::with_header(429, "retry-after", "7200"), Answer::Status(200)]);
    let mut waits = testbed.new_integration();
    waits.url = testbed.receiver.url(WAITS);
    let waits = testbed.create(waits).await?;
    let key = testbed.delivery(&waits, &testbed.send_alert().await?)?;
    testbed.record_waiting_for(key, 2).await?;
    let DeliveryKey { integration_id, delivery_id } = key;
    let message = RetryMessage { organization_id: testbed.organization, integration_id, delivery_id, attempt: 2 };
    Ok((message.to_json(), key))
}

/// The path at which the endpoint asks to wait two hours.
const WAITS: &str = "/hooks/canary/waits";

fn only_file(folder: &Path) -> anyhow::Result<PathBuf> {
    Ok(fs::read_dir(folder)?.next().context("a file for each message")??.path())
}

pub async fn repaired_and_moved_back(_: Testbed) -> anyhow::Result<()> {
    let MovedBack(seen) = &shared()?.moved_back;
    let seen = seen.as_ref().map_err(copy_error)?;
    assert!(seen.alert_output.contains("field: alert.severity"), "{}", seen.alert_output);
    assert!(seen.alert_output.contains("error: `alert.severity` is missing"), "{}", seen.alert_output);
    assert!(seen.retry_output.contains("field: attempt"), "{}", seen.retry_output);
    assert!(!seen.retry_output.contains(INTRUDER), "{}", seen.retry_output);
    assert_eq!(seen.moved, ["1 message moved, 0 left where they were\n"; 2]);
    assert_eq!(seen.left, ["0 messages\n"; 2]);

    let record = seen.testbed.record(seen.waiting, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "rejected", Some(429)), (2, "accepted", Some(200))]);

    let key = seen.testbed.delivery(&seen.integration, &seen.repaired)?;
    let record = seen.testbed.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    let arrivals = seen.testbed.arrivals();
    let repaired = arrivals.iter().filter(|arrival| arrival.body == seen.repaired.as_bytes()).count();
    assert_eq!(repaired, 1, "it is sent once, without the newline that the editor added");
    Ok(())
}
