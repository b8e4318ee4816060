//! A proxy between the functions and the cloud, through which some calls go wrong.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::tests::local_cloud::WAIT_SCALE;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::faults::{Fault, Faults, Operation, Weather};

/// Longer than the functions wait for one try of a call.
const TOO_LATE: Duration = Duration::from_millis(2_500);

/// How long a slow call takes.
const SLOW: Duration = Duration::from_millis(400);

/// Queue delays from here on are scaled as Step Functions' waits are: such a message stands in for one of those.
const SCALED_FROM_SECONDS: u64 = 60;

/// The running proxy. Stops when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    faults: Arc<Mutex<Faults>>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct Link {
    cloud: String,
    client: reqwest::Client,
    faults: Arc<Mutex<Faults>>,
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
    pub(crate) async fn start(cloud: String, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let faults = Arc::new(Mutex::new(Faults::new(seed)));
        let client = reqwest::Client::builder().no_proxy().build().map_err(io::Error::other)?;
        let link = Arc::new(Link { cloud, client, faults: Arc::clone(&faults) });
        let server = tokio::spawn(serve(listener, link));
        Ok(Self { address, faults, server })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        self.with_faults(|faults| faults.set_weather(weather));
    }

    pub(crate) fn with_faults<T>(&self, use_them: impl FnOnce(&mut Faults) -> T) -> T {
        use_them(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(listener: TcpListener, link: Arc<Link>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, Arc::clone(&link)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, link: Arc<Link>) {
    // Whatever ends a connection from this side is a reset, not a farewell.
    let _ = stream.set_zero_linger();
    let service = service_fn(|request| link.call(request));
    // Ends in an error each time a call ends without an answer.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Link {
    async fn call(&self, request: Request<Incoming>) -> Result<Answer, NoAnswer> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
        let Some(operation) = target.and_then(Operation::parse) else {
            return Ok(plain(StatusCode::NOT_IMPLEMENTED));
        };
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
    fn only_long_delays_are_scaled() {
        let long = json!({ "DelaySeconds": 900, "MessageBody": "a" });
        check("AmazonSQS.SendMessage", long.clone(), json!({ "DelaySeconds": 2, "MessageBody": "a" }));
        check("AmazonSQS.SendMessage", json!({ "DelaySeconds": 5 }), json!({ "DelaySeconds": 5 }));
        check("AmazonSQS.SendMessage", json!({ "MessageBody": "a" }), json!({ "MessageBody": "a" }));
        check("DynamoDB_20120810.PutItem", long.clone(), long);
    }
}
