//! A first deployment that fails halfway, repeated and removed with README's own commands.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context, bail};
use harness::cloudformation::CloudFormation;
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
    let cloudformation = CloudFormation::new(cloud)?;
    // The functions are built.
    let deploy = commands_with("sam deploy --disable-rollback").replace("sam build && ", "");
    let deploy = deploy.lines().find(|line| line.starts_with("sam deploy")).context("README deploys by one command")?;

    let failed = shell::run(project, cloud, &format!("{deploy} --parameter-overrides {WRONG_ISSUER}")).await?;
    assert!(!failed.status.success() && printed(&failed).contains("Invalid issuer"), "{}", printed(&failed));
    assert_eq!(cloudformation.status(STACK).await?.as_deref(), Some("CREATE_FAILED"), "what was made stays");

    // A parameter keeps its value until it is given another one.
    let repaired = shell::run(project, cloud, &format!("{deploy} --parameter-overrides JwtIssuer='\"\"'")).await?;
    assert!(repaired.status.success(), "{}", printed(&repaired));
    assert_eq!(cloudformation.status(STACK).await?.as_deref(), Some("UPDATE_COMPLETE"));

    // It cannot be deleted by mistake.
    cloudformation.delete(STACK).await?;
    wait_until(&cloudformation, Some("DELETE_FAILED")).await?;
    let removed = shell::run(project, cloud, &format!("yes | {{ {}\n}}", commands_with("sam delete"))).await?;
    assert!(removed.status.success(), "{}", printed(&removed));
    wait_until(&cloudformation, None).await
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

async fn wait_until(cloudformation: &CloudFormation, wanted: Option<&str>) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        let status = cloudformation.status(STACK).await?;
        if status.as_deref() == wanted {
            return Ok(());
        }
        if started.elapsed() > SOON {
            bail!("the stack is {status:?}, and not {wanted:?}");
        }
        sleep(Duration::from_millis(250)).await;
    }
}
