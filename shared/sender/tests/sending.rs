//! The sender against real listeners that answer, fail or misbehave as told.

#[path = "hostile_endpoints/certificate.rs"]
mod certificate;
#[allow(dead_code, reason = "`hostile_endpoints` uses all of it")]
#[path = "hostile_endpoints/endpoint.rs"]
mod endpoint;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use domain::alert::event::EventType;
use domain::attempt::outcome::{
    Blocked, MAX_RESPONSE_HEAD, MAX_RESPONSE_HEADERS, Outcome, Phase, TlsFault, Unreachable,
};
use domain::endpoint::headers::CustomerHeaders;
use domain::endpoint::url::EndpointUrl;
use domain::request::signature::{SigningSecret, SigningSecrets};
use domain::request::{self, Occasion, Subject};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::{HeaderName, Method};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS12;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use sender::{Exchange, HostVetting, OutgoingRequest, Probe, Sender, SenderConfig, Timings, VETTING_TIMEOUT};
use zeroize::Zeroizing;

use crate::certificate::{Certificate, GOOD, Issued, SignedBy, cryptography};
use crate::endpoint::Wire;

/// Long enough for anything that should succeed here, including the extra second for the body.
const GENEROUS: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);
const PAYLOAD: &[u8] = br#"{"event_type":"alert.triggered"}"#;

/// What an endpoint does with each request.
enum Answer {
    /// Writes these bytes and keeps the connection open for another request.
    Write(Vec<u8>),
    /// Writes these bytes and closes.
    WriteAndClose(Vec<u8>),
    /// Writes these bytes, and the others a little later.
    WriteInTwo(Vec<u8>, Vec<u8>),
    /// Writes these bytes after a delay.
    WriteLate(Duration, Vec<u8>),
    /// Writes these bytes one at a time, ten a second.
    Drip(Vec<u8>),
    /// Writes these bytes and then endless garbage.
    Flood(Vec<u8>),
    /// Never answers.
    Hang,
    /// Returns the request as the body of a 400.
    Echo,
    /// Answers 413 after reading the head, and closes without reading the body.
    RefuseBody,
}

fn write(text: &str) -> Answer {
    Answer::Write(text.as_bytes().to_vec())
}

/// A listening endpoint, and the requests that it received.
struct Endpoint {
    address: SocketAddr,
    listener: endpoint::Endpoint,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Endpoint {
    fn start(answer: Answer) -> Self {
        Self::behave(move |wire, requests| serve(wire, &answer, requests))
    }

    fn start_tls(answer: Answer, config: ServerConfig) -> Self {
        let config = Arc::new(config);
        Self::behave(move |wire, requests| serve(&mut encrypt(&config, wire), &answer, requests))
    }

    /// An endpoint that treats each connection like this, and appends its requests to the list.
    fn behave(behaviour: impl Fn(&mut Wire, &Mutex<Vec<Vec<u8>>>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&requests);
        let listener = endpoint::Endpoint::start_at("127.0.0.1:0", move |wire| behaviour(wire, &received));
        Self { address: listener.address, listener, requests }
    }

    fn connections(&self) -> usize {
        self.listener.connections()
    }

    fn request(&self, index: usize) -> String {
        String::from_utf8(self.requests.lock().expect("nothing panicked")[index].clone()).expect("a request is text")
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/hook?key=1", self.address)
    }

    fn named_url(&self, scheme: &str) -> String {
        self.listener.named_url(scheme)
    }
}

fn encrypt<'a>(config: &Arc<ServerConfig>, wire: &'a mut Wire) -> StreamOwned<ServerConnection, &'a mut Wire> {
    StreamOwned::new(ServerConnection::new(Arc::clone(config)).expect("a configuration that works"), wire)
}

fn serve(stream: &mut (impl Read + Write), answer: &Answer, requests: &Mutex<Vec<Vec<u8>>>) -> io::Result<()> {
    loop {
        let request = match answer {
            Answer::RefuseBody => endpoint::request_head(stream)?,
            _ => endpoint::request(stream)?,
        };
        requests.lock().expect("nothing panicked").push(request.clone());
        match answer {
            Answer::Write(bytes) => stream.write_all(bytes)?,
            Answer::WriteInTwo(first, second) => {
                stream.write_all(first)?;
                thread::sleep(Duration::from_millis(50));
                stream.write_all(second)?;
            }
            Answer::WriteLate(delay, bytes) => {
                thread::sleep(*delay);
                stream.write_all(bytes)?;
            }
            Answer::WriteAndClose(bytes) => return stream.write_all(bytes),
            Answer::Drip(bytes) => {
                for byte in bytes {
                    stream.write_all(&[*byte])?;
                    thread::sleep(Duration::from_millis(100));
                }
            }
            Answer::Flood(head) => {
                stream.write_all(head)?;
                loop {
                    stream.write_all(&[b'x'; 1000])?;
                }
            }
            // Until the sender closes.
            Answer::Hang => return io::copy(stream, &mut io::sink()).map(drop),
            Answer::Echo => {
                let head = format!("HTTP/1.1 400 Bad\r\nContent-Length: {}\r\n\r\n", request.len());
                stream.write_all(&[head.as_bytes(), &request].concat())?;
            }
            Answer::RefuseBody => {
                let answer = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
                return stream.write_all(answer);
            }
        }
    }
}

