//! A proxy between the functions and the cloud, which injects faults into calls. It also observes them: which function
//! used which delivery's item when, and whether a call holds a secret or a payload that it must not hold.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::delivery::Status;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::{Value, json};
use support::function::Function;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::faults::{Fault, FaultInjector, FaultProfile, Operation, Service};
use crate::http_client;
use crate::leaks::{Leak, Secrets, VisibleText};
use crate::local_cloud::WAIT_SCALE;
use crate::stack::Stack;

/// Longer than the functions wait for an answer before they try again.
const TOO_LATE: Duration = Duration::from_millis(2_500);

/// The delay of a slow call.
const SLOW: Duration = Duration::from_millis(400);

/// From how many seconds on a message's delay is scaled like the waits of Step Functions, which it then stands in for.
const SCALED_FROM_SECONDS: u64 = 60;

/// How many leaks are kept for the report.
const MAX_LEAKS: usize = 20;

/// What a delivery's id begins with, and how long the rest of it is.
const DELIVERY_PREFIX: &str = "dlv_";
const ULID_LETTERS: usize = 26;

/// What must not be in a call.
#[derive(Clone, Debug, Default)]
pub struct Forbidden {
    /// Not in any call: DynamoDB gets it encrypted.
    pub secrets: Secrets,
    /// Not in a message or in an execution's input; DynamoDB stores it.
    pub payloads: Secrets,
}

/// When functions read or wrote a delivery's item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ItemUse {
    /// The last time that `deliver` did, which makes first attempts only.
    pub last_by_deliver: Option<Timestamp>,
    /// The first time that a function wrote that it is cancelled.
    pub cancelled_at: Option<Timestamp>,
}

/// What the proxy has observed so far.
#[derive(Debug, Default)]
struct Observations {
    item_uses: HashMap<String, ItemUse>,
    leaks: Vec<Leak>,
}

/// The running proxy. Stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Each function has an address of its own to call, which identifies the caller.
    addresses: Vec<(Function, SocketAddr)>,
    injector: Arc<Mutex<FaultInjector>>,
    observations: Arc<Mutex<Observations>>,
    _servers: JoinSet<()>,
}

#[derive(Debug)]
struct Handler {
    cloud: String,
    client: reqwest::Client,
    forbidden: Forbidden,
    injector: Arc<Mutex<FaultInjector>>,
    observations: Arc<Mutex<Observations>>,
}

