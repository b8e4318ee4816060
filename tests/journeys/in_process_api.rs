//! The API running in this process, for what cannot be done with the deployed one: other settings, and faults in its
//! calls to the cloud.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use api::{Settings, router};
use aws::environment::Environment;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use domain::ids::OrganizationId;
use harness::api::ORGANIZATION_CLAIM;
use harness::http_client;
use harness::local_cloud::sdk_config;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};
use support::function::Function;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_service::Service;

use crate::testbed::Testbed;

/// The API, called by users of one organization.
pub struct InProcessApi {
    router: Router,
    organization: OrganizationId,
}

/// What it answered.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body; `null` when it is empty.
    pub body: Value,
}

impl InProcessApi {
    /// The API of a testbed's stack, with other values for some of its settings, and the cloud at that URL.
    pub async fn new(testbed: &Testbed, settings: &[(&str, &str)], cloud: &str) -> anyhow::Result<Self> {
        let mut variables = testbed.stack.environment(Function::Api).await?;
        variables.extend(settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let look_up = |name: &str| variables.get(name).cloned();
        let settings = Settings::read(&Environment::new(&look_up))?;
        let api = api::Api::new(settings, &sdk_config(cloud))?;
        Ok(Self { router: router(Arc::new(api)), organization: testbed.organization })
    }

    /// Makes a request in the form in which API Gateway passes it on.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let mut sent: HashMap<_, _> = headers.iter().copied().collect();
        if body.is_some() {
            sent.entry("content-type").or_insert("application/json");
        }
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": sent,
            "isBase64Encoded": false, "body": body.map(Value::to_string),
            "requestContext": {
                "accountId": "000000000000", "apiId": "api", "domainName": "localhost", "requestId": "request",
                "routeKey": "$default", "stage": "$default", "time": "10/Jan/2025:10:23:45 +0000", "timeEpoch": 0,
                "authorizer": {"jwt": {"claims": {ORGANIZATION_CLAIM: self.organization.to_string()}, "scopes": null}},
                "http": {"method": method.as_str(), "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1",
                         "userAgent": "journeys"},
            },
        });
        let request = lambda_http::request::from_str(&event.to_string())?;
        let response = self.router.clone().call(request).await?;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await?;
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

/// The fault that a link adds to calls to DynamoDB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkFault {
    /// The answer to the first try of every write is lost. The SDK, which cannot know that the write was made, repeats
    /// it.
    LoseAnswers,
    /// The answer to a read arrives up to [`MAX_READ_DELAY`] late, when the item may have changed.
    DelayReads,
}

/// As long as a request without a fault takes, so that requests overlap; and so short that all reads of one that has to
/// repeat itself fit into the time of a request.
const MAX_READ_DELAY: Duration = Duration::from_millis(500);

/// A proxy for the cloud that adds a fault. Stops when dropped.
pub struct FaultyLink {
    address: SocketAddr,
    server: JoinHandle<()>,
}

struct Upstream {
    cloud: String,
    fault: LinkFault,
    http: reqwest::Client,
}

impl FaultyLink {
    pub async fn start(cloud: &str, fault: LinkFault) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let http = http_client::builder().pool_max_idle_per_host(0).build()?;
        let upstream = Arc::new(Upstream { cloud: cloud.to_owned(), fault, http });
        let server = tokio::spawn(async move {
            // Ends only when the task is aborted.
            let _ = axum::serve(listener, Router::new().fallback(handle).with_state(upstream)).await;
        });
        Ok(Self { address, server })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for FaultyLink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn handle(State(upstream): State<Arc<Upstream>>, request: Request) -> Response {
    let is_faulty = is_faulty(upstream.fault, request.headers());
    let answer = forward(&upstream, request).await;
    if is_faulty && upstream.fault == LinkFault::DelayReads {
        tokio::time::sleep(MAX_READ_DELAY.mul_f64(fastrand::f64())).await;
    }
    match answer {
        Ok(_) if is_faulty && upstream.fault == LinkFault::LoseAnswers => {
            (StatusCode::INTERNAL_SERVER_ERROR, "the answer was lost").into_response()
        }
        Ok(answer) => answer,
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

/// Whether a call with these headers gets the fault.
fn is_faulty(fault: LinkFault, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = text("x-amz-target").rsplit('.').next().unwrap_or_default();
    match fault {
        LinkFault::LoseAnswers => {
            let is_first_try = text("amz-sdk-request").contains("attempt=1");
            is_first_try && ["PutItem", "UpdateItem", "TransactWriteItems"].contains(&operation)
        }
        LinkFault::DelayReads => operation == "GetItem",
    }
}

async fn forward(upstream: &Upstream, request: Request) -> anyhow::Result<Response> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let request = upstream.http.request(parts.method, format!("{}{path}", upstream.cloud));
    let body = to_bytes(body, usize::MAX).await?;
    let answer = request.headers(end_to_end(parts.headers)).body(body).send().await?;
    let (status, headers) = (answer.status(), end_to_end(answer.headers().clone()));
    Ok((status, headers, Body::from(answer.bytes().await?)).into_response())
}

/// The headers without those that belong to one connection.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}
