//! HTTP clients of the tests' own: the local cloud has no TLS.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// A client to be set up further, whose TLS trusts nobody. Built without that, it would ask for cryptography that the process
/// does not choose: reqwest is compiled together with the functions, which bring their own.
///
/// # Panics
///
/// Never: ring supports the TLS versions that are asked for.
pub fn builder() -> reqwest::ClientBuilder {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default TLS versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls)
}
