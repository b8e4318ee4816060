//! One HTTP request to an endpoint: sent once, bounded in time and size, to public addresses only.
//!
//! Whatever the endpoint does is an [`Outcome`]; an `Err` means that *we* could not try. The time limit covers DNS,
//! connecting, TLS, the request and the response head together. The status decides; of the body no more is read than an
//! excerpt needs. Redirects are not followed, proxies of the environment are not used, nothing is decompressed.
//!
//! An address is vetted three times: as a literal in the URL, after the name is resolved (a host with *any* forbidden
//! address is refused whole, and only vetted addresses reach the connector, so that a second lookup cannot answer
//! differently), and as the address really connected to, before the first byte is sent.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use std::{fmt, io, vec};

use bytes::Bytes;
use http::header::{HeaderMap, RETRY_AFTER};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig, InvalidMessage, OtherError, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::address::{self, AllowedNetworks, Forbidden};
use crate::endpoint_url::EndpointUrl;
use crate::excerpt::{Extent, MAX_BODY_BYTES, excerpt};
use crate::outcome::{Blocked, Outcome, Phase, TlsFault, Unreachable};

/// The longest that resolving, connecting and the TLS handshake may take together.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the body is read after the response head has arrived. A whole exchange takes at most the request timeout
/// and this.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// A response head larger than this, in bytes, is refused; one of half the size never is. Common servers send at most
/// 8 to 16 KiB.
pub const MAX_RESPONSE_HEAD: usize = 64 * 1024;

/// How long a connection may be idle by the monotonic clock, and how far the two clocks may drift apart before the pool
/// is given up. Together they bound by how much a reused connection was idle by the wall clock: 5 s, which is also
/// how long common servers keep idle connections.
const MAX_IDLE: Duration = Duration::from_millis(2500);
const MAX_DRIFT: Duration = Duration::from_millis(2500);

/// Sends requests to endpoints. Built once; holds the connection pool.
pub struct Sender {
    request_timeout: Duration,
    allowed_networks: Arc<AllowedNetworks>,
    connector: Connector,
    pool: Mutex<Pool>,
}

/// What a [`Sender`] is told.
#[derive(Clone, Debug)]
pub struct SenderConfig {
    /// The limit over DNS, connecting, TLS, request and response head together.
    pub request_timeout: Duration,
    pub allowed_networks: AllowedNetworks,
}

/// A request, ready but for `Host` and `Content-Length`. Header values marked sensitive are kept out of excerpts.
pub struct OutgoingRequest {
    pub method: Method,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What came of one request.
#[derive(Clone, PartialEq, Eq)]
pub struct Exchange {
    pub outcome: Outcome,
    /// From the start until the outcome was known; reading the body is not in it. For customers, see
    /// [`Exchange::shown_duration`].
    pub duration: Duration,
    /// The value of the first `Retry-After` header, whatever the status.
    pub retry_after: Option<String>,
    /// What the endpoint said to a request that it rejected, cleaned.
    pub excerpt: Option<String>,
}

impl Exchange {
    /// The duration as customers may see it: not of what was blocked or did not resolve.
    pub fn shown_duration(&self) -> Option<Duration> {
        self.outcome.shows_timing().then_some(self.duration)
    }

    fn without_response(outcome: Outcome, duration: Duration) -> Self {
        Self { outcome, duration, retry_after: None, excerpt: None }
    }
}

/// Shows no excerpt: it is the endpoint's text.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { outcome, duration, .. } = self;
        f.debug_struct("Exchange").field("outcome", outcome).field("duration", duration).finish_non_exhaustive()
    }
}

/// This machine could not try: not the endpoint's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendFault {
    #[error("no more files, sockets or memory to open a connection with")]
    OutOfResources,
}

/// The system has no certificate authorities to trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no trusted root certificates were found on this system")]
pub struct NoTrustedRoots;

