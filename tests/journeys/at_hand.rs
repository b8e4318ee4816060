//! The API in this process, for what the deployed one cannot be brought to: settings of another stack, and a way to the
//! cloud on which answers are lost.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ::tests::api::ORGANIZATION_CLAIM;
use ::tests::local_cloud::sdk_config;
use ::tests::stack::Function;
use api::{Settings, router};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method, StatusCode};
use libtest_mimic::Failed;
use serde_json::{Value, json};
use shared::ids::OrganizationId;
use shared::io::environment::Environment;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_service::Service;

use crate::scene::Scene;

/// The API, and the organization that its callers' tokens name.
pub struct ApiAtHand {
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

impl ApiAtHand {
    /// The API of a scene's stack, with other values for some of its settings, and the cloud at that URL.
    pub async fn open(scene: &Scene, settings: &[(&str, &str)], cloud: &str) -> Result<Self, Failed> {
        let mut variables = scene.stack.environment(Function::Api).await?;
        variables.extend(settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
        let look_up = |name: &str| variables.get(name).cloned();
        let settings = Settings::read(&Environment::new(&look_up))?;
        let api = api::Api::new(settings, &sdk_config(cloud))?;
        Ok(Self { router: router(Arc::new(api)), organization: scene.organization })
    }

    /// Makes a request as API Gateway hands one over.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Answer, Failed> {
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

/// A way to the cloud on which the first answer to every write of DynamoDB's is lost: the write is made, and the SDK, which
/// cannot know, repeats it. Gone when dropped.
pub struct LossyLink {
    address: SocketAddr,
    server: JoinHandle<()>,
}

struct Link {
    cloud: String,
    http: reqwest::Client,
}

impl LossyLink {
    pub async fn to(cloud: &str) -> Result<Self, Failed> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).build()?;
        let link = Arc::new(Link { cloud: cloud.to_owned(), http });
        let server = tokio::spawn(async move {
            // Ends with the task; there is nobody to tell.
            let _ = axum::serve(listener, Router::new().fallback(pass_on).with_state(link)).await;
        });
        Ok(Self { address, server })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for LossyLink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass_on(State(link): State<Arc<Link>>, request: Request) -> Response {
    let is_lost = is_first_try_of_a_write(request.headers());
    match passed_on(&link, request).await {
        Ok(_) if is_lost => (StatusCode::INTERNAL_SERVER_ERROR, "the answer was lost").into_response(),
        Ok(answer) => answer,
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

fn is_first_try_of_a_write(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let operation = text("x-amz-target").rsplit('.').next().unwrap_or_default();
    text("amz-sdk-request").contains("attempt=1")
        && ["PutItem", "UpdateItem", "TransactWriteItems"].contains(&operation)
}

async fn passed_on(link: &Link, request: Request) -> Result<Response, Box<dyn std::error::Error>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let request = link.http.request(parts.method, format!("{}{path}", link.cloud));
    let body = to_bytes(body, usize::MAX).await?;
    let answer = request.headers(end_to_end(parts.headers)).body(body).send().await?;
    let (status, headers) = (answer.status(), end_to_end(answer.headers().clone()));
    Ok((status, headers, Body::from(answer.bytes().await?)).into_response())
}

/// Headers but for those of one connection.
fn end_to_end(mut headers: HeaderMap) -> HeaderMap {
    for name in [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}
