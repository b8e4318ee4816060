//! Names that resolve to forbidden addresses, with a name server of our own.
//!
//! Each test runs this program again in its own network namespace, which most Linux systems allow without privileges.
//! There the test's name server is the system's, "public" addresses belong to the loopback device, and the sender is
//! configured as in production, without private networks. On systems without such namespaces the tests fail, unless an
//! environment variable skips them.

use std::collections::HashMap;
use std::env;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::panic::Location;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use domain::endpoint::url::EndpointUrl;
use rustls::RootCertStore;
use sender::{HostVetting, Sender};

use crate::endpoint::{Endpoint, Wire};
use crate::exchange::{ALERT, LONG, SHORT, code, run, send, sender};

/// Set in the process that runs in its own network namespace.
const INSIDE: &str = "HOSTILE_ENDPOINTS_INSIDE";

/// Skips these tests on systems without network namespaces.
const WAIVED: &str = "HOSTILE_ENDPOINTS_WITHOUT_NAMESPACES";

/// Two public addresses, which belong to this machine in the namespace.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4));
const PUBLIC_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0, 1));
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK_V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
const MAPPED: IpAddr = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());

const PORT: u16 = 8080;

/// All addresses that the sender could be made to connect to.
const ALL: [IpAddr; 6] = [PUBLIC, PUBLIC_V6, LOOPBACK, LOOPBACK_V6, METADATA, PRIVATE];

/// Adds the addresses to the loopback device, replaces the system's resolver configuration, and runs the program. On
/// systems without resolver configuration, the defaults are equivalent.
const SET_UP: &str = "
    ip link set lo up
    for address in 8.8.4.4 10.0.0.7 169.254.169.254; do ip address add $address/32 dev lo; done
    ip address add 2606:4700::1/128 dev lo nodad
    printf 'nameserver 127.0.0.1\\noptions timeout:1 attempts:1\\n' >\"$1/resolv.conf\"
    printf 'hosts: dns\\n' >\"$1/nsswitch.conf\"
    for file in resolv.conf nsswitch.conf; do
        if test -e /etc/$file; then mount --bind \"$1/$file\" /etc/$file; fi
    done
    shift
    exec \"$@\"
";

/// Runs a test of this program in its own network namespace.
#[track_caller]
fn in_a_network_of_its_own(test: &str, body: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        return body();
    }
    if let Some(missing) = missing() {
        let waived = env::var_os(WAIVED).is_some();
        assert!(
            waived,
            "names::{test} needs a network namespace of its own; set {WAIVED}=1 to go without it: {missing}"
        );
        // Not with `eprintln!`, whose output is hidden when a test passes.
        let _ = writeln!(io::stderr(), "names::{test} was not run: {missing}");
        return;
    }
    let folder = env::temp_dir().join(format!("hostile-names-{}-{test}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let output = namespaces()
        .args(["sh", "-e", "-c", SET_UP, "sh"])
        .arg(&folder)
        .arg(env::current_exe().expect("this test's program"))
        .args(["--exact", &format!("names::{test}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("it starts");
    let _ = std::fs::remove_dir_all(&folder);
    let report = [output.stdout, output.stderr].concat();
    let report = String::from_utf8_lossy(&report);
    assert!(output.status.success() && report.contains("1 passed"), "{report}");
}

fn namespaces() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "--net", "--"]);
    command
}

/// What the system lacks for these tests, if anything.
fn missing() -> Option<String> {
    let tried = namespaces().args(["ip", "link", "set", "lo", "up"]).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// The name server's answer to the n-th query for a name and a type of record, from 0; `None` if it does not answer.
fn zone(name: &str, nth: usize) -> Option<&'static [IpAddr]> {
    Some(match name {
        "public.test" => &[PUBLIC],
        "public-v6.test" => &[PUBLIC_V6],
        "private.test" => &[PRIVATE],
        "loopback.test" => &[LOOPBACK_V6],
        "metadata.test" => &[METADATA],
        "private-too.test" => &[PUBLIC, PRIVATE],
        "private-first.test" => &[PRIVATE, PUBLIC],
        "loopback-too.test" => &[PUBLIC, PUBLIC_V6, LOOPBACK_V6],
        "mapped-too.test" => &[PUBLIC, MAPPED],
        "metadata-too.test" => &[PUBLIC, METADATA],
        "turns-private.test" if nth == 0 => &[PUBLIC],
        "turns-private.test" => &[LOOPBACK],
        "alternates.test" if nth.is_multiple_of(2) => &[PUBLIC],
        "alternates.test" => &[LOOPBACK],
        "nowhere.test" => &[],
        _ => return None,
    })
}

/// The network in the namespace: a listener on every address, and the system's name server.
struct Network {
    endpoints: Vec<(IpAddr, Endpoint)>,
    questions: Arc<Mutex<HashMap<Question, usize>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    name: String,
    kind: Kind,
}

/// The type of record in a query.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    A,
    Aaaa,
}

