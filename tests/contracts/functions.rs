//! The functions as they are deployed: times that keep their order, limits on the sources and not on the functions.

use std::collections::BTreeMap;
use std::time::Duration;

use aws::environment::{Environment, InvalidSetting};
use aws::runner::{MESSAGES_KEPT, Policy};
use deliver::NEW_FOR;
use domain::backoff::{self, message_backoff};
use domain::delivery::ledger::GIVEN_UP_AFTER;
use harness::local_cloud::Parameters;
use serde_json::{Value, json};
use sweep::SWEEPS_EVERY;

use support::template::{Template, attribute, list, reference};

const FUNCTIONS: [&str; 4] = ["ApiFunction", "DeliverFunction", "RetryFunction", "SweepFunction"];

const TIMES: [&str; 4] =
    ["RequestTimeoutSeconds", "FunctionTimeoutSeconds", "LeaseSeconds", "VisibilityTimeoutSeconds"];

#[test]
fn times_hang_together() {
    let template = Template::read();
    let [request, function, lease, visibility] = TIMES.map(|parameter| template.number(parameter));
    assert_eq!((request, function, lease, visibility), (30, 60, 90, 360));
    assert!(visibility >= 6 * function, "what AWS advises");
    assert!(visibility > lease, "a message that comes back finds the lease over");
    for queue in ["AlertsQueue", "RetryQueue", "SlowLaneQueue"] {
        assert_eq!(template.properties(queue)["VisibilityTimeout"], reference("VisibilityTimeoutSeconds"), "{queue}");
        let receives = template.properties(queue)["RedrivePolicy"]["maxReceiveCount"].as_u64().unwrap();
        let is_old = |time: Duration| assert!(time > NEW_FOR, "what is moved back is no longer new");
        is_old(Duration::from_secs((receives - 1) * visibility));
        let by_faults: Duration = (1..receives as u32).map(message_backoff).sum();
        is_old(by_faults);
        assert!(by_faults > Duration::from_secs(2 * 60 * 60), "an outage of two hours loses nothing: {by_faults:?}");
    }
    assert!(backoff::GIVEN_UP_AFTER >= NEW_FOR, "nor is what was given up");
    assert!(GIVEN_UP_AFTER.as_secs() > 2 * visibility, "a message that there is comes back before");
    assert!(GIVEN_UP_AFTER >= backoff::LONGEST, "also when a fault has hidden it");
    for function in ["DeliverFunction", "RetryFunction"] {
        let variables = &template.properties(function)["Environment"]["Variables"];
        assert_eq!(variables["FUNCTION_TIMEOUT_SECONDS"], template.section("Globals")["Function"]["Timeout"]);
    }
}

/// What CloudFormation lets through, the functions start with: for every value that a parameter may have.
#[test]
fn every_combination_of_times_that_may_be_deployed_works() {
    let template = Template::read();
    let values = |parameter: &str| allowed_values(&template, parameter);
    let mut deployable = Vec::new();
    for request in values("RequestTimeoutSeconds") {
        for function in values("FunctionTimeoutSeconds") {
            for lease in values("LeaseSeconds") {
                let chosen = [
                    ("RequestTimeoutSeconds", &request),
                    ("FunctionTimeoutSeconds", &function),
                    ("LeaseSeconds", &lease),
                ];
                let parameters = chosen.into_iter().map(|(name, value)| (name, value.as_str())).collect();
                if !is_let_through(&template, &parameters) {
                    continue;
                }
                let policy = read_policy(&request, &function, &lease);
                assert!(policy.is_ok(), "{parameters:?}: {policy:?}");
                deployable.push((request.clone(), function.clone()));
            }
        }
    }
    let may_be = |request: &str, function: &str| deployable.contains(&(request.to_owned(), function.to_owned()));
    assert!(may_be("30", "60") && may_be("60", "90") && may_be("3", "30"));
    assert!(!may_be("45", "60") && !may_be("60", "60") && !may_be("10", "30"));
    let local = Parameters::local();
    let local = TIMES.iter().filter_map(|name| Some((*name, local.get(name)?))).collect();
    assert!(is_let_through(&template, &local), "{local:?}");
}

#[test]
fn only_regions_that_work_are_let_through() {
    let template = Template::read();
    let is_let_through = |region| is_let_through(&template, &BTreeMap::from([("AWS::Region", region)]));
    assert!(["us-east-1", "eu-central-1"].into_iter().all(is_let_through));
    for region in ["us-gov-east-1", "us-gov-west-1", "cn-north-1", "cn-northwest-1"] {
        assert!(!is_let_through(region), "{region}");
    }
}

