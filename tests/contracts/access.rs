//! Who may use the API. The local cloud does not enforce all of it, so the template is checked word for word.

use std::time::Duration;

use aws::config::CALL_TIMEOUT;
use domain::endpoint::headers::MAX_HEADERS;
use serde_json::{Value, json};

use support::template::{Template, attribute, reference};

/// Every route, and whether a token is needed for it.
const ROUTES: [(&str, &str); 12] = [
    ("ANY /integrations", "JWT"),
    ("ANY /integrations/{proxy+}", "JWT"),
    ("ANY /openapi.json", "NONE"),
    ("GET /", "NONE"),
    ("GET /console/{proxy+}", "NONE"),
    ("GET /integrations/{id}/deliveries", "JWT"),
    ("PATCH /integrations/{id}", "JWT"),
    ("POST /integrations", "JWT"),
    ("POST /integrations/{id}/deliveries/{delivery_id}/redeliver", "JWT"),
    ("POST /integrations/{id}/recover", "JWT"),
    ("POST /integrations/{id}/rotate-secret", "JWT"),
    ("POST /integrations/{id}/test", "JWT"),
];

const CLAIM: &str = "custom:organization_id";

#[test]
fn every_route_but_the_page_and_the_description_needs_a_token() {
    let template = Template::read();
    let routes = template.of_type("AWS::ApiGatewayV2::Route");
    let mut found = Vec::new();
    for (route, resource) in &routes {
        let properties = &resource["Properties"];
        let key = properties["RouteKey"].as_str().unwrap_or_default();
        let authorization = properties["AuthorizationType"].as_str().unwrap_or_default();
        let authorizer = if authorization == "JWT" { reference("TokenAuthorizer") } else { Value::Null };
        assert_eq!(properties["AuthorizerId"], authorizer, "{route}");
        assert_eq!(properties["ApiId"], reference("HttpApi"), "{route}");
        assert_eq!(properties["Target"], json!({ "Fn::Sub": "integrations/${ApiIntegration}" }), "{route}");
        found.push((key, authorization));
    }
    found.sort_unstable();
    assert_eq!(found, ROUTES);
}

#[test]
fn tokens_come_from_the_stacks_issuer_or_the_deployers() {
    let template = Template::read();
    let authorizers = template.of_type("AWS::ApiGatewayV2::Authorizer");
    assert_eq!(authorizers.keys().copied().collect::<Vec<_>>(), ["TokenAuthorizer"]);
    let authorizer = template.properties("TokenAuthorizer");
    assert_eq!(authorizer["AuthorizerType"], "JWT");
    assert_eq!(authorizer["IdentitySource"], json!(["$request.header.Authorization"]), "tokens are never in a URL");
    let own = json!({ "Fn::Sub": "https://cognito-idp.${AWS::Region}.amazonaws.com/${UserPool}" });
    let issuer = json!({ "Fn::If": ["OwnIssuer", own, reference("JwtIssuer")] });
    assert_eq!(authorizer["JwtConfiguration"]["Issuer"], issuer);
    let split = json!({ "Fn::Split": [",", reference("JwtAudience")] });
    let audience = json!({ "Fn::If": ["OwnIssuer", [reference("UserPoolClient")], split] });
    assert_eq!(authorizer["JwtConfiguration"]["Audience"], audience);

    let own_issuer = json!({ "Fn::Equals": [reference("JwtIssuer"), ""] });
    assert_eq!(template.section("Conditions")["OwnIssuer"], own_issuer);
    for id in ["UserPool", "UserPoolDomain", "UserPoolClient"] {
        assert_eq!(template.resource(id)["Condition"], "OwnIssuer", "{id}");
    }
    for output in ["UserPoolId", "UserPoolClientId"] {
        assert_eq!(template.section("Outputs")[output]["Condition"], "OwnIssuer", "{output}");
    }
    assert_eq!(template.default_of("JwtIssuer"), "");
    let rule = &template.section("Rules")["JwtIssuerComesWithItsAudience"];
    let named = |parameter: &str| json!({ "Fn::Not": [{ "Fn::Equals": [reference(parameter), ""] }] });
    assert_eq!(rule["RuleCondition"], named("JwtIssuer"));
    assert_eq!(
        rule["Assertions"][0]["Assert"],
        named("JwtAudience"),
        "or tokens issued for any application would be accepted"
    );
}

/// Tokens would travel unencrypted. The local cloud has no TLS.
#[test]
fn pages_sign_in_over_https_except_on_this_machine() {
    let template = Template::read();
    for parameter in ["JwtIssuer", "SignInOrigins"] {
        let pattern = template.section("Parameters")[parameter]["AllowedPattern"].as_str().unwrap_or_default();
        let plain: Vec<_> = pattern.split("http").skip(1).filter(|rest| !rest.starts_with("s://")).collect();
        assert!(!plain.is_empty(), "{parameter}: for local runs");
        let is_local = |rest: &&str| rest.starts_with(r"://(127\.0\.0\.1|localhost):");
        assert!(plain.iter().all(is_local), "{parameter}: {pattern}");
    }
}

