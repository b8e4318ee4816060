//! A customer's endpoint that fails on request: a real HTTP server on this machine that records what it is sent.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What an endpoint does with one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Status(u16),
    /// A status with headers, and a body.
    Full {
        status: u16,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    /// A status after a delay.
    Late {
        after: Duration,
        status: u16,
    },
    /// No answer at all, the connection left open.
    Hang,
}

impl Answer {
    /// A status with one header.
    pub fn with_header(status: u16, name: &'static str, value: impl Into<String>) -> Self {
        Self::Full { status, headers: vec![(name, value.into())], body: String::new() }
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub at: Timestamp,
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    /// The bytes of the body as they came over the wire.
    pub body: Bytes,
}

impl Arrival {
    /// A header's value; `None` when it is absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

#[derive(Debug, Default)]
struct Script {
    /// The answers of each path that are still to be given, in order; the last one is repeated.
    answers: HashMap<String, VecDeque<Answer>>,
    arrivals: Vec<Arrival>,
}

/// A server that gives scripted answers and records its requests. Stops when dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    server: JoinHandle<()>,
}

impl Receiver {
    /// Listens on a free port of this machine. Without a script it answers 200.
    ///
    /// # Errors
    /// When the system has no free port.
    pub async fn start() -> io::Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST).await
    }

    /// The same at another address of this machine.
    ///
    /// # Errors
    /// The same.
    pub async fn start_at(address: Ipv4Addr) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let script = Arc::new(Mutex::new(Script::default()));
        let app = Router::new().fallback(receive).with_state(Arc::clone(&script));
        let server = tokio::spawn(async move {
            // Ends only when the task is aborted.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, script, server })
    }

    /// Sets what a path answers: these answers in order, then the last one again and again.
    pub fn script(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        self.with_script(|script| script.answers.insert(path.to_owned(), answers.into_iter().collect()));
    }

    /// The URL of a path, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests that have arrived so far, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.with_script(|script| script.arrivals.clone())
    }

    /// The requests that have arrived at a path so far.
    pub fn arrivals_at(&self, path: &str) -> Vec<Arrival> {
        self.arrivals().into_iter().filter(|arrival| arrival.path == path).collect()
    }

    fn with_script<T>(&self, use_it: impl FnOnce(&mut Script) -> T) -> T {
        use_it(&mut self.script.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(script): State<Arc<Mutex<Script>>>, request: Request) -> Response {
    let at = Timestamp::now();
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return respond(400) };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let answer = {
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = next_answer(script.answers.get_mut(&path));
        script.arrivals.push(Arrival { at, method: parts.method, path, headers: parts.headers, body });
        answer
    };
    match answer {
        Answer::Status(status) => respond(status),
        Answer::Full { status, headers, body } => {
            let start = Response::builder().status(status);
            let response = headers.into_iter().fold(start, |response, (name, value)| response.header(name, value));
            response.body(Body::from(body)).unwrap_or_else(|_| respond(500))
        }
        Answer::Late { after, status } => {
            tokio::time::sleep(after).await;
            respond(status)
        }
        Answer::Hang => std::future::pending().await,
    }
}

fn next_answer(answers: Option<&mut VecDeque<Answer>>) -> Answer {
    let Some(answers) = answers else { return Answer::Status(200) };
    let next = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
    next.unwrap_or(Answer::Status(200))
}

fn respond(status: u16) -> Response {
    Response::builder().status(status).body(Body::empty()).unwrap_or_default()
}
