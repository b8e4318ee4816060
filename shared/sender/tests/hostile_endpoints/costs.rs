//! What large responses cost: the memory of the sending process, and the bytes that it receives.
//!
//! The sender runs alone in a process, which is this program again, running one test.

use std::env;
use std::io::{self, Write};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use domain::attempt::outcome::MAX_RESPONSE_HEAD;
use futures_util::future::join_all;
use rustls::RootCertStore;

use crate::certificate::{GOOD, Issued, roots};
use crate::endpoint::{Behaviour, Endpoint, Wire, healthy, read_request};
use crate::exchange::{ALERT, LONG, LOOPBACK, SHORT, code, run, send, sender};
use crate::tls::{self, EncryptedBehaviour};

/// Environment variables for the sending process: the URLs of a healthy and a hostile endpoint, and the trusted
/// authority in hexadecimal.
const HEALTHY: &str = "HOSTILE_ENDPOINTS_HEALTHY";
const HOSTILE: &str = "HOSTILE_ENDPOINTS_HOSTILE";
const TRUSTED: &str = "HOSTILE_ENDPOINTS_TRUSTED";

/// The number of concurrent requests: as many as `deliver` has messages in a batch.
const AT_ONCE: usize = 10;

/// How much the peak memory of the process may grow, in KiB: by a buffer for each request's response head, which may be
/// twice as large as the largest head. That is 8 MiB, of the function's 192.
const MAX_GROWTH_KIB: u64 = (AT_ONCE * 2 * MAX_RESPONSE_HEAD / 1024) as u64;

/// How much of an endless response an endpoint may be able to write for each request: what the socket buffers of both
/// sides hold.
const MAX_WRITTEN: u64 = 16 << 20;

const GIBIBYTE: u64 = 1 << 30;

#[track_caller]
fn check(behaviour: Behaviour, expected_code: &str) {
    assert_little(check_memory(behaviour, expected_code));
}

/// Checks the memory only, and returns how many bytes were written.
#[track_caller]
fn check_memory(behaviour: Behaviour, expected_code: &str) -> u64 {
    let (hostile, neighbour) = (Endpoint::start(behaviour), Endpoint::start(healthy));
    check_url(&neighbour.url(), &hostile, &hostile.url(), "", expected_code)
}

#[track_caller]
fn assert_little(written: u64) {
    assert!(written <= MAX_WRITTEN * AT_ONCE as u64, "{written} bytes");
}

/// The healthy endpoint uses TLS too, so that the memory of TLS itself is not counted.
#[track_caller]
fn check_encrypted(behaviour: EncryptedBehaviour, expected_code: &str) {
    let issued = Issued::new(GOOD);
    let config = Arc::new(issued.config());
    let (hostile, neighbour) = (tls::start(&config, behaviour), tls::start(&config, tls::answer));
    let (healthy, url) = (neighbour.named_url("https"), hostile.named_url("https"));
    assert_little(check_url(&healthy, &hostile, &url, &hex::encode(&issued.trusted), expected_code));
}

/// For an endpoint that never completes the TLS handshake.
#[track_caller]
fn check_handshake(behaviour: Behaviour, expected_code: &str) {
    let issued = Issued::new(GOOD);
    let (hostile, neighbour) = (Endpoint::start(behaviour), tls::start(&Arc::new(issued.config()), tls::answer));
    let (healthy, url) = (neighbour.named_url("https"), hostile.named_url("https"));
    assert_little(check_url(&healthy, &hostile, &url, &hex::encode(&issued.trusted), expected_code));
}

/// Runs the sending process, and returns how many bytes the hostile endpoint was able to write.
#[track_caller]
fn check_url(healthy: &str, hostile: &Endpoint, url: &str, trusted: &str, expected_code: &str) -> u64 {
    let output = Command::new(env::current_exe().expect("this test's program"))
        .args(["--exact", "costs::in_a_process_of_its_own", "--include-ignored", "--nocapture", "--test-threads=1"])
        .envs([(HEALTHY, healthy), (HOSTILE, url), (TRUSTED, trusted)])
        .output()
        .expect("it starts");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    let reported = |name: &str| {
        let value = report.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {name} in {report}")).to_owned()
    };
    let growth: u64 = reported("growth_kib").parse().expect("a number");
    assert_eq!(reported("codes"), [expected_code; AT_ONCE].join(","));
    assert_eq!(hostile.connections(), AT_ONCE);
    assert!(growth <= MAX_GROWTH_KIB, "{growth} KiB");
    hostile.written()
}

