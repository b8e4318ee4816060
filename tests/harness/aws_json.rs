//! Calls of the local cloud's services that speak JSON: Cognito, CloudWatch Logs and Lambda. Their SDK crates would take
//! minutes of every build from nothing, for a dozen calls. Operations and fields are named as in AWS's API references.

use std::time::{Duration, SystemTime};

use aws_sdk_sqs::config::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningError, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use serde_json::Value;

use crate::http_client;
use crate::local_cloud::{REGION, ROOT_CREDENTIALS};

const COGNITO: &str = "AWSCognitoIdentityProviderService";
const LOGS: &str = "Logs_20140328";

/// How long an answer may take: no function runs for longer than 70 seconds, and the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A client of the local cloud, as its account's root. All calls fail when the service refuses them or does not answer.
#[derive(Clone, Debug)]
pub struct AwsJsonClient {
    endpoint: String,
    http: reqwest::Client,
}

/// What an invoked function answered.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub payload: Value,
    /// Set when the function failed; then the payload says why.
    pub function_error: Option<String>,
    /// The end of what the invocation logged, in base64.
    pub log_result: Option<String>,
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{code}: {message}")]
    Refused { code: String, message: String },
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("no answer")]
    NoAnswer(#[from] reqwest::Error),
    #[error("not a valid request")]
    Invalid(#[from] http::Error),
    #[error("not signed")]
    NotSigned(#[from] SigningError),
}

impl Error {
    /// The service's name for why it refused the call, such as `NotAuthorizedException`, or the HTTP status if it gave
    /// none; `None` when it did not refuse it.
    pub fn code(&self) -> Option<&str> {
        if let Self::Refused { code, .. } = self { Some(code) } else { None }
    }
}

impl AwsJsonClient {
    /// A client of the local cloud at that URL, or of something else that Lambda's calls can be made to.
    ///
    /// # Errors
    /// When the system has no resources for it.
    pub fn new(endpoint: &str) -> reqwest::Result<Self> {
        // A connection for each request: the emulator drops idle ones, at the moment of reuse at worst.
        let http = http_client::builder().pool_max_idle_per_host(0).timeout(TIMEOUT).build()?;
        Ok(Self { endpoint: endpoint.to_owned(), http })
    }

    /// An operation of Cognito's user pools.
    pub async fn cognito(&self, operation: &str, input: &Value) -> Result<Value, Error> {
        let request = self.operation(COGNITO, operation, input)?;
        json(self.send(signed("cognito-idp", request)?).await?).await
    }

    /// One of those that anybody can call, such as `SignUp`: without a signature, as the SDK does.
    pub async fn cognito_unsigned(&self, operation: &str, input: &Value) -> Result<Value, Error> {
        json(self.send(self.operation(COGNITO, operation, input)?).await?).await
    }

    /// An operation of CloudWatch Logs.
    pub async fn logs(&self, operation: &str, input: &Value) -> Result<Value, Error> {
        json(self.send(signed("logs", self.operation(LOGS, operation, input)?)?).await?).await
    }

    /// Invokes a function with an event and waits for its answer, a failed function's too.
    pub async fn invoke(&self, function: &str, event: Vec<u8>) -> Result<Invocation, Error> {
        let request =
            self.lambda(Method::POST, function, "invocations").header("X-Amz-Log-Type", "Tail").body(event)?;
        let answer = self.send(signed("lambda", request)?).await?;
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (function_error, log_result) = (header("X-Amz-Function-Error"), header("X-Amz-Log-Result"));
        Ok(Invocation { payload: json(answer).await?, function_error, log_result })
    }

    /// A function's configuration.
    pub async fn function_configuration(&self, function: &str) -> Result<Value, Error> {
        let request = self.lambda(Method::GET, function, "configuration").body(Vec::new())?;
        json(self.send(signed("lambda", request)?).await?).await
    }

    /// Changes a function's configuration; what `changes` leaves out stays as it is.
    pub async fn update_function_configuration(&self, function: &str, changes: &Value) -> Result<Value, Error> {
        let request = self.lambda(Method::PUT, function, "configuration").body(changes.to_string().into_bytes())?;
        json(self.send(signed("lambda", request)?).await?).await
    }

    fn operation(&self, service: &str, operation: &str, input: &Value) -> http::Result<Request<Vec<u8>>> {
        Request::post(format!("{}/", self.endpoint))
            .header(CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("X-Amz-Target", format!("{service}.{operation}"))
            .body(input.to_string().into_bytes())
    }

    fn lambda(&self, method: Method, function: &str, resource: &str) -> http::request::Builder {
        let uri = format!("{}/2015-03-31/functions/{function}/{resource}", self.endpoint);
        Request::builder().method(method).uri(uri).header(CONTENT_TYPE, "application/json")
    }

    async fn send(&self, request: Request<Vec<u8>>) -> Result<reqwest::Response, Error> {
        let answer = self.http.execute(request.try_into()?).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let header = answer.headers().get("x-amzn-errortype").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body: Value = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
        let code = header.as_deref().or(body["__type"].as_str()).unwrap_or(status.as_str());
        // It may stand between a namespace and a URL: `com.amazonaws#Code:http://…`.
        let code = code.split(':').next().and_then(|code| code.rsplit('#').next()).unwrap_or(code).to_owned();
        let message = body["message"].as_str().or(body["Message"].as_str()).unwrap_or_default().to_owned();
        Err(Error::Refused { code, message })
    }
}

async fn json(answer: reqwest::Response) -> Result<Value, Error> {
    let body = answer.bytes().await?;
    serde_json::from_slice(&body).map_err(|_| Error::NotJson(String::from_utf8_lossy(&body).into_owned()))
}

/// Signs a request as the account's root.
pub(crate) fn signed(service: &str, mut request: Request<Vec<u8>>) -> Result<Request<Vec<u8>>, SigningError> {
    let root = Credentials::new(ROOT_CREDENTIALS, ROOT_CREDENTIALS, None, None, "local cloud").into();
    let parameters = v4::SigningParams::builder()
        .identity(&root)
        .region(REGION)
        .name(service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .expect("every parameter is given")
        .into();
    let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let body = SignableBody::Bytes(request.body());
    let signable = SignableRequest::new(request.method().as_str(), request.uri().to_string(), headers, body)?;
    let (instructions, _) = sign(signable, &parameters)?.into_parts();
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}
