//! The status line decides: how the sender treats malformed response heads, compared with curl.

#[allow(dead_code, reason = "`hostile_endpoints` uses all of it")]
#[path = "hostile_endpoints/endpoint.rs"]
mod endpoint;

use std::io::{self, ErrorKind};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::attempt::outcome::Outcome;
use domain::attempt::outcome::{MAX_RESPONSE_HEAD, MAX_RESPONSE_HEADERS};
use domain::endpoint::url::EndpointUrl;
use http::{HeaderMap, Method, StatusCode};
use rustls::RootCertStore;
use sender::{Exchange, OutgoingRequest, Sender, SenderConfig};

use crate::endpoint::{Endpoint, Wire};

/// The version of curl whose results are below. An installed curl of any version is compared with them.
const CURL: &str = "curl 7.88.1";

/// How curl treats a head. It reports a status (`%{http_code}`) even if it gives up at a later line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Curl {
    TakesStatus,
    Refuses,
}

/// How the sender treats it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    TakesStatus,
    /// With this code.
    Refuses(&'static str),
}

const BAD_LINE: Ours = Ours::Refuses("bad_status_line");
const BAD_HEAD: Ours = Ours::Refuses("bad_response_head");
const TOO_LARGE: Ours = Ours::Refuses("response_head_too_large");
const NOT_HTTP: Ours = Ours::Refuses("not_http");