#[test]
fn no_user_can_write_the_organization() {
    let template = Template::read();
    assert_eq!(template.default_of("OrganizationClaim"), CLAIM);
    let pool = template.properties("UserPool");
    assert_eq!(pool["AdminCreateUserConfig"]["AllowAdminCreateUserOnly"], true, "nobody signs up");
    let schema = pool["Schema"].as_array().expect("the pool has attributes");
    let required: Vec<_> = schema.iter().filter(|attribute| attribute["Required"] == true).collect();
    assert_eq!(required.len(), 1);
    assert!(schema.iter().any(|attribute| format!("custom:{}", attribute["Name"].as_str().unwrap_or("-")) == CLAIM));

    let clients = template.of_type("AWS::Cognito::UserPoolClient");
    assert_eq!(
        clients.keys().copied().collect::<Vec<_>>(),
        ["UserPoolClient"],
        "each client has its own writable attributes"
    );
    let client = template.properties("UserPoolClient");
    // An empty list would mean all attributes.
    assert_eq!(client["WriteAttributes"], json!(["email"]));
    assert_eq!(client["ReadAttributes"], json!(["email", "email_verified", CLAIM]));
    // With `aws.cognito.signin.user.admin`, the token of the sign-in page could change its user.
    assert_eq!(client["AllowedOAuthScopes"], json!(["openid"]));
}

#[test]
fn client_has_no_secret_and_takes_passwords_from_administrators_only() {
    let template = Template::read();
    let client = template.properties("UserPoolClient");
    assert_eq!(client["GenerateSecret"], false, "a page in a browser cannot keep a secret");
    assert_eq!(client["AllowedOAuthFlows"], json!(["code"]));
    assert_eq!(client["AllowedOAuthFlowsUserPoolClient"], true);
    let flows = json!(["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]);
    assert_eq!(client["ExplicitAuthFlows"], flows);
    assert_eq!(client["PreventUserExistenceErrors"], "ENABLED");
    assert_eq!(client["EnableTokenRevocation"], true);
    let page = json!([{ "Fn::Sub": "${HttpApi.ApiEndpoint}/" }]);
    assert_eq!((&client["CallbackURLs"], &client["LogoutURLs"]), (&page, &page));
    let units = json!({ "IdToken": "minutes", "AccessToken": "minutes", "RefreshToken": "hours" });
    assert_eq!(client["TokenValidityUnits"], units);
    for token in ["IdTokenValidity", "AccessTokenValidity"] {
        assert!(client[token].as_u64() <= Some(15), "{token}: API Gateway accepts a token until it expires");
    }
}

#[test]
fn user_pool_is_protected() {
    let template = Template::read();
    let pool = template.properties("UserPool");
    assert_eq!(pool["DeletionProtection"], json!({ "Fn::If": ["DataProtected", "ACTIVE", "INACTIVE"] }));
    assert_eq!(template.resource("UserPool")["UpdateReplacePolicy"], "Retain");
    assert_eq!(pool["UsernameAttributes"], json!(["email"]));
    assert_eq!(
        pool["UsernameConfiguration"],
        json!({ "CaseSensitive": false }),
        "addresses that differ in case are one user"
    );
    assert_eq!(
        (&pool["MfaConfiguration"], &pool["EnabledMfas"]),
        (&json!("OPTIONAL"), &json!(["SOFTWARE_TOKEN_MFA"])),
        "users can have a second factor"
    );
    let policy = &pool["Policies"]["PasswordPolicy"];
    assert!(policy["MinimumLength"].as_u64() >= Some(12), "{policy}");
    for kind in ["Lowercase", "Uppercase", "Numbers", "Symbols"] {
        assert_eq!(policy[format!("Require{kind}")], true, "{kind}");
    }
}

#[test]
fn api_waits_longer_than_its_function_and_may_invoke_it() {
    let template = Template::read();
    let integration = template.properties("ApiIntegration");
    assert_eq!(integration["IntegrationUri"], attribute("ApiFunction", "Arn"));
    assert_eq!(integration["PayloadFormatVersion"], "2.0");
    let function = template.properties("ApiFunction")["Timeout"].as_u64().expect("it has a timeout of its own");
    assert!(integration["TimeoutInMillis"].as_u64() > Some(function * 1_000));
    assert!(integration["TimeoutInMillis"].as_u64() <= Some(30_000), "API Gateway's limit");

    let permission = template.properties("ApiPermission");
    assert_eq!(permission["FunctionName"], reference("ApiFunction"));
    assert_eq!(permission["Principal"], "apigateway.amazonaws.com");
    let source = permission["SourceArn"]["Fn::Sub"].as_str().unwrap_or_default();
    assert!(source.ends_with(":${HttpApi}/*"), "no other API may invoke it: {source}");
}

#[test]
fn a_test_leaves_the_function_time_to_store_and_answer() {
    let function = Template::read().properties("ApiFunction")["Timeout"].as_u64().expect("it has a timeout of its own");
    assert!(api::settings::LONGEST_TEST + CALL_TIMEOUT < Duration::from_secs(function));
}

#[test]
fn documented_limits_of_an_organization_and_an_integration() {
    assert_eq!(Template::read().number("MaxIntegrations"), 50);
    assert_eq!(MAX_HEADERS, 20);
}

#[test]
fn stage_deploys_automatically_and_logs_no_secrets() {
    let template = Template::read();
    let stage = template.properties("HttpApiStage");
    assert_eq!((&stage["StageName"], &stage["AutoDeploy"]), (&json!("$default"), &json!(true)));
    let log = &stage["AccessLogSettings"];
    assert_eq!(log["DestinationArn"], attribute("AccessLogGroup", "Arn"));
    let format = log["Format"].as_str().unwrap_or_default();
    let line: Value = serde_json::from_str(format).expect("a log line is JSON");
    for (field, variable) in line.as_object().expect("a log line is an object") {
        let variable = variable.as_str().unwrap_or_default();
        assert!(variable.starts_with("$context."), "{field}");
        let is_secret = ["path", "query", "header", "claims", "message"].iter().any(|part| variable.contains(part));
        assert!(!is_secret, "{field}: {variable}");
    }
}
