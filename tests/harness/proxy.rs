//! A proxy between the functions and the cloud, through which some calls go wrong. It reads along: which function was
//! concerned with which delivery, and whether anything is in a call that must not be.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_lambda::types::Environment;
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

use crate::faults::{Fault, Faults, Operation, Service, Weather};
use crate::http_client;
use crate::leaks::{Leak, Secrets, Shown};
use crate::local_cloud::WAIT_SCALE;
use crate::stack::{Stack, StackError, aws};

/// Longer than the functions wait for one try of a call.
const TOO_LATE: Duration = Duration::from_millis(2_500);

/// How long a slow call takes.
const SLOW: Duration = Duration::from_millis(400);

/// Queue delays from here on are scaled as Step Functions' waits are: such a message stands in for one of those.
const SCALED_FROM_SECONDS: u64 = 60;

/// How many leaks are kept. One is too many.
const LEAKS_KEPT: usize = 20;

/// What a delivery's id begins with, and how long the rest of it is.
const DELIVERY_PREFIX: &str = "dlv_";
const ULID_LETTERS: usize = 26;

/// What must not be in a call.
#[derive(Clone, Debug, Default)]
pub struct Guarded {
    /// In none at all: DynamoDB gets it sealed.
    pub secrets: Secrets,
    /// In no message and no execution's input; DynamoDB keeps it.
    pub payloads: Secrets,
}

/// When functions were concerned with a delivery: put, changed or read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Concern {
    /// When `deliver` last was, which takes first attempts only.
    pub delivering_until: Option<Timestamp>,
    /// When somebody first meant to cancel it.
    pub cancelled_at: Option<Timestamp>,
}

/// What the proxy has read so far.
#[derive(Debug, Default)]
struct Notes {
    concerns: HashMap<String, Concern>,
    leaks: Vec<Leak>,
}

/// The running proxy. Stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Each function calls at an address of its own, which tells whose call it is.
    addresses: Vec<(Function, SocketAddr)>,
    faults: Arc<Mutex<Faults>>,
    notes: Arc<Mutex<Notes>>,
    _servers: JoinSet<()>,
}

#[derive(Debug)]
struct Link {
    cloud: String,
    client: reqwest::Client,
    faults: Arc<Mutex<Faults>>,
    guarded: Guarded,
    notes: Arc<Mutex<Notes>>,
}

