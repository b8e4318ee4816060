//! How containers reach this machine. Functions under `sam local invoke` call the local cloud and the endpoints from
//! inside one.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// How long the Docker engine may take to answer.
const DOCKER_TIMEOUT: Duration = Duration::from_secs(5);

/// Where containers reach this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DockerBridge {
    /// At this address, which the Docker engine's bridge gives this machine.
    At(Ipv4Addr),
    /// Nowhere: the engine's bridge is in a virtual machine or in another network namespace.
    Elsewhere,
    /// Nowhere: no Docker engine answers.
    NoEngine,
}

impl DockerBridge {
    /// Asks the Docker engine.
    pub async fn detect() -> Self {
        // Older engines do not name the gateway: it is the first address of the subnet.
        let networks = "{{range .IPAM.Config}}{{or .Gateway .Subnet}} {{end}}";
        let Some(networks) = docker(&["network", "inspect", "bridge", "--format", networks]).await else {
            return Self::NoEngine;
        };
        let mut gateways = networks.split_whitespace().filter_map(gateway);
        match gateways.find(|address| TcpListener::bind((*address, 0)).is_ok()) {
            Some(address) => Self::At(address),
            None => Self::Elsewhere,
        }
    }

    /// This machine's address for containers, if they can reach it.
    pub fn address(self) -> Option<Ipv4Addr> {
        match self {
            Self::At(address) => Some(address),
            Self::Elsewhere | Self::NoEngine => None,
        }
    }
}

fn gateway(network: &str) -> Option<Ipv4Addr> {
    match network.split_once('/') {
        None => network.parse().ok(),
        Some((subnet, _)) => Some(Ipv4Addr::from_bits(subnet.parse::<Ipv4Addr>().ok()?.to_bits() + 1)),
    }
}

/// What `docker` prints for these arguments; `None` when there is no Docker, or it fails.
pub async fn docker(arguments: &[&str]) -> Option<String> {
    let run = Command::new("docker").args(arguments).kill_on_drop(true).output();
    let output = timeout(DOCKER_TIMEOUT, run).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
