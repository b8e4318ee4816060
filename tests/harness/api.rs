//! The integrations API, as a customer's program uses it: a user of an organization signs in, and every request carries
//! the ID token.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_sdk_cognitoidentityprovider::error::ProvideErrorMetadata;
use aws_sdk_cognitoidentityprovider::types::{AttributeType, AuthFlowType, MessageActionType};
use bytes::Bytes;
use domain::ids::OrganizationId;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::http_client;
use crate::stack::{Stack, StackError, aws};

/// The attribute of a user that names the organization, and the claim that it becomes.
pub const ORGANIZATION_CLAIM: &str = "custom:organization_id";

/// A password that the pool's policy takes. Every user has it: they live as long as their local cloud.
pub const PASSWORD: &str = "Correct-Horse-9-Battery";

/// The address of an organization's user.
pub fn user_of(organization: u64) -> String {
    format!("user-of-{organization}@example.com")
}

/// How long a token is used before its user signs in again: well within the 15 minutes that it is good for.
const TOKEN_SERVES_FOR: Duration = Duration::from_secs(10 * 60);

/// The longest that an answer may take: API Gateway's own limit, and some time for a busy machine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

/// What went wrong between a test and the API. The texts are for a person who reads a failed test.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Stack(#[from] StackError),
    #[error("{call}: {error}")]
    NoAnswer { call: String, error: reqwest::Error },
    #[error("{call} was answered {status} instead of {wanted}: {body}")]
    OtherStatus { call: String, wanted: StatusCode, status: StatusCode, body: String },
    #[error("{call} was answered something that is no JSON: {body}")]
    NoJson { call: String, body: String },
}

impl From<ApiError> for StackError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Stack(error) => error,
            error => Self::Api(error.to_string()),
        }
    }
}

/// A bearer token, or what stands for one. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// What Cognito gives whoever signs in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Has the claims, and is the API's bearer.
    pub id: Token,
    /// For Cognito's own API.
    pub access: Token,
}

/// The users of a stack's user pool, and the tokens of those who signed in.
#[derive(Debug)]
pub(crate) struct Accounts {
    cognito: aws_sdk_cognitoidentityprovider::Client,
    http: reqwest::Client,
    tokens: Mutex<HashMap<OrganizationId, (Instant, Token)>>,
    /// What was said of requests that were refused.
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Accounts {
    pub(crate) fn new(config: &SdkConfig) -> Result<Self, StackError> {
        // A connection for each request: the emulator drops idle ones, at the moment of reuse at worst.
        let http = http_client::builder()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(ANSWERS_WITHIN)
            .build()
            .map_err(|error| StackError::Absent(format!("client for its API: {error}")))?;
        Ok(Self {
            cognito: aws_sdk_cognitoidentityprovider::Client::new(config),
            http,
            tokens: Mutex::default(),
            refusals: Arc::default(),
        })
    }
}

/// What an administrator of the user pool does, and what anyone can send.
impl Stack {
    /// The token of an organization's user, who is created and signed in as needed.
    ///
    /// # Errors
    /// [`StackError`] when Cognito refuses.
    pub async fn sign_in(&self, organization: OrganizationId) -> Result<Token, StackError> {
        let served = |(since, token): &(Instant, Token)| (since.elapsed() < TOKEN_SERVES_FOR).then(|| token.clone());
        let tokens = || self.accounts.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = tokens().get(&organization).and_then(served) {
            return Ok(token);
        }
        let number = organization.to_string();
        let token = self.sign_in_as(&user_of(organization.get()), Some(&number)).await?.id;
        tokens().insert(organization, (Instant::now(), token.clone()));
        Ok(token)
    }

    /// Signs a user in who is created as needed, with that organization, or none, as the administrator wrote it.
    ///
    /// # Errors
    /// [`StackError`] when Cognito refuses.
    pub async fn sign_in_as(&self, email: &str, organization: Option<&str>) -> Result<SignedIn, StackError> {
        let pool = self.output("UserPoolId")?;
        self.create_user(pool, email, organization).await?;
        self.sign_in_to(pool, self.output("UserPoolClientId")?, email).await
    }

    /// Creates a user of a pool, unless there is one of that address.
    ///
    /// # Errors
    /// [`StackError`] when Cognito refuses.
    pub async fn create_user(&self, pool: &str, email: &str, organization: Option<&str>) -> Result<(), StackError> {
        let attributes = [("email", Some(email)), ("email_verified", Some("true")), (ORGANIZATION_CLAIM, organization)];
        let attributes = attributes.into_iter().filter_map(|(name, value)| {
            // The builder fails without a name only.
            AttributeType::builder().name(name).value(value?).build().ok()
        });
        let created = self
            .accounts
            .cognito
            .admin_create_user()
            .user_pool_id(pool)
            .username(email)
            .message_action(MessageActionType::Suppress)
            .set_user_attributes(Some(attributes.collect()))
            .send()
            .await;
        match created {
            Err(refused) if refused.code() == Some("UsernameExistsException") => {}
            created => drop(created.map_err(aws("AdminCreateUser"))?),
        }
        let password = self.accounts.cognito.admin_set_user_password().user_pool_id(pool).username(email);
        password.password(PASSWORD).permanent(true).send().await.map(drop).map_err(aws("AdminSetUserPassword"))
    }