impl Network {
    fn start() -> Self {
        let listen = |address| (address, Endpoint::start_at(&SocketAddr::new(address, PORT).to_string(), answer_once));
        let socket = UdpSocket::bind("127.0.0.1:53").expect("the port is free in a network of its own");
        let questions = Arc::new(Mutex::new(HashMap::new()));
        let network = Self { endpoints: ALL.map(listen).into(), questions: Arc::clone(&questions) };
        thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, asker)) = socket.recv_from(&mut packet) {
                let Some((head, question)) = read_question(&packet[..length]) else { continue };
                let nth = count(&questions, &question);
                let Some(addresses) = zone(&question.name, nth) else { continue };
                let _ = socket.send_to(&answer(head, question.kind, addresses), asker);
            }
        });
        network
    }

    /// How often the name's IPv4 address was queried.
    fn questions(&self, name: &str) -> usize {
        let question = Question { name: name.to_owned(), kind: Kind::A };
        self.questions.lock().expect("nothing panicked").get(&question).copied().unwrap_or_default()
    }

    /// The addresses that have been connected to.
    fn reached(&self) -> Vec<IpAddr> {
        let reached = self.endpoints.iter().filter(|(_, endpoint)| endpoint.connections() > 0);
        reached.map(|(address, _)| *address).collect()
    }
}

/// Counts a query, and returns how often it was made before.
fn count(questions: &Mutex<HashMap<Question, usize>>, question: &Question) -> usize {
    let mut questions = questions.lock().expect("nothing panicked");
    let times = questions.entry(question.clone()).or_default();
    std::mem::replace(times, *times + 1)
}

/// Answers one request on each connection, so that each request resolves its name.
fn answer_once(wire: &mut Wire) -> io::Result<()> {
    wire.read_request()?;
    wire.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
}

const HEADER_BYTES: usize = 12;

/// A packet up to the end of its question, and the question (RFC 1035, section 4.1).
fn read_question(packet: &[u8]) -> Option<(&[u8], Question)> {
    let (mut labels, mut end) = (Vec::new(), HEADER_BYTES);
    while *packet.get(end)? != 0 {
        let next = end + 1 + usize::from(packet[end]);
        labels.push(String::from_utf8_lossy(packet.get(end + 1..next)?).to_ascii_lowercase());
        end = next;
    }
    let kind = match packet.get(end + 1..end + 3)? {
        [0, 1] => Kind::A,
        [0, 28] => Kind::Aaaa,
        _ => return None,
    };
    Some((packet.get(..end + 5)?, Question { name: labels.join("."), kind }))
}

fn answer(head: &[u8], kind: Kind, addresses: &[IpAddr]) -> Vec<u8> {
    let records: Vec<_> = addresses.iter().filter_map(|address| record(kind, *address)).collect();
    let mut packet = head.to_vec();
    // A response, recursion available, no error; one question, the answers, and nothing else.
    packet[2..4].copy_from_slice(&[0x81, 0x80]);
    packet[6..HEADER_BYTES].fill(0);
    packet[7] = u8::try_from(records.len()).expect("a few records");
    packet.extend(records.concat());
    packet
}

/// The record for an address of this type, with a TTL of 0: the question's name, type, class, TTL, length, address.
fn record(kind: Kind, address: IpAddr) -> Option<Vec<u8>> {
    let (code, address) = match (kind, address) {
        (Kind::A, IpAddr::V4(address)) => (1, address.octets().to_vec()),
        (Kind::Aaaa, IpAddr::V6(address)) => (28, address.octets().to_vec()),
        _ => return None,
    };
    let length = u8::try_from(address.len()).expect("4 or 16");
    Some([&[0xc0, 0x0c, 0, code, 0, 1, 0, 0, 0, 0, 0, length][..], &address].concat())
}

/// The production setting.
const NOTHING_PRIVATE: &str = "";

/// The most permissive setting.
const EVERYTHING: &str = "0.0.0.0/0,::/0";

fn url(host: &str) -> String {
    format!("http://{host}:{PORT}/hook")
}

fn a_sender(networks: &str) -> Sender {
    sender(networks, LONG, RootCertStore::empty())
}

/// Sends to a host whose addresses are all allowed.
#[track_caller]
fn check_reached(host: &str, address: IpAddr) {
    let network = Network::start();
    run(async {
        let sender = a_sender(NOTHING_PRIVATE);
        assert_eq!(vet(&sender, host).await, HostVetting::Public);
        assert_eq!(code(&send(&sender, &url(host), ALERT).await), "accepted");
    });
    assert_eq!(network.reached(), [address]);
}

async fn vet(sender: &Sender, host: &str) -> HostVetting {
    sender.vet_host(&EndpointUrl::parse(&url(host), &EVERYTHING.parse().expect("networks parse")).expect("valid")).await
}

