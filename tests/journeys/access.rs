//! Access to the API: with real tokens of the stack's user pool, and with tokens that are invalid in every way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use aws::kms::vault::random;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::ids::{DeliveryId, IntegrationId};
use harness::api::{Api, Content, ORGANIZATION_CLAIM, PASSWORD, SignedIn, Token};
use harness::aws_json::Error;
use harness::http_client;
use harness::stack::Stack;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::function::Function;

use crate::integrations::create_integration;
use crate::testbed::{CANARY, PATH, Testbed};
use crate::{copy_error, shared};

/// How long the short-lived token is valid.
const SHORT_LIFE: Duration = Duration::from_secs(5);

/// What was tried before anything else used the API: later, one could not tell whose call had started a function.
pub struct UnusedApi {
    unauthenticated: anyhow::Result<()>,
    short_lived: anyhow::Result<ShortLived>,
}

/// A token that was accepted while it was valid.
struct ShortLived {
    token: Token,
    expires_at: Instant,
}

/// Calls every guarded route without a valid token, then one with a token that will soon expire.
pub async fn try_unused_api(stack: &Arc<Stack>) -> UnusedApi {
    UnusedApi {
        unauthenticated: call_without_token(stack).await,
        short_lived: call_with_short_lived_token(stack).await,
    }
}

async fn call_without_token(stack: &Stack) -> anyhow::Result<()> {
    let anonymous = stack.anonymous_api()?;
    let stranger = anonymous.clone().with(Token::new("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"));
    let some = Target { integration: integration_id(), delivery: delivery_id() };
    for (method, path, content) in some.requests() {
        for api in [&anonymous, &stranger] {
            api.call(method.clone(), &path, content.clone()).await?.expect(StatusCode::UNAUTHORIZED)?;
        }
    }
    // An invocation would have started and ended by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (workers, calls) = (stack.workers(Function::Api)?.len(), stack.invocations(Function::Api).await?);
    ensure!((workers, calls) == (0, 0), "{workers} processes run the function, which was invoked {calls} times");
    Ok(())
}

async fn call_with_short_lived_token(stack: &Stack) -> anyhow::Result<ShortLived> {
    let client = client(stack).await?;
    set_validity(stack, &json!(SHORT_LIFE.as_secs()), &json!({ "IdToken": "seconds" })).await?;
    let signed_in = stack.sign_in_as("brief@example.com", Some("1")).await;
    let expires_at = Instant::now() + SHORT_LIFE;
    // In any case, the tokens of other users have to last.
    let units = client.get("TokenValidityUnits").context("the client says what its validities are")?;
    set_validity(stack, client.get("IdTokenValidity").context("the client has a validity")?, units).await?;

    let token = signed_in?.id;
    stack.anonymous_api()?.with(token.clone()).list().await?;
    // A call with a valid token does start the function, so the check above means something.
    ensure!(!stack.workers(Function::Api)?.is_empty(), "no process runs the function that has just answered");
    Ok(ShortLived { token, expires_at })
}

async fn client(stack: &Stack) -> anyhow::Result<Value> {
    let input = json!({ "UserPoolId": stack.output("UserPoolId")?, "ClientId": stack.output("UserPoolClientId")? });
    let mut described = stack.aws_json().cognito("DescribeUserPoolClient", &input).await?;
    Ok(described["UserPoolClient"].take())
}

/// Changes how long ID tokens are good for, and nothing else: here, what is left out stays as it is.
async fn set_validity(stack: &Stack, validity: &Value, units: &Value) -> anyhow::Result<()> {
    let input = json!({
        "UserPoolId": stack.output("UserPoolId")?,
        "ClientId": stack.output("UserPoolClientId")?,
        "IdTokenValidity": validity,
        "TokenValidityUnits": units,
    });
    stack.aws_json().cognito("UpdateUserPoolClient", &input).await?;
    Ok(())
}

pub async fn unauthenticated_calls_start_no_function(_: Testbed) -> anyhow::Result<()> {
    shared()?.unused_api.unauthenticated.as_ref().copied().map_err(copy_error)
}