    /// Signs a user in to a client of a pool.
    ///
    /// # Errors
    /// [`StackError`] when Cognito refuses.
    pub async fn sign_in_to(&self, pool: &str, client: &str, email: &str) -> Result<SignedIn, StackError> {
        let begun = self
            .accounts
            .cognito
            .admin_initiate_auth()
            .user_pool_id(pool)
            .client_id(client)
            .auth_flow(AuthFlowType::AdminUserPasswordAuth)
            .auth_parameters("USERNAME", email)
            .auth_parameters("PASSWORD", PASSWORD)
            .send()
            .await
            .map_err(aws("AdminInitiateAuth"))?;
        let tokens = begun.authentication_result.ok_or_else(|| StackError::Absent("token for the user".to_owned()))?;
        let token = |text: Option<String>| text.map(Token).ok_or_else(|| StackError::Absent("token".to_owned()));
        Ok(SignedIn { id: token(tokens.id_token)?, access: token(tokens.access_token)? })
    }

    /// Everything that the API has said so far of requests that it refused.
    pub fn refusals(&self) -> Vec<String> {
        self.accounts.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Cognito itself, for what only a test of it does.
    pub fn cognito(&self) -> &aws_sdk_cognitoidentityprovider::Client {
        &self.accounts.cognito
    }

    /// The API, used by a user of that organization.
    ///
    /// # Errors
    /// [`StackError`] when Cognito refuses.
    pub async fn api(&self, organization: OrganizationId) -> Result<Api, StackError> {
        Ok(self.anonymous_api()?.with(self.sign_in(organization).await?))
    }

    /// The API, used by someone without a token.
    ///
    /// # Errors
    /// [`StackError::Absent`] when the stack has no API.
    pub fn anonymous_api(&self) -> Result<Api, StackError> {
        // `ApiUrl` has a host name that only browsers and curl resolve.
        let base = format!("{}/_aws/execute-api/{}/$default", self.endpoint(), self.resource("HttpApi")?);
        let Accounts { http, refusals, .. } = &self.accounts;
        Ok(Api { http: http.clone(), base, bearer: None, refusals: Arc::clone(refusals) })
    }
}

/// A request's body and headers.
#[derive(Clone, Debug, Default)]
pub struct Content {
    headers: HeaderMap,
    body: Bytes,
}

impl Content {
    /// No body, no headers.
    pub fn none() -> Self {
        Self::default()
    }

    /// A JSON body.
    pub fn json(body: &Value) -> Self {
        Self::raw("application/json", body.to_string())
    }

    /// Any bytes, said to be of any type.
    pub fn raw(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Self { headers, body: body.into() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }
}

/// What the API answered.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Method and path, for whoever reads a failed test.
    call: String,
}

impl Response {
    /// The body as JSON.
    ///
    /// # Errors
    /// [`ApiError::NoJson`] when it is none.
    pub fn json(&self) -> Result<Value, ApiError> {
        serde_json::from_slice(&self.body).map_err(|_| ApiError::NoJson { call: self.call.clone(), body: self.text() })
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header, when it is there and text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The response, if it has that status.
    ///
    /// # Errors
    /// [`ApiError::OtherStatus`] with the body, which says what is wrong.
    pub fn expect(self, wanted: StatusCode) -> Result<Self, ApiError> {
        if self.status == wanted {
            return Ok(self);
        }
        let body = self.text();
        Err(ApiError::OtherStatus { call: self.call, wanted, status: self.status, body })
    }
}

/// The API, and the token that it is used with.
#[derive(Clone, Debug)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    bearer: Option<Token>,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Api {
    /// The same API, used with that token.
    #[must_use]
    pub fn with(self, token: Token) -> Self {
        Self { bearer: Some(token), ..self }
    }

    /// Where a path is, for clients that are not ours.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Makes a request. The path begins with a slash, and may have a query.
    ///
    /// # Errors
    /// [`ApiError::NoAnswer`]; an answer of whatever status is none.
    pub async fn call(&self, method: Method, path: &str, content: Content) -> Result<Response, ApiError> {
        let call = format!("{method} {path}");
        let mut request = self.http.request(method, format!("{}{path}", self.base)).headers(content.headers);
        if !content.body.is_empty() {
            request = request.body(content.body);
        }
        if let Some(token) = &self.bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.as_str()));
        }
        let no_answer = |error| ApiError::NoAnswer { call: call.clone(), error };
        let response = request.send().await.map_err(no_answer)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(no_answer)?;
        let response = Response { status, headers, body, call };
        if !status.is_success() {
            self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push(response.text());
        }
        Ok(response)
    }

    async fn wanted(
        &self,
        wanted: StatusCode,
        method: Method,
        path: &str,
        content: Content,
    ) -> Result<Value, ApiError> {
        self.call(method, path, content).await?.expect(wanted)?.json()
    }
}

