//! The local cloud: ministack on a free port, IAM enforced, and the real template deployed to it by `sam deploy`.
//!
//! It never outlives its starter. Dropping it stops it; should this process die first, the emulator notices that its
//! standard input has closed, and ends itself and the functions' processes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

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

/// The longest that the emulator may take to answer. It takes about a second.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// How long the emulator has to end by itself when it is told to.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// Why there is no local cloud, or no stack on it.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    #[error("{what}: {error}")]
    Io { what: &'static str, error: io::Error },
    #[error("the local cloud ended as it started ({status}); its log is {}", log.display())]
    Ended { status: std::process::ExitStatus, log: PathBuf },
    #[error("the local cloud did not answer within {} s; its log is {}", STARTS_WITHIN.as_secs(), log.display())]
    Silent { log: PathBuf },
    #[error("`sam deploy` failed; the local cloud's log is {}\n{output}", log.display())]
    Deploy { output: String, log: PathBuf },
    #[error("the stack cannot be used: {0}")]
    Stack(String),
}

fn io(what: &'static str) -> impl Fn(io::Error) -> CloudError {
    move |error| CloudError::Io { what, error }
}

/// The template's parameters for a deployment.
#[derive(Clone, Debug)]
pub struct Parameters(BTreeMap<&'static str, String>);

impl Parameters {
    /// What a stack on the local cloud is deployed with: this machine's processor, endpoints on this machine, and
    /// times short enough to watch. Only Step Functions time is scaled, so the first two delays are short as they stand.
    pub fn local() -> Self {
        Self(BTreeMap::from([
            ("Architecture", architecture().to_owned()),
            ("DeletionProtection", "false".to_owned()),
            ("AllowPrivateNetworks", "127.0.0.0/8".to_owned()),
            ("RetrySchedule", "1s,3s,30m,2h".to_owned()),
            ("RequestTimeoutSeconds", "3".to_owned()),
        ]))
    }

    /// The same with endpoints at another address of this machine too.
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

    /// The value of a parameter that is not left to the template's default.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn overrides(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}"))
    }
}

/// A running local cloud. Stopped when dropped.
#[derive(Debug)]
pub struct LocalCloud {
    emulator: Child,
    port: u16,
    also_at: Option<Ipv4Addr>,
    log: PathBuf,
    // Held to be removed at the end: the functions' unpacked code and all that the emulator writes.
    data: TempDir,
}

impl LocalCloud {
    /// Starts the local cloud, and waits until it answers. `name` is that of its log file, under `target/local-cloud/`.
    ///
    /// # Errors
    /// [`CloudError`] when it cannot be started or does not answer.
    pub async fn start(project: &Project, name: &str) -> Result<Self, CloudError> {
        Self::start_also_at(project, name, None).await
    }

    /// The same, listening at another address of this machine too, such as the one at which containers find it.
    ///
    /// # Errors
    /// The same.
    pub async fn start_also_at(project: &Project, name: &str, also_at: Option<Ipv4Addr>) -> Result<Self, CloudError> {
        let scratch = project.scratch();
        std::fs::create_dir_all(&scratch).map_err(io("creating a folder for the local cloud"))?;
        let data = tempfile::Builder::new()
            .prefix("data-")
            .tempdir_in(&scratch)
            .map_err(io("creating a folder for the local cloud's data"))?;
        let log = scratch.join(format!("{name}.log"));
        let port = free_port().map_err(io("finding a free port"))?;
        let emulator = spawn(project, port, also_at, data.path(), &log).map_err(io("starting the local cloud"))?;
        let mut cloud = Self { emulator, port, also_at, log, data };
        cloud.wait_until_it_answers().await?;
        Ok(cloud)
    }

    /// Deploys the built template, as a stack of that name.
    ///
    /// # Errors
    /// [`CloudError::Deploy`] with what `sam deploy` printed.
    pub async fn deploy(&self, project: &Project, name: &str, parameters: Parameters) -> Result<Stack, CloudError> {
        // The functions call this cloud, and users of the page sign in at its user pool.
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
            .map_err(io("running `sam deploy`"))?;
        if !output.status.success() {
            let output = [output.stdout, output.stderr].concat();
            return Err(CloudError::Deploy { output: String::from_utf8_lossy(&output).into(), log: self.log.clone() });
        }
        Stack::open(self.sdk_config(), name, parameters).await.map_err(|problem| CloudError::Stack(problem.to_string()))
    }

    /// The one URL of all its services.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The same at its other address, if it has one.
    pub fn other_endpoint(&self) -> String {
        format!("http://{}:{}", self.also_at.unwrap_or(Ipv4Addr::LOCALHOST), self.port)
    }

    /// The emulator's own log; kept when the cloud is gone.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The emulator's process id. The functions' processes are its children.
    pub fn pid(&self) -> u32 {
        self.emulator.id()
    }

    /// What AWS clients are made from, as the account's root.
    pub fn sdk_config(&self) -> SdkConfig {
        sdk_config(&self.endpoint())
    }

    async fn wait_until_it_answers(&mut self) -> Result<(), CloudError> {
        let sqs = aws_sdk_sqs::Client::new(&self.sdk_config());
        let started = Instant::now();
        while started.elapsed() < STARTS_WITHIN {
            if sqs.list_queues().send().await.is_ok() {
                return Ok(());
            }
            if let Some(status) = self.emulator.try_wait().map_err(io("watching the local cloud"))? {
                return Err(CloudError::Ended { status, log: self.log.clone() });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(CloudError::Silent { log: self.log.clone() })
    }

    fn stop(&mut self) -> io::Result<()> {
        let Some(pid) = Pid::from_raw(self.emulator.id().cast_signed()) else { return Ok(()) };
        kill_process(pid, Signal::TERM)?;
        let told = Instant::now();
        while self.emulator.try_wait()?.is_none() && told.elapsed() < STOPS_WITHIN {
            thread::sleep(Duration::from_millis(20));
        }
        // It leads a group of its own, so this is what it started and nothing else.
        let _ = kill_process_group(pid, Signal::KILL);
        self.emulator.wait().map(drop)
    }
}

impl Drop for LocalCloud {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("stopping the local cloud (process {}): {error}", self.emulator.id());
        }
    }
}

/// What AWS clients of the local cloud at that URL are made from, as the account's root.
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
        // The functions inherit the emulator's environment: nothing of this shell's may reach them.
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
        // A Ctrl-C in the terminal is ours to deal with, in order.
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
