//! A first deployment that fails halfway, repeated and removed with README's own commands.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context, bail};
use aws_sdk_cloudformation::types::StackStatus;
use harness::local_cloud::sdk_config;
use support::readme::commands_with;
use tokio::time::{Instant, sleep};

use crate::shared;
use crate::shell;
use crate::testbed::{SOON, Testbed};

/// The stack's name in README's commands.
const STACK: &str = "roboticks-webhooks";

/// An issuer without a discovery document: API Gateway refuses the authorizer, after the tables have been created.
const WRONG_ISSUER: &str = "JwtIssuer=https://login.example.invalid JwtAudience=console";

pub async fn fails_halfway_is_repeated_and_removed(testbed: Testbed) -> anyhow::Result<()> {
    let project = &shared()?.project;
    let cloud = testbed.stack.endpoint();
    let stack = FirstStack { cloudformation: aws_sdk_cloudformation::Client::new(&sdk_config(cloud)) };
    // The functions are built.
    let deploy = commands_with("sam deploy --disable-rollback").replace("sam build && ", "");
    let deploy = deploy.lines().find(|line| line.starts_with("sam deploy")).context("README deploys by one command")?;

    let failed = shell::run(project, cloud, &format!("{deploy} --parameter-overrides {WRONG_ISSUER}")).await?;
    assert!(!failed.status.success() && printed(&failed).contains("Invalid issuer"), "{}", printed(&failed));
    assert_eq!(stack.status().await?, Some(StackStatus::CreateFailed), "what was made stays");

    // A parameter keeps its value until it is given another one.
    let repaired = shell::run(project, cloud, &format!("{deploy} --parameter-overrides JwtIssuer='\"\"'")).await?;
    assert!(repaired.status.success(), "{}", printed(&repaired));
    assert_eq!(stack.status().await?, Some(StackStatus::UpdateComplete));

    // It cannot be deleted by mistake.
    stack.cloudformation.delete_stack().stack_name(STACK).send().await?;
    stack.until(Some(&StackStatus::DeleteFailed)).await?;
    let removed = shell::run(project, cloud, &format!("yes | {{ {}\n}}", commands_with("sam delete"))).await?;
    assert!(removed.status.success(), "{}", printed(&removed));
    stack.until(None).await
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

struct FirstStack {
    cloudformation: aws_sdk_cloudformation::Client,
}

impl FirstStack {
    /// Its stack's status, if there is one.
    async fn status(&self) -> anyhow::Result<Option<StackStatus>> {
        let stacks = self.cloudformation.describe_stacks().send().await?.stacks.unwrap_or_default();
        let stack = stacks.into_iter().find(|stack| stack.stack_name() == Some(STACK));
        Ok(stack.and_then(|stack| stack.stack_status).filter(|status| *status != StackStatus::DeleteComplete))
    }

    async fn until(&self, wanted: Option<&StackStatus>) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let status = self.status().await?;
            if status.as_ref() == wanted {
                return Ok(());
            }
            if started.elapsed() > SOON {
                bail!("the stack is {status:?}, and not {wanted:?}");
            }
            sleep(Duration::from_millis(250)).await;
        }
    }
}
