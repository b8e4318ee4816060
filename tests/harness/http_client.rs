//! HTTP clients for tests and programs: the local cloud has no TLS.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

/// A client to configure further, whose TLS trusts no certificate. A default client would panic: reqwest is compiled
/// together with the functions, which choose their own cryptography provider, and this process chooses none.
///
/// # Panics
///
/// Never: ring supports the default TLS versions.
pub fn builder() -> reqwest::ClientBuilder {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default TLS versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls)
}