fn read_policy(request: &str, function: &str, lease: &str) -> Result<Policy, InvalidSetting> {
    let look_up = |name: &str| {
        let value = match name {
            "REQUEST_TIMEOUT_SECONDS" => request,
            "FUNCTION_TIMEOUT_SECONDS" => function,
            "LEASE_SECONDS" => lease,
            "RETRY_SCHEDULE" => "1m,5m,30m,2h",
            "RETENTION_DAYS" => "15",
            _ => return None,
        };
        Some(value.to_owned())
    };
    Policy::read(&Environment::new(&look_up))
}

fn allowed_values(template: &Template, parameter: &str) -> Vec<String> {
    let allowed = list(&template.section("Parameters")[parameter]["AllowedValues"]);
    allowed.into_iter().map(as_text).collect()
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether the template's rules hold.
fn is_let_through(template: &Template, parameters: &BTreeMap<&str, &str>) -> bool {
    template.section("Rules").values().all(|rule| {
        let is_about_this = rule["RuleCondition"].is_null() || holds(&rule["RuleCondition"], parameters);
        !is_about_this || list(&rule["Assertions"]).into_iter().all(|assertion| holds(&assertion["Assert"], parameters))
    })
}

fn holds(condition: &Value, parameters: &BTreeMap<&str, &str>) -> bool {
    let value = |value: &Value| match value["Ref"].as_str() {
        Some(name) => parameters.get(name).copied().unwrap_or_default().to_owned(),
        None => as_text(value),
    };
    if let Some([one, other]) = condition["Fn::Equals"].as_array().map(Vec::as_slice) {
        return value(one) == value(other);
    }
    if let Some([options, chosen]) = condition["Fn::Contains"].as_array().map(Vec::as_slice) {
        return list(options).into_iter().any(|option| value(option) == value(chosen));
    }
    match condition["Fn::Not"].as_array().map(Vec::as_slice) {
        Some([negated]) => !holds(negated, parameters),
        _ => panic!("{condition} is nothing that is understood here"),
    }
}

/// No message may outlive the delivery that it is about.
#[test]
fn deliveries_outlast_the_messages_about_them() {
    let template = Template::read();
    for queue in template.of_type("AWS::SQS::Queue").into_keys() {
        assert_eq!(template.properties(queue)["MessageRetentionPeriod"], MESSAGES_KEPT.as_secs(), "{queue}");
    }
    let least = &template.section("Parameters")["RetentionDays"]["MinValue"];
    assert_eq!(*least, 15, "with which the functions start, as above");
    assert!(least.as_u64() > Some(MESSAGES_KEPT.as_secs() / (24 * 60 * 60)));
}

#[test]
fn documented_numbers_are_the_defaults() {
    let template = Template::read();
    assert_eq!(template.default_of("RetrySchedule"), "1m,5m,30m,2h");
    assert_eq!(template.default_of("Architecture"), "arm64");
    assert_eq!(template.number("RetentionDays"), 30);
    assert_eq!(template.default_of("AllowPrivateNetworks"), "");
    assert_eq!(template.number("MaxIntegrations"), 50);
}

#[test]
fn functions_share_what_is_set_once() {
    let template = Template::read();
    let globals = &template.section("Globals")["Function"];
    assert_eq!(globals["Timeout"], reference("FunctionTimeoutSeconds"));
    assert_eq!(globals["Runtime"], "provided.al2023");
    assert_eq!(globals["Architectures"], serde_json::json!([reference("Architecture")]));
    let functions: Vec<_> = template.of_type("AWS::Serverless::Function").into_keys().collect();
    assert_eq!(functions, FUNCTIONS);
    for function in FUNCTIONS {
        assert_eq!(template.resource(function)["Metadata"]["BuildMethod"], "rust-cargolambda", "{function}");
        // The API's comes from API Gateway, the others' from the order of times above.
        let timeout = if function == "ApiFunction" { 29.into() } else { serde_json::Value::Null };
        assert_eq!(template.properties(function)["Timeout"], timeout, "{function}");
    }
}

/// A reserved concurrency throttles messages that were received already, and every throttle counts as a receive.
#[test]
fn no_function_has_reserved_concurrency() {
    let template = Template::read();
    let reserved: Vec<_> =
        template.all_values().into_iter().filter(|(path, _)| path.ends_with("ReservedConcurrentExecutions")).collect();
    assert!(reserved.is_empty(), "{reserved:?}");
}

/// Its loop through its own queue is bounded by the schedule; nobody else has one.
#[test]
fn only_retry_may_loop() {
    let template = Template::read();
    for function in FUNCTIONS {
        let expected = if function == "RetryFunction" { "Allow".into() } else { serde_json::Value::Null };
        assert_eq!(template.properties(function)["RecursiveLoop"], expected, "{function}");
    }
}

#[test]
fn logs_are_kept_for_a_time() {
    let template = Template::read();
    for function in FUNCTIONS {
        let group = template.properties(function)["LoggingConfig"]["LogGroup"]["Ref"].as_str();
        let group = group.unwrap_or_else(|| panic!("{function} logs into a group of the template's"));
        let name = function.trim_end_matches("Function").to_lowercase();
        let name = serde_json::json!({ "Fn::Sub": format!("/aws/lambda/${{AWS::StackName}}-{name}") });
        assert_eq!(template.properties(group)["LogGroupName"], name, "{group}");
    }
    for (group, resource) in template.of_type("AWS::Logs::LogGroup") {
        assert_eq!(resource["Properties"]["RetentionInDays"], reference("LogRetentionDays"), "{group}");
    }
    assert!(template.number("LogRetentionDays") > 0);
}

#[test]
fn sweep_runs_every_five_minutes() {
    let template = Template::read();
    let schedules = template.of_type("AWS::Scheduler::Schedule");
    let [(_, schedule)] = Vec::from_iter(schedules)[..] else { panic!("there is one schedule") };
    let every = format!("rate({} minutes)", SWEEPS_EVERY.as_secs() / 60);
    assert_eq!(schedule["Properties"]["ScheduleExpression"], every);
    assert_eq!(schedule["Properties"]["State"], "ENABLED");
    assert_eq!(schedule["Properties"]["Target"]["Arn"], attribute("SweepFunction", "Arn"));
}

#[test]
fn what_needs_a_person_raises_an_alarm() {
    let template = Template::read();
    let alarms = template.of_type("AWS::CloudWatch::Alarm");
    let watched: Vec<_> = alarms.values().map(|alarm| &alarm["Properties"]).collect();
    let watches = |metric: &str, dimension: &serde_json::Value| {
        watched.iter().any(|alarm| alarm["MetricName"] == metric && alarm["Dimensions"][0]["Value"] == *dimension)
    };
    for queue in ["AlertsDeadLetterQueue", "RetryDeadLetterQueue"] {
        assert!(watches("ApproximateNumberOfMessagesVisible", &attribute(queue, "QueueName")), "{queue}");
    }
    assert!(watches("ApproximateAgeOfOldestMessage", &attribute("AlertsQueue", "QueueName")));
    for function in FUNCTIONS {
        assert!(watches("Errors", &reference(function)), "{function}");
    }
    assert!(watches("ExecutionsFailed", &reference("LongWait")));
    assert!(watches("5xx", &reference("HttpApi")));
    assert!(watched.iter().any(|alarm| alarm["MetricName"] == "FailedDeliveries"));
    for alarm in watched {
        let told = alarm["AlarmDescription"].as_str().unwrap_or_default();
        assert!(told.len() > 20, "{alarm} says what it means");
        let bound = match alarm["MetricName"].as_str() {
            Some("ApproximateAgeOfOldestMessage") => ("GreaterThanThreshold", json!(300)),
            Some("FailedDeliveries") => ("GreaterThanOrEqualToThreshold", reference("FailedDeliveriesThreshold")),
            // One is too many.
            _ => ("GreaterThanThreshold", json!(0)),
        };
        assert_eq!((&alarm["ComparisonOperator"], &alarm["Threshold"]), (&json!(bound.0), &bound.1), "{alarm}");
    }
    for (name, filter) in template.of_type("AWS::Logs::MetricFilter") {
        assert_eq!(filter["Properties"]["MetricTransformations"][0]["MetricValue"], "1", "{name} counts");
    }
}

/// Lambda's runtime and the batch catch a panic, so that it costs one message. cargo-lambda builds with `abort` unless
/// the profile says otherwise.
#[test]
fn panics_unwind_in_what_is_deployed() {
    let manifest = include_str!("../../Cargo.toml");
    let (_, release) = manifest.split_once("[profile.release]").unwrap();
    let release = release.split("\n[").next().unwrap();
    assert!(release.lines().any(|line| line == r#"panic = "unwind""#), "{release}");
}