/// The routes, each for what it does when all is well.
impl Api {
    /// Creates an integration.
    ///
    /// # Errors
    /// [`ApiError`] when the answer is not 201.
    pub async fn create(&self, integration: &Value) -> Result<Value, ApiError> {
        self.wanted(StatusCode::CREATED, Method::POST, "/integrations", Content::json(integration)).await
    }

    /// The organization's integrations.
    ///
    /// # Errors
    /// [`ApiError`] when the answer is not 200.
    pub async fn list(&self) -> Result<Value, ApiError> {
        self.wanted(StatusCode::OK, Method::GET, "/integrations", Content::none()).await
    }

    /// An integration.
    ///
    /// # Errors
    /// [`ApiError`] when the answer is not 200.
    pub async fn read(&self, id: &str) -> Result<Value, ApiError> {
        self.wanted(StatusCode::OK, Method::GET, &format!("/integrations/{id}"), Content::none()).await
    }

    /// Changes an integration by a merge patch.
    ///
    /// # Errors
    /// [`ApiError`] when the answer is not 200.
    pub async fn change(&self, id: &str, patch: &Value) -> Result<Value, ApiError> {
        let content = Content::raw("application/merge-patch+json", patch.to_string());
        self.wanted(StatusCode::OK, Method::PATCH, &format!("/integrations/{id}"), content).await
    }

    /// Deletes an integration.
    ///
    /// # Errors
    /// [`ApiError`] when the answer is not 204.
    pub async fn delete(&self, id: &str) -> Result<(), ApiError> {
        let answer = self.call(Method::DELETE, &format!("/integrations/{id}"), Content::none()).await?;
        answer.expect(StatusCode::NO_CONTENT).map(drop)
    }

    /// Presses the Test button.
    ///
    /// # Errors
    /// [`ApiError`] when the answer is not 200.
    pub async fn test(&self, id: &str) -> Result<Value, ApiError> {
        self.wanted(StatusCode::OK, Method::POST, &format!("/integrations/{id}/test"), Content::none()).await
    }

    /// Gives an integration a new secret. `{}` generates one, with the usual overlap.
    ///
    /// # Errors
    /// [`ApiError`] when the answer is not 200.
    pub async fn rotate(&self, id: &str, rotation: &Value) -> Result<Value, ApiError> {
        let path = format!("/integrations/{id}/rotate-secret");
        self.wanted(StatusCode::OK, Method::POST, &path, Content::json(rotation)).await
    }

    /// A page of the integration log. The query is what follows the question mark, or empty.
    ///
    /// # Errors
    /// [`ApiError`] when the answer is not 200.
    pub async fn deliveries(&self, id: &str, query: &str) -> Result<Value, ApiError> {
        let path = format!("/integrations/{id}/deliveries?{query}");
        self.wanted(StatusCode::OK, Method::GET, path.trim_end_matches('?'), Content::none()).await
    }

    /// All of the integration log, newest first, page by page.
    ///
    /// # Errors
    /// [`ApiError`] when an answer is not 200.
    pub async fn all_deliveries(&self, id: &str, query: &str) -> Result<Vec<Value>, ApiError> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.deliveries(id, &format!("{query}{cursor}")).await?;
            items.extend(page["items"].as_array().into_iter().flatten().cloned());
            match page["next_cursor"].as_str() {
                // Cursors are made of what a query may hold.
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    /// A delivery with its payload.
    ///
    /// # Errors
    /// [`ApiError`] when the answer is not 200.
    pub async fn delivery(&self, id: &str, delivery: &str) -> Result<Value, ApiError> {
        let path = format!("/integrations/{id}/deliveries/{delivery}");
        self.wanted(StatusCode::OK, Method::GET, &path, Content::none()).await
    }

    /// Sends a delivery again.
    ///
    /// # Errors
    /// [`ApiError`] when the answer is not 202.
    pub async fn redeliver(&self, id: &str, delivery: &str) -> Result<Value, ApiError> {
        let path = format!("/integrations/{id}/deliveries/{delivery}/redeliver");
        self.wanted(StatusCode::ACCEPTED, Method::POST, &path, Content::none()).await
    }

    /// Sends failed deliveries again: one step of it, which the answer's `next_cursor` continues.
    ///
    /// # Errors
    /// [`ApiError`] when the answer is not 200.
    pub async fn recover(&self, id: &str, recovery: &Value) -> Result<Value, ApiError> {
        let path = format!("/integrations/{id}/recover");
        self.wanted(StatusCode::OK, Method::POST, &path, Content::json(recovery)).await
    }
}
