//! Endpoints that are bad at TLS.

use std::io::{self, Read, Write};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::endpoint::{Behaviour, Endpoint, Wire, read_request};
use crate::exchange::{ALERT, Expected, LONG, LOOPBACK, SHORT, check_at, fails, is_accepted, run, sender};

/// What an endpoint's certificate says, and who says it.
#[derive(Clone, Copy)]
struct Certificate {
    host: &'static str,
    until: i32,
    signed_by: SignedBy,
}

#[derive(Clone, Copy)]
enum SignedBy {
    /// The authority that the sender trusts.
    Trusted,
    Itself,
}

const GOOD: Certificate = Certificate { host: "localhost", until: 2100, signed_by: SignedBy::Trusted };

/// An endpoint's configuration, and the roots of the sender that it is for.
fn configure(certificate: Certificate) -> (ServerConfig, RootCertStore) {
    let mut authority = CertificateParams::new([]).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "the authority of this test");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("an authority");
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("it is an authority");

    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([certificate.host.to_owned()]).expect("a valid name");
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(certificate.until, 1, 1));
    let signed = match certificate.signed_by {
        SignedBy::Trusted => params.signed_by(&key, &authority),
        SignedBy::Itself => params.self_signed(&key),
    };
    let chain = vec![CertificateDer::from(signed.expect("a certificate"))];
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    (config.expect("they belong together"), roots)
}

type Encrypted<'a> = StreamOwned<ServerConnection, &'a mut Wire>;

#[track_caller]
fn check(
    config: ServerConfig,
    roots: RootCertStore,
    behaviour: fn(&mut Encrypted) -> io::Result<()>,
    expected: Expected,
) {
    let (caller, config) = (Location::caller(), Arc::new(config));
    let endpoint = Endpoint::start_at("127.0.0.1:0", move |wire| {
        let server = ServerConnection::new(Arc::clone(&config)).expect("a configuration that works");
        behaviour(&mut StreamOwned::new(server, wire))
    });
    check_encrypted(&endpoint, roots, &expected, caller);
}

#[track_caller]
fn check_raw(behaviour: Behaviour, expected: Expected) {
    check_encrypted(&Endpoint::start(behaviour), RootCertStore::empty(), &expected, Location::caller());
}

fn check_encrypted(endpoint: &Endpoint, roots: RootCertStore, expected: &Expected, caller: &Location<'_>) {
    run(async {
        let sender = sender(LOOPBACK, expected.limit, roots);
        check_at(endpoint, &endpoint.named_url("https"), sender, ALERT, expected, caller).await;
    });
}

fn answer(stream: &mut Encrypted) -> io::Result<()> {
    read_request(stream)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
}

#[track_caller]
fn check_certificate(certificate: Certificate, expected: Expected) {
    let (config, roots) = configure(certificate);
    check(config, roots, answer, expected);
}

#[test]
fn a_good_certificate() {
    check_certificate(GOOD, is_accepted(LONG));
}

#[test]
fn an_expired_certificate() {
    check_certificate(Certificate { until: 2021, ..GOOD }, fails(LONG, "tls_expired", "has expired: renew it"));
}

#[test]
fn a_self_signed_certificate() {
    let certificate = Certificate { signed_by: SignedBy::Itself, ..GOOD };
    check_certificate(certificate, fails(LONG, "tls_unknown_issuer", "is self-signed"));
}

#[test]
fn a_certificate_for_another_host() {
    let certificate = Certificate { host: "example.com", ..GOOD };
    check_certificate(certificate, fails(LONG, "tls_wrong_host", "is for another host"));
}

/// It refuses whoever does not offer HTTP/2.
#[test]
fn http_2_only() {
    let (mut config, roots) = configure(GOOD);
    config.alpn_protocols = vec![b"h2".to_vec()];
    check(config, roots, answer, fails(LONG, "tls_handshake", "offers HTTP/1.1 besides HTTP/2"));
}

/// It speaks HTTP/2 without being asked: `SETTINGS`, and then `GOAWAY`.
#[test]
fn http_2_that_goes_away() {
    let (config, roots) = configure(GOOD);
    let goes_away = |stream: &mut Encrypted| {
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])?;
        stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13])?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    };
    check(config, roots, goes_away, fails(LONG, "not_http", "is not an HTTP server"));
}

#[test]
fn an_encrypted_body_without_end() {
    let (config, roots) = configure(GOOD);
    let endless = |stream: &mut Encrypted| {
        read_request(stream)?;
        stream.write_all(b"HTTP/1.1 500 Oops\r\n\r\n")?;
        loop {
            stream.write_all(&[0; 10_000])?;
        }
    };
    let excerpt = Some("(not text, more than 4096 bytes)");
    check(config, roots, endless, Expected { excerpt, ..fails(LONG, "server_error", "answered 500") });
}

const NO_CONNECTION: &str = "No connection to your endpoint came about within 480 milliseconds";

#[test]
fn a_handshake_a_byte_at_a_time() {
    // The header of a handshake record, and the beginning of a long message in it.
    check_raw(
        |wire| wire.drip([0x16, 3, 3, 0x3f, 0, 2, 0, 0x3e, 0xfc, 3, 3]),
        fails(SHORT, "timeout_connect", NO_CONNECTION),
    );
    check_raw(Wire::hold, fails(SHORT, "timeout_connect", NO_CONNECTION));
}

/// Records that hold one message without end, and records that hold nothing.
#[test]
fn a_handshake_without_end() {
    let expected = || fails(LONG, "tls_handshake", "The TLS handshake with your endpoint failed");
    check_raw(
        |wire| {
            wire.write([0x16, 3, 3, 0, 4, 2, 0xff, 0xff, 0xff])?;
            wire.flood([&[0x16, 3, 3, 0x10, 0][..], &[0; 0x1000]].concat())
        },
        expected(),
    );
    check_raw(|wire| wire.flood([0x16, 3, 3, 0, 0]), expected());
    check_raw(|wire| wire.flood([0x15, 3, 3, 0, 2, 1, 90]), expected());
}

#[test]
fn no_tls_at_all() {
    let expected = || fails(LONG, "tls_not_spoken", "does not speak TLS");
    check_raw(|wire| wire.flood("HTTP/1.1 400 Bad Request\r\n\r\n"), expected());
    check_raw(|wire| wire.flood([0]), expected());
}

#[test]
fn hanging_up_in_the_handshake() {
    let expected = fails(LONG, "tls_handshake", "The TLS handshake with your endpoint failed");
    check_raw(
        |wire| {
            wire.read_exact(&mut [0; 50])?;
            socket2::SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO))
        },
        expected,
    );
}
