//! Endpoints with hostile or malformed responses, over plain HTTP.

use std::io::{self, Read};
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use domain::attempt::outcome::MAX_RESPONSE_HEAD;
use futures_util::future::{join, join_all};
use rustls::RootCertStore;
use sender::Sender;

use crate::certificate::{GOOD, Issued};
use crate::endpoint::{Endpoint, Wire};
use crate::exchange::{
    ALERT, Expected, LONG, LOOPBACK, SHORT, check, check_at, code, fails, is_accepted, run, send, sender,
};
use crate::tls;

const LARGEST_ALERT: &[u8] = &[b'x'; 256 * 1024];

const NO_ANSWER: &str = "did not answer within 600 milliseconds";
const NOT_HTTP: &str = "does not speak HTTP:";
const CLOSED: &str = "closed the connection without answering";
const TOO_LARGE: &str = "response headers are too large";

fn times_out() -> Expected {
    fails(SHORT, "timeout_response", NO_ANSWER)
}

fn is_not_http() -> Expected {
    fails(LONG, "not_http", NOT_HTTP)
}

fn has_a_bad_head() -> Expected {
    fails(LONG, "bad_response_head", "leave unclear where")
}

fn closes_early() -> Expected {
    fails(LONG, "closed_early", CLOSED)
}

fn has_too_large_a_head() -> Expected {
    fails(LONG, "response_head_too_large", TOO_LARGE)
}

fn is_rejected(code: &'static str, excerpt: Option<&'static str>) -> Expected {
    Expected { excerpt, ..fails(LONG, code, "Your endpoint answered ") }
}

#[test]
fn a_head_a_byte_at_a_time() {
    check(
        |wire| {
            wire.read_request()?;
            wire.drip("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Filler: and so on and on\r\n\r\n")
        },
        times_out(),
    );
}

#[test]
fn silence() {
    check(Wire::hold, times_out());
}

#[test]
fn continue_without_end() {
    check(
        |wire| {
            wire.read_request()?;
            wire.flood("HTTP/1.1 100 Continue\r\n\r\n")
        },
        times_out(),
    );
}

/// The request timeout when endpoints flood the sender: long enough for a neighbour that shares two processors with ten
/// of them.
const FLOODED: Duration = Duration::from_secs(2);

/// Without TLS an endpoint like this keeps its thread busy, which must not delay other endpoints or their timeouts.
#[test]
fn continue_without_end_from_many() {
    run(async {
        let endpoints: Vec<_> = (0..10)
            .map(|_| {
                Endpoint::start(|wire| {
                    wire.read_request()?;
                    wire.flood("HTTP/1.1 100 Continue\r\n\r\n")
                })
            })
            .collect();
        let neighbour = Neighbour::start();
        let sender = sender(LOOPBACK, FLOODED, neighbour.roots());
        check_flooded(&sender, &endpoints, &neighbour).await;
    });
}

/// An endpoint that has answered quickly shares the main thread, and so can delay others once.
#[test]
fn continue_without_end_after_an_answer() {
    run(async {
        let requests = AtomicUsize::new(0);
        let endpoint = Endpoint::start_at("127.0.0.1:0", move |wire| {
            loop {
                wire.read_request()?;
                if requests.fetch_add(1, Ordering::SeqCst) > 0 {
                    return wire.flood("HTTP/1.1 100 Continue\r\n\r\n");
                }
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
            }
        });
        let neighbour = Neighbour::start();
        let sender = sender(LOOPBACK, FLOODED, neighbour.roots());
        for expected in ["accepted", "timeout_response"] {
            assert_eq!(code(&send(&sender, &endpoint.url(), ALERT).await), expected);
        }
        check_flooded(&sender, &[endpoint], &neighbour).await;
    });
}

/// A healthy endpoint with TLS.
struct Neighbour {
    issued: Issued,
    endpoint: Endpoint,
}

impl Neighbour {
    fn start() -> Self {
        let issued = Issued::new(GOOD);
        let endpoint = tls::start(&Arc::new(issued.config()), tls::answer_each);
        Self { issued, endpoint }
    }

    fn roots(&self) -> RootCertStore {
        self.issued.roots()
    }
}

