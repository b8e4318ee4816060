//! The settings page in a real browser. What is here gives it a stack: a local cloud with the built functions, whose URLs
//! are handed to `run`, which runs the tests beside this file.

use std::error::Error;

use harness::leaks::Secrets;
use harness::local_cloud::{LocalCloud, Parameters, REGION, ROOT_CREDENTIALS};
use support::project::Project;
use tokio::process::Command;

/// What the tests in the browser set as a signing secret, and what every alert of theirs holds.
const NEVER_SHOWN: [&str; 2] = ["a-signing-secret-of-mine", "warehouse-robot-01"];

#[tokio::test]
async fn in_a_browser() -> Result<(), Box<dyn Error>> {
    let project = Project::built()?;
    let cloud = LocalCloud::start(&project, "console").await?;
    let stack = cloud.deploy(&project, "console", Parameters::local()).await?;
    let status = Command::new(project.root().join("tests/console/run"))
        .env("AWS_ENDPOINT_URL", cloud.endpoint())
        .env("AWS_ACCESS_KEY_ID", ROOT_CREDENTIALS)
        .env("AWS_SECRET_ACCESS_KEY", ROOT_CREDENTIALS)
        .env("AWS_REGION", REGION)
        .env("CONSOLE_URL", stack.output("ConsoleUrl")?)
        .env("ALERTS_QUEUE_URL", stack.output("AlertsQueueUrl")?)
        .env("USER_POOL_ID", stack.output("UserPoolId")?)
        .kill_on_drop(true)
        .status()
        .await?;
    assert!(status.success(), "what the browser saw is above; the local cloud's log is {}", cloud.log().display());
    let leaks = Secrets::new(NEVER_SHOWN).leaks(stack.shown().await?);
    assert!(leaks.is_empty(), "{leaks:#?}");
    Ok(())
}
