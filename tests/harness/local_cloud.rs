//! The local cloud: ministack on a free port, IAM enforced, and the real template deployed to it by `sam deploy`.
//!
//! It never outlives the process that started it. Dropping it stops it; if this process dies first, the emulator sees
//! its standard input close, and ends itself and the functions' processes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::stack::Stack;
use support::project::{Project, architecture};

/// The region the local cloud is in.
pub const REGION: &str = "us-east-1";

/// Access key and secret of the local account's root.
pub const ROOT_CREDENTIALS: &str = "test";

/// How much faster than real time Step Functions waits: 2 hours are 14.4 seconds.
pub const WAIT_SCALE: &str = "0.002";

/// How long the emulator may take to answer its first call. It takes about a second.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the emulator may take to end on SIGTERM, before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The template's parameters for a deployment.
#[derive(Clone, Debug)]
pub struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    /// Those of a stack on the local cloud: this machine's processor, endpoints on this machine, and times short
    /// enough to watch. Only the waits of Step Functions are scaled, so the first two delays are short
    /// themselves.
    pub fn local() -> Self {
        Self(BTreeMap::from([
            ("Architecture", architecture().to_owned()),
            ("DeletionProtection", "false".to_owned()),
            ("AllowPrivateNetworks", "127.0.0.0/8".to_owned()),
            ("RetrySchedule", "1s,3s,30m,2h".to_owned()),
            ("RequestTimeoutSeconds", "3".to_owned()),
        ]))
    }

    /// The same, with endpoints allowed at another address of this machine too.
    #[must_use]
    pub fn with_endpoints_at(self, address: Option<Ipv4Addr>) -> Self {
        match address {
            Some(address) => self.with("AllowPrivateNetworks", format!("127.0.0.0/8,{address}/32")),
            None => self,
        }
    }

    /// The same with another value for one parameter.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.insert(name, value.into());
        self
    }

    /// A parameter's value; `None` when it is left to the template's default.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn overrides(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}"))
    }
}

/// A running local cloud. Stops when dropped.
#[derive(Debug)]
pub struct LocalCloud {
    emulator: Child,
    port: u16,
    also_at: Option<Ipv4Addr>,
    log: PathBuf,
    // The functions' unpacked code and everything that the emulator writes; removed on drop.
    data: TempDir,
}

impl LocalCloud {
    /// Starts the local cloud and waits until it answers. Its log is `target/local-cloud/NAME.log`.
    ///
    /// # Errors
    /// When it cannot be started or does not answer.
    pub async fn start(project: &Project, name: &str) -> anyhow::Result<Self> {
        Self::start_also_at(project, name, None).await
    }

    /// The same, listening at another address of this machine too, such as the one at which containers reach it.
    ///
    /// # Errors
    /// The same.
    pub async fn start_also_at(project: &Project, name: &str, also_at: Option<Ipv4Addr>) -> anyhow::Result<Self> {
        let scratch = project.scratch();
        std::fs::create_dir_all(&scratch).with_context(|| format!("creating {}", scratch.display()))?;
        let data = tempfile::Builder::new().prefix("data-").tempdir_in(&scratch);
        let data = data.context("creating a folder for the local cloud's data")?;
        let log = scratch.join(format!("{name}.log"));
        let port = free_port().context("finding a free port")?;
        let emulator = spawn(project, port, also_at, data.path(), &log).context("starting the local cloud")?;
        let mut cloud = Self { emulator, port, also_at, log, data };
        cloud.wait_until_it_answers().await?;
        Ok(cloud)
    }