pub async fn expired_token_is_refused(testbed: Testbed) -> anyhow::Result<()> {
    let short_lived = shared()?.unused_api.short_lived.as_ref();
    let ShortLived { token, expires_at } = short_lived.map_err(copy_error)?;
    tokio::time::sleep_until((*expires_at + Duration::from_secs(1)).into()).await;
    assert_refused(&testbed.stack.anonymous_api()?, "expired", token.clone()).await
}

async fn assert_refused(anonymous: &Api, what: &str, token: Token) -> anyhow::Result<()> {
    let answer = anonymous.clone().with(token).call(Method::GET, "/integrations", Content::none()).await?;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{what}");
    Ok(())
}

pub async fn tampered_tokens_are_refused(testbed: Testbed) -> anyhow::Result<()> {
    let (stack, anonymous) = (&testbed.stack, testbed.stack.anonymous_api()?);
    let token = stack.sign_in(testbed.organization).await?;
    anonymous.clone().with(token.clone()).list().await?;

    let [header, payload, signature] = parts(&token)?;
    let middle = signature.len() / 2;
    let other = if signature.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let altered = format!("{}{other}{}", &signature[..middle], &signature[middle + 1..]);
    let mut claims = claims(&token)?;
    claims[ORGANIZATION_CLAIM] = "1".into();
    let claimed = encoded(&claims);
    let unsigned = encoded(&json!({ "alg": "none", "typ": "JWT" }));
    for (what, text) in [
        ("nothing", String::new()),
        ("garbage", "garbage".to_owned()),
        ("no JSON", "a.b.c".to_owned()),
        ("another signature", format!("{header}.{payload}.{altered}")),
        ("no signature", format!("{header}.{payload}.")),
        ("another organization", format!("{header}.{claimed}.{signature}")),
        ("unsigned", format!("{unsigned}.{payload}.")),
    ] {
        assert_refused(&anonymous, what, Token::new(text)).await?;
    }
    Ok(())
}

pub async fn tokens_for_others_are_refused(testbed: Testbed) -> anyhow::Result<()> {
    let (stack, anonymous) = (&testbed.stack, testbed.stack.anonymous_api()?);
    let (email, organization) =
        (format!("elsewhere-{}@example.com", testbed.organization), testbed.organization.to_string());
    let pool = stack.output("UserPoolId")?;
    let right = stack.sign_in_as(&email, Some(&organization)).await?;
    anonymous.clone().with(right.id).list().await?;

    let client = another_client(stack, pool).await?;
    assert_refused(&anonymous, "another audience", stack.sign_in_to(pool, &client, &email).await?.id).await?;

    let schema = json!([{ "Name": "organization_id", "AttributeDataType": "String" }]);
    let pool = json!({ "PoolName": "another pool", "Schema": schema });
    let created = stack.aws_json().cognito("CreateUserPool", &pool).await?;
    let pool = created["UserPool"]["Id"].as_str().context("a pool has an id")?;
    let client = another_client(stack, pool).await?;
    stack.create_user(pool, &email, Some(&organization)).await?;
    assert_refused(&anonymous, "another issuer", stack.sign_in_to(pool, &client, &email).await?.id).await
}

async fn another_client(stack: &Stack, pool: &str) -> anyhow::Result<String> {
    let flows = ["ALLOW_ADMIN_USER_PASSWORD_AUTH"];
    let client = json!({ "UserPoolId": pool, "ClientName": "another application", "ExplicitAuthFlows": flows });
    let created = stack.aws_json().cognito("CreateUserPoolClient", &client).await?;
    created["UserPoolClient"]["ClientId"].as_str().map(str::to_owned).context("a client has an id")
}

pub async fn token_without_an_organization(testbed: Testbed) -> anyhow::Result<()> {
    let stack = &testbed.stack;
    let nobody = stack.sign_in_as("nobody@example.com", None).await?;
    forbidden(stack, "no claim", nobody.id).await?;
    // API Gateway takes it, as it is of the right client; the claim is in ID tokens only.
    let email = format!("access-{}@example.com", testbed.organization);
    let member = stack.sign_in_as(&email, Some(&testbed.organization.to_string())).await?;
    forbidden(stack, "an access token", member.access).await
}

