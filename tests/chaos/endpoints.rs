//! The customers' endpoints: each fails in the way of its fate, and remembers everything that it was sent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use serde_json::Value;
use tests::receiver::Answer;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

use crate::plan::{Fate, Plan};

/// A request as it arrived, and what it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// `X-Roboticks-Delivery`.
    pub(crate) delivery: String,
    /// `X-Roboticks-Attempt`.
    pub(crate) attempt: u32,
    pub(crate) body: Bytes,
    /// The status of the answer; `None` when there was none.
    pub(crate) answered: Option<u16>,
}

#[derive(Debug)]
struct Book {
    plan: Plan,
    /// By integration.
    requests: Mutex<Vec<usize>>,
    arrivals: Mutex<Vec<Arrival>>,
}

/// The endpoints of all integrations. They stop when dropped.
#[derive(Debug)]
pub(crate) struct Endpoints {
    address: SocketAddr,
    /// Taken, and not listened at.
    refusing: TcpSocket,
    book: Arc<Book>,
    server: JoinHandle<()>,
}

impl Endpoints {
    /// # Errors
    /// When no port can be had.
    pub(crate) async fn start(plan: Plan) -> io::Result<Self> {
        let refusing = TcpSocket::new_v4()?;
        refusing.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let requests = Mutex::new(vec![0; plan.organizations * Fate::ALL.len()]);
        let book = Arc::new(Book { plan, requests, arrivals: Mutex::default() });
        let app = Router::new().route("/{integration}", axum::routing::any(receive)).with_state(Arc::clone(&book));
        let server = tokio::spawn(async move {
            // Ends with the task; there is nobody to tell.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, refusing, book, server })
    }

    /// The URL of an integration, which are numbered organization by organization.
    ///
    /// # Errors
    /// When the system has forgotten a port.
    pub(crate) fn url(&self, integration: usize) -> io::Result<String> {
        let address = match fate_of(integration) {
            Fate::Refuses => self.refusing.local_addr()?,
            _ => self.address,
        };
        Ok(format!("http://{address}/{integration}"))
    }

    /// Everything that has arrived so far.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.book.arrivals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How much has arrived so far.
    pub(crate) fn count(&self) -> usize {
        self.book.arrivals.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The fate of an integration's endpoint: an organization has one of each.
pub(crate) fn fate_of(integration: usize) -> Fate {
    Fate::ALL[integration % Fate::ALL.len()]
}

async fn receive(State(book): State<Arc<Book>>, Path(integration): Path<usize>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A worker that dies while it sends has not sent a request.
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return status(400) };
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let attempt = header("x-roboticks-attempt").parse().unwrap_or_default();
    let answer = book.answer(integration, attempt, &body);
    let answered = match &answer {
        Answer::Status(status) | Answer::Full { status, .. } | Answer::Late { status, .. } => Some(*status),
        Answer::Hang => None,
    };
    let arrival = Arrival { delivery: header("x-roboticks-delivery").to_owned(), attempt, body, answered };
    book.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
    match answer {
        Answer::Status(code) => status(code),
        Answer::Full { status: code, headers, .. } => {
            let start = Response::builder().status(code);
            let response = headers.into_iter().fold(start, |response, (name, value)| response.header(name, value));
            response.body(Body::empty()).unwrap_or_else(|_| status(500))
        }
        Answer::Late { after, status: code } => {
            tokio::time::sleep(after).await;
            status(code)
        }
        Answer::Hang => std::future::pending().await,
    }
}

impl Book {
    fn answer(&self, integration: usize, attempt: u32, body: &[u8]) -> Answer {
        let before = {
            let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(count) = requests.get_mut(integration) else { return Answer::Status(404) };
            std::mem::replace(count, *count + 1)
        };
        let alert = serde_json::from_slice::<Value>(body).ok().and_then(|body| body["alert"]["id"].as_u64());
        let dice = self.plan.dice_of(integration, alert.unwrap_or_default());
        fate_of(integration).answer(attempt, before, dice)
    }
}

fn status(code: u16) -> Response {
    Response::builder().status(code).body(Body::empty()).unwrap_or_default()
}
