//! What the API can use of the account's concurrency, and that deliveries have theirs whatever its callers do.
//!
//! API Gateway admits at most `burst + rate × time` requests of a route within any span of time, so at most as many are
//! under way at once as it admits within the longest time of one. The local cloud ignores these limits.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use support::readme::text;
use support::template::{Template, reference};

/// How many invocations of all functions can run at once in a region, unless AWS has raised or lowered it for the account
/// ("Lambda quotas").
const ACCOUNT: u64 = 1_000;

/// The sweep's, which runs every five minutes for a minute at most.
const SWEEP: u64 = 1;

/// What creating a sandbox and answering add to the time of a request, in seconds.
const AROUND_A_REQUEST: u64 = 1;

/// A route's throttle.
#[derive(Clone, Copy, Debug)]
struct Throttle {
    per_second: u64,
    burst: u64,
}

impl Throttle {
    fn of(settings: &Value) -> Self {
        let number = |name: &str| settings[name].as_u64().unwrap_or_else(|| panic!("{name} is missing: {settings}"));
        Self { per_second: number("ThrottlingRateLimit"), burst: number("ThrottlingBurstLimit") }
    }
}

fn throttles(template: &Template) -> BTreeMap<String, Throttle> {
    let settings = template.properties("HttpApiStage")["RouteSettings"].as_object().expect("routes have settings");
    settings.iter().map(|(route, settings)| (route.clone(), Throttle::of(settings))).collect()
}

/// How long a request other than a test may take on AWS, in seconds.
fn longest_request(template: &Template) -> u64 {
    let variables = &template.properties("ApiFunction")["Environment"]["Variables"];
    let [on_aws, seconds, _] = &variables["LONGEST_REQUEST_SECONDS"]["Fn::If"].as_array().expect("a condition")[..]
    else {
        panic!("a condition has two values");
    };
    assert_eq!(*on_aws, "OnAws");
    seconds.as_str().and_then(|seconds| seconds.parse().ok()).expect("a number of seconds")
}

/// The longest that a request of a route occupies an invocation, in seconds.
fn longest(template: &Template, route: &str) -> u64 {
    let inside = match route {
        // Its own time limit is for the endpoint; the rest is ended by Lambda.
        "POST /integrations/{id}/test" => template.properties("ApiFunction")["Timeout"].as_u64().expect("it is set"),
        // They wait for nothing.
        "GET /" | "GET /console/{proxy+}" | "ANY /openapi.json" => 0,
        _ => longest_request(template),
    };
    inside + AROUND_A_REQUEST
}

#[test]
fn api_leaves_deliveries_the_concurrency_that_they_may_use() {
    let template = Template::read();
    let of_route =
        |(route, throttle): (&String, &Throttle)| throttle.burst + throttle.per_second * longest(&template, route);
    let api: u64 = throttles(&template).iter().map(of_route).sum();
    let deliveries = ["DeliverConcurrency", "RetryConcurrency", "SlowLaneConcurrency"];
    let deliveries: u64 = deliveries.iter().map(|parameter| template.number(parameter)).sum();
    assert!(api + deliveries + SWEEP <= ACCOUNT, "{api} + {deliveries} + {SWEEP}");
    let readme = text().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(readme.contains(&format!("the API {api}")), "{api}");
}

#[test]
fn every_route_has_a_throttle_and_is_there_before_it() {
    let template = Template::read();
    let throttles = throttles(&template);
    let stage = template.resource("HttpApiStage");
    let routes = template.of_type("AWS::ApiGatewayV2::Route");
    let mut keys: Vec<_> = routes.values().filter_map(|route| route["Properties"]["RouteKey"].as_str()).collect();
    keys.sort_unstable();
    assert_eq!(throttles.keys().map(String::as_str).collect::<Vec<_>>(), keys);
    let mut before: Vec<_> = stage["DependsOn"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    before.sort_unstable();
    assert_eq!(before, routes.keys().copied().collect::<Vec<_>>());
    // Whether it is the whole stage's or each route's.
    let default = Throttle::of(&stage["Properties"]["DefaultRouteSettings"]);
    assert_eq!(default.per_second, throttles.values().map(|throttle| throttle.per_second).sum::<u64>());
    assert_eq!(default.burst, throttles.values().map(|throttle| throttle.burst).sum::<u64>());
}

/// What changes or sends something has a route of its own, and so have searches.
#[test]
fn costly_operations_do_not_share_a_throttle() {
    let template = Template::read();
    let throttles = throttles(&template);
    let document = serde_json::to_value(api::routes::document()).expect("a document is plain data");
    for (path, item) in document["paths"].as_object().expect("there are paths") {
        for method in ["POST", "PATCH"].iter().filter(|method| item.get(method.to_lowercase()).is_some()) {
            assert!(throttles.contains_key(&format!("{method} {path}")), "{method} {path}");
        }
    }
    assert!(throttles.contains_key("GET /integrations/{id}/deliveries"));
}

#[test]
fn reserving_concurrency_for_the_api_is_optional() {
    let template = Template::read();
    assert_eq!(template.number("ApiReservedConcurrency"), 0);
    let reserved = &template.properties("ApiFunction")["ReservedConcurrentExecutions"];
    let parameter = reference("ApiReservedConcurrency");
    assert_eq!(*reserved, json!({ "Fn::If": ["ApiReserved", parameter, reference("AWS::NoValue")] }));
    let is_zero = json!({ "Fn::Equals": [reference("ApiReservedConcurrency"), 0] });
    assert_eq!(template.section("Conditions")["ApiReserved"], json!({ "Fn::Not": [is_zero] }));
}
