//! Which addresses may be connected to, and which certificate authorities are trusted.
//!
//! reqwest uses our resolver and connects to exactly the addresses that it returns. All addresses of a name are vetted,
//! and a name is resolved once for each connection, so that a second lookup cannot answer differently. IP literals do
//! not pass through the resolver: [`super::Sender`] vets them before it makes a request.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use domain::endpoint::address::{self, AllowedNetworks, Forbidden};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::stopwatch::{Lap, Stopwatch};

/// Which addresses a connection may go to, whom it trusts, and how long it may take to open.
#[derive(Clone)]
pub(super) struct ConnectionRules {
    pub(super) allowed_networks: Arc<AllowedNetworks>,
    /// For DNS, TCP and TLS together.
    pub(super) limit: Duration,
    pub(super) tls: ClientConfig,
    lookup: Lookup,
}

impl ConnectionRules {
    pub(super) fn new(
        allowed_networks: AllowedNetworks,
        roots: RootCertStore,
        limit: Duration,
        lookup: Lookup,
    ) -> Self {
        Self { allowed_networks: Arc::new(allowed_networks), limit, tls: tls_config(roots), lookup }
    }

    /// Resolves names within the limit.
    pub(super) fn resolver(&self, limit: Duration) -> Resolver {
        let (allowed_networks, lookup) = (Arc::clone(&self.allowed_networks), Arc::clone(&self.lookup));
        Resolver { allowed_networks, lookup, limit, stopwatch: Stopwatch::stopped() }
    }

    /// Resolves names for connections. It gets less than the whole limit, so that a lookup that hangs is reported as
    /// such.
    pub(super) fn connecting_resolver(&self, stopwatch: Stopwatch) -> Resolver {
        Resolver { stopwatch, ..self.resolver(most_of(self.limit)) }
    }
}

