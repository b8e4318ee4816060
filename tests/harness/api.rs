//! The integrations API, as a customer's program uses it: a user of an organization signs in, and every request carries
//! the user's ID token.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use domain::ids::OrganizationId;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::http_client;
use crate::stack::Stack;

/// The attribute of a user that names the organization, and the claim that it becomes.
pub const ORGANIZATION_CLAIM: &str = "custom:organization_id";

/// A password that fulfils the pool's policy. Every user has it: they live as long as their local cloud.
pub const PASSWORD: &str = "Correct-Horse-9-Battery";

/// The address of an organization's user.
pub fn user_of(organization: u64) -> String {
    format!("user-of-{organization}@example.com")
}

/// How long a token is used before its user signs in again: well within the 15 minutes that it is valid for.
const TOKEN_REUSED_FOR: Duration = Duration::from_secs(10 * 60);

/// How long an answer may take: API Gateway's own limit, and some time for a busy machine.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A bearer token, valid or not. `Debug` does not show it.
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

/// The tokens of a user who has signed in.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Carries the claims; the API takes it as the bearer token.
    pub id: Token,
    /// For Cognito's own API.
    pub access: Token,
}

/// The users of a stack's user pool, and the tokens of those who signed in.
#[derive(Debug)]
pub(crate) struct Accounts {
    http: reqwest::Client,
    tokens: Mutex<HashMap<OrganizationId, (Instant, Token)>>,
    /// The API's answers to requests that it refused.
    refusals: Arc<Mutex<Vec<String>>>,
}

impl Accounts {
    pub(crate) fn new() -> anyhow::Result<Self> {
        // A connection for each request: the emulator drops idle ones, at the moment of reuse at worst.
        let http = http_client::builder()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(REQUEST_TIMEOUT)
            .build()?;
        Ok(Self { http, tokens: Mutex::default(), refusals: Arc::default() })
    }
}

/// Users and their tokens. All of this fails when Cognito refuses it.
impl Stack {
    /// The token of an organization's user, who is created and signed in as needed.
    pub async fn sign_in(&self, organization: OrganizationId) -> anyhow::Result<Token> {
        let reusable = |(since, token): &(Instant, Token)| (since.elapsed() < TOKEN_REUSED_FOR).then(|| token.clone());
        let tokens = || self.accounts.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = tokens().get(&organization).and_then(reusable) {
            return Ok(token);
        }
        let number = organization.to_string();
        let token = self.sign_in_as(&user_of(organization.get()), Some(&number)).await?.id;
        tokens().insert(organization, (Instant::now(), token.clone()));
        Ok(token)
    }

    /// Signs a user in, who is created as needed with that organization claim, or none.
    pub async fn sign_in_as(&self, email: &str, organization: Option<&str>) -> anyhow::Result<SignedIn> {
        let pool = self.output("UserPoolId")?;
        self.create_user(pool, email, organization).await?;
        self.sign_in_to(pool, self.output("UserPoolClientId")?, email).await
    }

    /// Creates a user of a pool, unless there is one with that address.
    pub async fn create_user(&self, pool: &str, email: &str, organization: Option<&str>) -> anyhow::Result<()> {
        let attributes = [("email", Some(email)), ("email_verified", Some("true")), (ORGANIZATION_CLAIM, organization)];
        let attributes =
            attributes.into_iter().filter_map(|(name, value)| Some(json!({ "Name": name, "Value": value? })));
        let user = json!({
            "UserPoolId": pool,
            "Username": email,
            "MessageAction": "SUPPRESS",
            "UserAttributes": attributes.collect::<Vec<_>>(),
        });
        match self.aws_json().cognito("AdminCreateUser", &user).await {
            Err(refused) if refused.code() == Some("UsernameExistsException") => {}
            created => drop(created.context("AdminCreateUser")?),
        }
        let password = json!({ "UserPoolId": pool, "Username": email, "Password": PASSWORD, "Permanent": true });
        self.aws_json().cognito("AdminSetUserPassword", &password).await.context("AdminSetUserPassword")?;
        Ok(())
    }

    /// Signs a user in to a client of a pool.
    pub async fn sign_in_to(&self, pool: &str, client: &str, email: &str) -> anyhow::Result<SignedIn> {
        let begin = json!({
            "UserPoolId": pool,
            "ClientId": client,
            "AuthFlow": "ADMIN_USER_PASSWORD_AUTH",
            "AuthParameters": { "USERNAME": email, "PASSWORD": PASSWORD },
        });
        let begun = self.aws_json().cognito("AdminInitiateAuth", &begin).await.context("AdminInitiateAuth")?;
        let token = |name: &str| {
            let token = begun["AuthenticationResult"][name].as_str().map(Token::new);
            token.with_context(|| format!("AdminInitiateAuth returned no {name}"))
        };
        Ok(SignedIn { id: token("IdToken")?, access: token("AccessToken")? })
    }