/// Sends a request to each of these endpoints, which flood the sender. Each must be given up in time, without delaying
/// others.
async fn check_flooded(sender: &Sender, endpoints: &[Endpoint], neighbour: &Neighbour) {
    let started = Instant::now();
    let flooded = join_all(endpoints.iter().map(async |endpoint| {
        let exchange = send(sender, &endpoint.url(), ALERT).await;
        (code(&exchange), started.elapsed())
    }));
    let others = async {
        let mut slowest = Duration::ZERO;
        while started.elapsed() < FLOODED {
            let asked = Instant::now();
            assert_eq!(code(&send(sender, &neighbour.endpoint.named_url("https"), ALERT).await), "accepted");
            slowest = slowest.max(asked.elapsed());
        }
        slowest
    };
    let (flooded, slowest) = join(flooded, others).await;
    for (code, took) in flooded {
        assert_eq!(code, "timeout_response");
        assert!(took < 2 * FLOODED, "{took:?}");
    }
    assert!(slowest < FLOODED, "{slowest:?}");
}

#[test]
fn early_hints_without_end() {
    check(
        |wire| {
            wire.read_request()?;
            wire.flood(format!("HTTP/1.1 103 Early Hints\r\nLink: <{}>\r\n\r\n", "x".repeat(10_000)))
        },
        times_out(),
    );
}

#[test]
fn a_protocol_that_was_not_asked_for() {
    let code = "unexpected_status";
    check(
        |wire| {
            wire.read_request()?;
            wire.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
            wire.flood([0x81, 0x05, b'h', b'e', b'l', b'l', b'o'])
        },
        fails(LONG, code, "answered 101"),
    );
}

/// A head that fits into the HTTP client's buffer is accepted, one of twice that size is not.
#[test]
fn many_kilobytes_of_headers() {
    check(|wire| kilobytes_of_headers(wire, 100), is_accepted(LONG));
    check(|wire| kilobytes_of_headers(wire, 2 * MAX_RESPONSE_HEAD / 1000), has_too_large_a_head());
}

