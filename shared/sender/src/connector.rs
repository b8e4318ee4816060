//! Which addresses a connection may be made to, and whom it trusts.
//!
//! reqwest is given a resolver of ours and connects to exactly the addresses that this returns: all of a name are vetted, and
//! a name is looked up once for each connection, so that a second lookup cannot answer differently. It does not ask about
//! an IP literal: [`super::Sender`] vets those before it makes a request.

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

/// What a connection may lead to, whom it trusts and how long it may take to open.
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

    /// Resolves the names that are connected to. A lookup that hangs is reported as one: it gets less than the whole
    /// limit.
    pub(super) fn connecting_resolver(&self, stopwatch: Stopwatch) -> Resolver {
        Resolver { stopwatch, ..self.resolver(most_of(self.limit)) }
    }
}

/// The limit of a part, such that the part is known to be over before the whole is.
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

/// Finds the addresses of a name, each with port 0, as somebody says who may lie.
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
        // The port is reqwest's to add.
        Box::pin(async move {
            let vetted = resolver.resolve(name.as_str()).await?;
            Ok(Box::new(vetted.into_iter()) as Addrs)
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

/// What goes wrong in our own part of connecting, on its way through the HTTP client to [`super::classify`].
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectFault {
    #[error("the host does not resolve")]
    Unresolved(Option<io::Error>),
    #[error("a forbidden address: {0}")]
    Blocked(Forbidden),
}

#[cfg(test)]
mod tests {
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
}
