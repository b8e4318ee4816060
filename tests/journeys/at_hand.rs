//! The API in this process, for what the deployed one cannot be brought to: settings of another stack, and a way to the
//! cloud with a weather of its own.

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
use libtest_mimic::Failed;
use serde_json::{Value, json};
use support::function::Function;
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

/// What becomes of calls to DynamoDB on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// The first answer to every write is lost: the write is made, and the SDK, which cannot know, repeats it.
    LosesAnswers,
    /// What is read is up to [`SLOWEST_READ`] old when it arrives, so that much can have happened since.
    DelaysReads,
}

/// Longer than a request takes without delay, on a loaded machine too.
const SLOWEST_READ: Duration = Duration::from_millis(1_500);

/// A way to the cloud. Gone when dropped.
pub struct Link {
    address: SocketAddr,
    server: JoinHandle<()>,
}

struct Way {
    cloud: String,
    weather: Weather,
    http: reqwest::Client,
}

impl Link {
    pub async fn to(cloud: &str, weather: Weather) -> Result<Self, Failed> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let http = http_client::builder().pool_max_idle_per_host(0).build()?;
        let way = Arc::new(Way { cloud: cloud.to_owned(), weather, http });
        let server = tokio::spawn(async move {
            // Ends with the task; there is nobody to tell.
            let _ = axum::serve(listener, Router::new().fallback(pass_on).with_state(way)).await;
        });
        Ok(Self { address, server })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass_on(State(way): State<Arc<Way>>, request: Request) -> Response {
    let fate = fate(way.weather, request.headers());
    let answer = passed_on(&way, request).await;
    if fate == Fate::IsDelayed {
        tokio::time::sleep(SLOWEST_READ.mul_f64(fastrand::f64())).await;
    }
    match answer {
        Ok(_) if fate == Fate::LosesItsAnswer => {
            (StatusCode::INTERNAL_SERVER_ERROR, "the answer was lost").into_response()
        }
        Ok(answer) => answer,
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

/// What becomes of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    PassesThrough,
    IsDelayed,
    LosesItsAnswer,
}

fn fate(weather: Weather, headers: &HeaderMap) -> Fate {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_first_try = text("amz-sdk-request").contains("attempt=1");
    match (weather, text("x-amz-target").rsplit('.').next().unwrap_or_default()) {
        (Weather::LosesAnswers, "PutItem" | "UpdateItem" | "TransactWriteItems") if is_first_try => {
            Fate::LosesItsAnswer
        }
        (Weather::DelaysReads, "GetItem") => Fate::IsDelayed,
        _ => Fate::PassesThrough,
    }
}

async fn passed_on(way: &Way, request: Request) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let request = way.http.request(parts.method, format!("{}{path}", way.cloud));
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
