//! Customers' endpoints by the dozen, of one listener: each works, hangs, or refuses every first attempt, and that can
//! change at any time. Of an arrival only what is measured is kept.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Request, State};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What an endpoint does with its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Works,
    /// Takes requests and never answers.
    Hangs,
    /// Refuses every first attempt at once, and takes the second.
    RefusesFirst,
}

/// The number of an endpoint, which is its organization's too.
pub type EndpointNumber = usize;

/// A request as it arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub endpoint: EndpointNumber,
    pub alert: u64,
    pub attempt: u32,
    pub at: Timestamp,
    /// From the moment the alert was sent, as it says itself.
    pub delay: Duration,
    pub answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Refused,
    None,
}

/// What is read of a payload. `sent_at_us` is the producer's own: unknown fields are delivered as they are.
#[derive(Debug, Deserialize)]
struct Payload {
    alert: Alert,
    sent_at_us: i64,
}

#[derive(Debug, Deserialize)]
struct Alert {
    id: u64,
}

#[derive(Debug)]
struct Shared {
    manners: Mutex<Vec<Manner>>,
    arrivals: Mutex<Vec<Arrival>>,
}

/// The listener. Stops when dropped.
#[derive(Debug)]
pub struct Endpoints {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Endpoints {
    /// Listens on a free port of this machine, for that many endpoints which all work.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(count: usize) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let manners = Mutex::new(vec![Manner::Works; count]);
        let shared = Arc::new(Shared { manners, arrivals: Mutex::default() });
        let app = Router::new().route("/{endpoint}", axum::routing::post(receive)).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // Ends with the task; there is nobody to tell.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, shared, server })
    }

    pub fn url(&self, endpoint: EndpointNumber) -> String {
        format!("http://{}/{endpoint}", self.address)
    }

    /// Sets what endpoints do from now on. A request that hangs goes on hanging.
    pub fn set(&self, endpoints: &[EndpointNumber], manner: Manner) {
        let mut manners = self.shared.manners.lock().unwrap_or_else(PoisonError::into_inner);
        for endpoint in endpoints {
            if let Some(known) = manners.get_mut(*endpoint) {
                *known = manner;
            }
        }
    }

    /// What has arrived since the last [`Self::forget`].
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what has arrived so far.
    pub fn forget(&self) {
        self.shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    Path(endpoint): Path<EndpointNumber>,
    request: Request,
) -> StatusCode {
    let at = Timestamp::now();
    let attempt = request.headers().get("x-roboticks-attempt").and_then(|value| value.to_str().ok()?.parse().ok());
    let body = axum::body::to_bytes(request.into_body(), usize::MAX).await.unwrap_or_default();
    let (Some(attempt), Ok(payload)) = (attempt, serde_json::from_slice::<Payload>(&body)) else {
        return StatusCode::BAD_REQUEST;
    };
    let manner = shared.manners.lock().unwrap_or_else(PoisonError::into_inner).get(endpoint).copied();
    let answer = match (manner, attempt) {
        (None, _) | (Some(Manner::RefusesFirst), 1) => Answer::Refused,
        (Some(Manner::Hangs), _) => Answer::None,
        (Some(Manner::Works | Manner::RefusesFirst), _) => Answer::Accepted,
    };
    let delay = Duration::from_micros(at.as_microsecond().saturating_sub(payload.sent_at_us).max(0).unsigned_abs());
    let arrival = Arrival { endpoint, alert: payload.alert.id, attempt, at, delay, answer };
    shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
    match answer {
        Answer::Accepted => StatusCode::OK,
        Answer::Refused => StatusCode::INTERNAL_SERVER_ERROR,
        Answer::None => std::future::pending().await,
    }
}
