#![doc = include_str!("../README.md")]

mod classify;
mod client;
pub mod connections;
mod connector;
mod dedicated;
mod plain_http;
mod stopwatch;
mod timing;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::attempt::excerpt::{Extent, MAX_BODY_BYTES, excerpt};
use domain::attempt::outcome::{Blocked, Outcome, Phase};
use domain::attempt::redirect;
use domain::endpoint::address::{self, AllowedNetworks};
use domain::endpoint::url::EndpointUrl;
use http::Method;
use http::header::{HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Request, Response};
use rustls::RootCertStore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::connections::{Clocks, Pooled};
use classify::{classify, not_http1};
use client::{Client, NoResponse};
use connector::{ConnectFault, ConnectionRules, Lookup, most_of, system_lookup};
use plain_http::{PlainHttp, Thread};
use stopwatch::Stopwatch;

pub use stopwatch::Timings;

/// How long resolving, connecting and the TLS handshake may take together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the body is read after the response head has arrived. A whole exchange takes at most the request timeout
/// plus this.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// How long resolving a host's name may take when an integration is created or changed. Names resolve within a fraction
/// of it; whoever has a name server that never answers can occupy a caller for no longer.
pub const VETTING_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends requests to endpoints. Built once; holds the connection pool.
pub struct Sender {
    request_timeout: Duration,
    rules: ConnectionRules,
    pool: Pooled<Client>,
    plain_http: PlainHttp,
}

/// The configuration of a [`Sender`].
#[derive(Clone, Debug)]
pub struct SenderConfig {
    /// The time limit for DNS, connecting, TLS, request and response head together.
    pub request_timeout: Duration,
    pub allowed_networks: AllowedNetworks,
}

/// A request. `Host` and `Content-Length` are added, and `Accept: */*` if it has no `Accept`.
pub struct OutgoingRequest {
    pub method: Method,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What excerpts must not show, in no spelling, apart from header values that are marked sensitive: the signing
    /// secrets, which are not sent, but which the endpoint has too.
    pub secrets: Vec<Zeroizing<String>>,
}

/// The result of one request.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange {
    pub outcome: Outcome,
    /// From the start until the outcome was known, without reading the body. For customers see
    /// [`Exchange::shown_duration`].
    pub duration: Duration,
    /// The value of the first `Retry-After` header, whatever the status.
    pub retry_after: Option<String>,
    /// An excerpt of the response body, or where a redirect led: of rejected requests, and of all probes.
    pub excerpt: Option<String>,
}

impl Exchange {
    /// The duration as customers may see it; `None` for blocked addresses and names that do not resolve.
    pub fn shown_duration(&self) -> Option<Duration> {
        self.outcome.shows_timing().then_some(self.duration)
    }

    fn without_response(outcome: Outcome, duration: Duration) -> Self {
        Self { outcome, duration, retry_after: None, excerpt: None }
    }
}

/// Without the excerpt, which is the endpoint's text.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { outcome, duration, .. } = self;
        f.debug_struct("Exchange").field("outcome", outcome).field("duration", duration).finish_non_exhaustive()
    }
}

/// The result of one request of the Test button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub exchange: Exchange,
    /// `None` for blocked addresses and names that do not resolve; see [`Outcome::shows_timing`].
    pub timings: Option<Timings>,
}

/// Whether a URL's host may be connected to, as found without connecting to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostVetting {
    /// All its addresses may be connected to.
    Public,
    /// At least one of its addresses must not be connected to.
    Forbidden,
    /// Its name does not resolve, or not within [`VETTING_TIMEOUT`].
    Unresolved,
}

/// Which responses an excerpt is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Excerpts {
    OfRejections,
    OfAll,
}

/// A fault of this machine, not of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendFault {
    #[error("no more files, sockets or memory to open a connection with")]
    OutOfResources,
}

/// The system has no trusted certificate authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no trusted root certificates were found on this system")]
pub struct NoTrustedRoots;