/// Sends to the healthy endpoint and then to the hostile one, and prints the outcomes and the growth of its peak
/// memory.
#[test]
#[ignore = "run by the other tests in this file"]
fn in_a_process_of_its_own() {
    let (Ok(healthy), Ok(hostile)) = (env::var(HEALTHY), env::var(HOSTILE)) else { return };
    let trusted = hex::decode(env::var(TRUSTED).unwrap_or_default()).expect("hexadecimal");
    let roots = if trusted.is_empty() { RootCertStore::empty() } else { roots(trusted.into()) };
    let sender = sender(LOOPBACK, 2 * SHORT, roots);
    run(async {
        let at_once = |url: &'static str| join_all((0..AT_ONCE).map(|_| send(&sender, url, ALERT)));
        let exchanges = at_once(healthy.leak()).await;
        assert!(exchanges.iter().all(|exchange| exchange.outcome.is_success()));
        let (before, started) = (peak_kib(), Instant::now());
        let exchanges = at_once(hostile.leak()).await;
        let codes: Vec<_> = exchanges.iter().map(code).collect();
        assert!(started.elapsed() < LONG);
        println!("growth_kib={} codes={}", peak_kib().saturating_sub(before), codes.join(","));
    });
}

/// The peak memory of this process, in KiB. Linux counts per processor and adds up only now and then, so a later value
/// can be a little lower than an earlier one.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has a status for each process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it contains the peak");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_gibibyte() {
    check(|wire| gibibyte(wire, "200 OK"), "accepted");
    check(|wire| gibibyte(wire, "503 Busy"), "server_error");
}

fn gibibyte(wire: &mut Wire, status: &str) -> io::Result<()> {
    wire.read_request()?;
    wire.write(format!("HTTP/1.1 {status}\r\nContent-Length: {GIBIBYTE}\r\n\r\n"))?;
    let some = vec![b'x'; 1 << 16];
    (0..GIBIBYTE >> 16).try_for_each(|_| wire.write(&some))
}

/// A mebibyte of zeros compressed to a kilobyte, a thousand times: one mebibyte that decompresses to a gibibyte.
#[test]
fn a_gzip_bomb() {
    check(bomb, "server_error");
}

fn bomb(wire: &mut Wire) -> io::Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut encoder, &vec![0; 1 << 20])?;
    let zeros = encoder.finish()?;
    wire.read_request()?;
    let length = zeros.len() * 1024;
    wire.write(format!("HTTP/1.1 500 Oops\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"))?;
    (0..1024).try_for_each(|_| wire.write(&zeros))
}

#[test]
fn a_body_without_end() {
    check(
        |wire| {
            wire.read_request()?;
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            wire.flood(format!("1000\r\n{}\r\n", "x".repeat(0x1000)))
        },
        "accepted",
    );
}

#[test]
fn a_chunk_of_any_length() {
    check(
        |wire| {
            wire.read_request()?;
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n")?;
            wire.flood("x")
        },
        "accepted",
    );
}

#[test]
fn trailers_without_end() {
    check(
        |wire| {
            wire.read_request()?;
            wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")?;
            wire.flood("X-Trailer: and so on\r\n")
        },
        "accepted",
    );
}

#[test]
fn headers_without_end() {
    check(
        |wire| {
            wire.read_request()?;
            wire.write("HTTP/1.1 200 OK\r\n")?;
            wire.flood(format!("X-More: {}\r\n", "x".repeat(1000)))
        },
        "response_head_too_large",
    );
}

/// The only case that is read until the timeout, however much that is.
#[test]
fn continue_without_end() {
    let endpoint: Behaviour = |wire| {
        wire.read_request()?;
        wire.flood("HTTP/1.1 100 Continue\r\n\r\n")
    };
    check_memory(endpoint, "timeout_response");
}

#[test]
fn encrypted_headers_without_end() {
    let endless: EncryptedBehaviour = |stream| {
        read_request(stream)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        let headers = format!("X-More: {}\r\n", "x".repeat(1_000)).repeat(16);
        loop {
            stream.write_all(headers.as_bytes())?;
        }
    };
    check_encrypted(endless, "response_head_too_large");
}

#[test]
fn an_encrypted_body_without_end() {
    let endless: EncryptedBehaviour = |stream| {
        read_request(stream)?;
        stream.write_all(b"HTTP/1.1 500 Oops\r\n\r\n")?;
        loop {
            stream.write_all(&[b'x'; 1 << 14])?;
        }
    };
    check_encrypted(endless, "server_error");
}

/// One endless message, in records of the largest allowed size.
#[test]
fn a_handshake_message_without_end() {
    let endless: Behaviour = |wire| {
        wire.write([0x16, 3, 3, 0, 4, 2, 0xff, 0xff, 0xff])?;
        wire.flood([&[0x16, 3, 3, 0x40, 0][..], &[0; 0x4000]].concat())
    };
    check_handshake(endless, "tls_handshake");
}

/// Endless TLS alerts of the warning level, which do not end a connection.
#[test]
fn warnings_without_end() {
    check_handshake(|wire| wire.flood([0x15, 3, 3, 0, 2, 1, 90]), "tls_handshake");
}