impl Sender {
    /// A sender that trusts the system's certificate authorities.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub fn new(config: SenderConfig) -> Result<Self, NoTrustedRoots> {
        Ok(Self::with_roots(config, system_roots()?))
    }

    /// A sender that trusts these certificate authorities only.
    pub fn with_roots(config: SenderConfig, roots: RootCertStore) -> Self {
        let SenderConfig { request_timeout, allowed_networks } = config;
        let allowed_networks = Arc::new(allowed_networks);
        let connect_limit = CONNECT_TIMEOUT.min(most_of(request_timeout));
        let connector = Connector::new(roots, Arc::clone(&allowed_networks), connect_limit);
        let pool = Mutex::new(Pool::new(&connector, Clocks::read()));
        Self { request_timeout, allowed_networks, connector, pool }
    }

    /// The networks that requests may go to besides public ones.
    pub fn allowed_networks(&self) -> &AllowedNetworks {
        &self.allowed_networks
    }

    /// Makes one request and says what came of it. Never takes longer than the request timeout and [`BODY_TIMEOUT`].
    ///
    /// The HTTP client makes a second connection only for a request of which nothing was sent on the first.
    ///
    /// # Errors
    ///
    /// When the fault is this machine's.
    pub async fn send(&self, url: &EndpointUrl, request: OutgoingRequest) -> Result<Exchange, SendFault> {
        let started = Instant::now();
        let literal_is_forbidden = |address| address::check(address, &self.allowed_networks).is_err();
        if url.ip_literal().is_some_and(literal_is_forbidden) {
            return Ok(Exchange::without_response(Outcome::Blocked(Blocked::Address), started.elapsed()));
        }
        let secrets: Vec<_> = request.headers.values().filter(|value| value.is_sensitive()).cloned().collect();
        let response = match self.response(url, request).await? {
            Ok(response) => response,
            Err(outcome) => return Ok(Exchange::without_response(outcome, started.elapsed())),
        };
        let duration = started.elapsed();
        let outcome = Outcome::of_status(response.status());
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // An accepted request's body is read too, so that its connection can be used again.
        let (body, extent) = read_body(response.into_body()).await;
        let secrets = secrets.iter().filter_map(|value| value.to_str().ok());
        let excerpt = if outcome.is_success() { None } else { excerpt(&body, extent, secrets) };
        Ok(Exchange { outcome, duration, retry_after, excerpt })
    }

    /// A response, or the outcome of not getting one.
    async fn response(
        &self,
        url: &EndpointUrl,
        outgoing: OutgoingRequest,
    ) -> Result<Result<Response<Incoming>, Outcome>, SendFault> {
        let mut request = Request::new(Full::new(outgoing.body));
        *request.method_mut() = outgoing.method;
        *request.uri_mut() = url.uri().clone();
        *request.headers_mut() = outgoing.headers;
        match timeout(self.request_timeout, self.client().request(request)).await {
            Ok(Ok(response)) => Ok(Ok(response)),
            Ok(Err(error)) => {
                let phase = if error.is_connect() { Phase::Connect } else { Phase::Response };
                classify(&error, phase, self.connector.limit).map(Err)
            }
            // The connector's own limit is shorter: there is a connection.
            Err(_elapsed) => Ok(Err(Outcome::TimedOut { phase: Phase::Response, limit: self.request_timeout })),
        }
    }

    /// The client whose pool can be trusted now.
    fn client(&self) -> Client {
        let now = Clocks::read();
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.built.drift(now) > MAX_DRIFT {
            *pool = Pool::new(&self.connector, now);
        }
        pool.client.clone()
    }
}

/// The limit of a part, such that the part is known to be over before the whole is.
fn most_of(limit: Duration) -> Duration {
    limit * 4 / 5
}

/// The system's certificate authorities, as `SSL_CERT_FILE` and OpenSSL's usual places give them.
fn system_roots() -> Result<RootCertStore, NoTrustedRoots> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(NoTrustedRoots) } else { Ok(roots) }
}

type Client = legacy::Client<Connector, Full<Bytes>>;

/// A client and its pooled connections, and the time at which there were none yet.
struct Pool {
    client: Client,
    built: Clocks,
}

impl Pool {
    fn new(connector: &Connector, now: Clocks) -> Self {
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(MAX_IDLE)
            // The limit is looked at before a read, and a read can double what is in the buffer.
            .http1_max_buf_size(MAX_RESPONSE_HEAD / 2)
            .build(connector.clone());
        Self { client, built: now }
    }
}