pub async fn claim_that_is_no_canonical_integer(testbed: Testbed) -> anyhow::Result<()> {
    let organization = testbed.organization;
    let claims = [
        "0".to_owned(),
        "-1".to_owned(),
        "acme".to_owned(),
        "18446744073709551616".to_owned(),
        format!("0{organization}"),
        format!("+{organization}"),
        format!(" {organization}"),
        format!("{organization}.0"),
        format!("{organization},1"),
        format!("[{organization}]"),
    ];
    for (number, claim) in claims.iter().enumerate() {
        let user = testbed.stack.sign_in_as(&format!("claim-{number}@example.com"), Some(claim)).await?;
        forbidden(&testbed.stack, claim, user.id).await?;
    }
    Ok(())
}

async fn forbidden(stack: &Stack, what: &str, token: Token) -> anyhow::Result<()> {
    let api = stack.anonymous_api()?.with(token);
    let some = Target { integration: integration_id(), delivery: delivery_id() };
    for (method, path, content) in some.requests() {
        let call = format!("{what}: {method} {path}");
        let answer = api.call(method, &path, content).await?;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{call}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{call}");
        assert_eq!(answer.json()?["type"], "urn:roboticks:webhooks:no-organization", "{call}");
    }
    Ok(())
}

/// The answers for another organization's integration or delivery are the same as for one that does not exist.
pub async fn another_organization_sees_nothing(testbed: Testbed) -> anyhow::Result<()> {
    let mine = testbed.stack.api(testbed.organization).await?;
    let integration = mine
        .create(&json!({
            "name": "Mine",
            "url": testbed.receiver.url(PATH),
            "signing_secret": format!("{CANARY}-secret-of-mine"),
            "headers": { "x-api-key": format!("{CANARY}-key") },
        }))
        .await?;
    let id = integration["id"].as_str().context("an integration has an id")?;
    let tested = mine.test(id).await?;
    let delivery = tested["delivery_id"].as_str().context("a test is a delivery")?;
    let (before, delivery_before) = (mine.read(id).await?, mine.delivery(id, delivery).await?);
    let arrivals = testbed.arrivals().len();

    let others = Testbed::set_up(&testbed.stack).await?;
    let theirs = others.stack.api(others.organization).await?;
    let of_mine = Target { integration: id.to_owned(), delivery: delivery.to_owned() };
    let of_nobody = Target { integration: integration_id(), delivery: delivery_id() };
    let pairs = of_mine.requests().into_iter().zip(of_nobody.requests());
    for ((method, path, content), (_, unknown, _)) in pairs.filter(|((_, path, _), _)| path.contains(id)) {
        let answer = theirs.call(method.clone(), &path, content.clone()).await?;
        let unknown = theirs.call(method.clone(), &unknown, content).await?;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}: {}", answer.text());
        assert_eq!((unknown.status, unknown.text()), (answer.status, answer.text()), "{method} {path}");
        assert_eq!(unknown.header("content-type"), answer.header("content-type"), "{method} {path}");
        assert_eq!(answer.header("etag"), None, "{method} {path}");
    }
    assert_eq!(theirs.list().await?["items"], json!([]));

    assert_eq!(mine.read(id).await?, before);
    assert_eq!(mine.delivery(id, delivery).await?, delivery_before);
    assert_eq!(testbed.arrivals().len(), arrivals, "nothing was sent");
    // Each of these does something for its owner.
    for (method, path, content) in of_mine.requests() {
        let answer = mine.call(method.clone(), &path, content).await?;
        assert_ne!(answer.status, StatusCode::NOT_FOUND, "{method} {path}");
    }
    Ok(())
}

/// A path that API Gateway routes as an open one may be that of a guarded route to the function, which then finds no
/// claims.
pub async fn no_open_route_leads_to_a_guarded_one(testbed: Testbed) -> anyhow::Result<()> {
    let anonymous = testbed.stack.anonymous_api()?;
    for path in [
        "/console/..%2Fintegrations",
        "/console/..%2F..%2Fintegrations",
        "/console/%2e%2e/integrations",
        "/console//integrations",
        "/openapi.json%2F..%2Fintegrations",
    ] {
        let answer = anonymous.call(Method::GET, path, Content::none()).await?;
        let refused = [StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status);
        assert!(refused && !answer.text().contains("items"), "{path}: {} {}", answer.status, answer.text());
    }
    Ok(())
}