fn kilobytes_of_headers(wire: &mut Wire, kilobytes: usize) -> io::Result<()> {
    wire.read_request()?;
    let headers: String = (0..100).map(|n| format!("X-{n}: {}\r\n", "x".repeat(10 * kilobytes))).collect();
    wire.write(format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n"))?;
    wire.hold()
}

#[test]
fn headers_without_end() {
    check(
        |wire| {
            wire.read_request()?;
            wire.write("HTTP/1.1 200 OK\r\n")?;
            wire.flood("X-More: and more\r\n")
        },
        has_too_large_a_head(),
    );
}

#[test]
fn a_status_line_without_end() {
    check(
        |wire| {
            wire.read_request()?;
            wire.write("HTTP/1.1 200 ")?;
            wire.flood("OK ")
        },
        has_too_large_a_head(),
    );
}

#[test]
fn another_protocol() {
    check(|wire| says(wire, b"220 mail.example.com ESMTP\r\n"), is_not_http());
    check(|wire| says(wire, b"SSH-2.0-OpenSSH_9.7\r\n"), is_not_http());
    check(|wire| says(wire, &[0x15, 3, 1, 0, 2, 2, 10]), is_not_http());
    check(|wire| wire.read_request().and_then(|()| wire.flood([0])), is_not_http());
    check(|wire| wire.read_request().and_then(|()| wire.flood([0xff, 0xfe, 0x80])), is_not_http());
}

fn says(wire: &mut Wire, greeting: &[u8]) -> io::Result<()> {
    wire.read_exact(&mut [0])?;
    wire.write(greeting)?;
    wire.hold()
}

/// A greeting may arrive before the request is written. The connection is then closed with the request unsent, and it
/// is a race which of the two is noticed first.
#[test]
fn a_greeting_before_the_request() {
    run(async {
        for behaviour in [greet, chatter] {
            let endpoint = Endpoint::start(behaviour);
            let sender = sender(LOOPBACK, LONG, RootCertStore::empty());
            for _ in 0..20 {
                let exchange = send(&sender, &endpoint.url(), ALERT).await;
                assert!(matches!(code(&exchange), "not_http" | "closed_early"), "{:?}", exchange.outcome);
            }
            drop(sender);
            assert!(endpoint.closes().await);
        }
    });
}

fn greet(wire: &mut Wire) -> io::Result<()> {
    wire.write("220 mail.example.com ESMTP\r\n")?;
    wire.hold()
}

fn chatter(wire: &mut Wire) -> io::Result<()> {
    wire.flood("220 mail.example.com ESMTP\r\n")
}

/// The frames `SETTINGS` and `GOAWAY` (RFC 9113), which open and end an HTTP/2 connection.
#[test]
fn http_2_that_goes_away() {
    check(
        |wire| {
            wire.read_exact(&mut [0])?;
            wire.write([0, 0, 0, 4, 0, 0, 0, 0, 0])?;
            wire.write([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13])?;
            wire.hold()
        },
        is_not_http(),
    );
    check(
        |wire| {
            wire.read_request()?;
            wire.write("HTTP/2.0 200\r\n\r\n")?;
            wire.hold()
        },
        fails(LONG, "bad_status_line", "valid HTTP/1.1 status line"),
    );
}

#[test]
fn lengths_that_are_none() {
    check(|wire| answer(wire, "Content-Length: -1"), has_a_bad_head());
    check(|wire| answer(wire, "Content-Length: 99999999999999999999999"), has_a_bad_head());
    check(|wire| answer(wire, "Content-Length: 2\r\nContent-Length: 3"), has_a_bad_head());
    check(|wire| answer(wire, "Content Length: 2"), is_accepted(LONG));
}

fn answer(wire: &mut Wire, headers: &str) -> io::Result<()> {
    wire.read_request()?;
    wire.write(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n"))?;
    wire.flood("x")
}

#[test]
fn closing_early() {
    check(|_| Ok(()), closes_early());
    check(Wire::read_request, closes_early());
    check(|wire| wire.read_request().and_then(|()| wire.write("HTTP/1.1 200 OK\r\nContent-")), closes_early());
}

/// The connection is reset and not closed, as by a firewall.
#[test]
fn a_reset() {
    check(
        |wire| {
            wire.read_request()?;
            wire.write("HTTP/1.1 2")?;
            reset(wire)
        },
        closes_early(),
    );
}

fn reset(wire: &mut Wire) -> io::Result<()> {
    thread::sleep(Duration::from_millis(20));
    socket2::SockRef::from(&wire.stream).set_linger(Some(Duration::ZERO))
}

#[test]
fn a_redirect_to_the_metadata_service() {
    let shown = "redirects to http://169.254.169.254/latest/meta-data/iam/security-credentials/";
    check(
        |wire| {
            wire.read_request()?;
            let location = "http://169.254.169.254/latest/meta-data/iam/security-credentials/";
            wire.write(format!("HTTP/1.1 307 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))?;
            wire.hold()
        },
        Expected { excerpt: Some(shown), ..fails(LONG, "redirect", "redirects are never followed") },
    );
}

#[test]
fn a_body_without_end() {
    check(|wire| answer(wire, "Connection: close"), is_accepted(LONG));
    check(
        |wire| {
            wire.read_request()?;
            wire.write("HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            wire.flood("1\r\n\u{7}\r\n")
        },
        is_rejected("server_error", Some("(not text, more than 4096 bytes)")),
    );
}

#[test]
fn a_body_a_byte_at_a_time() {
    check(
        |wire| {
            wire.read_request()?;
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
            wire.drip([b'x'; 1000])
        },
        is_accepted(LONG),
    );
}

#[test]
fn chunks_that_are_none() {
    check(|wire| chunked(wire, "fffffffffffffffff\r\n"), is_rejected("server_error", None));
    check(|wire| chunked(wire, "x"), is_rejected("server_error", None));
    // An extension, trailers.
    check(|wire| chunked(wire, "1;"), is_rejected("server_error", None));
    check(|wire| chunked(wire, "2\r\nno\r\n0\r\nX-Trailer: "), is_rejected("server_error", Some("no…")));
}

fn chunked(wire: &mut Wire, beginning: &str) -> io::Result<()> {
    wire.read_request()?;
    wire.write("HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    wire.write(beginning)?;
    wire.flood("x")
}

#[test]
fn a_request_that_is_not_read() {
    let caller = Location::caller();
    run(async {
        let endpoint = Endpoint::start(|wire| {
            // A small buffer, so that the system does not receive the whole request for it.
            socket2::SockRef::from(&wire.stream).set_recv_buffer_size(4096)?;
            thread::sleep(2 * SHORT);
            Ok(())
        });
        let sender = sender(LOOPBACK, SHORT, RootCertStore::empty());
        check_at(&endpoint, &endpoint.url(), sender, LARGEST_ALERT, &times_out(), caller).await;
    });
}

/// The second response must not be taken for the response to the next request, which may be another customer's.
#[test]
fn two_answers_to_one_request() {
    run(async {
        for pause in [Duration::ZERO, Duration::from_millis(5)] {
            let endpoint = Endpoint::start_at("127.0.0.1:0", move |wire| {
                loop {
                    wire.read_request()?;
                    wire.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
                    thread::sleep(pause);
                    wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
                }
            });
            let sender = sender(LOOPBACK, LONG, RootCertStore::empty());
            for _ in 0..10 {
                let exchange = send(&sender, &endpoint.url(), ALERT).await;
                assert_eq!(code(&exchange), "not_found");
                // Long enough for the second response to arrive, as it would between two alerts.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
}