/// The two clocks, read together. While a sandbox is frozen the wall clock goes on but the monotonic one may not, and the
/// pool counts idle time by the monotonic one: endpoints may have closed connections that the pool believes fresh.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    wall: SystemTime,
    monotonic: Instant,
}

impl Clocks {
    fn read() -> Self {
        Self { wall: SystemTime::now(), monotonic: Instant::now() }
    }

    /// By how much the clocks disagree about the time from `self` to `now`: frozen time, or a wall clock that was set.
    fn drift(self, now: Self) -> Duration {
        let monotonic = now.monotonic.saturating_duration_since(self.monotonic);
        match now.wall.duration_since(self.wall) {
            Ok(wall) => wall.abs_diff(monotonic),
            Err(backwards) => backwards.duration() + monotonic,
        }
    }
}

type BoxError = Box<dyn Error + Send + Sync>;
type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Opens connections: DNS, TCP and TLS within one limit.
#[derive(Clone)]
struct Connector {
    https: HttpsConnector<VettedTcp>,
    limit: Duration,
}

impl Connector {
    fn new(roots: RootCertStore, allowed_networks: Arc<AllowedNetworks>, limit: Duration) -> Self {
        // A lookup that hangs is reported as one: it gets less than the whole limit.
        let resolver = Resolver { allowed_networks: Arc::clone(&allowed_networks), limit: most_of(limit) };
        let mut http = HttpConnector::new_with_resolver(resolver);
        http.enforce_http(false);
        http.set_nodelay(true);
        // Divided among a host's addresses, so that one that swallows packets leaves time for the others.
        http.set_connect_timeout(Some(limit));
        let tcp = VettedTcp { http, allowed_networks };
        Self { https: HttpsConnector::from((tcp, Arc::new(tls_config(roots)))), limit }
    }
}

fn tls_config(roots: RootCertStore) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response, BoxError>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = timeout(self.limit, self.https.call(uri));
        Box::pin(async { connecting.await.map_err(|_elapsed| ConnectFault::TimedOut)? })
    }
}

/// Opens TCP connections and looks whom they lead to before anything is sent.
#[derive(Clone)]
struct VettedTcp {
    http: HttpConnector<Resolver>,
    allowed_networks: Arc<AllowedNetworks>,
}

impl Service<Uri> for VettedTcp {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response, BoxError>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(context).map_err(BoxError::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.http.call(uri);
        let allowed_networks = Arc::clone(&self.allowed_networks);
        Box::pin(async move {
            let stream = connecting.await?;
            let peer = stream.inner().peer_addr()?;
            address::check(peer.ip(), &allowed_networks).map_err(ConnectFault::Blocked)?;
            Ok(stream)
        })
    }
}

/// Resolves names with the system's resolver, to vetted addresses only.
#[derive(Clone)]
struct Resolver {
    allowed_networks: Arc<AllowedNetworks>,
    limit: Duration,
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = ConnectFault;
    type Future = BoxFuture<Self::Response, ConnectFault>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { allowed_networks, limit } = self.clone();
        Box::pin(async move {
            // The port is the connector's to add.
            let lookup = tokio::net::lookup_host((name.as_str(), 0));
            let found = timeout(limit, lookup).await.map_err(|_elapsed| ConnectFault::Unresolved(None))?;
            let found = found.map_err(|error| ConnectFault::Unresolved(Some(error)))?;
            vet(found.collect(), &allowed_networks).map(Vec::into_iter)
        })
    }
}

/// Passes the addresses of a host if there are any and all of them may be connected to.
fn vet(addresses: Vec<SocketAddr>, allowed: &AllowedNetworks) -> Result<Vec<SocketAddr>, ConnectFault> {
    if addresses.is_empty() {
        return Err(ConnectFault::Unresolved(None));
    }
    match addresses.iter().find_map(|address| address::check(address.ip(), allowed).err()) {
        Some(family) => Err(ConnectFault::Blocked(family)),
        None => Ok(addresses),
    }
}

/// What goes wrong in our own part of connecting, on its way through the HTTP client to [`classify`].
#[derive(Debug, thiserror::Error)]
enum ConnectFault {
    #[error("the host does not resolve")]
    Unresolved(Option<io::Error>),
    #[error("a forbidden address: {0}")]
    Blocked(Forbidden),
    #[error("no connection in time")]
    TimedOut,
}