/// A call that ends without an answer: the connection is reset.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("on purpose")]
    OnPurpose,
    #[error("the caller is gone: {0}")]
    Caller(#[from] hyper::Error),
    #[error("the local cloud: {0}")]
    Cloud(#[from] reqwest::Error),
}

type Answer = Response<Full<Bytes>>;

impl Proxy {
    /// Starts the proxy before the cloud at that URL, in fair weather.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(cloud: String, seed: u64, guarded: Guarded) -> io::Result<Self> {
        let faults = Arc::new(Mutex::new(Faults::new(seed)));
        let client = http_client::builder().no_proxy().build().map_err(io::Error::other)?;
        let notes = Arc::new(Mutex::new(Notes::default()));
        let link = Link { cloud, client, faults: Arc::clone(&faults), guarded, notes: Arc::clone(&notes) };
        let (link, mut addresses, mut servers) = (Arc::new(link), Vec::new(), JoinSet::new());
        for function in Function::ALL {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            addresses.push((function, listener.local_addr()?));
            servers.spawn(serve(listener, function, Arc::clone(&link)));
        }
        Ok(Self { addresses, faults, notes, _servers: servers })
    }

    /// Leads the calls of these functions through the proxy. The local cloud gives every function its own URL as
    /// `AWS_ENDPOINT_URL`; the SDK prefers a service's own variable.
    ///
    /// # Errors
    /// [`StackError`] when a function's environment cannot be changed.
    pub async fn lead(
        &self,
        stack: &Stack,
        lambda: &aws_sdk_lambda::Client,
        functions: &[Function],
    ) -> Result<(), StackError> {
        for (function, address) in self.addresses.iter().filter(|(function, _)| functions.contains(function)) {
            let mut variables = stack.environment(*function).await?;
            let url = format!("http://{address}");
            variables.extend(Service::ALL.map(|service| (service.endpoint_variable().to_owned(), url.clone())));
            lambda
                .update_function_configuration()
                .function_name(stack.resource(function.logical_id())?)
                .environment(Environment::builder().set_variables(Some(variables)).build())
                .send()
                .await
                .map_err(aws("UpdateFunctionConfiguration"))?;
        }
        Ok(())
    }

    pub fn set_weather(&self, weather: Weather) {
        self.with_faults(|faults| faults.set_weather(weather));
    }

    /// Who was concerned with which delivery, by its id.
    pub fn concerns(&self) -> HashMap<String, Concern> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).concerns.clone()
    }

    /// The calls that something was in that must not be, the first of them.
    pub fn leaks(&self) -> Vec<Leak> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).leaks.clone()
    }

    pub fn with_faults<T>(&self, use_them: impl FnOnce(&mut Faults) -> T) -> T {
        use_them(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve(listener: TcpListener, caller: Function, link: Arc<Link>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, caller, Arc::clone(&link)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, caller: Function, link: Arc<Link>) {
    // Whatever ends a connection from this side is a reset, not a farewell.
    let _ = stream.set_zero_linger();
    let service = service_fn(|request| link.call(caller, request));
    // Ends in an error each time a call ends without an answer.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Link {
    async fn call(&self, caller: Function, request: Request<Incoming>) -> Result<Answer, NoAnswer> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let Some(operation) = target.and_then(Operation::parse) else {
            return Ok(plain(StatusCode::NOT_IMPLEMENTED));
        };
        let at = Timestamp::now();
        self.read_along(caller, &operation, &body, at);
        let fault = self.faults.lock().unwrap_or_else(PoisonError::into_inner).draw(&operation);
        let body = with_scaled_delay(&operation, body);
        let pass_on = || self.pass_on(&parts.headers, body.clone());
        match fault {
            None => pass_on().await,
            Some(Fault::Throttled) => Ok(error(StatusCode::BAD_REQUEST, operation.service.throttling_code())),
            Some(Fault::ServerError) => Ok(error(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError")),
            Some(Fault::Unavailable) => Ok(plain(StatusCode::SERVICE_UNAVAILABLE)),
            Some(Fault::Reset) => Err(NoAnswer::OnPurpose),
            Some(Fault::NoAnswer) => {
                tokio::time::sleep(TOO_LATE).await;
                Err(NoAnswer::OnPurpose)
            }
            Some(Fault::AnswerLost) => {
                pass_on().await?;
                Err(NoAnswer::OnPurpose)
            }
            Some(Fault::AnswerTooLate) => {
                let answer = pass_on().await;
                tokio::time::sleep(TOO_LATE).await;
                answer
            }
            Some(Fault::Slow) => {
                tokio::time::sleep(SLOW).await;
                pass_on().await
            }
            Some(Fault::DoneTwice) => {
                pass_on().await?;
                pass_on().await
            }
        }
    }

    fn read_along(&self, caller: Function, operation: &Operation, body: &Bytes, at: Timestamp) {
        let text = String::from_utf8_lossy(body);
        let shown = || Shown::new(format!("a {} by {}", operation.name, caller.logical_id()), text.clone());
        let mut leaks = self.guarded.secrets.leaks([shown()]);
        if operation.service != Service::DynamoDb {
            leaks.extend(self.guarded.payloads.leaks([shown()]));
        }
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LEAKS_KEPT - notes.leaks.len();
        notes.leaks.extend(leaks.into_iter().take(room));
        if operation.service == Service::DynamoDb {
            let is_of_deliver = caller == Function::Deliver;
            for delivery in deliveries_in(&text) {
                notes.concerns.entry(delivery.to_owned()).or_default().note(is_of_deliver, &text, at);
            }
        }
    }

    async fn pass_on(&self, headers: &HeaderMap, body: Bytes) -> Result<Answer, NoAnswer> {
        let mut headers = headers.clone();
        headers.remove(CONTENT_LENGTH);
        let answer = self.client.post(&self.cloud).headers(headers).body(body).send().await?;
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            // Length and framing are this connection's own.
            if name != CONTENT_LENGTH && name != http::header::TRANSFER_ENCODING && name != http::header::CONNECTION {
                response = response.header(name, value);
            }
        }
        let body = answer.bytes().await?;
        Ok(response.body(Full::new(body)).unwrap_or_else(|_| plain(StatusCode::BAD_GATEWAY)))
    }
}

impl Concern {
    fn note(&mut self, is_of_deliver: bool, call: &str, at: Timestamp) {
        if is_of_deliver {
            self.delivering_until = self.delivering_until.max(Some(at));
        }
        if call.contains(&format!("\"{}\"", Status::Cancelled)) {
            self.cancelled_at.get_or_insert(at);
        }
    }
}

/// The ids of deliveries that stand in a call.
fn deliveries_in(text: &str) -> impl Iterator<Item = &str> {
    let ids = text.match_indices(DELIVERY_PREFIX).filter_map(|(start, prefix)| {
        let id = text.get(start..start + prefix.len() + ULID_LETTERS)?;
        id[prefix.len()..].bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(id)
    });
    // One for each place in the key and in the values.
    ids.collect::<std::collections::BTreeSet<_>>().into_iter()
}

/// Scales a message's delay as the local cloud scales Step Functions' waits. The delay is not part of what SQS returns a
/// checksum of.
fn with_scaled_delay(operation: &Operation, body: Bytes) -> Bytes {
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

fn error(status: StatusCode, code: &str) -> Answer {
    let body = json!({ "__type": code, "message": "injected" }).to_string();
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/x-amz-json-1.0")
        // Which of SQS's protocols is spoken decides where its code is looked for.
        .header("x-amzn-query-error", format!("{code};Sender"));
    response.body(Full::new(body.into())).unwrap_or_else(|_| plain(status))
}

fn plain(status: StatusCode) -> Answer {
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
        let scaled = with_scaled_delay(&operation, body.to_string().into());
        assert_eq!(serde_json::from_slice::<Value>(&scaled).unwrap(), expected);
    }

    #[test]
    fn deliveries_are_found_in_a_call() {
        let (one, other) = ("dlv_01JH7VVHV8550CMES94JPY72KG", "dlv_01JH7VVHV81KJMEKY94GFHBBTY");
        let call =
            format!(r#"{{"Key":{{"delivery_id":{{"S":"{one}"}}}},"a":"{other} {one}","b":"payload_dlv_","c":"dlv_"}}"#);
        assert_eq!(deliveries_in(&call).collect::<Vec<_>>(), [other, one]);
    }

    #[test]
    fn who_was_concerned_when_is_noted() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut concern = Concern::default();
        concern.note(true, "", at(1));
        concern.note(false, "", at(2));
        assert_eq!(concern, Concern { delivering_until: Some(at(1)), cancelled_at: None });
        concern.note(true, r#"{":status":{"S":"cancelled"}}"#, at(3));
        concern.note(false, r#"{":status":{"S":"cancelled"}}"#, at(4));
        assert_eq!(concern, Concern { delivering_until: Some(at(3)), cancelled_at: Some(at(3)) });
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
