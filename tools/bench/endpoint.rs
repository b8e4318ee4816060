//! A customer's endpoint: keeps connections open, answers as configured, verifies each signature, and records what
//! arrived when.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use sha2::Sha256;
use tokio::task::JoinHandle;

use crate::server::serve;

/// How it answers requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behavior {
    /// How long it takes to answer.
    pub delay: Duration,
    /// The first attempt that it accepts; earlier ones are answered 500.
    pub accepts_from: u32,
}

impl Behavior {
    /// Accepts everything at once.
    pub const ACCEPTS: Self = Self { delay: Duration::ZERO, accepts_from: 1 };

    /// Never answers while a run lasts.
    pub const HANGS: Self = Self { delay: Duration::from_hours(24), accepts_from: u32::MAX };
}

/// The requests of one delivery.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// When its last request had arrived whole.
    pub arrived: Instant,
    /// When its last answer was handed over.
    pub answered: Instant,
    pub requests: u32,
}

struct State {
    behavior: Behavior,
    key: Vec<u8>,
    deliveries: HashMap<String, Received>,
    bytes: u64,
    /// Requests whose signature does not verify.
    invalid_signatures: u64,
}

/// The endpoint. Stops when dropped.
pub struct Endpoint {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

/// What has arrived since it was last taken.
#[derive(Debug)]
pub struct Arrivals {
    /// By `X-Roboticks-Delivery`.
    pub deliveries: HashMap<String, Received>,
    /// The bytes of all requests: request line, headers and body.
    pub bytes: u64,
    pub invalid_signatures: u64,
}

impl Endpoint {
    /// Listens on a free port. Signatures are verified with this key.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(key: &[u8]) -> io::Result<Self> {
        let state = State {
            behavior: Behavior::ACCEPTS,
            key: key.to_vec(),
            deliveries: HashMap::new(),
            bytes: 0,
            invalid_signatures: 0,
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let (address, server) = serve(move |request| receive(Arc::clone(&shared), request)).await?;
        Ok(Self { address, state, server })
    }

    pub fn url(&self) -> String {
        format!("http://{}/webhook", self.address)
    }

    pub fn set_behavior(&self, behavior: Behavior) {
        self.with(|state| state.behavior = behavior);
    }

    /// What has arrived since it was last taken.
    pub fn take(&self) -> Arrivals {
        self.with(|state| Arrivals {
            deliveries: std::mem::take(&mut state.deliveries),
            bytes: std::mem::take(&mut state.bytes),
            invalid_signatures: std::mem::take(&mut state.invalid_signatures),
        })
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let arrived = Instant::now();
    let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let delivery = text("x-roboticks-delivery").to_owned();
    let attempt: u32 = text("x-roboticks-attempt").parse().unwrap_or(1);
    let signature = text("x-roboticks-signature").strip_prefix("sha256=").and_then(|digits| hex::decode(digits).ok());
    let line = parts.method.as_str().len() + parts.uri.path().len() + " HTTP/1.1\r\n ".len();

    let behavior = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += (line + size_of(&parts.headers) + body.len()) as u64;
        let mut mac = Hmac::<Sha256>::new_from_slice(&state.key).expect("a key of any length will do");
        mac.update(&body);
        if mac.verify_slice(&signature.unwrap_or_default()).is_err() {
            state.invalid_signatures += 1;
        }
        let received = Received { arrived, answered: arrived, requests: 0 };
        let received = state.deliveries.entry(delivery.clone()).or_insert(received);
        received.arrived = arrived;
        received.requests += 1;
        state.behavior
    };
    if !behavior.delay.is_zero() {
        tokio::time::sleep(behavior.delay).await;
    }
    let status = if attempt >= behavior.accepts_from { 200 } else { 500 };
    if let Some(received) = state.lock().unwrap_or_else(PoisonError::into_inner).deliveries.get_mut(&delivery) {
        received.answered = Instant::now();
    }
    Response::builder().status(status).body(Full::default()).expect("a status makes a response")
}

fn size_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum::<usize>() + "\r\n".len()
}
