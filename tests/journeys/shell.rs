//! README's commands, run in a shell.

use std::path::Path;
use std::process::{Output, Stdio};

use harness::local_cloud::{REGION, ROOT_CREDENTIALS};
use support::project::Project;
use tokio::process::Command;

/// Version 1 of the AWS CLI, which is the one on PyPI that can be pinned, ignores `AWS_ENDPOINT_URL` for SQS.
const AWS: &str = r#"aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }"#;

/// Runs commands in the project's folder, with the pinned tools, on the local cloud at that URL.
pub async fn run(project: &Project, cloud: &str, commands: &str) -> anyhow::Result<Output> {
    let tools = [project.sam(), project.cloud_python()];
    let tools = tools.iter().filter_map(|tool| tool.parent()).map(Path::to_path_buf);
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(tools.chain(std::env::split_paths(&inherited)))?;
    let command = Command::new("sh")
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
    Ok(command.await?)
}
