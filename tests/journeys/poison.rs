//! Messages that nobody could do anything with, found in the dead-letter queues, understood by what they say of
//! themselves, mended, and moved back with `tools/redrive.py`.
//!
//! Prepared before the journeys begin: those that come after take out of the dead-letter queues whatever they find.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use program::project::Project;
use serde_json::{Value, json};
use shared::delivery::Status;
use shared::integration::Integration;
use tests::local_cloud::{REGION, ROOT_CREDENTIALS};
use tests::stack::Stack;
use tokio::process::Command;

use crate::STAGE;
use crate::scene::{CANARY, SOON, Scene, outcomes};

/// What was found in the dead-letter queues, and what became of it.
pub struct Poisoned(Result<Told, Failed>);

struct Told {
    scene: Scene,
    integration: Integration,
    /// The alert event as it was mended.
    mended: String,
    /// What `look` said of the bad alert event, and of the bad retry message.
    said_of_alert: String,
    said_of_due: String,
    /// What `move` said.
    moved: String,
    /// What `look` said when all was over.
    left: String,
}

/// Puts a bad alert event and a bad retry message on their queues, waits until they are buried, mends the former, and moves
/// it back.
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
    let delivery = "dlv_01JH7VVHV8550CMES94JPY72KG";
    let due = json!({ "organization_id": scene.organization, "integration_id": CANARY, "delivery_id": delivery, "attempt": 2 });
    stack.send_due(&due.to_string()).await?;

    let folder = tempfile::tempdir_in(project.scratch())?;
    let redrive = Redrive { project, stack };
    let (alerts, retries) = (stack.output("AlertsDeadLetterQueueUrl")?, stack.output("RetryDeadLetterQueueUrl")?);
    let alerts_folder = folder.path().join("alerts");
    let said_of_alert = redrive.look_until_one_is_there(alerts, &alerts_folder).await?;
    let said_of_due = redrive.look_until_one_is_there(retries, &folder.path().join("retries")).await?;

    let file = only_file(&alerts_folder)?;
    let body = fs::read_to_string(&file)?;
    assert_eq!(body, bad, "the body is untouched");
    let mut alert: Value = serde_json::from_str(&body)?;
    alert["alert"]["severity"] = severity;
    let mended = alert.to_string();
    // As an editor leaves it.
    fs::write(&file, format!("{mended}\n"))?;
    let moved = redrive.run(&["move", alerts, stack.output("AlertsQueueUrl")?, &text(&alerts_folder)]).await?;
    let left = redrive.run(&["look", alerts, &text(&folder.path().join("left"))]).await?;
    Ok(Told { scene, integration, mended, said_of_alert, said_of_due, moved, left })
}

struct Redrive<'a> {
    project: &'a Project,
    stack: &'a Stack,
}

impl Redrive<'_> {
    async fn run(&self, arguments: &[&str]) -> Result<String, Failed> {
        let output = Command::new(self.project.cloud_python())
            .arg(self.project.root().join("tools/redrive.py"))
            .args(arguments)
            .env("AWS_ENDPOINT_URL", self.stack.endpoint())
            .env("AWS_ACCESS_KEY_ID", ROOT_CREDENTIALS)
            .env("AWS_SECRET_ACCESS_KEY", ROOT_CREDENTIALS)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .kill_on_drop(true)
            .output()
            .await?;
        if !output.status.success() {
            return Err(format!("redrive.py: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    async fn look_until_one_is_there(&self, queue: &str, folder: &Path) -> Result<String, Failed> {
        let started = Instant::now();
        loop {
            let said = self.run(&["look", queue, &text(folder)]).await?;
            if said.contains("1 messages") {
                return Ok(said);
            }
            if started.elapsed() > SOON {
                return Err(format!("nothing was buried within {} s: {said}", SOON.as_secs()).into());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn only_file(folder: &Path) -> Result<PathBuf, Failed> {
    Ok(fs::read_dir(folder)?.next().ok_or("a file for each message")??.path())
}

pub async fn mended_and_moved_back(_: Scene) -> Result<(), Failed> {
    let Poisoned(told) = &STAGE.get().ok_or("the stage is set")?.poisoned;
    let told = told.as_ref().map_err(Clone::clone)?;
    assert!(told.said_of_alert.contains("field: alert.severity"), "{}", told.said_of_alert);
    assert!(told.said_of_alert.contains("error: `alert.severity` is missing"), "{}", told.said_of_alert);
    assert!(told.said_of_due.contains("field: integration_id"), "{}", told.said_of_due);
    assert_eq!(told.moved, "1 messages moved, 0 left where they were\n");
    assert_eq!(told.left, "0 messages\n");

    let key = told.scene.delivery(&told.integration, &told.mended)?;
    let record = told.scene.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    let arrivals = told.scene.arrivals();
    assert_eq!(arrivals.len(), 1);
    assert_eq!(arrivals[0].body, told.mended.as_bytes(), "what the editor added is no part of it");
    Ok(())
}