/// Reads of a body what an excerpt needs. What fails or is late just ends it: the outcome stands already. A body that is
/// not read to its end takes its connection with it.
async fn read_body(mut body: Incoming) -> (Vec<u8>, Extent) {
    let mut bytes = Vec::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Extent::Cut };
            let data = frame.data_ref().map(AsRef::as_ref).unwrap_or_default();
            let wanted = data.len().min(MAX_BODY_BYTES - bytes.len());
            bytes.extend_from_slice(&data[..wanted]);
            if wanted < data.len() {
                return Extent::Cut;
            }
        }
        Extent::Whole
    };
    let extent = timeout(BODY_TIMEOUT, reading).await.unwrap_or(Extent::Cut);
    (bytes, extent)
}

/// Finds what happened in the chain of an error's causes, by their types. `connect_limit` is what a timeout while
/// connecting is said to have exceeded.
fn classify(error: &(dyn Error + 'static), phase: Phase, connect_limit: Duration) -> Result<Outcome, SendFault> {
    let found = causes(error).find_map(|cause| classify_cause(cause, phase, connect_limit));
    found.unwrap_or(Ok(Outcome::Unreachable(Unreachable::Other)))
}

/// What one cause says by itself, if anything.
fn classify_cause(
    cause: &(dyn Error + 'static),
    phase: Phase,
    connect_limit: Duration,
) -> Option<Result<Outcome, SendFault>> {
    let connect_timeout = Outcome::TimedOut { phase: Phase::Connect, limit: connect_limit };
    if let Some(fault) = cause.downcast_ref::<ConnectFault>() {
        return Some(match fault {
            ConnectFault::Unresolved(Some(error)) if is_out_of_resources(error) => Err(SendFault::OutOfResources),
            ConnectFault::Unresolved(_) => Ok(Outcome::Unreachable(Unreachable::Dns)),
            ConnectFault::Blocked(_) => Ok(Outcome::Blocked(Blocked::Address)),
            ConnectFault::TimedOut => Ok(connect_timeout),
        });
    }
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return Some(Ok(Outcome::Unreachable(Unreachable::Tls(tls_fault(error)))));
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return http_fault(error).map(Outcome::Unreachable).map(Ok);
    }
    let error = cause.downcast_ref::<io::Error>()?;
    if is_out_of_resources(error) {
        return Some(Err(SendFault::OutOfResources));
    }
    if phase == Phase::Connect && error.kind() == io::ErrorKind::TimedOut {
        return Some(Ok(connect_timeout));
    }
    network_fault(error.kind(), phase).map(Outcome::Unreachable).map(Ok)
}

/// An error and its causes, outermost first. An `io::Error` that wraps another error skips it in `source`, but it is
/// often the one that says what happened.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    })
}

/// The errors of `open` and `socket` that say nothing about the endpoint.
fn is_out_of_resources(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

fn http_fault(error: &hyper::Error) -> Option<Unreachable> {
    if error.is_parse_too_large() {
        return Some(Unreachable::HeadTooLarge);
    }
    if error.is_parse() {
        return Some(Unreachable::NotHttp);
    }
    let is_closed = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    is_closed.then_some(Unreachable::ClosedEarly)
}

fn network_fault(kind: io::ErrorKind, phase: Phase) -> Option<Unreachable> {
    use io::ErrorKind;
    match kind {
        ErrorKind::ConnectionRefused => Some(Unreachable::ConnectionRefused),
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::NotConnected
        | ErrorKind::AddrNotAvailable => Some(Unreachable::NoRoute),
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof
        | ErrorKind::TimedOut => Some(match phase {
            // TCP was there already: a connection that is refused is not reset.
            Phase::Connect => Unreachable::Tls(TlsFault::Handshake),
            Phase::Response => Unreachable::ClosedEarly,
        }),
        _ => None,
    }
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate_fault(error),
        // What another protocol's first bytes look like.
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => TlsFault::NotTls,
        _ => TlsFault::Handshake,
    }
}

fn certificate_fault(error: &CertificateError) -> TlsFault {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::CertificateExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::CertificateNotYetValid,
        CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
        // What `openssl req -x509` makes unless told otherwise: a self-signed authority that serves as itself.
        CertificateError::Other(error) if is_authority_as_server(error) => TlsFault::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongHost,
        CertificateError::Revoked => TlsFault::CertificateRevoked,
        _ => TlsFault::BadCertificate,
    }
}