    /// Deploys the built template, as a stack of that name.
    ///
    /// # Errors
    /// What `sam deploy` printed, when it fails.
    pub async fn deploy(&self, project: &Project, name: &str, parameters: Parameters) -> anyhow::Result<Stack> {
        // The functions call this cloud, and users of the settings page sign in at its user pool.
        let parameters = parameters.with("LocalCloudUrl", self.endpoint());
        let output = tokio::process::Command::new(project.sam())
            .arg("deploy")
            .args(["--stack-name", name, "--capabilities", "CAPABILITY_IAM", "--resolve-s3"])
            .args(["--no-confirm-changeset", "--no-progressbar", "--config-env", "local"])
            .arg("--template-file")
            .arg(project.built_template())
            .arg("--parameter-overrides")
            .args(parameters.overrides())
            .env("AWS_ENDPOINT_URL", self.endpoint())
            .env("AWS_ACCESS_KEY_ID", ROOT_CREDENTIALS)
            .env("AWS_SECRET_ACCESS_KEY", ROOT_CREDENTIALS)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("SAM_CLI_TELEMETRY", "0")
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .current_dir(self.data.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("running `sam deploy`")?;
        if !output.status.success() {
            let output = [output.stdout, output.stderr].concat();
            let output = String::from_utf8_lossy(&output);
            bail!("`sam deploy` failed; the local cloud's log is {}\n{output}", self.log.display());
        }
        Stack::open(&self.sdk_config(), name, parameters).await
    }

    /// The URL of all its services.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Their URL at its other address, if it has one.
    pub fn other_endpoint(&self) -> String {
        format!("http://{}:{}", self.also_at.unwrap_or(Ipv4Addr::LOCALHOST), self.port)
    }

    /// The emulator's log file; it is kept when the cloud is gone.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The emulator's process id. The functions' processes are its children.
    pub fn pid(&self) -> u32 {
        self.emulator.id()
    }

    /// The configuration of AWS clients that act as the account's root.
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(&self.endpoint())
    }

    async fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let sqs = aws_sdk_sqs::Client::new(&self.sdk_config());
        let started = Instant::now();
        let log = self.log.display();
        while sqs.list_queues().send().await.is_err() {
            if let Some(status) = self.emulator.try_wait()? {
                bail!("the local cloud ended while it was starting ({status}); its log is {log}");
            }
            let seconds = START_TIMEOUT.as_secs();
            ensure!(
                started.elapsed() < START_TIMEOUT,
                "the local cloud did not answer within {seconds} s; its log is {log}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    fn stop(&mut self) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.emulator.id().cast_signed()) else { return Ok(()) };
        kill_process(pid, Signal::TERM)?;
        let asked = Instant::now();
        while self.emulator.try_wait()?.is_none() && asked.elapsed() < STOP_TIMEOUT {
            thread::sleep(Duration::from_millis(20));
        }
        // It leads a process group of its own, so this ends what it started and nothing else.
        let _ = kill_process_group(pid, Signal::KILL);
        self.emulator.wait().map(drop)
    }
}

impl Drop for LocalCloud {
    #[expect(clippy::print_stderr, reason = "there is nobody to return the error to")]
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("stopping the local cloud (process {}): {error}", self.emulator.id());
        }
    }
}

/// The configuration of AWS clients that act as the root of the account of the local cloud at that URL.
pub fn sdk_config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new(ROOT_CREDENTIALS, ROOT_CREDENTIALS, None, None, "local cloud");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        // The local cloud has no TLS.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
}

fn spawn(project: &Project, port: u16, also_at: Option<Ipv4Addr>, data: &Path, log: &Path) -> io::Result<Child> {
    let temporary = data.join("tmp");
    std::fs::create_dir_all(&temporary)?;
    let log = File::create(log)?;
    let also_at = also_at.map(|address| ["--also-at".to_owned(), address.to_string()]);
    Command::new(project.cloud_python())
        .arg(project.root().join("tools/local_cloud.py"))
        .arg("--until-stdin-closes")
        .args(also_at.into_iter().flatten())
        // The functions inherit the emulator's environment, so nothing of this shell's may be in it.
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", data)
        .env("TMPDIR", temporary)
        .env("PYTHONUNBUFFERED", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("GATEWAY_PORT", port.to_string())
        .env("BIND_HOST", "127.0.0.1")
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
        .env("AWS_ACCESS_KEY_ID", ROOT_CREDENTIALS)
        .env("AWS_SECRET_ACCESS_KEY", ROOT_CREDENTIALS)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("AUTH", "true")
        .env("SFN_WAIT_SCALE", WAIT_SCALE)
        .env("IOT_MTLS_ENABLED", "0")
        .current_dir(data)
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C in the terminal is handled by this process, which then stops the emulator.
        .process_group(0)
        .spawn()
}

/// A port that was free a moment ago.
///
/// # Errors
/// When the system has none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
