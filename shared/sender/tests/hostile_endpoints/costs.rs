//! What large answers cost: memory of the process that sends, and bytes that it takes in.
//!
//! The sender is alone in a process of its own, which is this program again, running one test.

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

/// The URLs of a healthy and of a hostile endpoint, for the process that sends, and the authority that it trusts, in
/// hexadecimal.
const HEALTHY: &str = "HOSTILE_ENDPOINTS_HEALTHY";
const HOSTILE: &str = "HOSTILE_ENDPOINTS_HOSTILE";
const TRUSTED: &str = "HOSTILE_ENDPOINTS_TRUSTED";

/// As many as an invocation of `deliver` has messages in a batch.
const AT_ONCE: usize = 10;

/// How much more memory a process may have needed at its worst, in KiB: for each request a head's buffer, which may be twice as
/// large as the head that is refused. That is 8 MiB, of the 192 that the function has.
const MAX_GROWTH_KIB: u64 = (AT_ONCE * 2 * MAX_RESPONSE_HEAD / 1024) as u64;

/// How much of an endless answer may leave the endpoint, for each request: what the two systems' buffers hold.
const MAX_WRITTEN: u64 = 16 << 20;

const GIBIBYTE: u64 = 1 << 30;

#[track_caller]
fn check(behaviour: Behaviour, expected_code: &str) {
    assert_little(check_memory(behaviour, expected_code));
}

/// The same, but how much was taken in is left to the caller: so many bytes.
#[track_caller]
fn check_memory(behaviour: Behaviour, expected_code: &str) -> u64 {
    let (hostile, neighbour) = (Endpoint::start(behaviour), Endpoint::start(healthy));
    check_url(&neighbour.url(), &hostile, &hostile.url(), "", expected_code)
}

#[track_caller]
fn assert_little(written: u64) {
    assert!(written <= MAX_WRITTEN * AT_ONCE as u64, "{written} bytes");
}

/// The healthy one speaks TLS too, so that what TLS itself takes is not counted.
#[track_caller]
fn check_encrypted(behaviour: EncryptedBehaviour, expected_code: &str) {
    let issued = Issued::new(GOOD);
    let config = Arc::new(issued.config());
    let (hostile, neighbour) = (tls::start(&config, behaviour), tls::start(&config, tls::answer));
    let (healthy, url) = (neighbour.named_url("https"), hostile.named_url("https"));
    assert_little(check_url(&healthy, &hostile, &url, &hex::encode(&issued.trusted), expected_code));
}

/// An endpoint that never comes as far as TLS.
#[track_caller]
fn check_handshake(behaviour: Behaviour, expected_code: &str) {
    let issued = Issued::new(GOOD);
    let (hostile, neighbour) = (Endpoint::start(behaviour), tls::start(&Arc::new(issued.config()), tls::answer));
    let (healthy, url) = (neighbour.named_url("https"), hostile.named_url("https"));
    assert_little(check_url(&healthy, &hostile, &url, &hex::encode(&issued.trusted), expected_code));
}

/// How many bytes the hostile endpoint was rid of.
#[track_caller]
fn check_url(healthy: &str, hostile: &Endpoint, url: &str, trusted: &str, expected_code: &str) -> u64 {
    let output = Command::new(env::current_exe().expect("this test's program"))
        .args(["--exact", "costs::in_a_process_of_its_own", "--include-ignored", "--nocapture", "--test-threads=1"])
        .envs([(HEALTHY, healthy), (HOSTILE, url), (TRUSTED, trusted)])
        .output()
        .expect("it starts");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}\n{}", String::from_utf8_lossy(&output.stderr));
    let said = |name: &str| {
        let value = report.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("no {name} in {report}")).to_owned()
    };
    let growth: u64 = said("growth_kib").parse().expect("a number");
    assert_eq!(said("codes"), [expected_code; AT_ONCE].join(","));
    assert_eq!(hostile.connections(), AT_ONCE);
    assert!(growth <= MAX_GROWTH_KIB, "{growth} KiB");
    hostile.written()
}

/// Sends to the healthy endpoint and then to the hostile one, and prints the outcomes and by how much its memory grew
/// in between.
#[test]
#[ignore = "a part of the other tests here, which run it"]
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

/// The most memory that this process ever had, in KiB. Linux counts it by processor and sums up now and then, so a later
/// reading can be a little below an earlier one.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells of each process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak among it");
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

/// A mebibyte of zeros in a kilobyte, a thousand times: what makes a gibibyte of a mebibyte.
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

/// The only one that is read until the time is over, however much that is.
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

/// One message without end, in records as large as they may be.
#[test]
fn a_handshake_message_without_end() {
    let endless: Behaviour = |wire| {
        wire.write([0x16, 3, 3, 0, 4, 2, 0xff, 0xff, 0xff])?;
        wire.flood([&[0x16, 3, 3, 0x40, 0][..], &[0; 0x4000]].concat())
    };
    check_handshake(endless, "tls_handshake");
}

/// Alerts that say that all goes on.
#[test]
fn warnings_without_end() {
    check_handshake(|wire| wire.flood([0x15, 3, 3, 0, 2, 1, 90]), "tls_handshake");
}
