//! `tools/redrive.py`, on queues of its own: every message is met once, however many there are, and keeps its group.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use harness::local_cloud::{REGION, ROOT_CREDENTIALS, sdk_config};
use libtest_mimic::Failed;
use serde_json::json;
use support::project::Project;
use tokio::process::Command;

use crate::STAGE;
use crate::scene::{SOON, Scene};

/// The tool, on the local cloud at that URL.
pub struct Redrive<'a> {
    pub project: &'a Project,
    pub endpoint: &'a str,
}

impl Redrive<'_> {
    /// What it prints.
    pub async fn run(&self, arguments: &[&str]) -> Result<String, Failed> {
        let output = Command::new(self.project.cloud_python())
            .arg(self.project.root().join("tools/redrive.py"))
            .args(arguments)
            .env("AWS_ENDPOINT_URL", self.endpoint)
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

    /// Looks until there is exactly one message, and returns what is said of it.
    pub async fn look_until_one_is_there(&self, queue: &str, folder: &Path) -> Result<String, Failed> {
        let started = Instant::now();
        loop {
            let said = self.run(&["look", queue, &text(folder)]).await?;
            if said.ends_with("\n1 message\n") {
                return Ok(said);
            }
            if started.elapsed() > SOON {
                return Err(format!("nothing was buried within {} s: {said}", SOON.as_secs()).into());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

pub fn text(path: &Path) -> String {
    path.display().to_string()
}

/// More than SQS gives at a time, and than would be gone through in one go.
const MESSAGES: usize = 23;
const STAYERS: usize = 5;

pub async fn each_message_once_and_its_group_kept(scene: Scene) -> Result<(), Failed> {
    let project = &STAGE.get().ok_or("the stage is set")?.project;
    let sqs = aws_sdk_sqs::Client::new(&sdk_config(scene.stack.endpoint()));
    let queue = async |name: &str| -> Result<String, Failed> {
        let created = sqs.create_queue().queue_name(format!("{name}-{}", scene.organization)).send().await?;
        Ok(created.queue_url.ok_or("a queue has a URL")?)
    };
    let (dead, alive) = (queue("dead").await?, queue("alive").await?);
    // Of those with a group, its number; of those without, the organization that their body names.
    for number in 0..MESSAGES {
        let body = match number {
            0 => json!({ "organization": { "id": 7 } }),
            1 => json!({ "organization_id": 7, "integration_id": "int_8", "attempt": 2 }),
            2 => json!(["no group anywhere"]),
            _ => json!({ "number": number, "organization": { "id": 7 } }),
        };
        let group = (number > 2).then(|| format!("group-{number}"));
        let message = sqs.send_message().queue_url(&dead).message_body(body.to_string());
        message.set_message_group_id(group).send().await?;
    }

    let folder = tempfile::tempdir_in(project.scratch())?;
    let redrive = Redrive { project, endpoint: scene.stack.endpoint() };
    let path = text(folder.path());
    for _ in 0..2 {
        // Again: what was looked at is there for whoever looks next.
        let said = redrive.run(&["look", &dead, &path]).await?;
        assert!(said.ends_with(&format!("\n{MESSAGES} messages\n")), "{said}");
    }
    let files: Vec<_> = fs::read_dir(folder.path())?.collect::<Result<_, _>>()?;
    assert_eq!(files.len(), MESSAGES);
    let numbered = |file: &&fs::DirEntry| fs::read_to_string(file.path()).is_ok_and(|body| body.contains("number"));
    for file in files.iter().filter(numbered).take(STAYERS) {
        fs::remove_file(file.path())?;
    }
    let moved = redrive.run(&["move", &dead, &alive, &path]).await?;
    assert_eq!(moved, format!("{} messages moved, {STAYERS} left where they were\n", MESSAGES - STAYERS));
    assert_eq!(fs::read_dir(folder.path())?.count(), 0, "the files of what was moved are gone");
    let left = redrive.run(&["look", &dead, &path]).await?;
    assert!(left.ends_with(&format!("\n{STAYERS} messages\n")), "{left}");

    let mut groups = HashMap::new();
    while groups.len() < MESSAGES - STAYERS {
        let received = sqs.receive_message().queue_url(&alive).max_number_of_messages(10);
        let received =
            received.message_system_attribute_names(MessageSystemAttributeName::MessageGroupId).send().await?;
        assert!(!received.messages().is_empty(), "only {} were moved", groups.len());
        for message in received.messages.unwrap_or_default() {
            let attributes = message.attributes.unwrap_or_default();
            let group = attributes.get(&MessageSystemAttributeName::MessageGroupId).cloned();
            groups.insert(message.body.unwrap_or_default(), group);
        }
    }
    for (body, group) in groups {
        let body: serde_json::Value = serde_json::from_str(&body)?;
        let expected = match &body["number"] {
            serde_json::Value::Number(number) => Some(format!("group-{number}")),
            _ if body.is_array() => None,
            _ => Some("7".to_owned()),
        };
        assert_eq!(group, expected, "{body}");
    }
    let remaining = sqs.get_queue_attributes().queue_url(&alive);
    let remaining = remaining.attribute_names(QueueAttributeName::ApproximateNumberOfMessages).send().await?;
    let remaining =
        remaining.attributes.and_then(|all| all.get(&QueueAttributeName::ApproximateNumberOfMessages).cloned());
    assert_eq!(remaining.as_deref(), Some("0"), "each was moved once");
    Ok(())
}