/// The limit for the first part of something, short enough to expire before the limit for the whole.
pub(super) fn most_of(limit: Duration) -> Duration {
    limit * 4 / 5
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

/// Looks up the addresses of a name, each with port 0. The answer cannot be trusted.
pub(super) type Lookup = Arc<dyn Fn(&str) -> LookingUp + Send + Sync>;

pub(super) type LookingUp = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// The system's own lookup.
pub(super) fn system_lookup(name: &str) -> LookingUp {
    let name = name.to_owned();
    Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
}

/// Resolves names to vetted addresses only.
#[derive(Clone)]
pub(super) struct Resolver {
    allowed_networks: Arc<AllowedNetworks>,
    lookup: Lookup,
    limit: Duration,
    stopwatch: Stopwatch,
}

impl Resolver {
    /// All addresses of a name, each with port 0.
    pub(super) async fn resolve(&self, name: &str) -> Result<Vec<SocketAddr>, ConnectFault> {
        let found =
            timeout(self.limit, (self.lookup)(name)).await.map_err(|_elapsed| ConnectFault::Unresolved(None))?;
        let found = found.map_err(|error| ConnectFault::Unresolved(Some(error)))?;
        let vetted = vet(found, &self.allowed_networks)?;
        self.stopwatch.mark(Lap::Resolved);
        Ok(vetted)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        // reqwest adds the port.
        Box::pin(async move {
            let vetted = resolver.resolve(name.as_str()).await?;
            Ok(Box::new(vetted.into_iter()) as Addrs)
        })
    }
}

/// Returns a host's addresses if there are any and all of them may be connected to.
fn vet(addresses: Vec<SocketAddr>, allowed: &AllowedNetworks) -> Result<Vec<SocketAddr>, ConnectFault> {
    if addresses.is_empty() {
        return Err(ConnectFault::Unresolved(None));
    }
    match addresses.iter().find_map(|address| address::check(address.ip(), allowed).err()) {
        Some(family) => Err(ConnectFault::Blocked(family)),
        None => Ok(addresses),
    }
}

/// A failure of our resolver, which reaches [`super::classify`] through the HTTP client.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFault {
    #[error("the host does not resolve")]
    Unresolved(Option<io::Error>),
    #[error("a forbidden address: {0}")]
    Blocked(Forbidden),
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::{IpAddr, Ipv4Addr, TcpListener};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use domain::attempt::outcome::{Blocked, Outcome};
    use domain::endpoint::url::{EndpointUrl, InvalidUrl};
    use http::{HeaderMap, Method};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{HostVetting, OutgoingRequest, Sender, SenderConfig};

    const ALLOWED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
    const FORBIDDEN: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

    #[track_caller]
    fn check_vet(addresses: &[&str], expected: Result<usize, &str>) {
        let parse = |address: &&str| SocketAddr::new(address.parse().expect("a test address parses"), 0);
        let vetted = vet(addresses.iter().map(parse).collect(), &"127.0.0.0/8".parse().expect("networks parse"));
        let vetted = vetted.map(|addresses| addresses.len()).map_err(|fault| fault.to_string());
        assert_eq!(vetted.as_ref().map(|count| *count).map_err(String::as_str), expected, "{addresses:?}");
    }

    #[test]
    fn a_host_with_any_forbidden_address_is_refused() {
        check_vet(&["8.8.8.8"], Ok(1));
        check_vet(&["8.8.8.8", "2606:4700::1111", "127.0.0.1"], Ok(3));
        check_vet(&["8.8.8.8", "10.0.0.1"], Err("a forbidden address: private"));
        check_vet(&["::ffff:8.8.8.8", "8.8.8.8"], Err("a forbidden address: IPv6 form of an IPv4 address"));
        check_vet(&[], Err("the host does not resolve"));
    }

    /// Listeners on the same port of an allowed and a forbidden address, and a sender that may reach the allowed one.
    /// The test decides what names resolve to.
    struct Trap {
        /// Accepts nothing while the test runs, so that any connection is still pending at the end.
        forbidden: TcpListener,
        /// How many connections the allowed listener has had.
        accepted: Arc<AtomicUsize>,
        /// How often a name was looked up.
        lookups: Arc<AtomicUsize>,
        port: u16,
        sender: Sender,
    }

    impl Trap {
        /// `answer` returns the result of the n-th lookup, from 0.
        fn new(answer: impl Fn(usize) -> Vec<IpAddr> + Send + Sync + 'static) -> Self {
            let (allowed, forbidden) = listeners();
            let port = forbidden.local_addr().expect("it is bound").port();
            let [accepted, lookups] = <[Arc<AtomicUsize>; 2]>::default();
            tokio::spawn(accept_each(allowed, Arc::clone(&accepted)));
            let asked = Arc::clone(&lookups);
            let lookup: Lookup = Arc::new(move |_name| {
                let found = answer(asked.fetch_add(1, Ordering::SeqCst));
                let found = found.into_iter().map(|address| SocketAddr::new(address, 0)).collect();
                Box::pin(std::future::ready(Ok(found)))
            });
            let allowed_networks = "127.0.0.1/32".parse().expect("networks parse");
            let config = SenderConfig { request_timeout: Duration::from_secs(5), allowed_networks };
            let sender = Sender::with_lookup(config, RootCertStore::empty(), lookup);
            Self { forbidden, accepted, lookups, port, sender }
        }

        /// A URL as it would have been stored while every network was allowed.
        fn url(&self, scheme: &str, host: &str) -> Result<EndpointUrl, InvalidUrl> {
            let everything = "0.0.0.0/0,::/0".parse().expect("networks parse");
            EndpointUrl::parse(&format!("{scheme}://{host}:{}/hook", self.port), &everything)
        }

        async fn send(&self, url: &EndpointUrl) -> Outcome {
            self.sender.send(url, request()).await.expect("no fault of our own").outcome
        }

        async fn probe(&self, url: &EndpointUrl) -> Outcome {
            self.sender.probe(url, request()).await.expect("no fault of our own").exchange.outcome
        }

        /// A connection that has been opened is pending at the listener even if nobody accepts it.
        fn assert_nothing_reached_the_forbidden_address(&self) {
            let waiting = self.forbidden.accept().map_err(|error| error.kind());
            assert!(matches!(waiting, Err(ErrorKind::WouldBlock)), "{waiting:?}");
        }
    }

    fn request() -> OutgoingRequest {
        let (headers, body) = (HeaderMap::new(), Bytes::from_static(b"{}"));
        OutgoingRequest { method: Method::POST, headers, body, secrets: Vec::new() }
    }

    fn listeners() -> (tokio::net::TcpListener, TcpListener) {
        loop {
            let allowed = TcpListener::bind((ALLOWED, 0)).expect("a free port");
            let port = allowed.local_addr().expect("it is bound").port();
            // The port may be taken there by another program.
            let Ok(forbidden) = TcpListener::bind((FORBIDDEN, port)) else { continue };
            for listener in [&allowed, &forbidden] {
                listener.set_nonblocking(true).expect("a listener can be asked without waiting");
            }
            return (tokio::net::TcpListener::from_std(allowed).expect("it does not block"), forbidden);
        }
    }

    /// Answers one request on each connection and closes it, so that the next request needs a new connection.
    async fn accept_each(listener: tokio::net::TcpListener, accepted: Arc<AtomicUsize>) {
        while let Ok((mut stream, _)) = listener.accept().await {
            accepted.fetch_add(1, Ordering::SeqCst);
            let mut received = Vec::new();
            while !received.ends_with(b"{}") {
                stream.read_buf(&mut received).await.expect("a request arrives");
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.expect("it is waited for");
        }
    }

    const BLOCKED: Outcome = Outcome::Blocked(Blocked::Address);

    #[tokio::test]
    async fn vetting_a_name_that_hangs_ends_after_a_second() {
        let lookup: Lookup = Arc::new(|_name| Box::pin(std::future::pending()));
        let allowed_networks = AllowedNetworks::default();
        let url = EndpointUrl::parse("https://hangs.example/", &allowed_networks).expect("a valid URL");
        let config = SenderConfig { request_timeout: Duration::from_secs(30), allowed_networks };
        let sender = Sender::with_lookup(config, RootCertStore::empty(), lookup);
        let vetting = timeout(Duration::from_millis(1_500), sender.vet_host(&url));
        assert_eq!(vetting.await, Ok(HostVetting::Unresolved));
    }

    /// Each connection goes to the addresses that were vetted for it.
    #[tokio::test]
    async fn a_name_that_changes_to_a_forbidden_address_is_blocked() {
        let trap = Trap::new(|nth| vec![if nth == 0 { ALLOWED } else { FORBIDDEN }]);
        let url = trap.url("http", "turns.example").expect("a valid URL");
        assert_eq!(trap.send(&url).await, Outcome::Accepted { status: 200 });
        assert_eq!(trap.lookups.load(Ordering::SeqCst), 1, "a second one would have another answer");
        // Until the connection that went back to the pool is closed.
        tokio::time::sleep(Duration::from_millis(20)).await;
        for _ in 0..3 {
            assert_eq!(trap.send(&url).await, BLOCKED);
            assert_eq!(trap.probe(&url).await, BLOCKED);
        }
        let encrypted = trap.url("https", "turns.example").expect("a valid URL");
        assert_eq!((trap.send(&encrypted).await, trap.probe(&encrypted).await), (BLOCKED, BLOCKED));
        assert_eq!(trap.sender.vet_host(&url).await, HostVetting::Forbidden);
        assert_eq!(trap.accepted.load(Ordering::SeqCst), 1);
        trap.assert_nothing_reached_the_forbidden_address();
    }

    /// With probes, which never use another request's connection, every second answer is an allowed address.
    #[tokio::test]
    async fn every_connection_is_vetted_by_its_own_lookup() {
        let trap = Trap::new(|nth| vec![if nth.is_multiple_of(2) { ALLOWED } else { FORBIDDEN }]);
        let url = trap.url("http", "alternates.example").expect("a valid URL");
        for _ in 0..5 {
            assert_eq!(trap.probe(&url).await, Outcome::Accepted { status: 200 });
            assert_eq!(trap.probe(&url).await, BLOCKED);
        }
        assert_eq!((trap.accepted.load(Ordering::SeqCst), trap.lookups.load(Ordering::SeqCst)), (5, 10));
        trap.assert_nothing_reached_the_forbidden_address();
    }

    #[tokio::test]
    async fn a_name_with_a_forbidden_address_among_others_is_not_connected_to() {
        let trap =
            Trap::new(|nth| if nth.is_multiple_of(2) { vec![ALLOWED, FORBIDDEN] } else { vec![FORBIDDEN, ALLOWED] });
        for scheme in ["http", "https"] {
            let url = trap.url(scheme, "both.example").expect("a valid URL");
            for _ in 0..2 {
                assert_eq!((trap.send(&url).await, trap.probe(&url).await), (BLOCKED, BLOCKED));
            }
        }
        assert_eq!((trap.accepted.load(Ordering::SeqCst), trap.lookups.load(Ordering::SeqCst)), (0, 8));
        trap.assert_nothing_reached_the_forbidden_address();
    }

    /// reqwest does not ask the resolver about IP literals, however they are written.
    #[tokio::test]
    async fn literals_are_vetted_before_a_request_is_made() {
        let trap = Trap::new(|_| vec![ALLOWED]);
        for host in
            ["127.0.0.2", "127.2", "127.0.2", "2130706434", "0x7f.2", "0177.0.0.2", "%31%32%37.0.0.2", "１２７.2"]
        {
            for scheme in ["http", "https"] {
                let url = trap.url(scheme, host).expect("a literal that was allowed");
                assert_eq!((trap.send(&url).await, trap.probe(&url).await), (BLOCKED, BLOCKED), "{scheme} {host}");
            }
        }
        // Leads to the same listener, and no allowed network covers it.
        for host in ["[::ffff:127.0.0.2]", "[::ffff:7f00:2]"] {
            assert_eq!(trap.url("http", host), Err(InvalidUrl::ForbiddenAddress), "{host}");
        }
        trap.assert_nothing_reached_the_forbidden_address();
        assert_eq!(trap.lookups.load(Ordering::SeqCst), 0);
        let allowed = trap.url("http", "0x7f.1").expect("a literal that is allowed");
        assert_eq!(trap.send(&allowed).await, Outcome::Accepted { status: 200 });
    }
}
