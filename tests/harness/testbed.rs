//! What every testbed starts with: a local cloud with the template deployed to it, each step shown on the screen.

use std::net::Ipv4Addr;

use support::project::Project;
use support::screen::Screen;

use crate::local_cloud::{LocalCloud, Parameters};
use crate::stack::Stack;

/// Starts the local cloud and deploys the template to it. `name` is both the stack's name and the log file's. With
/// `also_at`, another address of this machine, the local cloud listens there too, and endpoints there can be called.
///
/// # Errors
/// When the local cloud does not start, or `sam deploy` fails.
pub async fn start(
    screen: &Screen,
    project: &Project,
    name: &str,
    parameters: Parameters,
    also_at: Option<Ipv4Addr>,
) -> anyhow::Result<(LocalCloud, Stack)> {
    let cloud = screen
        .step("starting the local cloud", LocalCloud::start_also_at(project, name, also_at), |cloud| {
            format!("local cloud started at {}, with IAM enforced", cloud.endpoint())
        })
        .await?;
    let deployment = cloud.deploy(project, name, parameters.with_endpoints_at(also_at));
    let stack = screen
        .step("deploying template.yaml with `sam deploy`", deployment, |_| {
            format!("template.yaml deployed with `sam deploy` as stack {name}")
        })
        .await?;
    Ok((cloud, stack))
}
