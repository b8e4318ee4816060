//! A first deployment that fails halfway, repeated and removed with README's own commands.

use std::process::Output;
use std::time::Duration;

use aws_sdk_cloudformation::types::StackStatus;
use harness::local_cloud::sdk_config;
use libtest_mimic::Failed;
use support::readme::commands_with;
use tokio::time::{Instant, sleep};

use crate::STAGE;
use crate::by_hand::shell;
use crate::scene::{SOON, Scene};

/// The name that README's commands have.
const STACK: &str = "roboticks-webhooks";

/// An issuer that has no discovery document, so that API Gateway refuses the authorizer when the tables are made already.
const MISTYPED: &str = "JwtIssuer=https://login.example.invalid JwtAudience=console";

pub async fn fails_halfway_is_repeated_and_removed(scene: Scene) -> Result<(), Failed> {
    let project = &STAGE.get().ok_or("the stage is set")?.project;
    let cloud = scene.stack.endpoint();
    let stack = First { cloudformation: aws_sdk_cloudformation::Client::new(&sdk_config(cloud)) };
    // The functions are built.
    let deploy = commands_with("sam deploy --disable-rollback").replace("sam build && ", "");
    let deploy = deploy.lines().find(|line| line.starts_with("sam deploy")).ok_or("README deploys by one command")?;

    let failed = shell(project, cloud, &format!("{deploy} --parameter-overrides {MISTYPED}")).await?;
    assert!(!failed.status.success() && told(&failed).contains("Invalid issuer"), "{}", told(&failed));
    assert_eq!(stack.status().await?, Some(StackStatus::CreateFailed), "what was made stays");

    // What was given once stays, until it is taken back.
    let mended = shell(project, cloud, &format!("{deploy} --parameter-overrides JwtIssuer='\"\"'")).await?;
    assert!(mended.status.success(), "{}", told(&mended));
    assert_eq!(stack.status().await?, Some(StackStatus::UpdateComplete));

    // It does not go by mistake.
    stack.cloudformation.delete_stack().stack_name(STACK).send().await?;
    stack.until(Some(&StackStatus::DeleteFailed)).await?;
    let removed = shell(project, cloud, &format!("yes | {{ {}\n}}", commands_with("sam delete"))).await?;
    assert!(removed.status.success(), "{}", told(&removed));
    stack.until(None).await
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

struct First {
    cloudformation: aws_sdk_cloudformation::Client,
}

impl First {
    /// Its stack's status, if there is one.
    async fn status(&self) -> Result<Option<StackStatus>, Failed> {
        let stacks = self.cloudformation.describe_stacks().send().await?.stacks.unwrap_or_default();
        let stack = stacks.into_iter().find(|stack| stack.stack_name() == Some(STACK));
        Ok(stack.and_then(|stack| stack.stack_status).filter(|status| *status != StackStatus::DeleteComplete))
    }

    async fn until(&self, wanted: Option<&StackStatus>) -> Result<(), Failed> {
        let started = Instant::now();
        loop {
            let status = self.status().await?;
            if status.as_ref() == wanted {
                return Ok(());
            }
            if started.elapsed() > SOON {
                return Err(format!("the stack is {status:?}, and not {wanted:?}").into());
            }
            sleep(Duration::from_millis(250)).await;
        }
    }
}
