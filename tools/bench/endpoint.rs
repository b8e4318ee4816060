//! A customer's endpoint: keeps connections open, answers as told, checks each signature, and notes what arrived when.

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

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// How long it takes.
    pub after: Duration,
    /// The first attempt that it accepts; it answers 500 to those before.
    pub accepts_from: u32,
}

impl Manner {
    /// Accepts everything at once.
    pub const AT_ONCE: Self = Self { after: Duration::ZERO, accepts_from: 1 };

    /// Takes requests and never answers, as far as any run lasts.
    pub const HANGS: Self = Self { after: Duration::from_hours(24), accepts_from: u32::MAX };
}

/// One delivery as the endpoint saw it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When its last request had arrived whole.
    pub arrived: Instant,
    /// When its last answer was handed over.
    pub answered: Instant,
    pub requests: u32,
}

struct State {
    manner: Manner,
    key: Vec<u8>,
    seen: HashMap<String, Seen>,
    bytes: u64,
    /// Requests whose signature does not verify.
    forged: u64,
}

/// The endpoint. Stops when dropped.
pub struct Endpoint {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

/// What has arrived since the last look.
#[derive(Debug)]
pub struct Arrivals {
    /// By `X-Roboticks-Delivery`.
    pub seen: HashMap<String, Seen>,
    /// The bytes of all requests: request line, headers and body.
    pub bytes: u64,
    pub forged: u64,
}

impl Endpoint {
    /// Listens on a free port. Signatures are verified with this key.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(key: &[u8]) -> io::Result<Self> {
        let state = State { manner: Manner::AT_ONCE, key: key.to_vec(), seen: HashMap::new(), bytes: 0, forged: 0 };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let (address, server) = serve(move |request| receive(Arc::clone(&shared), request)).await?;
        Ok(Self { address, state, server })
    }

    pub fn url(&self) -> String {
        format!("http://{}/webhook", self.address)
    }

    pub fn behave(&self, manner: Manner) {
        self.with(|state| state.manner = manner);
    }

    /// What has arrived since this was last asked.
    pub fn take(&self) -> Arrivals {
        self.with(|state| Arrivals {
            seen: std::mem::take(&mut state.seen),
            bytes: std::mem::take(&mut state.bytes),
            forged: std::mem::take(&mut state.forged),
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

    let manner = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.bytes += (line + size_of(&parts.headers) + body.len()) as u64;
        let mut mac = Hmac::<Sha256>::new_from_slice(&state.key).expect("a key of any length will do");
        mac.update(&body);
        if mac.verify_slice(&signature.unwrap_or_default()).is_err() {
            state.forged += 1;
        }
        let seen = state.seen.entry(delivery.clone()).or_insert(Seen { arrived, answered: arrived, requests: 0 });
        seen.arrived = arrived;
        seen.requests += 1;
        state.manner
    };
    if !manner.after.is_zero() {
        tokio::time::sleep(manner.after).await;
    }
    let status = if attempt >= manner.accepts_from { 200 } else { 500 };
    if let Some(seen) = state.lock().unwrap_or_else(PoisonError::into_inner).seen.get_mut(&delivery) {
        seen.answered = Instant::now();
    }
    Response::builder().status(status).body(Full::default()).expect("a status makes a response")
}

fn size_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum::<usize>() + "\r\n".len()
}
