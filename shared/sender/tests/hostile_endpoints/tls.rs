//! Endpoints with faulty TLS.

use std::io::{self, Read, Write};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::certificate::{Certificate, GOOD, Issued, SignedBy};
use crate::endpoint::{Behaviour, Endpoint, Wire, read_request};
use crate::exchange::{ALERT, Expected, LONG, LOOPBACK, SHORT, check_at, fails, is_accepted, run, sender};

pub(crate) type Encrypted<'a> = StreamOwned<ServerConnection, &'a mut Wire>;

/// What an endpoint does over a TLS connection.
pub(crate) type EncryptedBehaviour = fn(&mut Encrypted) -> io::Result<()>;

pub(crate) fn start(config: &Arc<ServerConfig>, behaviour: EncryptedBehaviour) -> Endpoint {
    let config = Arc::clone(config);
    Endpoint::start_at("127.0.0.1:0", move |wire| {
        let server = ServerConnection::new(Arc::clone(&config)).expect("a configuration that works");
        behaviour(&mut StreamOwned::new(server, wire))
    })
}

#[track_caller]
fn check(issued: &Issued, config: ServerConfig, behaviour: EncryptedBehaviour, expected: Expected) {
    let (caller, endpoint) = (Location::caller(), start(&Arc::new(config), behaviour));
    check_encrypted(&endpoint, issued.roots(), &expected, caller);
}

#[track_caller]
fn check_good(behaviour: EncryptedBehaviour, expected: Expected) {
    let issued = Issued::new(GOOD);
    check(&issued, issued.config(), behaviour, expected);
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

pub(crate) fn answer(stream: &mut Encrypted) -> io::Result<()> {
    read_request(stream)?;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
}

/// Answers each request over one connection.
pub(crate) fn answer_each(stream: &mut Encrypted) -> io::Result<()> {
    loop {
        answer(stream)?;
    }
}

#[track_caller]
fn check_certificate(certificate: Certificate, expected: Expected) {
    let issued = Issued::new(certificate);
    check(&issued, issued.config(), answer, expected);
}

#[test]
fn a_good_certificate() {
    check_certificate(GOOD, is_accepted(LONG));
}

#[test]
fn an_expired_certificate() {
    check_certificate(Certificate { years: [2020, 2021], ..GOOD }, fails(LONG, "tls_expired", "has expired: renew it"));
}

#[test]
fn a_self_signed_certificate() {
    for signed_by in [SignedBy::Itself, SignedBy::ItselfAsAuthority] {
        let certificate = Certificate { signed_by, ..GOOD };
        check_certificate(certificate, fails(LONG, "tls_unknown_issuer", "is self-signed"));
    }
}

#[test]
fn a_certificate_for_another_host() {
    let certificate = Certificate { host: "example.com", ..GOOD };
    check_certificate(certificate, fails(LONG, "tls_wrong_host", "is for another host"));
}

/// An endpoint that refuses clients without HTTP/2.
#[test]
fn http_2_only() {
    let issued = Issued::new(GOOD);
    let mut config = issued.config();
    config.alpn_protocols = vec![b"h2".to_vec()];
    check(&issued, config, answer, fails(LONG, "tls_handshake", "offers HTTP/1.1 besides HTTP/2"));
}

/// An endpoint that sends HTTP/2 although it was not negotiated: `SETTINGS`, and then `GOAWAY`.
#[test]
fn http_2_that_goes_away() {
    let goes_away = |stream: &mut Encrypted| {
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])?;
        stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13])?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    };
    check_good(goes_away, fails(LONG, "not_http", "does not speak HTTP:"));
}

#[test]
fn an_encrypted_body_without_end() {
    let endless = |stream: &mut Encrypted| {
        read_request(stream)?;
        stream.write_all(b"HTTP/1.1 500 Oops\r\n\r\n")?;
        loop {
            stream.write_all(&[0; 10_000])?;
        }
    };
    let excerpt = Some("(not text, more than 4096 bytes)");
    check_good(endless, Expected { excerpt, ..fails(LONG, "server_error", "answered 500") });
}

const NO_CONNECTION: &str = "We could not connect to your endpoint within 480 milliseconds";

#[test]
fn a_handshake_a_byte_at_a_time() {
    // The header of a handshake record, and the beginning of a long message in it.
    check_raw(
        |wire| wire.drip([0x16, 3, 3, 0x3f, 0, 2, 0, 0x3e, 0xfc, 3, 3]),
        fails(SHORT, "timeout_connect", NO_CONNECTION),
    );
    check_raw(Wire::hold, fails(SHORT, "timeout_connect", NO_CONNECTION));
}

/// Endless records: of one endless message, empty ones, and warnings.
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