fn is_authority_as_server(error: &OtherError) -> bool {
    matches!(error.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000_000);

    #[track_caller]
    fn check_drift(wall: i64, monotonic: u64, expected_ms: u64) {
        let from = Clocks { wall: SystemTime::UNIX_EPOCH + NOW, monotonic: Instant::now() };
        let moved = Duration::from_millis(wall.unsigned_abs());
        let wall = if wall < 0 { from.wall - moved } else { from.wall + moved };
        let now = Clocks { wall, monotonic: from.monotonic + Duration::from_millis(monotonic) };
        assert_eq!(from.drift(now), Duration::from_millis(expected_ms));
    }

    #[test]
    fn clocks_drift_apart_when_frozen_or_set() {
        check_drift(0, 0, 0);
        check_drift(90_000, 90_000, 0);
        // Frozen for a minute.
        check_drift(61_000, 1_000, 60_000);
        check_drift(2_501, 1, 2_500);
        // Set forwards, set backwards.
        check_drift(3_600_000, 10, 3_599_990);
        check_drift(1_000, 5_000, 4_000);
        check_drift(-2_000, 1_000, 3_000);
    }

    /// The rule of design.md: nothing is reused that was idle over 5 s by the wall clock.
    #[test]
    fn idle_time_is_bounded_by_the_wall_clock() {
        assert!(MAX_IDLE + MAX_DRIFT <= Duration::from_secs(5));
    }

    fn has_new_pool_after_being_frozen_for(frozen: Duration) -> bool {
        let config =
            SenderConfig { request_timeout: Duration::from_secs(5), allowed_networks: AllowedNetworks::none() };
        let sender = Sender::with_roots(config, RootCertStore::empty());
        let built = || sender.pool.lock().expect("nothing panicked").built.wall;
        sender.pool.lock().expect("nothing panicked").built.wall -= frozen;
        let before = built();
        let _client = sender.client();
        built() != before
    }

    #[test]
    fn a_pool_that_was_frozen_is_not_used_again() {
        assert!(!has_new_pool_after_being_frozen_for(Duration::ZERO));
        assert!(!has_new_pool_after_being_frozen_for(Duration::from_secs(2)));
        assert!(has_new_pool_after_being_frozen_for(Duration::from_secs(3)));
        assert!(has_new_pool_after_being_frozen_for(Duration::from_secs(3600)));
    }

    #[track_caller]
    fn check_vet(addresses: &[&str], expected: Result<usize, &str>) {
        let parse = |address: &&str| SocketAddr::new(address.parse().expect("a test address parses"), 0);
        let vetted = vet(addresses.iter().map(parse).collect(), &"127.0.0.0/8".parse().expect("networks parse"));
        let vetted = vetted.map(|addresses| addresses.len()).map_err(|fault| fault.to_string());
        assert_eq!(vetted.as_ref().map(|count| *count).map_err(String::as_str), expected, "{addresses:?}");
    }

    #[test]
    fn a_host_with_any_forbidden_address_is_refused_whole() {
        check_vet(&["8.8.8.8"], Ok(1));
        check_vet(&["8.8.8.8", "2606:4700::1111", "127.0.0.1"], Ok(3));
        check_vet(&["8.8.8.8", "10.0.0.1"], Err("a forbidden address: private"));
        check_vet(&["::ffff:8.8.8.8", "8.8.8.8"], Err("a forbidden address: IPv6 form of an IPv4 address"));
        check_vet(&[], Err("the host does not resolve"));
    }

    /// Whatever a resolver says, what is connected to is looked at again.
    #[tokio::test]
    async fn the_connected_address_is_vetted_before_anything_is_sent() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let uri = Uri::try_from(format!("http://localhost:{}/", listener.local_addr().expect("it is bound").port()));
        let deceived = Arc::new("127.0.0.0/8,::1/128".parse().expect("networks parse"));
        let resolver = Resolver { allowed_networks: deceived, limit: Duration::from_secs(5) };
        let http = HttpConnector::new_with_resolver(resolver);
        let mut tcp = VettedTcp { http, allowed_networks: Arc::new(AllowedNetworks::none()) };
        let error = tcp.call(uri.expect("a valid URI")).await.expect_err("loopback is forbidden");
        assert!(matches!(error.downcast_ref(), Some(ConnectFault::Blocked(Forbidden::Loopback))), "{error:?}");
        let (mut accepted, _) = listener.accept().await.expect("it did connect");
        let received = tokio::io::AsyncReadExt::read(&mut accepted, &mut [0]).await.expect("it was closed");
        assert_eq!(received, 0);
    }

    #[track_caller]
    fn check_error(error: impl Error + 'static, phase: Phase, expected: Result<Outcome, SendFault>) {
        assert_eq!(classify(&error, phase, Duration::from_secs(10)), expected, "{error:?}");
    }

    fn os(code: i32) -> io::Error {
        io::Error::from_raw_os_error(code)
    }

    #[test]
    fn network_errors() {
        let unreachable = |reason| Ok(Outcome::Unreachable(reason));
        check_error(os(libc::ECONNREFUSED), Phase::Connect, unreachable(Unreachable::ConnectionRefused));
        check_error(os(libc::ENETUNREACH), Phase::Connect, unreachable(Unreachable::NoRoute));
        check_error(os(libc::EHOSTUNREACH), Phase::Connect, unreachable(Unreachable::NoRoute));
        check_error(os(libc::EADDRNOTAVAIL), Phase::Connect, unreachable(Unreachable::NoRoute));
        check_error(os(libc::ECONNRESET), Phase::Response, unreachable(Unreachable::ClosedEarly));
        check_error(os(libc::EPIPE), Phase::Response, unreachable(Unreachable::ClosedEarly));
        check_error(os(libc::ECONNRESET), Phase::Connect, unreachable(Unreachable::Tls(TlsFault::Handshake)));
        check_error(os(libc::EACCES), Phase::Connect, unreachable(Unreachable::Other));
        let timed_out = Outcome::TimedOut { phase: Phase::Connect, limit: Duration::from_secs(10) };
        check_error(os(libc::ETIMEDOUT), Phase::Connect, Ok(timed_out));
    }

    #[test]
    fn errors_of_our_own_are_not_the_endpoints() {
        check_error(os(libc::EMFILE), Phase::Connect, Err(SendFault::OutOfResources));
        check_error(io::Error::other(os(libc::ENFILE)), Phase::Connect, Err(SendFault::OutOfResources));
        let lookup = ConnectFault::Unresolved(Some(os(libc::EMFILE)));
        check_error(lookup, Phase::Connect, Err(SendFault::OutOfResources));
        let lookup = ConnectFault::Unresolved(Some(io::Error::other("no such name")));
        check_error(lookup, Phase::Connect, Ok(Outcome::Unreachable(Unreachable::Dns)));
    }

    /// As the TLS connector wraps them: an `io::Error` in an `io::Error`.
    #[track_caller]
    fn check_tls(error: rustls::Error, expected: TlsFault) {
        let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        check_error(error, Phase::Connect, Ok(Outcome::Unreachable(Unreachable::Tls(expected))));
    }

    #[test]
    fn tls_errors() {
        use rustls::{AlertDescription, Error, PeerIncompatible};
        check_tls(Error::InvalidCertificate(CertificateError::Expired), TlsFault::CertificateExpired);
        check_tls(Error::InvalidCertificate(CertificateError::NotValidYet), TlsFault::CertificateNotYetValid);
        check_tls(Error::InvalidCertificate(CertificateError::UnknownIssuer), TlsFault::UnknownIssuer);
        check_tls(Error::InvalidCertificate(CertificateError::NotValidForName), TlsFault::WrongHost);
        check_tls(Error::InvalidCertificate(CertificateError::Revoked), TlsFault::CertificateRevoked);
        check_tls(Error::InvalidCertificate(CertificateError::BadEncoding), TlsFault::BadCertificate);
        check_tls(Error::AlertReceived(AlertDescription::HandshakeFailure), TlsFault::Handshake);
        check_tls(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered), TlsFault::Handshake);
        check_tls(Error::InvalidMessage(InvalidMessage::InvalidContentType), TlsFault::NotTls);
    }
}
