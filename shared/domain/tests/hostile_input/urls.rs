//! Deceptive URLs, parsed by two independent parsers: ours, and Python's.
//!
//! A URL that two programs parse differently can redirect a request: one program vets it, the other connects. For every
//! URL that we accept, the other parser must find the same host and port, both as the customer wrote it and as we
//! normalized it.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde::Deserialize;

use crate::oracles::{self, Destination};

/// Parses a JSON list of URLs and prints the results.
const OTHER_PARSER: &str = r#"
import ipaddress, json, socket, sys
from urllib.parse import unquote, urlsplit

def address(host):
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:  # The C library also accepts octal and hexadecimal numbers, and fewer than four.
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None

def read(text):
    parts = urlsplit(text)
    host = unquote(parts.hostname).lower()
    if not host.isascii():
        host = host.encode("idna").decode()
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    return {"host": host, "port": port, "address": address(host)}

json.dump([read(text) for text in json.load(sys.stdin)], sys.stdout)
"#;

/// The other parser's result.
#[derive(Debug, Deserialize)]
struct Reading {
    host: String,
    port: u16,
    address: Option<IpAddr>,
}

#[allow(clippy::disallowed_methods, reason = "the tools' Python may be another than the path's")]
fn read_by_python(urls: &[String]) -> Vec<Reading> {
    let mut python = Command::new(std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned()));
    let python = python.args(["-c", OTHER_PARSER]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut python = python.spawn().expect("Python is there, as the README asks");
    let list = serde_json::to_vec(urls).expect("texts");
    python.stdin.take().expect("it is piped").write_all(&list).expect("it reads");
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a list of readings")
}

/// Compares the parsers for each of these URLs that we accept, as written and as normalized. Returns how many we
/// accept.
#[track_caller]
fn compare(texts: impl IntoIterator<Item = String>) -> usize {
    let accepted: Vec<_> = texts.into_iter().filter_map(|text| Some((oracles::endpoint_url(&text)?, text))).collect();
    let written: Vec<_> = accepted.iter().map(|(_, text)| text.clone()).collect();
    let normalized: Vec<_> = accepted.iter().map(|(ours, _)| ours.url.as_str().to_owned()).collect();
    let theirs = read_by_python(&written).into_iter().zip(read_by_python(&normalized));
    for ((ours, text), (written, normalized)) in accepted.iter().zip(theirs) {
        assert_agree(ours, &written, text);
        assert_agree(ours, &normalized, ours.url.as_str());
    }
    accepted.len()
}

#[track_caller]
fn assert_agree(ours: &Destination, theirs: &Reading, text: &str) {
    assert_eq!((ours.port, ours.url.ip_literal()), (theirs.port, theirs.address), "{text}");
    if theirs.address.is_none() {
        assert_eq!(ours.host, theirs.host, "{text}");
    }
}

/// Hosts in deceptive spellings. Each is public, or stands for a public address.
const HOSTS: [&str; 42] = [
    "example.com",
    "EXAMPLE.com",
    "eXaMpLe.CoM",
    "exam%70le.com",
    "a.b-c.d_e.example",
    "xn--bcher-kva.example",
    "bücher.example",
    "BÜCHER.example",
    "ｅｘａｍｐｌｅ.com",
    "example。com",
    "example．com",
    "localhost",
    "1.example",
    "0x7f.example",
    "127.0.0.1.example",
    "2130706433.example",
    "127.0.0.1-example",
    "127.0.0.1a",
    "1e3",
    "0xg",
    "8.8.8.8",
    "8.8.2056",
    "8.526344",
    "134744072",
    "0x08080808",
    "0X8.0x8.0x8.0x8",
    "010.010.010.010",
    "01002004010",
    "8.010.0x8.8",
    "８.８.８.８",
    "8。8。8。8",
    "%38.8.8.8",
    "00000000008.8.8",
    "[2606:4700:4700::1111]",
    "[2606:4700:4700:0:0:0:0:1111]",
    "[2606:4700:4700::17.17.17.17]",
    "[2606:4700:4700::0x1]",
    "[2606:4700:4700::1111%25eth0]",
    "[::ffff:8.8.8.8]",
    "[64:ff9b::8.8.8.8]",
    "[64:FF9B::808:808]",
    "[v1.example]",
];

/// Text between `//` and the host, and after the host.
const USERS: [&str; 8] = ["", "", "", "user@", "user:pass@", "@", "127.0.0.1@", "example.com:80@"];
const PORTS: [&str; 13] =
    ["", "", ":", ":80", ":443", ":8443", ":08443", ":0", ":22", ":65536", ":-80", ":8443@127.0.0.1", ":８０"];