/// A sender for these tests' listeners.
fn sender(request_timeout: Duration) -> Sender {
    sender_trusting(request_timeout, RootCertStore::empty())
}

fn sender_trusting(request_timeout: Duration, roots: RootCertStore) -> Sender {
    let allowed_networks = "127.0.0.0/8,::1/128".parse().expect("networks parse");
    Sender::with_roots(SenderConfig { request_timeout, allowed_networks }, roots)
}

/// A sender as in production, without private networks.
fn strict_sender() -> Sender {
    let config = SenderConfig { request_timeout: GENEROUS, allowed_networks: Default::default() };
    Sender::with_roots(config, RootCertStore::empty())
}

async fn send(sender: &Sender, url: &str) -> Exchange {
    send_body(sender, url, Bytes::from_static(PAYLOAD)).await
}

async fn send_body(sender: &Sender, url: &str, body: Bytes) -> Exchange {
    let url = endpoint_url(url);
    let sending = tokio::time::timeout(Duration::from_secs(15), sender.send(&url, outgoing(body)));
    sending.await.expect("sending ends in time").expect("no fault of our own")
}

async fn probe(sender: &Sender, url: &str) -> Probe {
    let url = endpoint_url(url);
    let request = outgoing(Bytes::from_static(PAYLOAD));
    let probing = tokio::time::timeout(Duration::from_secs(15), sender.probe(&url, request));
    probing.await.expect("a probe ends in time").expect("no fault of our own")
}

/// A URL as it would have been stored while its network was allowed.
fn endpoint_url(url: &str) -> EndpointUrl {
    let any = "0.0.0.0/0,::/0".parse().expect("networks parse");
    EndpointUrl::parse(url, &any).expect("a test URL is valid")
}

fn outgoing(body: Bytes) -> OutgoingRequest {
    let mut secret = HeaderValue::from_static("Bearer s3cr3t-token");
    secret.set_sensitive(true);
    let headers = HeaderMap::from_iter([
        (HeaderName::from_static("x-roboticks-attempt"), HeaderValue::from_static("1")),
        (AUTHORIZATION, secret),
    ]);
    let secrets = vec![Zeroizing::new("s3cr3t-signing".to_owned())];
    OutgoingRequest { method: Method::PUT, headers, body, secrets }
}

/// Runs a test on one thread, like the functions.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test);
}

#[track_caller]
fn check(answer: Answer, request_timeout: Duration, expected: Outcome, excerpt: Option<&str>) {
    let caller = std::panic::Location::caller();
    run(async {
        let endpoint = Endpoint::start(answer);
        let exchange = send(&sender(request_timeout), &endpoint.url("http")).await;
        assert_eq!(exchange.outcome, expected, "{caller}");
        assert_eq!(exchange.excerpt.as_deref(), excerpt, "{caller}");
    });
}

fn unreachable(reason: Unreachable) -> Outcome {
    Outcome::Unreachable(reason)
}