/// Sends to hosts that are forbidden.
#[track_caller]
fn check_blocked(networks: &str, hosts: &[&str]) {
    let (caller, network) = (Location::caller(), Network::start());
    run(async {
        let sender = a_sender(networks);
        for host in hosts {
            assert_eq!(vet(&sender, host).await, HostVetting::Forbidden, "{caller}: {host}");
            let exchange = send(&sender, &url(host), ALERT).await;
            assert_eq!(code(&exchange), "blocked_address", "{caller}: {host}");
            assert_eq!(exchange.shown_duration(), None, "{caller}: {host}");
            let message = exchange.outcome.message().unwrap_or_default();
            assert!(message.contains("is not publicly accessible"), "{caller}: {message}");
        }
    });
    assert_eq!(network.reached(), [] as [IpAddr; 0], "{caller}");
}

#[test]
fn public_addresses() {
    in_a_network_of_its_own("public_addresses", || check_reached("public.test", PUBLIC));
}

#[test]
fn public_addresses_of_the_newer_kind() {
    in_a_network_of_its_own("public_addresses_of_the_newer_kind", || check_reached("public-v6.test", PUBLIC_V6));
}

#[test]
fn private_addresses() {
    in_a_network_of_its_own("private_addresses", || {
        check_blocked(NOTHING_PRIVATE, &["private.test", "loopback.test", "metadata.test"]);
    });
}

#[test]
fn a_public_and_a_private_address() {
    in_a_network_of_its_own("a_public_and_a_private_address", || {
        let hosts =
            ["private-too.test", "private-first.test", "loopback-too.test", "mapped-too.test", "metadata-too.test"];
        check_blocked(NOTHING_PRIVATE, &hosts);
    });
}

#[test]
fn metadata_whatever_is_allowed() {
    in_a_network_of_its_own("metadata_whatever_is_allowed", || {
        check_blocked(EVERYTHING, &["metadata.test", "metadata-too.test", "mapped-too.test"]);
    });
}

/// Each connection goes to the addresses that were vetted for it, since the name is resolved once for each connection.
#[test]
fn a_name_that_changes_between_two_look_ups() {
    in_a_network_of_its_own("a_name_that_changes_between_two_look_ups", || {
        let network = Network::start();
        run(async {
            let sender = a_sender(NOTHING_PRIVATE);
            assert_eq!(code(&send(&sender, &url("turns-private.test"), ALERT).await), "accepted");
            assert_eq!(network.questions("turns-private.test"), 1);
            for _ in 0..3 {
                assert_eq!(code(&send(&sender, &url("turns-private.test"), ALERT).await), "blocked_address");
            }

            let mut codes = Vec::new();
            for _ in 0..10 {
                codes.push(code(&send(&sender, &url("alternates.test"), ALERT).await));
            }
            assert_eq!(codes, ["accepted", "blocked_address"].repeat(5));
        });
        assert_eq!(network.reached(), [PUBLIC]);
    });
}

/// A name may be public when its integration is stored, and private when something is sent.
#[test]
fn a_name_that_changes_after_it_was_vetted() {
    in_a_network_of_its_own("a_name_that_changes_after_it_was_vetted", || {
        let network = Network::start();
        run(async {
            let sender = a_sender(NOTHING_PRIVATE);
            assert_eq!(vet(&sender, "turns-private.test").await, HostVetting::Public);
            assert_eq!(code(&send(&sender, &url("turns-private.test"), ALERT).await), "blocked_address");
        });
        assert_eq!(network.reached(), [] as [IpAddr; 0]);
    });
}

/// If the redirect was followed, it would reach a listener.
#[test]
fn a_redirect_to_the_metadata_service() {
    in_a_network_of_its_own("a_redirect_to_the_metadata_service", || {
        let network = Network::start();
        let moved = Endpoint::start_at("8.8.4.4:80", |wire| {
            wire.read_request()?;
            let location = format!("http://169.254.169.254:{PORT}/latest/meta-data/");
            wire.write(format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"))?;
            wire.hold()
        });
        run(async {
            assert_eq!(code(&send(&a_sender(EVERYTHING), "http://public.test/", ALERT).await), "redirect");
        });
        assert_eq!((moved.connections(), network.reached()), (1, vec![]));
    });
}

#[test]
fn names_without_an_address() {
    in_a_network_of_its_own("names_without_an_address", || {
        let network = Network::start();
        run(async {
            let sender = sender(EVERYTHING, SHORT, RootCertStore::empty());
            // The second name gets no answer until the timeout.
            for host in ["nowhere.test", "no-answer.test"] {
                let started = Instant::now();
                let exchange = send(&sender, &url(host), ALERT).await;
                assert_eq!(code(&exchange), "dns_failed", "{host}");
                assert_eq!(exchange.shown_duration(), None, "{host}");
                assert!(started.elapsed() < SHORT, "{host}: {:?}", started.elapsed());
                assert_eq!(vet(&sender, host).await, HostVetting::Unresolved, "{host}");
            }
        });
        assert_eq!(network.reached(), [] as [IpAddr; 0]);
    });
}
