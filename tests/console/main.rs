//! The settings page in a real browser. This starts a local cloud with the deployed stack, and passes its URLs to `run`,
//! which runs the browser's tests in this folder.

use harness::leaks::Secrets;
use harness::local_cloud::{Parameters, REGION, ROOT_CREDENTIALS};
use support::project::Project;
use support::screen::Screen;
use tokio::process::Command;

/// The signing secret that the browser's tests set, and a text in every alert that they send.
const MUST_NOT_LEAK: [&str; 2] = ["a-signing-secret-of-mine", "warehouse-robot-01"];

#[tokio::test]
async fn in_a_browser() -> anyhow::Result<()> {
    let project = Project::built()?;
    let (cloud, stack) =
        harness::testbed::start(&Screen::new(), &project, "console", Parameters::local(), None).await?;
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
    assert!(status.success(), "a browser test failed; the local cloud's log is {}", cloud.log().display());
    let leaks = Secrets::new(MUST_NOT_LEAK).find_in(stack.visible_texts().await?);
    assert!(leaks.is_empty(), "{leaks:#?}");
    Ok(())
}