    /// The API's answers so far to requests that it refused.
    pub fn refusals(&self) -> Vec<String> {
        self.accounts.refusals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The API, used by a user of that organization.
    pub async fn api(&self, organization: OrganizationId) -> anyhow::Result<Api> {
        Ok(self.anonymous_api()?.with(self.sign_in(organization).await?))
    }

    /// The API, used by someone without a token.
    pub fn anonymous_api(&self) -> anyhow::Result<Api> {
        // Only browsers and curl resolve the host name in `ApiUrl`.
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

    /// Any bytes, with any content type.
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
    /// Method and path, for error messages.
    call: String,
}

impl Response {
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        let body = serde_json::from_slice(&self.body);
        body.with_context(|| format!("{} was not answered with JSON but with {:?}", self.call, self.text()))
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
    /// When it has another one, with the body, which says what is wrong.
    pub fn expect(self, status: StatusCode) -> anyhow::Result<Self> {
        let Self { call, status: answered, .. } = &self;
        ensure!(*answered == status, "{call} was answered {answered} instead of {status}: {}", self.text());
        Ok(self)
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

    /// The URL of a path, for other HTTP clients.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Makes a request. The path begins with a slash, and may have a query.
    ///
    /// # Errors
    /// When there is no answer. An answer of whatever status is no error.
    pub async fn call(&self, method: Method, path: &str, content: Content) -> anyhow::Result<Response> {
        let call = format!("{method} {path}");
        let mut request = self.http.request(method, format!("{}{path}", self.base)).headers(content.headers);
        if !content.body.is_empty() {
            request = request.body(content.body);
        }
        if let Some(token) = &self.bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.as_str()));
        }
        let response = request.send().await.with_context(|| call.clone())?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.with_context(|| call.clone())?;
        let response = Response { status, headers, body, call };
        if !status.is_success() {
            self.refusals.lock().unwrap_or_else(PoisonError::into_inner).push(response.text());
        }
        Ok(response)
    }

    async fn json(&self, status: StatusCode, method: Method, path: &str, content: Content) -> anyhow::Result<Value> {
        self.call(method, path, content).await?.expect(status)?.json()
    }
}

/// The routes. Each fails when the answer has another status than that of success.
impl Api {
    /// Creates an integration.
    pub async fn create(&self, integration: &Value) -> anyhow::Result<Value> {
        self.json(StatusCode::CREATED, Method::POST, "/integrations", Content::json(integration)).await
    }

    /// The organization's integrations.
    pub async fn list(&self) -> anyhow::Result<Value> {
        self.json(StatusCode::OK, Method::GET, "/integrations", Content::none()).await
    }

    /// An integration.
    pub async fn read(&self, id: &str) -> anyhow::Result<Value> {
        self.json(StatusCode::OK, Method::GET, &format!("/integrations/{id}"), Content::none()).await
    }

    /// Changes an integration by a merge patch.
    pub async fn change(&self, id: &str, patch: &Value) -> anyhow::Result<Value> {
        let content = Content::raw("application/merge-patch+json", patch.to_string());
        self.json(StatusCode::OK, Method::PATCH, &format!("/integrations/{id}"), content).await
    }

    /// Deletes an integration.
    pub async fn delete(&self, id: &str) -> anyhow::Result<()> {
        let answer = self.call(Method::DELETE, &format!("/integrations/{id}"), Content::none()).await?;
        answer.expect(StatusCode::NO_CONTENT).map(drop)
    }

    /// Presses the Test button.
    pub async fn test(&self, id: &str) -> anyhow::Result<Value> {
        self.json(StatusCode::OK, Method::POST, &format!("/integrations/{id}/test"), Content::none()).await
    }

    /// Presses the Test button for this type of event.
    pub async fn test_event(&self, id: &str, event_type: &str) -> anyhow::Result<Value> {
        let options = Content::json(&json!({"event_type": event_type}));
        self.json(StatusCode::OK, Method::POST, &format!("/integrations/{id}/test"), options).await
    }

    /// Gives an integration a new secret. `{}` generates one, with the usual overlap.
    pub async fn rotate(&self, id: &str, rotation: &Value) -> anyhow::Result<Value> {
        let path = format!("/integrations/{id}/rotate-secret");
        self.json(StatusCode::OK, Method::POST, &path, Content::json(rotation)).await
    }

    /// A page of the integration log. The query is what follows the question mark, or empty.
    pub async fn deliveries(&self, id: &str, query: &str) -> anyhow::Result<Value> {
        let path = format!("/integrations/{id}/deliveries?{query}");
        self.json(StatusCode::OK, Method::GET, path.trim_end_matches('?'), Content::none()).await
    }

    /// The whole integration log, newest first, read page by page.
    pub async fn all_deliveries(&self, id: &str, query: &str) -> anyhow::Result<Vec<Value>> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.deliveries(id, &format!("{query}{cursor}")).await?;
            items.extend(page["items"].as_array().into_iter().flatten().cloned());
            match page["next_cursor"].as_str() {
                // A cursor needs no escaping in a query.
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(items),
            }
        }
    }

    /// A delivery with its payload.
    pub async fn delivery(&self, id: &str, delivery: &str) -> anyhow::Result<Value> {
        let path = format!("/integrations/{id}/deliveries/{delivery}");
        self.json(StatusCode::OK, Method::GET, &path, Content::none()).await
    }

    /// Sends a delivery again.
    pub async fn redeliver(&self, id: &str, delivery: &str) -> anyhow::Result<Value> {
        let path = format!("/integrations/{id}/deliveries/{delivery}/redeliver");
        self.json(StatusCode::ACCEPTED, Method::POST, &path, Content::none()).await
    }

    /// Sends failed deliveries again: up to a hundred, and the answer's `next_cursor` continues.
    pub async fn recover(&self, id: &str, recovery: &Value) -> anyhow::Result<Value> {
        let path = format!("/integrations/{id}/recover");
        self.json(StatusCode::OK, Method::POST, &path, Content::json(recovery)).await
    }
}
