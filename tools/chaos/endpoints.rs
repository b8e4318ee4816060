//! The customers' endpoints: each fails in the way of its fate, and remembers everything that it was sent.

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

use crate::plan::{Fate, PAYLOAD_CANARY, Plan};

/// Where cloud machines keep their credentials. No setting opens it.
const METADATA: &str = "http://169.254.169.254";

/// A name that nobody can have (RFC 2606).
const NO_NAME: &str = "http://nowhere.invalid";

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
    /// When whoever sent it hung up before there was an answer.
    pub(crate) cut_off_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) at: Timestamp,
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
    /// Reads requests, and closes or talks nonsense.
    rude: SocketAddr,
    /// Taken, and not listened at.
    refusing: TcpSocket,
    book: Arc<Book>,
    _servers: JoinSet<()>,
}

impl Endpoints {
    /// # Errors
    /// When no port can be had.
    pub(crate) async fn start(plan: Plan) -> io::Result<Self> {
        let refusing = TcpSocket::new_v4()?;
        refusing.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let rude_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, rude) = (listener.local_addr()?, rude_listener.local_addr()?);
        let requests = Mutex::new(vec![0; plan.organizations * Fate::ALL.len()]);
        let book = Arc::new(Book { plan, requests, arrivals: Mutex::default() });
        let app = Router::new().route("/{integration}", axum::routing::any(receive)).with_state(Arc::clone(&book));
        let mut servers = JoinSet::new();
        servers.spawn(async move {
            // Ends with the task; there is nobody to tell.
            let _ = axum::serve(listener, app).await;
        });
        servers.spawn(be_rude(rude_listener, Arc::clone(&book)));
        Ok(Self { address, rude, refusing, book, _servers: servers })
    }

    /// The URL of an integration, which are numbered organization by organization.
    ///
    /// # Errors
    /// When the system has forgotten a port.
    pub(crate) fn url(&self, integration: usize) -> io::Result<String> {
        let origin = match fate_of(integration) {
            Fate::Refuses => format!("http://{}", self.refusing.local_addr()?),
            Fate::ClosesEarly | Fate::IsNotHttp => format!("http://{}", self.rude),
            Fate::HasNoTls => format!("https://{}", self.address),
            Fate::IsForbidden => METADATA.to_owned(),
            Fate::HasNoName => NO_NAME.to_owned(),
            _ => format!("http://{}", self.address),
        };
        Ok(format!("{origin}/{integration}?{PAYLOAD_CANARY}"))
    }

    /// The URL that the API is given for it: it refuses one that leads to a forbidden address.
    ///
    /// # Errors
    /// When the system has forgotten a port.
    pub(crate) fn url_at_first(&self, integration: usize) -> io::Result<String> {
        match fate_of(integration) {
            Fate::IsForbidden => Ok(format!("http://{}/{integration}", self.address)),
            _ => self.url(integration),
        }
    }

    /// Everything that has arrived so far.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.book.arrivals().clone()
    }

    /// How much has arrived so far.
    pub(crate) fn count(&self) -> usize {
        self.book.arrivals().len()
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
    let open = book.note(integration, header("x-roboticks-delivery"), attempt, body);
    match answer {
        Answer::Status(code) => open.answer(status(code)),
        Answer::Full { status: code, headers, .. } => {
            let start = Response::builder().status(code);
            let response = headers.into_iter().fold(start, |response, (name, value)| response.header(name, value));
            open.answer(response.body(Body::empty()).unwrap_or_else(|_| status(500)))
        }
        Answer::Late { after, status: code } => {
            tokio::time::sleep(after).await;
            open.answer(status(code))
        }
        Answer::Hang => std::future::pending().await,
    }
}

async fn be_rude(listener: TcpListener, book: Arc<Book>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let book = Arc::clone(&book);
                    // That the sender hung up is its own affair.
                    connections.spawn(async move { drop(answer_rudely(stream, &book).await) });
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Reads one request, and closes, or says what no HTTP server says.
async fn answer_rudely(stream: TcpStream, book: &Book) -> io::Result<()> {
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
    book.note(integration, &delivery, attempt, body.into()).say_nothing();
    if fate_of(integration) == Fate::IsNotHttp {
        stream.write_all(b"220 mail.example.com ESMTP\r\n").await?;
        stream.flush().await?;
    }
    Ok(())
}

impl Book {
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
        let dice = self.plan.dice_of(integration, alert.unwrap_or_default());
        fate_of(integration).answer(attempt, before, dice)
    }

    fn note(&self, integration: usize, delivery: &str, attempt: u32, body: Bytes) -> Open<'_> {
        let (delivery, at) = (delivery.to_owned(), Timestamp::now());
        let arrival = Arrival { integration, delivery, attempt, body, at, answered: None, cut_off_at: None };
        let mut arrivals = self.arrivals();
        arrivals.push(arrival);
        Open { book: self, index: arrivals.len() - 1, is_over: false }
    }
}

/// A request that has not been answered yet. Dropped before it is, it was cut off.
struct Open<'a> {
    book: &'a Book,
    /// Of its arrival.
    index: usize,
    is_over: bool,
}

impl Open<'_> {
    fn answer(mut self, response: Response) -> Response {
        let answered = Answered { status: response.status().as_u16(), at: Timestamp::now() };
        self.book.arrivals()[self.index].answered = Some(answered);
        self.is_over = true;
        response
    }

    fn say_nothing(mut self) {
        self.is_over = true;
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.book.arrivals()[self.index].cut_off_at = Some(Timestamp::now());
        }
    }
}

fn status(code: u16) -> Response {
    Response::builder().status(code).body(Body::empty()).unwrap_or_default()
}