impl Sender {
    /// A sender that trusts the system's certificate authorities.
    ///
    /// # Errors
    /// When there are none.
    pub fn new(config: SenderConfig) -> Result<Self, NoTrustedRoots> {
        Ok(Self::with_roots(config, system_roots()?))
    }

    /// A sender that trusts these certificate authorities only.
    pub fn with_roots(config: SenderConfig, roots: RootCertStore) -> Self {
        Self::with_lookup(config, roots, Arc::new(system_lookup))
    }

    /// A sender that resolves names with this lookup.
    fn with_lookup(config: SenderConfig, roots: RootCertStore, lookup: Lookup) -> Self {
        let SenderConfig { request_timeout, allowed_networks } = config;
        let connect_limit = CONNECT_TIMEOUT.min(most_of(request_timeout));
        let rules = ConnectionRules::new(allowed_networks, roots, connect_limit, lookup);
        let pooled = rules.clone();
        let pool = Pooled::new(move || Client::pooled(&pooled), Clocks::read());
        let plain_http = PlainHttp::new(rules.clone());
        Self { request_timeout, rules, pool, plain_http }
    }

    /// The networks that requests may go to in addition to public addresses.
    pub fn allowed_networks(&self) -> &AllowedNetworks {
        &self.rules.allowed_networks
    }

    /// Makes one request. Takes at most the request timeout plus [`BODY_TIMEOUT`].
    ///
    /// The HTTP client opens a second connection only if nothing was sent on the first.
    ///
    /// # Errors
    /// When the fault is this machine's.
    pub async fn send(&self, url: &EndpointUrl, request: OutgoingRequest) -> Result<Exchange, SendFault> {
        let thread = self.thread(url)?;
        let client = match &thread {
            Thread::This => self.pool.client(Clocks::read()),
            Thread::Dedicated(dedicated) => dedicated.client().clone(),
        };
        let exchange = self.exchange(&client, &thread, url, request, Excerpts::OfRejections).await?;
        if !url.is_encrypted() {
            self.plain_http.remember(url, &exchange.outcome, exchange.duration);
        }
        Ok(exchange)
    }

    /// Makes one request like [`Sender::send`], but over a new connection with a full TLS handshake, so that every
    /// phase takes place and is measured. It has the same time limits.
    ///
    /// # Errors
    /// When the fault is this machine's.
    pub async fn probe(&self, url: &EndpointUrl, request: OutgoingRequest) -> Result<Probe, SendFault> {
        let stopwatch = Stopwatch::started(Instant::now());
        let client = Client::for_probe(&self.rules, stopwatch.clone());
        let exchange = self.exchange(&client, &self.thread(url)?, url, request, Excerpts::OfAll).await?;
        let timings = exchange.outcome.shows_timing().then(|| stopwatch.timings());
        Ok(Probe { exchange, timings })
    }

    /// Checks whether requests may be sent to the host of a URL, without connecting to it. The result can change at any
    /// time, so every request is vetted again.
    pub async fn vet_host(&self, url: &EndpointUrl) -> HostVetting {
        let vetted = match url.ip_literal() {
            Some(address) => address::check(address, self.allowed_networks()).map_err(ConnectFault::Blocked),
            None => {
                let name = url.uri().host().unwrap_or_default();
                self.rules.resolver(VETTING_TIMEOUT).resolve(name).await.map(drop)
            }
        };
        match vetted {
            Ok(()) => HostVetting::Public,
            Err(ConnectFault::Blocked(_)) => HostVetting::Forbidden,
            Err(ConnectFault::Unresolved(_)) => HostVetting::Unresolved,
        }
    }

