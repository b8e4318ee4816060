//! The customers' endpoints, which behave as planned and record every request.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use harness::receiver::Answer;
use jiff::Timestamp;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::plan::{Behaviour, PAYLOAD_CANARY, Plan};

/// The metadata service of cloud machines, which returns credentials. No setting allows it.
const METADATA: &str = "http://169.254.169.254";

/// A name that never resolves (RFC 2606).
const UNKNOWN_HOST: &str = "http://nowhere.invalid";

/// A request as it arrived, and what it was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// The number of the integration whose endpoint it arrived at.
    pub(crate) integration: usize,
    /// `X-Roboticks-Delivery`.
    pub(crate) delivery: String,
    /// `X-Roboticks-Attempt`.
    pub(crate) attempt: u32,
    pub(crate) body: Bytes,
    pub(crate) at: Timestamp,
    /// The answer, if there was one.
    pub(crate) answered: Option<Answered>,
    /// When the sender closed the connection before there was an answer.
    pub(crate) interrupted_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) at: Timestamp,
}

#[derive(Debug)]
struct Recorder {
    plan: Plan,
    /// How many requests each integration's endpoint has had.
    requests: Mutex<Vec<usize>>,
    arrivals: Mutex<Vec<Arrival>>,
}

/// The endpoints of all integrations. They stop when dropped.
#[derive(Debug)]
pub(crate) struct Endpoints {
    address: SocketAddr,
    /// Reads requests, and closes the connection or answers in another protocol.
    not_http: SocketAddr,
    /// A port that is reserved, and not listened on.
    refusing: TcpSocket,
    recorder: Arc<Recorder>,
    _servers: JoinSet<()>,
}

impl Endpoints {
    /// # Errors
    /// When the system has no free port.
    pub(crate) async fn start(plan: Plan) -> io::Result<Self> {
        let refusing = TcpSocket::new_v4()?;
        refusing.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let not_http_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, not_http) = (listener.local_addr()?, not_http_listener.local_addr()?);
        let requests = Mutex::new(vec![0; plan.organizations * Behaviour::ALL.len()]);
        let recorder = Arc::new(Recorder { plan, requests, arrivals: Mutex::default() });
        let app = Router::new().route("/{integration}", axum::routing::any(receive)).with_state(Arc::clone(&recorder));
        let mut servers = JoinSet::new();
        servers.spawn(async move {
            // Ends only when the task is aborted.
            let _ = axum::serve(listener, app).await;
        });
        servers.spawn(serve_not_http(not_http_listener, Arc::clone(&recorder)));
        Ok(Self { address, not_http, refusing, recorder, _servers: servers })
    }

    /// The URL of an integration. Integrations are numbered organization by organization.
    ///
    /// # Errors
    /// When the system does not tell a socket's port.
    pub(crate) fn url(&self, integration: usize) -> io::Result<String> {
        let origin = match behaviour_of(integration) {
            Behaviour::RefusesConnections => format!("http://{}", self.refusing.local_addr()?),
            Behaviour::ClosesEarly | Behaviour::NotHttp => format!("http://{}", self.not_http),
            Behaviour::NoTls => format!("https://{}", self.address),
            Behaviour::BlockedAddress => METADATA.to_owned(),
            Behaviour::UnknownHost => UNKNOWN_HOST.to_owned(),
            _ => format!("http://{}", self.address),
        };
        Ok(format!("{origin}/{integration}?{PAYLOAD_CANARY}"))
    }

    /// The URL to create the integration with: the API refuses one with a blocked address.
    ///
    /// # Errors
    /// When the system does not tell a socket's port.
    pub(crate) fn first_url(&self, integration: usize) -> io::Result<String> {
        match behaviour_of(integration) {
            Behaviour::BlockedAddress => Ok(format!("http://{}/{integration}", self.address)),
            _ => self.url(integration),
        }
    }

    /// The requests that have arrived so far.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.recorder.arrivals().clone()
    }

    /// How many requests have arrived so far.
    pub(crate) fn count(&self) -> usize {
        self.recorder.arrivals().len()
    }
}

/// How an integration's endpoint behaves: an organization has one of each.
pub(crate) fn behaviour_of(integration: usize) -> Behaviour {
    Behaviour::ALL[integration % Behaviour::ALL.len()]
}

