//! Valid and invalid certificates, and the authority that signs the valid ones. `sending.rs` uses them too.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ConfigBuilder, RootCertStore, ServerConfig, WantsVerifier};

/// The contents of an endpoint's certificate, and who signs it.
#[derive(Clone, Copy)]
pub(crate) struct Certificate {
    pub(crate) host: &'static str,
    pub(crate) years: [i32; 2],
    pub(crate) signed_by: SignedBy,
}

#[derive(Clone, Copy)]
pub(crate) enum SignedBy {
    /// The authority that the sender trusts.
    Trusted,
    Itself,
    /// Itself, and marked as an authority, as with `openssl req -x509`.
    ItselfAsAuthority,
}

pub(crate) const GOOD: Certificate =
    Certificate { host: "localhost", years: [2020, 2100], signed_by: SignedBy::Trusted };

/// A certificate with its key, and the authority that the sender trusts.
pub(crate) struct Issued {
    pub(crate) trusted: CertificateDer<'static>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

impl Issued {
    pub(crate) fn new(certificate: Certificate) -> Self {
        let mut authority = CertificateParams::new([]).expect("no names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "the authority of this test");
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("an authority");

        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([certificate.host.to_owned()]).expect("a valid name");
        let [from, until] = certificate.years;
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        let signed = match certificate.signed_by {
            SignedBy::Trusted => params.signed_by(&key, &authority),
            SignedBy::Itself => params.self_signed(&key),
            SignedBy::ItselfAsAuthority => {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.self_signed(&key)
            }
        };
        Self {
            trusted: authority.der().clone(),
            chain: vec![signed.expect("a certificate").der().clone()],
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }

    /// The TLS configuration of an endpoint with this certificate.
    pub(crate) fn config(&self) -> ServerConfig {
        server_config()
            .with_no_client_auth()
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .expect("they belong together")
    }

    /// The roots of a sender that trusts the authority.
    pub(crate) fn roots(&self) -> RootCertStore {
        roots(self.trusted.clone())
    }
}

/// The cryptography of endpoints, given explicitly because a build of the whole workspace has two providers.
pub(crate) fn cryptography() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The beginning of an endpoint's configuration.
fn server_config() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    let builder = ServerConfig::builder_with_provider(cryptography());
    builder.with_safe_default_protocol_versions().expect("the provider supports the default TLS versions")
}

/// The roots of a sender that trusts one authority.
pub(crate) fn roots(trusted: CertificateDer<'static>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).expect("it is an authority");
    roots
}