/// Why a call gets no answer: its connection is reset.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("the fault that is injected")]
    Injected,
    #[error("the caller is gone: {0}")]
    Caller(#[from] hyper::Error),
    #[error("the local cloud: {0}")]
    Cloud(#[from] reqwest::Error),
}

type Answer = Response<Full<Bytes>>;

impl Proxy {
    /// Starts a proxy for the cloud at that URL, which injects no faults yet.
    ///
    /// # Errors
    /// When the system has no free port.
    pub async fn start(cloud: String, seed: u64, forbidden: Forbidden) -> anyhow::Result<Self> {
        let injector = Arc::new(Mutex::new(FaultInjector::new(seed)));
        let client = http_client::builder().no_proxy().build()?;
        let observations = Arc::<Mutex<Observations>>::default();
        let handler = Handler {
            cloud,
            client,
            forbidden,
            injector: Arc::clone(&injector),
            observations: Arc::clone(&observations),
        };
        let (handler, mut addresses, mut servers) = (Arc::new(handler), Vec::new(), JoinSet::new());
        for function in Function::ALL {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            addresses.push((function, listener.local_addr()?));
            servers.spawn(serve(listener, function, Arc::clone(&handler)));
        }
        Ok(Self { addresses, injector, observations, _servers: servers })
    }

    /// Routes the calls of these functions through the proxy. The local cloud gives every function its own URL as
    /// `AWS_ENDPOINT_URL`; the SDK prefers a service's own variable.
    ///
    /// # Errors
    /// When a function's environment cannot be changed.
    pub async fn route(&self, stack: &Stack, functions: &[Function]) -> anyhow::Result<()> {
        for (function, address) in self.addresses.iter().filter(|(function, _)| functions.contains(function)) {
            let mut variables = stack.environment(*function).await?;
            let url = format!("http://{address}");
            variables.extend(Service::ALL.map(|service| (service.endpoint_variable().to_owned(), url.clone())));
            stack.set_environment(*function, variables).await?;
        }
        Ok(())
    }

    /// Sets which calls fail from now on.
    pub fn set_profile(&self, profile: FaultProfile) {
        self.injector().set_profile(profile);
    }

    /// When functions used each delivery's item, by the delivery's id.
    pub fn item_uses(&self) -> HashMap<String, ItemUse> {
        self.observations.lock().unwrap_or_else(PoisonError::into_inner).item_uses.clone()
    }

    /// The first calls with something in them that must not be there.
    pub fn leaks(&self) -> Vec<Leak> {
        self.observations.lock().unwrap_or_else(PoisonError::into_inner).leaks.clone()
    }

    /// What has been injected so far. Calls wait while the guard is held.
    pub fn injector(&self) -> MutexGuard<'_, FaultInjector> {
        self.injector.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(listener: TcpListener, caller: Function, handler: Arc<Handler>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve_connection(stream, caller, Arc::clone(&handler)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve_connection(stream: TcpStream, caller: Function, handler: Arc<Handler>) {
    // When this side ends the connection, it is reset rather than closed.
    let _ = stream.set_zero_linger();
    let service = service_fn(|request| handler.handle(caller, request));
    // This is an error each time a call gets no answer.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Handler {
    async fn handle(&self, caller: Function, request: Request<Incoming>) -> Result<Answer, NoAnswer> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let Some(operation) = target.and_then(Operation::parse) else {
            return Ok(respond(StatusCode::NOT_IMPLEMENTED));
        };
        let at = Timestamp::now();
        self.update_health(caller, &operation, &body, at);
        let fault = self.injector.lock().unwrap_or_else(PoisonError::into_inner).draw(&operation);
        let body = scale_delay(&operation, body);
        let forward = || self.forward(&parts.headers, body.clone());
        match fault {
            None => forward().await,
            Some(Fault::Throttled) => Ok(respond_error(StatusCode::BAD_REQUEST, operation.service.throttling_code())),
            Some(Fault::ServerError) => Ok(respond_error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError")),
            Some(Fault::Unavailable) => Ok(respond(StatusCode::SERVICE_UNAVAILABLE)),
            Some(Fault::Reset) => Err(NoAnswer::Injected),
            Some(Fault::NoAnswer) => {
                tokio::time::sleep(TOO_LATE).await;
                Err(NoAnswer::Injected)
            }
            Some(Fault::AnswerLost) => {
                forward().await?;
                Err(NoAnswer::Injected)
            }
            Some(Fault::AnswerTooLate) => {
                let answer = forward().await;
                tokio::time::sleep(TOO_LATE).await;
                answer
            }
            Some(Fault::Slow) => {
                tokio::time::sleep(SLOW).await;
                forward().await
            }
            Some(Fault::Duplicated) => {
                forward().await?;
                forward().await
            }
        }
    }

    fn update_health(&self, caller: Function, operation: &Operation, body: &Bytes, at: Timestamp) {
        let body = String::from_utf8_lossy(body);
        let call = || VisibleText::new(format!("{} called by {}", operation.name, caller.logical_id()), body.clone());
        let mut leaks = self.forbidden.secrets.find_in([call()]);
        if operation.service != Service::DynamoDb {
            leaks.extend(self.forbidden.payloads.find_in([call()]));
        }
        let mut observations = self.observations.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MAX_LEAKS - observations.leaks.len();
        observations.leaks.extend(leaks.into_iter().take(room));
        if operation.service == Service::DynamoDb {
            for delivery in find_deliveries(&body) {
                observations.item_uses.entry(delivery.to_owned()).or_default().add(caller, &body, at);
            }
        }
    }

    async fn forward(&self, headers: &HeaderMap, body: Bytes) -> Result<Answer, NoAnswer> {
        let mut headers = headers.clone();
        headers.remove(CONTENT_LENGTH);
        let answer = self.client.post(&self.cloud).headers(headers).body(body).send().await?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            // This connection has its own length and framing.
            if name != CONTENT_LENGTH && name != http::header::TRANSFER_ENCODING && name != http::header::CONNECTION {
                response = response.header(name, value);
            }
        }
        let body = answer.bytes().await?;
        Ok(response.body(Full::new(body)).unwrap_or_else(|_| respond(StatusCode::BAD_GATEWAY)))
    }
}

impl ItemUse {
    fn add(&mut self, caller: Function, call: &str, at: Timestamp) {
        if caller == Function::Deliver {
            self.last_by_deliver = self.last_by_deliver.max(Some(at));
        }
        if call.contains(&format!("\"{}\"", Status::Cancelled)) {
            self.cancelled_at.get_or_insert(at);
        }
    }
}

/// The ids of deliveries in the body of a call, each once.
fn find_deliveries(text: &str) -> impl Iterator<Item = &str> {
    let ids = text.match_indices(DELIVERY_PREFIX).filter_map(|(start, prefix)| {
        let id = text.get(start..start + prefix.len() + ULID_LETTERS)?;
        id[prefix.len()..].bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(id)
    });
    ids.collect::<std::collections::BTreeSet<_>>().into_iter()
}

/// Scales a long delay of a message as the local cloud scales the waits of Step Functions. SQS does not include the
/// delay in the checksum that it returns.
fn scale_delay(operation: &Operation, body: Bytes) -> Bytes {
    if operation.name != "SendMessage" {
        return body;
    }
    let Ok(mut message) = serde_json::from_slice::<Value>(&body) else { return body };
    match message["DelaySeconds"].as_u64() {
        Some(seconds) if seconds >= SCALED_FROM_SECONDS => {
            let scale: f64 = WAIT_SCALE.parse().unwrap_or(1.0);
            message["DelaySeconds"] = json!((seconds as f64 * scale).ceil() as u64);
            message.to_string().into()
        }
        _ => body,
    }
}

fn respond_error(status: StatusCode, code: &str) -> Answer {
    let body = json!({ "__type": code, "message": "injected" }).to_string();
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/x-amz-json-1.0")
        // The SDK reads the code of an SQS error here, and that of other services in the body.
        .header("x-amzn-query-error", format!("{code};Sender"));
    response.body(Full::new(body.into())).unwrap_or_else(|_| respond(status))
}

fn respond(status: StatusCode) -> Answer {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, body: Value, expected: Value) {
        let operation = Operation::parse(target).unwrap();
        let scaled = scale_delay(&operation, body.to_string().into());
        assert_eq!(serde_json::from_slice::<Value>(&scaled).unwrap(), expected);
    }

    #[test]
    fn deliveries_are_found_in_a_call() {
        let (one, other) = ("dlv_01JH7VVHV8550CMES94JPY72KG", "dlv_01JH7VVHV81KJMEKY94GFHBBTY");
        let call =
            format!(r#"{{"Key":{{"delivery_id":{{"S":"{one}"}}}},"a":"{other} {one}","b":"payload_dlv_","c":"dlv_"}}"#);
        assert_eq!(find_deliveries(&call).collect::<Vec<_>>(), [other, one]);
    }

    #[test]
    fn the_last_use_by_deliver_and_the_first_cancellation_are_kept() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let cancellation = r#"{":status":{"S":"cancelled"}}"#;
        let mut item_use = ItemUse::default();
        item_use.add(Function::Deliver, "", at(1));
        item_use.add(Function::Retry, "", at(2));
        assert_eq!(item_use, ItemUse { last_by_deliver: Some(at(1)), cancelled_at: None });
        item_use.add(Function::Deliver, cancellation, at(3));
        item_use.add(Function::Retry, cancellation, at(4));
        assert_eq!(item_use, ItemUse { last_by_deliver: Some(at(3)), cancelled_at: Some(at(3)) });
    }

    #[test]
    fn only_long_delays_are_scaled() {
        let long = json!({ "DelaySeconds": 900, "MessageBody": "a" });
        check("AmazonSQS.SendMessage", long.clone(), json!({ "DelaySeconds": 2, "MessageBody": "a" }));
        check("AmazonSQS.SendMessage", json!({ "DelaySeconds": 5 }), json!({ "DelaySeconds": 5 }));
        check("AmazonSQS.SendMessage", json!({ "MessageBody": "a" }), json!({ "MessageBody": "a" }));
        check("DynamoDB_20120810.PutItem", long.clone(), long);
    }
}
