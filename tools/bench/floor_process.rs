//! The floor as a process: see `floor.rs`.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::process::Process;
use crate::worker::Program;

/// A running floor. Ended when dropped.
pub struct Floor {
    _child: Child,
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Floor {
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Program, url: &str, secret: &str) -> Result<Self> {
        let mut child = Command::new(&program.executable)
            .args([url, secret])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let process = Process::new(child.id().unwrap_or_default());
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both are piped")
        };
        Ok(Self { _child: child, process, input, output: BufReader::new(output) })
    }

    pub fn process(&self) -> Process {
        self.process
    }

    /// Has it send these alerts at once. Returns when it was asked to, and when it confirmed that all were answered.
    ///
    /// # Errors
    /// When it ends instead.
    pub async fn send(&mut self, bodies: &[String]) -> Result<(Instant, Instant)> {
        let mut request = Vec::new();
        for body in bodies {
            request.extend_from_slice(format!("{}\n{body}", body.len()).as_bytes());
        }
        request.extend_from_slice(b"0\n");
        let started = Instant::now();
        self.input.write_all(&request).await?;
        self.input.flush().await?;
        let mut line = String::new();
        if self.output.read_line(&mut line).await? == 0 {
            bail!("the floor ended before it answered");
        }
        Ok((started, Instant::now()))
    }
}
