//! The way from a container to this machine, which functions under `sam local invoke` need: from inside one they call the
//! local cloud and the endpoints.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// The longest that the Docker engine may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// Whether containers find this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Containers {
    /// At this address of its own, that of the Docker engine's bridge.
    FindItAt(Ipv4Addr),
    /// The bridge of the engine is not on this machine, but in a virtual machine or in a namespace.
    AreElsewhere,
    /// No Docker engine answers.
    HaveNoEngine,
}

impl Containers {
    /// Asks the Docker engine.
    pub async fn look() -> Self {
        // Older engines do not name the gateway: it is the first address of the subnet.
        let networks = "{{range .IPAM.Config}}{{or .Gateway .Subnet}} {{end}}";
        let Some(networks) = docker(&["network", "inspect", "bridge", "--format", networks]).await else {
            return Self::HaveNoEngine;
        };
        let mut gateways = networks.split_whitespace().filter_map(gateway);
        match gateways.find(|address| TcpListener::bind((*address, 0)).is_ok()) {
            Some(address) => Self::FindItAt(address),
            None => Self::AreElsewhere,
        }
    }

    /// Where they find this machine.
    pub fn address(self) -> Option<Ipv4Addr> {
        match self {
            Self::FindItAt(address) => Some(address),
            Self::AreElsewhere | Self::HaveNoEngine => None,
        }
    }
}

fn gateway(network: &str) -> Option<Ipv4Addr> {
    match network.split_once('/') {
        None => network.parse().ok(),
        Some((subnet, _)) => Some(Ipv4Addr::from_bits(subnet.parse::<Ipv4Addr>().ok()?.to_bits() + 1)),
    }
}

/// What `docker` prints for these arguments; nothing when there is none, or it fails.
pub async fn docker(arguments: &[&str]) -> Option<String> {
    let run = Command::new("docker").args(arguments).kill_on_drop(true).output();
    let output = timeout(ANSWERS_WITHIN, run).await.ok()?.ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