#[test]
fn a_2xx_is_accepted() {
    check(write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"), GENEROUS, Outcome::Accepted { status: 200 }, None);
    check(write("HTTP/1.1 204 No Content\r\n\r\n"), GENEROUS, Outcome::Accepted { status: 204 }, None);
    check(write("HTTP/1.1 202\r\nContent-Length: 0\r\n\r\n"), GENEROUS, Outcome::Accepted { status: 202 }, None);
    let old = Answer::WriteAndClose(b"HTTP/1.0 200 OK\r\n\r\nold".to_vec());
    check(old, GENEROUS, Outcome::Accepted { status: 200 }, None);
    let informed = write("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    check(informed, GENEROUS, Outcome::Accepted { status: 200 }, None);
}

#[test]
fn any_other_status_is_rejected() {
    let not_found = write("HTTP/1.1 404 Not Found\r\nContent-Length: 13\r\n\r\nno\r\nsuch hook");
    check(not_found, GENEROUS, Outcome::Rejected { status: 404 }, Some("no such hook"));
    let chunked = write("HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na b\r\n2\r\n c\r\n0\r\n\r\n");
    check(chunked, GENEROUS, Outcome::Rejected { status: 500 }, Some("a b c"));
    let gone = write("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
    check(gone, GENEROUS, Outcome::Rejected { status: 410 }, None);
    let unfinished = Answer::WriteAndClose(b"HTTP/1.1 400 Bad\r\nContent-Length: 100\r\n\r\nhalf of it".to_vec());
    check(unfinished, GENEROUS, Outcome::Rejected { status: 400 }, Some("half of it…"));
    let gzip = b"HTTP/1.1 500 Oops\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00";
    check(Answer::Write(gzip.to_vec()), GENEROUS, Outcome::Rejected { status: 500 }, Some("(not text, 4 bytes)"));
}

#[test]
fn redirects_are_not_followed() {
    run(async {
        let target = Endpoint::start(write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        for status in [301, 302, 303, 307, 308] {
            let location = target.url("http");
            let answer = format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            let endpoint = Endpoint::start(write(&answer));
            let exchange = send(&sender(GENEROUS), &endpoint.url("http")).await;
            assert_eq!(exchange.outcome, Outcome::Rejected { status });
            assert_eq!(exchange.excerpt, Some(format!("redirects to {location}")));
        }
        assert_eq!(target.connections(), 0);
    });
}

#[test]
fn a_secret_in_a_redirects_target_is_redacted() {
    run(async {
        let answer = "HTTP/1.1 302 Found\r\nLocation: /login?was=s3cr3t-token\r\nContent-Length: 6\r\n\r\nlogin!";
        let endpoint = Endpoint::start(write(answer));
        let exchange = send(&sender(GENEROUS), &endpoint.url("http")).await;
        assert_eq!(exchange.excerpt.as_deref(), Some("redirects to /login?was=[redacted]"));
        let created = "HTTP/1.1 201 Created\r\nLocation: /1\r\nContent-Length: 4\r\n\r\nmade";
        let endpoint = Endpoint::start(write(created));
        assert_eq!(send(&sender(GENEROUS), &endpoint.url("http")).await.excerpt, None, "no redirect, and accepted");
    });
}

/// Since redirects are not followed, their targets do not matter.
#[test]
fn a_redirect_may_have_any_target() {
    run(async {
        let anywhere = [
            "",
            "//",
            "http://[",
            "mailto:a@b",
            "urn:1",
            "foo:",
            "data:,x",
            "file:///etc/passwd",
            "\u{fc}:/?#[",
            "a b",
        ];
        for location in anywhere {
            let answer = format!("HTTP/1.1 303 See\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
            let endpoint = Endpoint::start(write(&answer));
            let exchange = send(&sender(GENEROUS), &endpoint.url("http")).await;
            assert_eq!(exchange.outcome, Outcome::Rejected { status: 303 }, "{location:?}");
        }
    });
}

#[test]
fn the_first_retry_after_is_returned() {
    run(async {
        let answer = "HTTP/1.1 429 Slow\r\nRetry-After: 120\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";
        let endpoint = Endpoint::start(write(answer));
        let exchange = send(&sender(GENEROUS), &endpoint.url("http")).await;
        assert_eq!(exchange.outcome, Outcome::Rejected { status: 429 });
        assert_eq!(exchange.retry_after.as_deref(), Some("120"));
    });
}

#[test]
fn the_request_is_what_was_given_and_no_more() {
    run(async {
        let endpoint = Endpoint::start(write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        send(&sender(GENEROUS), &endpoint.url("http")).await;
        let (head, body) =
            endpoint.request(0).split_once("\r\n\r\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let (first, headers) = head.split_once("\r\n").expect("a request line and headers");
        let mut headers: Vec<_> = headers.split("\r\n").collect();
        headers.sort_unstable();
        assert_eq!(first, "PUT /hook?key=1 HTTP/1.1");
        let length = format!("Content-Length: {}", PAYLOAD.len());
        let host = format!("Host: {}", endpoint.address);
        let given = ["Authorization: Bearer s3cr3t-token", "X-Roboticks-Attempt: 1"];
        assert_eq!(headers, ["Accept: */*", given[0], &length, &host, given[1]]);
        assert_eq!(body.as_bytes(), PAYLOAD);
    });
}

/// Including the case of header names, since some receivers look them up case-sensitively.
#[test]
fn a_request_is_what_readme_shows() {
    let shown =
        include_str!("../../../README.md").split("```").find(|block| block.contains("POST /your/path HTTP/1.1"));
    let shown: Vec<_> = shown.expect("an example of a request").trim().lines().skip(1).collect();
    let alert = include_str!("../../../events/alert-triggered.json").trim_end();
    let subject = Subject {
        occasion: Occasion::Alert,
        event_type: EventType::Triggered,
        delivery: "dlv_01JH7VVHV81KJMEKY94GFHBBTY".parse().expect("an id"),
        attempt: 1,
        sent_at: "2025-01-10T10:23:45Z".parse().expect("a time"),
    };
    let customer = CustomerHeaders::parse_new([("x-API-key", "k")]).expect("valid");
    let secret = SigningSecret::parse_new("a-signing-secret").expect("valid");
    let secrets = SigningSecrets { current: secret, previous: None };
    let headers = request::headers(&subject, alert.as_bytes(), &customer, Some(&secrets));
    let mut names: Vec<_> = headers.keys().map(request::wire_name).collect();
    run(async {
        let endpoint = Endpoint::start(write(OK));
        let outgoing = OutgoingRequest { method: Method::POST, headers, body: Bytes::from(alert), secrets: Vec::new() };
        sender(GENEROUS).send(&endpoint_url(&endpoint.url("http")), outgoing).await.expect("no fault of our own");
        let request = endpoint.request(0);
        let (head, body) = request.split_once("\r\n\r\n").expect("a head and a body");
        assert_eq!(body, alert);
        let sent: Vec<_> = head.split("\r\n").skip(1).collect();
        assert_eq!(sent[0], "X-Api-Key: k", "spelled as README says");
        let name = |line: &str| line.split(": ").next().unwrap_or_default().to_owned();
        assert_eq!(
            sent[1..].iter().map(|line| name(line)).collect::<Vec<_>>(),
            shown.iter().map(|line| name(line)).collect::<Vec<_>>()
        );
        for (sent, shown) in sent[1..].iter().zip(&shown) {
            let differs = ["X-Roboticks-Signature", "Webhook-Signature", "Host"].contains(&name(shown).as_str());
            assert!(sent == shown || differs, "{sent} is not {shown}");
        }
        names.extend(["Host", "Content-Length"].map(str::to_owned));
        assert_eq!(sent.iter().map(|line| name(line)).collect::<Vec<_>>(), names, "as a Test shows them");
    });
}

#[test]
fn secrets_that_an_endpoint_echoes_are_redacted() {
    run(async {
        let endpoint = Endpoint::start(Answer::Echo);
        let exchange = send(&sender(GENEROUS), &endpoint.url("http")).await;
        let excerpt = exchange.excerpt.clone().expect("an excerpt");
        assert!(excerpt.contains("Authorization: [redacted]") && !excerpt.contains("s3cr3t"), "{excerpt}");
        assert!(!format!("{exchange:?}").contains("alert.triggered"));
    });
}

#[test]
fn slow_endpoints_time_out() {
    let timed_out = Outcome::TimedOut { phase: Phase::Response, limit: SHORT };
    check(Answer::Hang, SHORT, timed_out.clone(), None);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    check(Answer::Drip(head), SHORT, timed_out.clone(), None);
    check(Answer::Flood(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(3)), GENEROUS, unreachable(Unreachable::NotHttp), None);
}

#[test]
fn the_body_gets_a_second_and_4_kib() {
    let endless = b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n".to_vec();
    let shown = format!("{}…", "x".repeat(1021));
    check(Answer::Flood(endless), GENEROUS, Outcome::Rejected { status: 500 }, Some(&shown));
    let big = [b"HTTP/1.1 404 No\r\nContent-Length: 1048576\r\n\r\n".to_vec(), vec![b'x'; 1 << 20]].concat();
    check(Answer::Write(big), GENEROUS, Outcome::Rejected { status: 404 }, Some(&shown));
    let never_ends = write("HTTP/1.1 404 No\r\nContent-Length: 100\r\n\r\nso far");
    check(never_ends, GENEROUS, Outcome::Rejected { status: 404 }, Some("so far…"));
    let accepted_anyway = write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nso far");
    check(accepted_anyway, GENEROUS, Outcome::Accepted { status: 200 }, None);
}

#[test]
fn responses_that_are_not_http_1() {
    check(Answer::WriteAndClose(vec![]), GENEROUS, unreachable(Unreachable::ClosedEarly), None);
    let torn = Answer::WriteAndClose(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec());
    check(torn, GENEROUS, unreachable(Unreachable::ClosedEarly), None);
    check(write("220 mail.example.com ESMTP\r\n"), GENEROUS, unreachable(Unreachable::NotHttp), None);
    check(write("HTTP/2.0 200 OK\r\n\r\n"), GENEROUS, unreachable(Unreachable::BadStatusLine), None);
    check(write("http/1.1 200 OK\r\n\r\n"), GENEROUS, unreachable(Unreachable::BadStatusLine), None);
    check(write("HTTP/1.1 abc\r\n\r\n"), GENEROUS, unreachable(Unreachable::BadStatusLine), None);
}

#[test]
fn response_heads_are_limited() {
    let one_header = |bytes| format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: {}\r\n\r\n", "x".repeat(bytes));
    check(write(&one_header(MAX_RESPONSE_HEAD - 100)), GENEROUS, Outcome::Accepted { status: 200 }, None);
    check(write(&one_header(2 * MAX_RESPONSE_HEAD)), GENEROUS, unreachable(Unreachable::HeadTooLarge), None);
    let endless = Answer::Flood(b"HTTP/1.1 200 OK\r\nX: ".to_vec());
    check(endless, GENEROUS, unreachable(Unreachable::HeadTooLarge), None);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(MAX_RESPONSE_HEADERS + 1));
    check(write(&many), GENEROUS, unreachable(Unreachable::HeadTooLarge), None);
}

#[test]
fn an_answer_before_the_body_is_read_counts() {
    run(async {
        let endpoint = Endpoint::start(Answer::RefuseBody);
        let alert = Bytes::from(vec![b'x'; 256 * 1024]);
        let exchange = send_body(&sender(GENEROUS), &endpoint.url("http"), alert).await;
        assert_eq!(exchange.outcome, Outcome::Rejected { status: 413 });
    });
}

/// An address without a listener.
fn closed_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}

#[test]
fn refused_connections() {
    run(async {
        let closed = closed_address();
        let exchange = send(&sender(GENEROUS), &format!("http://{closed}/")).await;
        assert_eq!(exchange.outcome, unreachable(Unreachable::ConnectionRefused));
        assert!(exchange.shown_duration().is_some());
    });
}

#[test]
fn names_that_do_not_resolve() {
    run(async {
        let exchange = send(&sender(GENEROUS), "http://no-such-host.invalid/").await;
        assert_eq!(exchange.outcome, unreachable(Unreachable::Dns));
        assert_eq!(exchange.shown_duration(), None);
    });
}

#[test]
fn forbidden_addresses_are_never_connected_to() {
    run(async {
        let endpoint = Endpoint::start(write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        let port = endpoint.address.port();
        for host in ["127.0.0.1", "localhost", "LOCALHOST", "2130706433", "[::1]", "0.0.0.0"] {
            for scheme in ["http", "https"] {
                let exchange = send(&strict_sender(), &format!("{scheme}://{host}:{port}/")).await;
                assert_eq!(exchange.outcome, Outcome::Blocked(Blocked::Address), "{scheme} {host}");
                assert_eq!(exchange.shown_duration(), None);
            }
        }
        assert_eq!(endpoint.connections(), 0);
        assert!(send(&sender(GENEROUS), &endpoint.named_url("http")).await.outcome.is_success());
    });
}

/// A child process runs one of the tests above, with an unreachable proxy in its environment.
#[test]
fn proxies_of_the_environment_are_not_used() {
    let unreachable_proxy = "http://127.0.0.1:9";
    let status = Command::new(std::env::current_exe().expect("this test's program"))
        .args(["--exact", "the_request_is_what_was_given_and_no_more", "--quiet"])
        .envs(
            ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"].map(|name| (name, unreachable_proxy)),
        )
        .output()
        .expect("it starts");
    assert!(status.status.success() && String::from_utf8_lossy(&status.stdout).contains("1 passed"), "{status:?}");
}

/// A sender that the endpoint has answered quickly once, over a connection that is not reused.
async fn known_to(endpoint: &Endpoint) -> Sender {
    let sender = sender(GENEROUS);
    send(&sender, &endpoint.url("http")).await;
    sender
}

#[track_caller]
fn check_connections(answer: Answer, expected: usize) {
    run(async {
        let endpoint = Endpoint::start(answer);
        let sender = known_to(&endpoint).await;
        for _ in 0..3 {
            send(&sender, &endpoint.url("http")).await;
            // The connection goes back to the pool in a task of its own.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(endpoint.connections() - 1, expected);
    });
}

#[test]
fn connections_are_used_again_if_their_response_was_read() {
    check_connections(write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"), 1);
    check_connections(write("HTTP/1.1 204 No Content\r\n\r\n"), 1);
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n".to_vec();
    check_connections(Answer::WriteInTwo(head, b"OK".to_vec()), 1);
    check_connections(write("HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno"), 1);
    check_connections(write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), 3);
    let big = [b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n".to_vec(), vec![b'x'; 1 << 20]].concat();
    check_connections(Answer::Write(big), 3);
}

/// The endpoint may have processed it, so the HTTP client must not repeat it by itself.
#[test]
fn a_request_that_was_sent_is_not_sent_again() {
    run(async {
        let close_at_the_third = |wire: &mut Wire, requests: &Mutex<Vec<Vec<u8>>>| {
            loop {
                let request = endpoint::request(wire)?;
                let mut requests = requests.lock().expect("nothing panicked");
                requests.push(request);
                if requests.len() > 2 {
                    return Ok(());
                }
                wire.write(OK)?;
            }
        };
        let endpoint = Endpoint::behave(close_at_the_third);
        let sender = known_to(&endpoint).await;
        assert_eq!(send(&sender, &endpoint.url("http")).await.outcome, ACCEPTED);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let exchange = send(&sender, &endpoint.url("http")).await;
        assert_eq!(exchange.outcome, unreachable(Unreachable::ClosedEarly));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!((endpoint.connections(), endpoint.requests.lock().expect("nothing panicked").len()), (2, 3));
        probe(&sender, &endpoint.url("http")).await;
        assert_eq!((endpoint.connections(), endpoint.requests.lock().expect("nothing panicked").len()), (3, 4));
    });
}

#[test]
fn connections_that_were_idle_too_long_are_not_used_again() {
    run(async {
        let endpoint = Endpoint::start(write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        let sender = sender(GENEROUS);
        send(&sender, &endpoint.url("http")).await;
        tokio::time::sleep(Duration::from_millis(2700)).await;
        send(&sender, &endpoint.url("http")).await;
        assert_eq!(endpoint.connections(), 2);
    });
}

/// The configuration of an endpoint that requires a client certificate, and refuses within the handshake. With TLS 1.3
/// it would refuse after the handshake, and closing the connection could overtake its alert.
fn requiring_client_certificates(issued: &Issued) -> ServerConfig {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(issued.roots()), cryptography());
    let builder =
        ServerConfig::builder_with_provider(cryptography()).with_protocol_versions(&[&TLS12]).expect("it has TLS 1.2");
    let builder = builder.with_client_cert_verifier(verifier.build().expect("a verifier"));
    builder.with_single_cert(issued.chain.clone(), issued.key.clone_key()).expect("they belong together")
}

fn sender_for(issued: &Issued, request_timeout: Duration) -> Sender {
    sender_trusting(request_timeout, issued.roots())
}

#[track_caller]
fn check_certificate(certificate: Certificate, expected: Outcome) {
    let caller = std::panic::Location::caller();
    run(async {
        let tls = Issued::new(certificate);
        let endpoint = Endpoint::start_tls(write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), tls.config());
        let exchange = send(&sender_for(&tls, GENEROUS), &endpoint.named_url("https")).await;
        assert_eq!(exchange.outcome, expected, "{caller}");
    });
}

#[test]
fn certificates_are_verified() {
    let faulty = |fault| unreachable(Unreachable::Tls(fault));
    check_certificate(GOOD, Outcome::Accepted { status: 200 });
    check_certificate(Certificate { years: [2020, 2021], ..GOOD }, faulty(TlsFault::CertificateExpired));
    check_certificate(Certificate { years: [2099, 2100], ..GOOD }, faulty(TlsFault::CertificateNotYetValid));
    check_certificate(Certificate { host: "example.com", ..GOOD }, faulty(TlsFault::WrongHost));
    check_certificate(Certificate { signed_by: SignedBy::Itself, ..GOOD }, faulty(TlsFault::UnknownIssuer));
    check_certificate(Certificate { signed_by: SignedBy::ItselfAsAuthority, ..GOOD }, faulty(TlsFault::UnknownIssuer));
}

#[test]
fn https_connections_are_used_again() {
    run(async {
        let tls = Issued::new(GOOD);
        let endpoint = Endpoint::start_tls(write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), tls.config());
        let sender = sender_for(&tls, GENEROUS);
        for _ in 0..3 {
            assert!(send(&sender, &endpoint.named_url("https")).await.outcome.is_success());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(endpoint.connections(), 1);
    });
}

#[test]
fn handshakes_that_fail() {
    run(async {
        let tls = Issued::new(GOOD);
        let wants_certificate = Endpoint::start_tls(Answer::Hang, requiring_client_certificates(&tls));
        let exchange = send(&sender_for(&tls, GENEROUS), &wants_certificate.named_url("https")).await;
        assert_eq!(exchange.outcome, unreachable(Unreachable::Tls(TlsFault::Handshake)));

        let hangs_up = Endpoint::behave(|_, _| Ok(()));
        let exchange = send(&sender_for(&tls, GENEROUS), &hangs_up.named_url("https")).await;
        assert_eq!(exchange.outcome, unreachable(Unreachable::Tls(TlsFault::Handshake)));

        let says_nothing = Endpoint::start(Answer::Hang);
        let exchange = send(&sender_for(&tls, SHORT), &says_nothing.named_url("https")).await;
        assert_eq!(exchange.outcome, Outcome::TimedOut { phase: Phase::Connect, limit: SHORT * 4 / 5 });
    });
}

#[test]
fn https_to_an_http_server_and_the_other_way_round() {
    run(async {
        let tls = Issued::new(GOOD);
        let greeting = Endpoint::behave(|wire, _| {
            wire.write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
            wire.hold()
        });
        let exchange = send(&sender_for(&tls, GENEROUS), &greeting.named_url("https")).await;
        assert_eq!(exchange.outcome, unreachable(Unreachable::Tls(TlsFault::NotTls)));

        let speaks_tls = Endpoint::start_tls(Answer::Hang, tls.config());
        let exchange = send(&sender_for(&tls, GENEROUS), &speaks_tls.named_url("http")).await;
        assert_eq!(exchange.outcome, unreachable(Unreachable::NotHttp));
    });
}

/// The names of the phases that have a duration, in order.
fn phases(timings: Timings) -> Vec<&'static str> {
    let Timings { dns, connect, tls, first_byte } = timings;
    let phases = [("dns", dns), ("connect", connect), ("tls", tls), ("first_byte", first_byte)];
    phases.into_iter().filter_map(|(name, length)| length.map(|_| name)).collect()
}

#[track_caller]
fn check_probe(probe: &Probe, outcome: Outcome, expected: Option<&[&str]>) {
    assert_eq!(probe.exchange.outcome, outcome);
    assert_eq!(probe.timings.map(phases).as_deref(), expected);
    let total: Option<Duration> = probe
        .timings
        .map(|Timings { dns, connect, tls, first_byte }| [dns, connect, tls, first_byte].into_iter().flatten().sum());
    // The probe starts a little before the exchange, which ends a little after the last phase.
    let most = probe.exchange.duration + Duration::from_millis(100);
    assert!(total.is_none_or(|total| total <= most), "{total:?} of {most:?}");
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK";
const ACCEPTED: Outcome = Outcome::Accepted { status: 200 };

#[test]
fn a_probe_measures_each_phase() {
    run(async {
        let tls = Issued::new(GOOD);
        let (http, https) = (Endpoint::start(write(OK)), Endpoint::start_tls(write(OK), tls.config()));
        let sender = sender_for(&tls, GENEROUS);
        let by_address = probe(&sender, &http.url("http")).await;
        check_probe(&by_address, ACCEPTED, Some(&["connect", "first_byte"]));
        let by_name = probe(&sender, &http.named_url("http")).await;
        check_probe(&by_name, ACCEPTED, Some(&["dns", "connect", "first_byte"]));
        let encrypted = probe(&sender, &https.named_url("https")).await;
        check_probe(&encrypted, ACCEPTED, Some(&["dns", "connect", "tls", "first_byte"]));
    });
}

#[test]
fn a_probe_that_fails_has_the_phases_before() {
    run(async {
        let tls = Issued::new(Certificate { years: [2020, 2021], ..GOOD });
        let expired = Endpoint::start_tls(write(OK), tls.config());
        let expired = probe(&sender_for(&tls, GENEROUS), &expired.named_url("https")).await;
        check_probe(&expired, unreachable(Unreachable::Tls(TlsFault::CertificateExpired)), Some(&["dns", "connect"]));

        let closed = closed_address();
        let refused = probe(&sender(GENEROUS), &format!("http://{closed}/")).await;
        check_probe(&refused, unreachable(Unreachable::ConnectionRefused), Some(&[]));
        let refused = probe(&sender(GENEROUS), &format!("http://localhost:{}/", closed.port())).await;
        check_probe(&refused, unreachable(Unreachable::ConnectionRefused), Some(&["dns"]));

        let not_http = probe(&sender(GENEROUS), &Endpoint::start(write("220 mail\r\n")).named_url("http")).await;
        check_probe(&not_http, unreachable(Unreachable::NotHttp), Some(&["dns", "connect"]));

        let silent = Endpoint::start(Answer::Hang);
        let timed_out = probe(&sender(SHORT), &silent.named_url("http")).await;
        let limit = Outcome::TimedOut { phase: Phase::Response, limit: SHORT };
        check_probe(&timed_out, limit, Some(&["dns", "connect"]));
        let unshaken = probe(&sender(SHORT), &silent.named_url("https")).await;
        let limit = Outcome::TimedOut { phase: Phase::Connect, limit: SHORT * 4 / 5 };
        check_probe(&unshaken, limit, Some(&["dns", "connect"]));
    });
}

#[test]
fn a_probe_that_is_blocked_or_does_not_resolve_has_no_timings() {
    run(async {
        let endpoint = Endpoint::start(write(OK));
        for url in [endpoint.url("http"), endpoint.named_url("http"), endpoint.named_url("https")] {
            check_probe(&probe(&strict_sender(), &url).await, Outcome::Blocked(Blocked::Address), None);
        }
        let unresolved = probe(&sender(GENEROUS), "http://no-such-host.invalid/").await;
        check_probe(&unresolved, unreachable(Unreachable::Dns), None);
        assert_eq!(endpoint.connections(), 0);
    });
}

#[test]
fn a_slow_answer_counts_as_first_byte() {
    run(async {
        let endpoint = Endpoint::start(Answer::WriteLate(SHORT, OK.into()));
        let slow = probe(&sender(GENEROUS), &endpoint.named_url("http")).await;
        check_probe(&slow, ACCEPTED, Some(&["dns", "connect", "first_byte"]));
        let first_byte = slow.timings.and_then(|timings| timings.first_byte);
        assert!(first_byte.is_some_and(|first_byte| first_byte >= SHORT), "{first_byte:?}");
    });
}

#[test]
fn a_slow_handshake_counts_as_tls() {
    run(async {
        let tls = Issued::new(GOOD);
        let config = Arc::new(tls.config());
        let endpoint = Endpoint::behave(move |wire, requests| {
            thread::sleep(SHORT);
            serve(&mut encrypt(&config, wire), &write(OK), requests)
        });
        let slow = probe(&sender_for(&tls, GENEROUS), &endpoint.named_url("https")).await;
        check_probe(&slow, ACCEPTED, Some(&["dns", "connect", "tls", "first_byte"]));
        let handshake = slow.timings.and_then(|timings| timings.tls);
        assert!(handshake.is_some_and(|handshake| handshake >= SHORT), "{handshake:?}");
    });
}

#[test]
fn a_probe_has_an_excerpt_of_any_answer() {
    run(async {
        let accepting = Endpoint::start(write(OK));
        let answered = probe(&sender(GENEROUS), &accepting.url("http")).await;
        assert_eq!(answered.exchange.excerpt.as_deref(), Some("OK"));
        let echoing = Endpoint::start(Answer::Echo);
        let answered = probe(&sender(GENEROUS), &echoing.url("http")).await;
        assert_eq!(answered.exchange.outcome, Outcome::Rejected { status: 400 });
        let excerpt = answered.exchange.excerpt.unwrap_or_default();
        assert!(excerpt.contains("Authorization: [redacted]") && !excerpt.contains("s3cr3t"), "{excerpt}");
    });
}

#[test]
fn a_probe_sends_what_a_delivery_sends() {
    run(async {
        let endpoint = Endpoint::start(write(OK));
        let sender = sender(GENEROUS);
        send(&sender, &endpoint.url("http")).await;
        probe(&sender, &endpoint.url("http")).await;
        assert_eq!(endpoint.request(0), endpoint.request(1));
    });
}

/// A probe reuses no open connection, neither a delivery's nor another probe's.
#[test]
fn a_probe_opens_a_new_connection() {
    run(async {
        let endpoint = Endpoint::start(write(OK));
        let sender = known_to(&endpoint).await;
        // A connection goes back to the pool in a task of its own.
        let a_moment = || tokio::time::sleep(Duration::from_millis(20));
        send(&sender, &endpoint.url("http")).await;
        a_moment().await;
        for connections in [3, 4] {
            probe(&sender, &endpoint.url("http")).await;
            a_moment().await;
            assert_eq!(endpoint.connections(), connections);
        }
        send(&sender, &endpoint.url("http")).await;
        assert_eq!(endpoint.connections(), 4);
    });
}

/// A resumed session would skip the certificate, which may be what the customer is testing.
#[test]
fn a_probe_never_resumes_a_session() {
    run(async {
        let tls = Issued::new(GOOD);
        let handshakes = Arc::new(Mutex::new(Vec::new()));
        let (config, seen) = (Arc::new(tls.config()), Arc::clone(&handshakes));
        let close =
            Answer::WriteAndClose(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec());
        let endpoint = Endpoint::behave(move |wire, requests| {
            let mut stream = encrypt(&config, wire);
            while stream.conn.is_handshaking() {
                stream.conn.complete_io(&mut stream.sock)?;
            }
            seen.lock().expect("nothing panicked").push(stream.conn.handshake_kind());
            serve(&mut stream, &close, requests)
        });
        let (url, sender) = (endpoint.named_url("https"), sender_for(&tls, GENEROUS));
        send(&sender, &url).await;
        send(&sender, &url).await;
        probe(&sender, &url).await;
        probe(&sender, &url).await;
        use rustls::HandshakeKind::{Full, Resumed};
        let expected = [Full, Resumed, Full, Full].map(Some);
        assert_eq!(*handshakes.lock().expect("nothing panicked"), expected);
    });
}

#[track_caller]
fn check_host(sender: &Sender, url: &str, expected: HostVetting) {
    run(async {
        let url = endpoint_url(url);
        let vetting = tokio::time::timeout(VETTING_TIMEOUT * 2, sender.vet_host(&url));
        assert_eq!(vetting.await, Ok(expected), "{url}");
    });
}

#[test]
fn hosts_are_vetted_without_a_connection() {
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "2130706433", "[::1]"] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:9999/hook");
            check_host(&strict_sender(), &url, HostVetting::Forbidden);
            check_host(&sender(GENEROUS), &url, HostVetting::Public);
        }
    }
    check_host(&sender(GENEROUS), "http://10.0.0.1/", HostVetting::Forbidden);
    check_host(&strict_sender(), "https://8.8.8.8/", HostVetting::Public);
    check_host(&strict_sender(), "https://[2606:4700::1111]/", HostVetting::Public);
    check_host(&strict_sender(), "https://no-such-host.invalid/", HostVetting::Unresolved);
}

#[test]
fn vetting_a_host_connects_to_nothing() {
    run(async {
        let endpoint = Endpoint::start(write(OK));
        for url in [endpoint.url("http"), endpoint.named_url("http"), endpoint.named_url("https")] {
            assert_eq!(sender(GENEROUS).vet_host(&endpoint_url(&url)).await, HostVetting::Public);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(endpoint.connections(), 0);
    });
}
