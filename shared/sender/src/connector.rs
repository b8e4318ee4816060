//! Opens connections to vetted addresses: DNS, TCP and TLS.
//!
//! After a name is resolved all its addresses are vetted, and only those reach the connector, so that a second lookup
//! cannot answer differently; the address really connected to is vetted again before the first byte is sent.

use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, vec};

use domain::endpoint::address::{self, AllowedNetworks, Forbidden};
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::stopwatch::{Lap, Stopwatch};

/// What a connection may lead to, whom it trusts and how long it may take to open.
#[derive(Clone)]
pub(super) struct ConnectionRules {
    pub(super) allowed_networks: Arc<AllowedNetworks>,
    /// For DNS, TCP and TLS together.
    pub(super) limit: Duration,
    tls: Arc<ClientConfig>,
}

impl ConnectionRules {
    pub(super) fn new(allowed_networks: AllowedNetworks, roots: RootCertStore, limit: Duration) -> Self {
        Self { allowed_networks: Arc::new(allowed_networks), limit, tls: Arc::new(tls_config(roots)) }
    }

    /// The same, but no handshake is cut short by what an earlier one agreed upon: the certificate is looked at anew.
    pub(super) fn with_full_handshakes(&self) -> Self {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.resumption = Resumption::disabled();
        Self { tls: Arc::new(tls), ..self.clone() }
    }

    /// Resolves names within the limit.
    pub(super) fn resolver(&self, limit: Duration) -> Resolver {
        Resolver { allowed_networks: Arc::clone(&self.allowed_networks), limit, stopwatch: Stopwatch::stopped() }
    }
}

/// The limit of a part, such that the part is known to be over before the whole is.
pub(super) fn most_of(limit: Duration) -> Duration {
    limit * 4 / 5
}

type BoxError = Box<dyn Error + Send + Sync>;
type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

/// Opens connections: DNS, TCP and TLS within one limit.
#[derive(Clone)]
pub(super) struct Connector {
    https: HttpsConnector<VettedTcp>,
    limit: Duration,
    stopwatch: Stopwatch,
}

impl Connector {
    pub(super) fn new(rules: &ConnectionRules, stopwatch: Stopwatch) -> Self {
        let ConnectionRules { allowed_networks, limit, tls } = rules.clone();
        // A lookup that hangs is reported as one: it gets less than the whole limit.
        let resolver = Resolver { stopwatch: stopwatch.clone(), ..rules.resolver(most_of(limit)) };
        let mut http = HttpConnector::new_with_resolver(resolver);
        http.enforce_http(false);
        http.set_nodelay(true);
        // Divided among a host's addresses, so that one that swallows packets leaves time for the others.
        http.set_connect_timeout(Some(limit));
        let tcp = VettedTcp { http, allowed_networks, stopwatch: stopwatch.clone() };
        Self { https: HttpsConnector::from((tcp, tls)), limit, stopwatch }
    }
}

fn tls_config(roots: RootCertStore) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
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
        let stopwatch = self.stopwatch.clone();
        Box::pin(async move {
            let stream = connecting.await.map_err(|_elapsed| ConnectFault::TimedOut)??;
            if matches!(stream, MaybeHttpsStream::Https(_)) {
                stopwatch.mark(Lap::Encrypted);
            }
            Ok(stream)
        })
    }
}

/// Opens TCP connections and looks whom they lead to before anything is sent.
#[derive(Clone)]
struct VettedTcp {
    http: HttpConnector<Resolver>,
    allowed_networks: Arc<AllowedNetworks>,
    stopwatch: Stopwatch,
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
        let (allowed_networks, stopwatch) = (Arc::clone(&self.allowed_networks), self.stopwatch.clone());
        Box::pin(async move {
            let stream = connecting.await?;
            let peer = stream.inner().peer_addr()?;
            address::check(peer.ip(), &allowed_networks).map_err(ConnectFault::Blocked)?;
            stopwatch.mark(Lap::Connected);
            Ok(stream)
        })
    }
}

/// Resolves names with the system's resolver, to vetted addresses only.
#[derive(Clone)]
pub(super) struct Resolver {
    allowed_networks: Arc<AllowedNetworks>,
    limit: Duration,
    stopwatch: Stopwatch,
}

impl Resolver {
    /// All addresses of a name, each with port 0.
    pub(super) async fn resolve(&self, name: &str) -> Result<Vec<SocketAddr>, ConnectFault> {
        let lookup = tokio::net::lookup_host((name, 0));
        let found = timeout(self.limit, lookup).await.map_err(|_elapsed| ConnectFault::Unresolved(None))?;
        let found = found.map_err(|error| ConnectFault::Unresolved(Some(error)))?;
        let vetted = vet(found.collect(), &self.allowed_networks)?;
        self.stopwatch.mark(Lap::Resolved);
        Ok(vetted)
    }
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = ConnectFault;
    type Future = BoxFuture<Self::Response, ConnectFault>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let resolver = self.clone();
        // The port is the connector's to add.
        Box::pin(async move { resolver.resolve(name.as_str()).await.map(Vec::into_iter) })
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

/// What goes wrong in our own part of connecting, on its way through the HTTP client to [`super::classify`].
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFault {
    #[error("the host does not resolve")]
    Unresolved(Option<io::Error>),
    #[error("a forbidden address: {0}")]
    Blocked(Forbidden),
    #[error("no connection in time")]
    TimedOut,
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::stopwatch::Timings;
    use super::*;

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
        let deceived = "127.0.0.0/8,::1/128".parse().expect("networks parse");
        let deceived = ConnectionRules::new(deceived, RootCertStore::empty(), Duration::from_secs(5));
        let http = HttpConnector::new_with_resolver(deceived.resolver(deceived.limit));
        let stopwatch = Stopwatch::started(Instant::now());
        let strict = Arc::new(AllowedNetworks::none());
        let mut tcp = VettedTcp { http, allowed_networks: strict, stopwatch: stopwatch.clone() };
        let error = tcp.call(uri.expect("a valid URI")).await.expect_err("loopback is forbidden");
        assert!(matches!(error.downcast_ref(), Some(ConnectFault::Blocked(Forbidden::Loopback))), "{error:?}");
        let (mut accepted, _) = listener.accept().await.expect("it did connect");
        let received = tokio::io::AsyncReadExt::read(&mut accepted, &mut [0]).await.expect("it was closed");
        assert_eq!(received, 0);
        assert_eq!(stopwatch.timings(), Timings::default());
    }
}
