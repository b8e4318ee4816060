//! A function's process under a Lambda Runtime API server: started as Lambda starts it, with one invocation at a time.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow, bail};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::process::Process;
use crate::server::serve;

/// How long starting or one invocation may take.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// What a function may use of an invocation's time, as the template's default has it.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(60);

/// How many lines of a process's output are kept, for errors.
const KEPT_LINES: usize = 20;

/// How to start a function.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it is called in the report.
    pub name: &'static str,
    pub executable: PathBuf,
    pub arguments: Vec<String>,
    pub folder: PathBuf,
    pub environment: BTreeMap<String, String>,
}

/// What a function wrote to its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    pub lines: u64,
    pub bytes: u64,
}

/// One invocation's answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// When the event was handed over, and when the answer was here.
    pub started: Instant,
    pub ended: Instant,
    pub cpu: Duration,
    pub body: Bytes,
}

/// A function's start.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// From its execution to its first poll.
    pub wall: Duration,
    pub cpu: Duration,
}

struct Invocation {
    event: Bytes,
    reply: oneshot::Sender<Reply>,
}

struct Reply {
    started: Instant,
    ended: Instant,
    result: Result<Bytes, Bytes>,
}

/// What the Runtime API's handlers share.
struct Api {
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    pending: Mutex<HashMap<String, (Instant, oneshot::Sender<Reply>)>>,
    first_poll: Mutex<Option<oneshot::Sender<Instant>>>,
    number: Mutex<u64>,
}

#[derive(Default)]
struct Output {
    logged: Logged,
    last: Vec<String>,
}

/// A running function. Ended when dropped.
pub struct Worker {
    name: &'static str,
    _child: Child,
    process: Process,
    start: Start,
    queue: mpsc::UnboundedSender<Invocation>,
    output: Arc<Mutex<Output>>,
    server: JoinHandle<()>,
}

impl Worker {
    /// Starts a function and waits until it polls for its first event.
    ///
    /// # Errors
    /// When it does not start or poll.
    pub async fn start(program: &Program) -> Result<Self> {
        let (queue, events) = mpsc::unbounded_channel();
        let (first_poll, polled) = oneshot::channel();
        let api = Arc::new(Api {
            queue: tokio::sync::Mutex::new(events),
            pending: Mutex::default(),
            first_poll: Mutex::new(Some(first_poll)),
            number: Mutex::default(),
        });
        let (address, server) = serve(move |request| answer(Arc::clone(&api), request)).await?;

        let mut command = command(program, address);
        let executed = Instant::now();
        let mut child = command.spawn()?;
        let process = Process::new(child.id().unwrap_or_default());
        let output = Arc::new(Mutex::new(Output::default()));
        collect_output(child.stdout.take(), &output);
        collect_output(child.stderr.take(), &output);
        let polled = tokio::time::timeout(TIMEOUT, polled).await;
        let Ok(Ok(polled)) = polled else { return Err(timeout_error(program.name, "poll for events", &output)) };
        let start = Start { wall: polled - executed, cpu: process.cpu_time()? };
        Ok(Self { name: program.name, _child: child, process, start, queue, output, server })
    }

    pub fn start_up(&self) -> Start {
        self.start
    }

    pub fn process(&self) -> Process {
        self.process
    }

    /// Hands an event over and waits for the answer.
    ///
    /// # Errors
    /// When the function fails or does not answer.
    pub async fn invoke(&self, event: Bytes) -> Result<Answer> {
        let (reply, answered) = oneshot::channel();
        let before = self.process.cpu_time()?;
        let timed_out = || timeout_error(self.name, "answer", &self.output);
        self.queue.send(Invocation { event, reply }).map_err(|_| timed_out())?;
        let reply = tokio::time::timeout(TIMEOUT, answered).await.map_err(|_| timed_out())?.map_err(|_| timed_out())?;
        let cpu = self.process.cpu_time()?.saturating_sub(before);
        match reply.result {
            Ok(body) => Ok(Answer { started: reply.started, ended: reply.ended, cpu, body }),
            Err(error) => bail!("{} failed: {}", self.name, String::from_utf8_lossy(&error)),
        }
    }

    /// What it has logged since it was last taken.
    pub async fn take_logged(&self) -> Logged {
        // What it has written may not have been read yet.
        tokio::time::sleep(Duration::from_millis(20)).await;
        std::mem::take(&mut self.output.lock().unwrap_or_else(PoisonError::into_inner).logged)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn timeout_error(name: &str, what: &str, output: &Mutex<Output>) -> anyhow::Error {
    let output = output.lock().unwrap_or_else(PoisonError::into_inner).last.join("\n");
    anyhow!("{name} did not {what} within {} s; its output:\n{output}", TIMEOUT.as_secs())
}

fn command(program: &Program, api: SocketAddr) -> Command {
    let mut command = Command::new(&program.executable);
    command
        .args(&program.arguments)
        .current_dir(&program.folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("AWS_LAMBDA_RUNTIME_API", api.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", program.name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "192")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/bench")
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "bench")
        .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "none")
        .env("AWS_SESSION_TOKEN", "none")
        .envs(&program.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn collect_output(pipe: Option<impl AsyncRead + Unpin + Send + 'static>, output: &Arc<Mutex<Output>>) {
    let Some(pipe) = pipe else { return };
    let output = Arc::clone(output);
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            output.logged.lines += 1;
            output.logged.bytes += line.len() as u64 + 1;
            output.last.push(line);
            let surplus = output.last.len().saturating_sub(KEPT_LINES);
            output.last.drain(..surplus);
        }
    });
}

async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let path: Vec<_> = parts.uri.path().trim_start_matches('/').split('/').collect();
    match (parts.method, path.as_slice()) {
        (Method::GET, [_, "runtime", "invocation", "next"]) => api.next().await,
        (Method::POST, [_, "runtime", "invocation", id, kind]) => {
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            api.complete(id, if *kind == "response" { Ok(body) } else { Err(body) });
            accepted()
        }
        _ => accepted(),
    }
}

fn accepted() -> Response<Full<Bytes>> {
    Response::builder().status(202).body(Full::default()).expect("a status makes a response")
}

impl Api {
    /// The next invocation, as soon as there is one.
    async fn next(&self) -> Response<Full<Bytes>> {
        if let Some(first) = self.first_poll.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = first.send(Instant::now());
        }
        let Some(Invocation { event, reply }) = self.queue.lock().await.recv().await else { return accepted() };
        let id = {
            let mut number = self.number.lock().unwrap_or_else(PoisonError::into_inner);
            *number += 1;
            format!("00000000-0000-4000-8000-{number:012}")
        };
        let deadline = (SystemTime::now() + FUNCTION_TIMEOUT).duration_since(UNIX_EPOCH).unwrap_or_default();
        let response = Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", &id)
            .header("lambda-runtime-deadline-ms", deadline.as_millis().to_string())
            .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:bench")
            .header("lambda-runtime-trace-id", "Root=1-00000000-000000000000000000000000;Sampled=0")
            .body(Full::new(event))
            .expect("headers of plain text make a response");
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (Instant::now(), reply));
        response
    }

    fn complete(&self, id: &str, result: Result<Bytes, Bytes>) {
        let ended = Instant::now();
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some((started, reply)) = pending {
            let _ = reply.send(Reply { started, ended, result });
        }
    }
}
