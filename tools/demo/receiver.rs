//! Runs the customer's receiver, `receiver.py`, and collects what it reports.

use std::fs::File;
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde::Deserialize;
use support::project::Project;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::observations::Arrival;

/// The receiver's process. It ends when dropped, and when this process dies, because its standard input closes then.
#[derive(Debug)]
pub struct Receiver {
    _process: Child,
    address: Ipv4Addr,
    port: u16,
    arrivals: Arc<Mutex<Vec<Arrival>>>,
}

/// The first line that the receiver writes.
#[derive(Deserialize)]
struct Listening {
    port: u16,
}

impl Receiver {
    /// Starts it with that signing secret at an address of this machine, and waits until it listens.
    ///
    /// # Errors
    /// When it does not start; its log says why.
    pub async fn start(project: &Project, secret: &str, address: Ipv4Addr) -> anyhow::Result<Self> {
        std::fs::create_dir_all(project.scratch())?;
        let log = project.scratch().join("receiver.log");
        let mut process = Command::new(project.cloud_python())
            .arg(project.root().join("tools/demo/receiver.py"))
            .env("WEBHOOK_SECRET", secret)
            .env("RECEIVER_HOST", address.to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            // Ctrl-C in the terminal is handled by this process.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("starting the receiver")?;
        let output = process.stdout.take().context("the receiver has no standard output")?;
        let mut lines = BufReader::new(output).lines();
        let first = lines.next_line().await?.unwrap_or_default();
        let Listening { port } = serde_json::from_str(&first)
            .with_context(|| format!("the receiver did not start; its log is {}", log.display()))?;

        let arrivals = Arc::default();
        tokio::spawn(collect(lines, Arc::clone(&arrivals)));
        Ok(Self { _process: process, address, port, arrivals })
    }

    /// The URL of one of its paths.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:{}{path}", self.address, self.port)
    }

    /// The requests that have arrived so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn collect(mut lines: Lines<BufReader<ChildStdout>>, arrivals: Arc<Mutex<Vec<Arrival>>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(arrival) = serde_json::from_str(&line) {
            arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
        }
    }
}