/// API Gateway decodes a path's escapes before it passes it on: a path must not lead to another resource because of
/// that.
pub async fn no_escape_leads_to_another_path(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Operations", "url": testbed.receiver.url(PATH)})).await?;
    for path in [
        format!("/integrations/{id}%23/deliveries/1"),
        format!("/integrations/{id}%23"),
        format!("/integrations/{id}%3F"),
        format!("/integrations/other%2F..%2F{id}"),
        format!("/integrations/other%5C..%5C{id}"),
    ] {
        let answer = api.call(Method::DELETE, &path, Content::none()).await?;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.text());
    }
    api.read(&id).await?;
    Ok(())
}

/// Tokens from the sign-in page cannot change their user. Passwords are accepted on that page only, and from callers
/// with AWS credentials.
pub async fn users_cannot_change_their_organization(testbed: Testbed) -> anyhow::Result<()> {
    let (stack, organization) = (&testbed.stack, testbed.organization.to_string());
    let email = format!("climber-{organization}@example.com");
    stack.create_user(stack.output("UserPoolId")?, &email, Some(&organization)).await?;
    let member = sign_in_on_the_page(stack, &email).await?;
    assert_eq!(claims(&member.id)?[ORGANIZATION_CLAIM], organization.as_str());
    stack.anonymous_api()?.with(member.id.clone()).list().await?;

    // The page's token may change nothing. One obtained with AWS credentials may, but not this attribute.
    let by_administrator = stack.sign_in_as(&email, None).await?;
    let attributes = json!([{ "Name": ORGANIZATION_CLAIM, "Value": "1" }]);
    for token in [&member.access, &by_administrator.access] {
        let update = json!({ "AccessToken": token.as_str(), "UserAttributes": attributes });
        let updated = stack.aws_json().cognito_unsigned("UpdateUserAttributes", &update).await;
        assert_eq!(updated.err().as_ref().and_then(Error::code), Some("NotAuthorizedException"));
    }
    let client = stack.output("UserPoolClientId")?;
    let newcomer = json!({ "ClientId": client, "Username": "newcomer@example.com", "Password": PASSWORD });
    let signed_up = stack.aws_json().cognito_unsigned("SignUp", &newcomer).await;
    assert_eq!(signed_up.err().as_ref().and_then(Error::code), Some("NotAuthorizedException"));
    let wider = authorize(stack, "openid aws.cognito.signin.user.admin").await?;
    let sent_to = wider.headers().get("location").and_then(|location| location.to_str().ok()).unwrap_or_default();
    assert!(sent_to.contains("invalid_scope") && !sent_to.contains("code="), "{} {sent_to}", wider.status());

    let parameters = json!({ "USERNAME": email, "PASSWORD": PASSWORD });
    let begin = json!({ "ClientId": client, "AuthFlow": "USER_PASSWORD_AUTH", "AuthParameters": parameters });
    let begun = stack.aws_json().cognito_unsigned("InitiateAuth", &begin).await;
    assert_eq!(begun.err().as_ref().and_then(Error::code), Some("InvalidParameterException"));

    let again = stack.sign_in_as(&email, None).await?;
    assert_eq!(claims(&again.id)?[ORGANIZATION_CLAIM], organization.as_str(), "as it was");
    Ok(())
}

