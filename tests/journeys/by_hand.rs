//! README's commands, in a shell of their own.

use std::path::Path;
use std::process::{Output, Stdio};

use harness::local_cloud::{REGION, ROOT_CREDENTIALS};
use libtest_mimic::Failed;
use support::project::Project;
use tokio::process::Command;

/// Version 1 of the AWS command line, which is the one that can be pinned, forgets `AWS_ENDPOINT_URL` for SQS.
const AWS: &str = r#"aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }"#;

/// What commands come to in the project's folder, on the local cloud at that URL, with the pinned tools.
pub async fn shell(project: &Project, cloud: &str, commands: &str) -> Result<Output, Failed> {
    let tools = [project.sam(), project.cloud_python()];
    let tools = tools.iter().filter_map(|tool| tool.parent()).map(Path::to_path_buf);
    let usual = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(tools.chain(std::env::split_paths(&usual)))?;
    let run = Command::new("sh")
        .args(["-euc", &format!("{AWS}\n{commands}")])
        .env("PATH", path)
        .env("AWS_ENDPOINT_URL", cloud)
        .env("AWS_ACCESS_KEY_ID", ROOT_CREDENTIALS)
        .env("AWS_SECRET_ACCESS_KEY", ROOT_CREDENTIALS)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("SAM_CLI_TELEMETRY", "0")
        .env("SAM_CLI_POLL_DELAY", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN")
        .current_dir(project.root())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    Ok(run.await?)
}