/// Responses with status 200 and an unusual or malformed head.
#[rustfmt::skip]
fn responses() -> Vec<(Curl, Ours, Vec<u8>)> {
    let few: &[(Curl, Ours, &[u8])] = &[
        // Malformed header lines.
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\na : b\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\na\t: b\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nContent Length: 2\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\x01c\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\x7fc\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\njunk\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\njunk and more\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n: no name\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX Y: v\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n(X): v\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nÜber: v\r\n\r\n".as_bytes()),
        (Curl::TakesStatus, Ours::TakesStatus, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: Grüße\r\n\r\n".as_bytes()),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: Gr\xfc\xdfe\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: a\r\n b\r\n\tc\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\n folded\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, BAD_HEAD, b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, BAD_HEAD, b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, BAD_HEAD, b"HTTP/1.1 200 OK\r\nX: a\r\r\nContent-Length: 0\r\n\r\n"),
        // Line ends, and text before the status line.
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\nContent-Length: 0\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus,
            b"HTTP/1.1 103 Hints\r\na : b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Curl::Refuses, Ours::TakesStatus, b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Curl::Refuses, NOT_HTTP, b" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Curl::Refuses, NOT_HTTP, b"\xef\xbb\xbfHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        // The status line.
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.0 200 OK\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 D'accord, \xe7a va: (\x80)\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, BAD_LINE, b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, BAD_LINE, b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, BAD_LINE, b"HTTP/1.1 200OK\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, BAD_LINE, b"HTTP/1.1 200\tOK\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, BAD_LINE, b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Curl::Refuses, BAD_LINE, b"HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Curl::Refuses, BAD_LINE, b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
        (Curl::Refuses, BAD_LINE, b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Curl::Refuses, NOT_HTTP, b"HTTP 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (Curl::Refuses, NOT_HTTP, b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n"),
        // The length of the body.
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nContent-Length: 0, 0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n\r\n0\r\n\r\n"),
        (Curl::TakesStatus, Ours::TakesStatus, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n"),
        (Curl::TakesStatus, BAD_HEAD, b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (Curl::TakesStatus, BAD_HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
        (Curl::TakesStatus, BAD_HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        (Curl::TakesStatus, BAD_HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
        (Curl::TakesStatus, BAD_HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: none\r\n\r\n"),
        (Curl::TakesStatus, BAD_HEAD, b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n"),
    ];
    let headers = |count: usize, line: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", line.repeat(count));
    // The variants add two.
    let most = MAX_RESPONSE_HEADERS - 3;
    let many = [
        (Curl::TakesStatus, Ours::TakesStatus, headers(101, "Set-Cookie: a=b\r\n")),
        (Curl::TakesStatus, Ours::TakesStatus, headers(most, "a:\r\n")),
        (Curl::TakesStatus, Ours::TakesStatus, headers(2000, "junk\r\n")),
        (Curl::TakesStatus, Ours::TakesStatus, headers(1, &format!("X: {}\r\n", "x".repeat(MAX_RESPONSE_HEAD - 200)))),
        (Curl::TakesStatus, TOO_LARGE, headers(most + 3, "a:\r\n")),
        (Curl::TakesStatus, TOO_LARGE, headers(1, &format!("X: {}\r\n", "x".repeat(2 * MAX_RESPONSE_HEAD)))),
    ];
    let few = few.iter().map(|(curl, ours, response)| (*curl, *ours, response.to_vec()));
    few.chain(many.map(|(curl, ours, response)| (curl, ours, response.into_bytes()))).collect()
}

/// Where a `Retry-After` is inserted.
#[derive(Clone, Copy, Debug)]
enum RetryAfter {
    First,
    Last,
}

/// The statuses that each response is tested with instead of 200, and the `Retry-After` that is added.
const VARIANTS: [(u16, Option<RetryAfter>); 4] =
    [(200, None), (410, None), (429, Some(RetryAfter::First)), (429, Some(RetryAfter::Last))];

/// The response with another status, and perhaps a `Retry-After` of two minutes.
fn varied(response: &[u8], status: u16, retry_after: Option<RetryAfter>) -> Vec<u8> {
    let find = |from: usize, wanted: &[u8]| {
        response[from..].windows(wanted.len()).position(|bytes| bytes == wanted).map(|at| from + at)
    };
    let digits = find(0, b"200").expect("its status");
    let after_line = find(digits, b"\n").expect("its first line's end") + 1;
    let at = match retry_after {
        None => response.len(),
        Some(RetryAfter::First) => after_line,
        Some(RetryAfter::Last) => {
            let ends = [&b"\n\n"[..], b"\n\r\n"].into_iter().filter_map(|end| find(digits, end));
            ends.min().expect("its head's end") + 1
        }
    };
    // The second line separates the first from a folded line that may follow.
    let lines: &[u8] = if retry_after.is_some() { b"Retry-After: 120\r\nX-Next: x\r\n" } else { b"" };
    let status = status.to_string();
    [&response[..digits], status.as_bytes(), &response[digits + 3..at], lines, &response[at..]].concat()
}

/// Answers a request for `/<n>` with the n-th response, and closes.
fn serving(responses: Vec<Vec<u8>>) -> Endpoint {
    let responses = Arc::new(responses);
    Endpoint::start_at("127.0.0.1:0", move |wire: &mut Wire| {
        let request = endpoint::request(wire)?;
        let path = request.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let index: usize = String::from_utf8_lossy(path)[1..].parse().expect("a number");
        wire.write(&responses[index])
    })
}

async fn send(url: &str) -> Exchange {
    let allowed_networks = "127.0.0.0/8".parse().expect("networks parse");
    let config = SenderConfig { request_timeout: Duration::from_secs(20), allowed_networks };
    let sender = Sender::with_roots(config, RootCertStore::empty());
    let url = EndpointUrl::parse(url, sender.allowed_networks()).expect("a test URL is valid");
    let (headers, body) = (HeaderMap::new(), Bytes::from_static(b"{}"));
    let request = OutgoingRequest { method: Method::POST, headers, body, secrets: Vec::new() };
    sender.send(&url, request).await.expect("no fault of our own")
}

/// Runs a test on one thread, like the functions.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test);
}

#[test]
fn the_status_line_decides() {
    run(async {
        for (_, ours, response) in responses() {
            let all = VARIANTS.map(|(status, retry_after)| varied(&response, status, retry_after)).to_vec();
            let endpoint = serving(all.clone());
            for (index, (status, retry_after)) in VARIANTS.into_iter().enumerate() {
                let head = String::from_utf8_lossy(&all[index][..all[index].len().min(200)]).into_owned();
                let exchange = send(&format!("http://{}/{index}", endpoint.address)).await;
                match ours {
                    Ours::TakesStatus => {
                        let expected = Outcome::of_status(StatusCode::from_u16(status).expect("a status"));
                        assert_eq!(exchange.outcome, expected, "{head:?}");
                        assert_eq!(exchange.retry_after.as_deref(), retry_after.map(|_| "120"), "{head:?}");
                    }
                    Ours::Refuses(code) => assert_eq!(exchange.outcome.code(), Some(code), "{head:?}"),
                }
            }
        }
    });
}

/// Checks the results for curl, with a request for each response. Skipped if curl is not installed.
#[test]
fn curl_takes_the_same_statuses() {
    let version = match Command::new("curl").arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).split(" (").next().unwrap_or_default().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return print_always(&format!("curl was not found, so the results of {CURL} were not checked"));
        }
        Err(error) => panic!("curl does not start: {error}"),
    };
    for (expected, _, response) in responses() {
        let endpoint = serving(VARIANTS.map(|(status, retry_after)| varied(&response, status, retry_after)).to_vec());
        for (index, (status, _)) in VARIANTS.into_iter().enumerate() {
            let expected = if expected == Curl::TakesStatus { status.to_string() } else { "000".to_owned() };
            // A process for each request, since some heads make curl give up the remaining requests.
            let output = Command::new("curl")
                .args(["-q", "--silent", "--http1.1", "--noproxy", "*", "--max-time", "20", "--data", "{}"])
                .args(["--output", "/dev/null", "--write-out", "%{http_code}"])
                .arg(format!("http://{}/{index}", endpoint.address))
                .output()
                .expect("curl starts");
            let found = String::from_utf8_lossy(&output.stdout);
            let head = String::from_utf8_lossy(&response[..response.len().min(200)]);
            assert_eq!(found, expected, "{version} and {CURL} differ for {head:?}");
        }
    }
}

/// Writes to stderr directly, since printed output is hidden when a test passes.
fn print_always(line: &str) {
    let _ = io::Write::write_all(&mut io::stderr(), format!("{line}\n").as_bytes());
}

#[track_caller]
fn check_retry_after(lines: &'static str, expected: Option<&str>) {
    let caller = std::panic::Location::caller();
    run(async {
        let response = format!("HTTP/1.1 429 Slow down\r\n{lines}Content-Length: 0\r\n\r\n");
        let endpoint = serving(vec![response.into_bytes()]);
        let exchange = send(&format!("http://{}/0", endpoint.address)).await;
        assert_eq!(exchange.outcome, Outcome::Rejected { status: 429 }, "{caller}");
        assert_eq!(exchange.retry_after.as_deref(), expected, "{caller}");
    });
}

#[test]
fn a_retry_after_that_is_itself_odd() {
    check_retry_after("retry-after:120\r\n", Some("120"));
    check_retry_after("Retry-After : 120\r\n", Some("120"));
    check_retry_after("Retry-After:\t120 \t\r\n", Some("120"));
    check_retry_after("Retry-After:\r\n 120\r\n", Some("120"));
    check_retry_after("Retry-After: Mon, 23 Nov 2026\r\n\t08:51:37 GMT\r\n", Some("Mon, 23 Nov 2026 08:51:37 GMT"));
    check_retry_after("Retry-After: 120\n", Some("120"));
    check_retry_after("Retry After: 120\r\n", None);
    check_retry_after("Retry-After: 12\x010\r\n", None);
    check_retry_after("Retry-After: 12\x010\r\nRetry-After: 60\r\n", Some("60"));
}
