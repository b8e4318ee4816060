//! One request to a hostile endpoint, with requests to a healthy one beside it, and what must hold whatever happens.

use std::panic::Location;
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::endpoint::url::EndpointUrl;
use http::{HeaderMap, Method};
use rustls::RootCertStore;
use sender::{BODY_TIMEOUT, Exchange, OutgoingRequest, Sender, SenderConfig};

use crate::endpoint::{Behaviour, Endpoint, healthy};

/// The request timeout of those that are waited for.
pub(crate) const SHORT: Duration = Duration::from_millis(600);

/// The request timeout of those that must be given up for a better reason than time.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// By how much a busy machine may be late.
const LATE: Duration = Duration::from_secs(2);

/// What a request to a hostile endpoint must come to.
pub(crate) struct Expected {
    pub(crate) limit: Duration,
    /// The outcome's code; `accepted` for a success.
    pub(crate) code: &'static str,
    /// A part of the sentence that the customer reads.
    pub(crate) sentence: &'static str,
    pub(crate) excerpt: Option<&'static str>,
}

/// A failure that shows nothing of the endpoint's.
pub(crate) fn fails(limit: Duration, code: &'static str, sentence: &'static str) -> Expected {
    Expected { limit, code, sentence, excerpt: None }
}

/// A request that counts as accepted, whatever comes after the status.
pub(crate) fn is_accepted(limit: Duration) -> Expected {
    Expected { limit, code: "accepted", sentence: "", excerpt: None }
}

/// A sender as functions have it, but for the networks it may reach.
pub(crate) fn sender(networks: &str, request_timeout: Duration, roots: RootCertStore) -> Sender {
    let allowed_networks = networks.parse().expect("networks parse");
    Sender::with_roots(SenderConfig { request_timeout, allowed_networks }, roots)
}

pub(crate) const LOOPBACK: &str = "127.0.0.0/8,::1/128";

/// Sends a payload.
pub(crate) async fn send(sender: &Sender, url: &str, payload: &'static [u8]) -> Exchange {
    // As an integration has it that was stored while its network was allowed.
    let any = "0.0.0.0/0,::/0".parse().expect("networks parse");
    let url = EndpointUrl::parse(url, &any).expect("a test URL is valid");
    let request =
        OutgoingRequest { method: Method::POST, headers: HeaderMap::new(), body: Bytes::from_static(payload) };
    sender.send(&url, request).await.expect("no fault of our own")
}

pub(crate) const ALERT: &[u8] = br#"{"event_type":"alert.triggered"}"#;

/// The code of an exchange's outcome; `accepted` for a success.
pub(crate) fn code(exchange: &Exchange) -> &'static str {
    exchange.outcome.code().unwrap_or("accepted")
}

/// Runs a test as the functions run: on one thread.
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

/// Sends one request to `url` of the endpoint, and meanwhile others to a healthy neighbour.
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
    let sentence = exchange.outcome.message().unwrap_or_default();
    assert!(sentence.contains(expected.sentence), "{caller}: {sentence}");
    assert_eq!(sentence.is_empty(), exchange.outcome.is_success(), "{caller}");
    assert_eq!(exchange.excerpt.as_deref(), expected.excerpt, "{caller}");
    // Whoever must be waited for has the whole limit; the others are given up at once.
    assert!(took < expected.limit.min(SHORT) + BODY_TIMEOUT + LATE, "{caller}: {took:?}");

    assert!(neighbour_answers(&sender, &neighbour).await, "{caller}: a healthy endpoint is no longer reached");
    drop(sender);
    assert!(endpoint.is_let_go().await, "{caller}: its connection is still open");
}

/// Sends to the healthy endpoint without end; each request is accepted, and soon.
async fn neighbours(sender: &Sender, neighbour: &Endpoint, caller: &Location<'_>) {
    loop {
        assert!(neighbour_answers(sender, neighbour).await, "{caller}: a healthy endpoint was touched");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn neighbour_answers(sender: &Sender, neighbour: &Endpoint) -> bool {
    let started = Instant::now();
    let exchange = send(sender, &neighbour.url(), ALERT).await;
    exchange.outcome.is_success() && started.elapsed() < LATE
}