/// Signs in as a browser does on the hosted page, by the code flow with PKCE.
async fn sign_in_on_the_page(stack: &Stack, email: &str) -> anyhow::Result<SignedIn> {
    let page = authorize(stack, "openid").await?;
    assert_eq!(page.status(), StatusCode::OK, "the page");
    // The page's form has the fields that it was asked with, and these two.
    let mut form = authorization(stack, "openid")?;
    form.extend([("username", email.to_owned()), ("password", PASSWORD.to_owned())]);
    let sent_back = post(stack, "/login", &form).await?;
    let location = sent_back.headers().get("location").and_then(|location| location.to_str().ok());
    let location = reqwest::Url::parse(location.context("the page sends back to the application")?)?;
    let code = location.query_pairs().find(|(name, _)| name == "code").context("with a code")?.1.into_owned();
    let exchange = [
        ("grant_type", "authorization_code".to_owned()),
        ("client_id", stack.output("UserPoolClientId")?.to_owned()),
        ("redirect_uri", stack.output("ConsoleUrl")?.to_owned()),
        ("code", code),
        ("code_verifier", VERIFIER.to_owned()),
    ];
    let tokens: Value = post(stack, "/oauth2/token", &exchange).await?.json().await?;
    let token = |name: &str| tokens[name].as_str().map(Token::new).with_context(|| format!("an {name} for the code"));
    Ok(SignedIn { id: token("id_token")?, access: token("access_token")? })
}

/// An application would draw it at random.
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters";

fn authorization(stack: &Stack, scope: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    Ok(vec![
        ("client_id", stack.output("UserPoolClientId")?.to_owned()),
        ("response_type", "code".to_owned()),
        ("redirect_uri", stack.output("ConsoleUrl")?.to_owned()),
        ("scope", scope.to_owned()),
        ("state", "a-state".to_owned()),
        ("code_challenge", BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER))),
        ("code_challenge_method", "S256".to_owned()),
    ])
}

async fn authorize(stack: &Stack, scope: &str) -> anyhow::Result<reqwest::Response> {
    let url = format!("{}/oauth2/authorize", stack.endpoint());
    let url = reqwest::Url::parse_with_params(&url, authorization(stack, scope)?)?;
    Ok(browser()?.get(url).send().await?)
}

async fn post(stack: &Stack, path: &str, form: &[(&str, String)]) -> anyhow::Result<reqwest::Response> {
    let url = reqwest::Url::parse_with_params(&format!("{}{path}", stack.endpoint()), form)?;
    let body = url.query().unwrap_or_default().to_owned();
    let request = browser()?.post(format!("{}{path}", stack.endpoint())).body(body);
    Ok(request.header("content-type", "application/x-www-form-urlencoded").send().await?)
}

fn browser() -> anyhow::Result<reqwest::Client> {
    Ok(http_client::builder().redirect(reqwest::redirect::Policy::none()).build()?)
}

/// What requests are about.
struct Target {
    integration: String,
    delivery: String,
}

impl Target {
    /// Every route that needs a token.
    fn requests(&self) -> [(Method, String, Content); 11] {
        let here = format!("/integrations/{}", self.integration);
        let delivery = format!("{here}/deliveries/{}", self.delivery);
        let new = json!({ "name": "Name", "url": "https://example.com/hook" });
        let nothing = || Content::json(&json!({}));
        [
            (Method::GET, "/integrations".to_owned(), Content::none()),
            (Method::POST, "/integrations".to_owned(), Content::json(&new)),
            (Method::GET, here.clone(), Content::none()),
            (Method::PATCH, here.clone(), Content::json(&json!({ "name": "Taken", "enabled": false }))),
            (Method::POST, format!("{here}/test"), Content::none()),
            (Method::POST, format!("{here}/rotate-secret"), nothing()),
            (Method::GET, format!("{here}/deliveries"), Content::none()),
            (Method::GET, delivery.clone(), Content::none()),
            (Method::POST, format!("{delivery}/redeliver"), Content::none()),
            (Method::POST, format!("{here}/recover"), nothing()),
            (Method::DELETE, here, Content::none()),
        ]
    }
}

/// An id that no integration has.
fn integration_id() -> String {
    IntegrationId::new(Timestamp::now(), random()).to_string()
}

fn delivery_id() -> String {
    DeliveryId::new(Timestamp::now(), random()).to_string()
}

fn parts(token: &Token) -> anyhow::Result<[&str; 3]> {
    let parts: Vec<_> = token.as_str().split('.').collect();
    parts.try_into().ok().context("a token has three parts")
}

fn claims(token: &Token) -> anyhow::Result<Value> {
    let [_, payload, _] = parts(token)?;
    Ok(serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload)?)?)
}

fn encoded(json: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}