const ENDS: [&str; 16] = [
    "",
    "/",
    "/hook",
    "?token=1",
    ".",
    "./",
    "\\@127.0.0.1/",
    "/..//../a",
    "//127.0.0.1/",
    "/@127.0.0.1:9000/",
    "?@127.0.0.1/",
    "#@127.0.0.1/",
    "%2f@127.0.0.1/",
    "\t.evil.example/",
    "/ü?é",
    "/%zz",
];

/// Every combination of user, host, port and end, and of scheme and host.
#[test]
fn deceptive_urls_are_parsed_alike_or_refused() {
    let mut texts = Vec::new();
    for host in HOSTS {
        for user in USERS {
            for port in PORTS {
                texts.extend(ENDS.map(|end| format!("https://{user}{host}{port}{end}")));
            }
        }
        texts.extend(
            ["http://", "HTTP://", "hTtPs://", "https:/", "https:", "//", "https:///", " https://", "https://\t"]
                .map(|scheme| format!("{scheme}{host}/hook")),
        );
    }
    let accepted = compare(texts.iter().cloned());
    println!("{accepted} of {} accepted and parsed alike", texts.len());
    assert!(accepted > 1000, "{accepted}");
}

/// IPv4 addresses in all notations; most are public.
fn numbers() -> impl Strategy<Value = String> {
    let written = |number: u32, base: usize| match base {
        0 => number.to_string(),
        1 => format!("0{number:o}"),
        2 => format!("0x{number:x}"),
        _ => format!("0X{number:08X}"),
    };
    (any::<u32>(), 1_usize..=4, proptest::array::uniform4(0_usize..4)).prop_map(move |(address, count, bases)| {
        let [a, b, c, d] = address.to_be_bytes().map(u32::from);
        let parts = match count {
            1 => vec![address],
            2 => vec![a, address & 0xff_ffff],
            3 => vec![a, b, address & 0xffff],
            _ => vec![a, b, c, d],
        };
        let parts: Vec<_> = parts.into_iter().zip(bases).map(|(part, base)| written(part, base)).collect();
        parts.join(".")
    })
}

/// Names outside ASCII use only characters that both parsers treat alike: Python implements IDNA 2003, which lacks
/// newer characters and treats `ß` differently.
fn urls() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        numbers(),
        any::<std::net::Ipv6Addr>().prop_map(|address| format!("[{address}]")),
        (any::<[u8; 4]>()).prop_map(|[a, b, c, d]| format!("[64:ff9b::{a}.{b}.{c}.{d}]")),
        "[a-zA-Z0-9._~!$&'()*+,;=-]{1,20}",
        "[a-z0-9]{1,6}(\\.[a-zäéö０-９ａ-ｚ]{1,6}){1,3}",
        "([0-9]{1,3}[.。．]){3}[0-9]{1,3}",
        "[0-9a-fx.]{1,12}",
    ];
    let scheme = select(vec!["http://", "https://", "HTTPS://"]);
    let port = prop_oneof![Just(String::new()), ":[0-9]{0,6}", Just(":8443".to_owned())];
    let end = prop_oneof!["", "/[!-~]{0,20}", "\\?[!-~]{0,20}", "[!-~]{0,10}", "/\\PC{0,10}"];
    (scheme, host, port, end).prop_map(|(scheme, host, port, end)| format!("{scheme}{host}{port}{end}"))
}

#[test]
fn random_urls_are_parsed_alike_or_refused() {
    let mut runner = TestRunner::default();
    let texts: Vec<_> = (0..4000).map(|_| urls().new_tree(&mut runner).expect("no filters").current()).collect();
    let accepted = compare(texts);
    println!("{accepted} accepted and parsed alike");
    assert!(accepted > 500, "{accepted}");
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn nearly_valid_urls(text in "(https?|[a-z]{1,4})?[:/]{0,4}\\PC{0,30}", url in urls(), extra in "\\PC") {
        oracles::endpoint_url(&text);
        oracles::endpoint_url(&format!("{url}{extra}"));
        oracles::endpoint_url(&url.replacen('.', &extra, 1));
    }

    #[test]
    fn arbitrary_texts(text in any::<String>()) {
        oracles::endpoint_url(&text);
        oracles::endpoint_url(&format!("https://example.com/{text}"));
    }
}
