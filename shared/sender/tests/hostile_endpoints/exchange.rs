//! A request to a hostile endpoint, concurrent requests to a healthy one, and what must hold in every case.

use std::panic::Location;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::endpoint::url::EndpointUrl;
use http::{HeaderMap, Method};
use rustls::RootCertStore;
use sender::{BODY_TIMEOUT, Exchange, OutgoingRequest, Sender, SenderConfig};

use crate::endpoint::{Behaviour, Endpoint, healthy};

/// The request timeout for endpoints that are expected to time out.
pub(crate) const SHORT: Duration = Duration::from_millis(600);

/// The request timeout for endpoints that must be given up before they time out.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// The delay that is tolerated on a busy machine.
const LATE: Duration = Duration::from_secs(2);

/// The expected result of a request to a hostile endpoint.
pub(crate) struct Expected {
    pub(crate) limit: Duration,
    /// The outcome's code; `accepted` for a success.
    pub(crate) code: &'static str,
    /// A part of the message for the customer.
    pub(crate) message: &'static str,
    pub(crate) excerpt: Option<&'static str>,
}

/// A failure without an excerpt.
pub(crate) fn fails(limit: Duration, code: &'static str, message: &'static str) -> Expected {
    Expected { limit, code, message, excerpt: None }
}

/// An accepted request, whatever comes after the status.
pub(crate) fn is_accepted(limit: Duration) -> Expected {
    Expected { limit, code: "accepted", message: "", excerpt: None }
}

/// A sender like that of the functions, except for the networks that it may reach.
pub(crate) fn sender(networks: &str, request_timeout: Duration, roots: RootCertStore) -> Sender {
    let allowed_networks = networks.parse().expect("networks parse");
    Sender::with_roots(SenderConfig { request_timeout, allowed_networks }, roots)
}

pub(crate) const LOOPBACK: &str = "127.0.0.0/8,::1/128";

/// Sends a payload.
pub(crate) async fn send(sender: &Sender, url: &str, payload: &'static [u8]) -> Exchange {
    // A URL as it would have been stored while its network was allowed.
    let any = "0.0.0.0/0,::/0".parse().expect("networks parse");
    let url = EndpointUrl::parse(url, &any).expect("a test URL is valid");
    let (headers, body) = (HeaderMap::new(), Bytes::from_static(payload));
    let request = OutgoingRequest { method: Method::POST, headers, body, secrets: Vec::new() };
    sender.send(&url, request).await.expect("no fault of our own")
}

pub(crate) const ALERT: &[u8] = br#"{"event_type":"alert.triggered"}"#;

/// The code of an exchange's outcome; `accepted` for a success.
pub(crate) fn code(exchange: &Exchange) -> &'static str {
    exchange.outcome.code().unwrap_or("accepted")
}

/// Runs a test on one thread, like the functions.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(test)
}

#[track_caller]
pub(crate) fn check(behaviour: Behaviour, expected: Expected) {
    let caller = Location::caller();
    run(async {
        let endpoint = Endpoint::start(behaviour);
        let sender = sender(LOOPBACK, expected.limit, RootCertStore::empty());
        check_at(&endpoint, &endpoint.url(), sender, ALERT, &expected, caller).await;
    });
}

/// Sends one request to `url` at the endpoint, and others to a healthy neighbour at the same time.
pub(crate) async fn check_at(
    endpoint: &Endpoint,
    url: &str,
    sender: Sender,
    payload: &'static [u8],
    expected: &Expected,
    caller: &Location<'_>,
) {
    let neighbour = Endpoint::start(healthy);
    let started = Instant::now();
    let exchange = tokio::select! {
        exchange = send(&sender, url, payload) => exchange,
        () = neighbours(&sender, &neighbour, caller) => unreachable!("it never ends"),
    };
    let took = started.elapsed();

    assert_eq!(code(&exchange), expected.code, "{caller}: {:?}", exchange.outcome);
    let message = exchange.outcome.message().unwrap_or_default();
    assert!(message.contains(expected.message), "{caller}: {message}");
    assert_eq!(message.is_empty(), exchange.outcome.is_success(), "{caller}");
    assert_eq!(exchange.excerpt.as_deref(), expected.excerpt, "{caller}");
    // Endpoints with the short limit may use it up; the others must be given up early.
    assert!(took < expected.limit.min(SHORT) + BODY_TIMEOUT + LATE, "{caller}: {took:?}");

    assert!(neighbour_answers(&sender, &neighbour).await, "{caller}: a healthy endpoint is no longer reached");
    drop(sender);
    assert!(endpoint.closes().await, "{caller}: its connection is still open");
}

/// Sends to the healthy endpoint in an endless loop; each request must be accepted quickly.
async fn neighbours(sender: &Sender, neighbour: &Endpoint, caller: &Location<'_>) {
    loop {
        assert!(neighbour_answers(sender, neighbour).await, "{caller}: a healthy endpoint was affected");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn neighbour_answers(sender: &Sender, neighbour: &Endpoint) -> bool {
    let started = Instant::now();
    let exchange = send(sender, &neighbour.url(), ALERT).await;
    exchange.outcome.is_success() && started.elapsed() < LATE
}