    async fn exchange(
        &self,
        client: &Client,
        thread: &Thread,
        url: &EndpointUrl,
        request: OutgoingRequest,
        excerpts: Excerpts,
    ) -> Result<Exchange, SendFault> {
        let started = Instant::now();
        let literal_is_forbidden = |address| address::check(address, self.allowed_networks()).is_err();
        if url.ip_literal().is_some_and(literal_is_forbidden) {
            return Ok(Exchange::without_response(Outcome::Blocked(Blocked::Address), started.elapsed()));
        }
        let sent: Vec<_> = request.headers.values().filter(|value| value.is_sensitive()).cloned().collect();
        let OutgoingRequest { method, headers, body, secrets } = request;
        let mut outgoing = Request::new(method, url.url().clone());
        *outgoing.headers_mut() = headers;
        *outgoing.body_mut() = Some(body.into());
        let mut response = match self.response(client, thread, outgoing).await? {
            Ok(response) => response,
            Err(outcome) => return Ok(Exchange::without_response(outcome, started.elapsed())),
        };
        let duration = started.elapsed();
        let outcome = Outcome::of_status(response.status());
        let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection()).cloned();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // An accepted request's body is read too, so that its connection can be used again.
        let (body, extent) = read_body(&mut response).await;
        let sent = || sent.iter().filter_map(|value| value.to_str().ok());
        let secrets = || secrets.iter().map(|secret| secret.as_str()).chain(sent());
        let is_wanted = excerpts == Excerpts::OfAll || !outcome.is_success();
        let of_body = || if is_wanted { excerpt(&body, extent, secrets()) } else { None };
        let excerpt = location.and_then(|location| redirect::target(location.as_bytes(), secrets())).or_else(of_body);
        Ok(Exchange { outcome, duration, retry_after, excerpt })
    }

    /// The thread for a request to this URL.
    fn thread(&self, url: &EndpointUrl) -> Result<Thread, SendFault> {
        if url.is_encrypted() {
            return Ok(Thread::This);
        }
        self.plain_http.thread(url).map_err(|_no_thread| SendFault::OutOfResources)
    }

    /// The response, or the outcome if there is none.
    async fn response(
        &self,
        client: &Client,
        thread: &Thread,
        request: Request,
    ) -> Result<Result<Response, Outcome>, SendFault> {
        let client = client.clone();
        let requesting = async move { client.request(request).await };
        let requested = match thread {
            Thread::This => timeout(self.request_timeout, requesting).await,
            Thread::Dedicated(dedicated) => timeout(self.request_timeout, dedicated.run(requesting)).await,
        };
        match requested {
            Ok(Ok(response)) => Ok(Ok(response)),
            Ok(Err(NoResponse::NotHttp1 { beginning })) => Ok(Err(Outcome::Unreachable(not_http1(&beginning)))),
            Ok(Err(NoResponse::Failed(error))) => classify(&error, self.rules.limit).map(Err),
            // The limit for connecting is shorter, so a connection exists.
            Err(_elapsed) => Ok(Err(Outcome::TimedOut { phase: Phase::Response, limit: self.request_timeout })),
        }
    }
}

/// The system's certificate authorities, from `SSL_CERT_FILE` or OpenSSL's usual places.
fn system_roots() -> Result<RootCertStore, NoTrustedRoots> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(NoTrustedRoots) } else { Ok(roots) }
}

/// Reads as much of a body as an excerpt needs. An error or a timeout just ends the reading, since the outcome is
/// already known. The connection is reused only if the body was read to its end.
async fn read_body(response: &mut Response) -> (Vec<u8>, Extent) {
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            let data = match response.chunk().await {
                Ok(Some(data)) => data,
                Ok(None) => return Extent::Whole,
                Err(_torn) => return Extent::Cut,
            };
            let wanted = data.len().min(MAX_BODY_BYTES - bytes.len());
            bytes.extend_from_slice(&data[..wanted]);
            if wanted < data.len() {
                return Extent::Cut;
            }
        }
    };
    let extent = timeout(BODY_TIMEOUT, reading).await.unwrap_or(Extent::Cut);
    (bytes, extent)
}
