//! `tools/redrive.py`, on queues of its own: it finds every message once, however many there are, and keeps its group.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};
use harness::local_cloud::{REGION, ROOT_CREDENTIALS, sdk_config};
use serde_json::json;
use support::project::Project;
use tokio::process::Command;

use crate::shared;
use crate::testbed::{SOON, Testbed};

/// The tool, on the local cloud at that URL.
pub struct Redrive<'a> {
    pub project: &'a Project,
    pub endpoint: &'a str,
}

impl Redrive<'_> {
    /// Runs it, and returns what it prints.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
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
            bail!("redrive.py: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Looks until there is exactly one message, and returns what is printed about it.
    pub async fn look_for_one(&self, queue: &str, folder: &Path) -> anyhow::Result<String> {
        let started = Instant::now();
        loop {
            let printed = self.run(&["look", queue, &text(folder)]).await?;
            if printed.ends_with("\n1 message\n") {
                return Ok(printed);
            }
            if started.elapsed() > SOON {
                bail!("not one message within {} s: {printed}", SOON.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }
}

pub fn text(path: &Path) -> String {
    path.display().to_string()
}

/// More than SQS returns at a time.
const MESSAGES: usize = 23;

/// How many of them are left in the queue.
const LEFT: usize = 5;

pub async fn each_message_once_and_its_group_kept(testbed: Testbed) -> anyhow::Result<()> {
    let project = &shared()?.project;
    let sqs = aws_sdk_sqs::Client::new(&sdk_config(testbed.stack.endpoint()));
    let queue = async |name: &str| -> anyhow::Result<String> {
        let created = sqs.create_queue().queue_name(format!("{name}-{}", testbed.organization)).send().await?;
        created.queue_url.context("a queue has a URL")
    };
    let (dead, alive) = (queue("dead").await?, queue("alive").await?);
    // Some have a group; the others get the organization in their body as their group, if there is one.
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
    let redrive = Redrive { project, endpoint: testbed.stack.endpoint() };
    let path = text(folder.path());
    for _ in 0..2 {
        // Twice, because looking does not hide messages.
        let printed = redrive.run(&["look", &dead, &path]).await?;
        assert!(printed.ends_with(&format!("\n{MESSAGES} messages\n")), "{printed}");
    }
    let files: Vec<_> = fs::read_dir(folder.path())?.collect::<Result<_, _>>()?;
    assert_eq!(files.len(), MESSAGES);
    let numbered = |file: &&fs::DirEntry| fs::read_to_string(file.path()).is_ok_and(|body| body.contains("number"));
    for file in files.iter().filter(numbered).take(LEFT) {
        fs::remove_file(file.path())?;
    }
    let moved = redrive.run(&["move", &dead, &alive, &path]).await?;
    assert_eq!(moved, format!("{} messages moved, {LEFT} left where they were\n", MESSAGES - LEFT));
    assert_eq!(fs::read_dir(folder.path())?.count(), 0, "the files of what was moved are gone");
    let left = redrive.run(&["look", &dead, &path]).await?;
    assert!(left.ends_with(&format!("\n{LEFT} messages\n")), "{left}");

    let mut groups = HashMap::new();
    while groups.len() < MESSAGES - LEFT {
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