async fn receive(State(recorder): State<Arc<Recorder>>, Path(integration): Path<usize>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A request that its worker died before sending completely does not count.
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return status(400) };
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let attempt = header("x-roboticks-attempt").parse().unwrap_or_default();
    let answer = recorder.answer(integration, attempt, &body);
    let pending = recorder.record(integration, header("x-roboticks-delivery"), attempt, body);
    match answer {
        Answer::Status(code) => pending.answer(status(code)),
        Answer::Full { status: code, headers, .. } => {
            let start = Response::builder().status(code);
            let response = headers.into_iter().fold(start, |response, (name, value)| response.header(name, value));
            pending.answer(response.body(Body::empty()).unwrap_or_else(|_| status(500)))
        }
        Answer::Late { after, status: code } => {
            tokio::time::sleep(after).await;
            pending.answer(status(code))
        }
        Answer::Hang => std::future::pending().await,
    }
}

async fn serve_not_http(listener: TcpListener, recorder: Arc<Recorder>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let recorder = Arc::clone(&recorder);
                    // It is no error when the sender closes the connection.
                    connections.spawn(async move { drop(answer_not_http(stream, &recorder).await) });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Reads one request, and closes the connection or answers as a mail server.
async fn answer_not_http(stream: TcpStream, recorder: &Recorder) -> io::Result<()> {
    let mut stream = BufStream::new(stream);
    let (mut line, mut integration, mut delivery, mut attempt, mut length) = (String::new(), 0, String::new(), 0, 0);
    while stream.read_line(&mut line).await? > 2 {
        if let Some(path) = line.strip_prefix("POST /") {
            let number: String = path.chars().take_while(char::is_ascii_digit).collect();
            integration = number.parse().unwrap_or_default();
        } else if let Some((name, value)) = line.trim_end().split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "x-roboticks-delivery" => value.clone_into(&mut delivery),
                "x-roboticks-attempt" => attempt = value.parse().unwrap_or_default(),
                "content-length" => length = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        line.clear();
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    recorder.record(integration, &delivery, attempt, body.into()).end_without_answer();
    if behaviour_of(integration) == Behaviour::NotHttp {
        stream.write_all(b"220 mail.example.com ESMTP\r\n").await?;
        stream.flush().await?;
    }
    Ok(())
}

impl Recorder {
    fn arrivals(&self) -> MutexGuard<'_, Vec<Arrival>> {
        self.arrivals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, integration: usize, attempt: u32, body: &[u8]) -> Answer {
        let before = {
            let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(count) = requests.get_mut(integration) else { return Answer::Status(404) };
            std::mem::replace(count, *count + 1)
        };
        let alert = serde_json::from_slice::<Value>(body).ok().and_then(|body| body["alert"]["id"].as_u64());
        let rng = self.plan.answer_rng(integration, alert.unwrap_or_default());
        behaviour_of(integration).answer(attempt, before, rng)
    }

    fn record(&self, integration: usize, delivery: &str, attempt: u32, body: Bytes) -> PendingRequest<'_> {
        let (delivery, at) = (delivery.to_owned(), Timestamp::now());
        let arrival = Arrival { integration, delivery, attempt, body, at, answered: None, interrupted_at: None };
        let mut arrivals = self.arrivals();
        arrivals.push(arrival);
        PendingRequest { recorder: self, index: arrivals.len() - 1, has_ended: false }
    }
}

/// A request that has not been answered yet. When it is dropped before that, the sender has interrupted it.
struct PendingRequest<'a> {
    recorder: &'a Recorder,
    /// The index of its arrival.
    index: usize,
    has_ended: bool,
}

impl PendingRequest<'_> {
    fn answer(mut self, response: Response) -> Response {
        let answered = Answered { status: response.status().as_u16(), at: Timestamp::now() };
        self.recorder.arrivals()[self.index].answered = Some(answered);
        self.has_ended = true;
        response
    }

    fn end_without_answer(mut self) {
        self.has_ended = true;
    }
}

impl Drop for PendingRequest<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.recorder.arrivals()[self.index].interrupted_at = Some(Timestamp::now());
        }
    }
}

fn status(code: u16) -> Response {
    Response::builder().status(code).body(Body::empty()).unwrap_or_default()
}
