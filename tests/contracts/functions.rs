//! How the functions are deployed: their timeouts, limits, logs and alarms.

use std::collections::BTreeSet;
use std::time::Duration;

use aws::environment::{Environment, InvalidSetting};
use aws::runner::{MESSAGE_RETENTION, Policy};
use deliver::MAX_NEW_EVENT_AGE;
use domain::backoff::{self, message_backoff};
use domain::delivery::ledger::GIVEN_UP_AFTER;
use serde_json::{Value, json};
use sweep::SWEEP_INTERVAL;

use support::template::{Template, attribute, list, reference};

/// After so many receives a message goes to its dead-letter queue.
const MAX_RECEIVE_COUNT: u64 = 20;

const FUNCTIONS: [&str; 4] = ["ApiFunction", "DeliverFunction", "RetryFunction", "SweepFunction"];

/// The times that follow from a request timeout, in seconds.
#[derive(Debug, PartialEq, Eq)]
struct Times {
    function: u64,
    lease: u64,
    visibility: u64,
}

impl Times {
    fn of(template: &Template, request: &str) -> Self {
        let seconds = |name: &str| {
            let seconds = template.section("Mappings")["Seconds"][request][name].as_str();
            seconds
                .and_then(|seconds| seconds.parse().ok())
                .unwrap_or_else(|| panic!("a request timeout of {request} s sets no {name}"))
        };
        Self { function: seconds("FunctionTimeout"), lease: seconds("Lease"), visibility: seconds("VisibilityTimeout") }
    }
}

/// `!FindInMap`, in the long form, with which a time follows from the request timeout.
fn by_request_timeout(name: &str) -> Value {
    json!({ "Fn::FindInMap": ["Seconds", reference("RequestTimeoutSeconds"), name] })
}

#[test]
fn documented_times_are_the_defaults() {
    let template = Template::read();
    let request = template.default_of("RequestTimeoutSeconds");
    assert_eq!(request, "30");
    assert_eq!(Times::of(&template, &request), Times { function: 60, lease: 90, visibility: 360 });
}

/// The functions start with every value that may be deployed, and no message comes back before its worker has ended.
#[test]
fn every_request_timeout_sets_times_that_keep_their_order() {
    let template = Template::read();
    let allowed = list(&template.section("Parameters")["RequestTimeoutSeconds"]["AllowedValues"]);
    let allowed: BTreeSet<_> = allowed.into_iter().filter_map(Value::as_str).collect();
    let mapping = template.section("Mappings")["Seconds"].as_object().expect("the times are a mapping");
    assert_eq!(allowed, mapping.keys().map(String::as_str).collect(), "each allowed value is in the mapping");
    for request in allowed {
        let times = Times::of(&template, request);
        let policy = read_policy(request, &times);
        assert!(policy.is_ok(), "{request} s: {policy:?}");
        assert!(times.visibility >= 6 * times.function, "{request} s: as AWS recommends");
        assert!(times.visibility > times.lease, "{request} s: the lease is over when a message comes back");
        assert!(
            GIVEN_UP_AFTER.as_secs() > 2 * times.visibility,
            "{request} s: a message that still exists is back by then"
        );
        let received_last = Duration::from_secs((MAX_RECEIVE_COUNT - 1) * times.visibility);
        assert!(
            received_last > MAX_NEW_EVENT_AGE,
            "{request} s: what is moved back from the dead-letter queue is no longer new"
        );
    }
}

#[test]
fn messages_are_retried_for_long_enough() {
    let by_faults: Duration = (1..u32::try_from(MAX_RECEIVE_COUNT).unwrap()).map(message_backoff).sum();
    assert!(by_faults > MAX_NEW_EVENT_AGE, "what is moved back from the dead-letter queue is no longer new");
    assert!(by_faults > Duration::from_secs(2 * 60 * 60), "an outage of two hours loses nothing: {by_faults:?}");
    assert!(backoff::GIVEN_UP_AFTER >= MAX_NEW_EVENT_AGE, "what was given up is no longer new either");
    assert!(GIVEN_UP_AFTER >= backoff::LONGEST, "a message that a fault has hidden is back by then");
}

#[test]
fn times_are_set_where_they_apply() {
    let template = Template::read();
    assert_eq!(template.section("Globals")["Function"]["Timeout"], by_request_timeout("FunctionTimeout"));
    for queue in ["AlertsQueue", "RetryQueue", "SlowLaneQueue"] {
        assert_eq!(template.properties(queue)["VisibilityTimeout"], by_request_timeout("VisibilityTimeout"), "{queue}");
        assert_eq!(template.properties(queue)["RedrivePolicy"]["maxReceiveCount"], MAX_RECEIVE_COUNT, "{queue}");
    }
    for function in ["DeliverFunction", "RetryFunction"] {
        let variables = &template.properties(function)["Environment"]["Variables"];
        assert_eq!(variables["FUNCTION_TIMEOUT_SECONDS"], by_request_timeout("FunctionTimeout"), "{function}");
        assert_eq!(variables["LEASE_SECONDS"], by_request_timeout("Lease"), "{function}");
    }
}

fn read_policy(request: &str, times: &Times) -> Result<Policy, InvalidSetting> {
    let look_up = |name: &str| {
        let value = match name {
            "REQUEST_TIMEOUT_SECONDS" => request.to_owned(),
            "FUNCTION_TIMEOUT_SECONDS" => times.function.to_string(),
            "LEASE_SECONDS" => times.lease.to_string(),
            "RETRY_SCHEDULE" => "1m,5m,30m,2h".to_owned(),
            "RETENTION_DAYS" => "15".to_owned(),
            _ => return None,
        };
        Some(value)
    };
    Policy::read(&Environment::new(&look_up))
}

#[test]
fn gov_cloud_and_china_are_refused() {
    let template = Template::read();
    let unsupported = ["us-gov-east-1", "us-gov-west-1", "cn-north-1", "cn-northwest-1"];
    let rule = &template.section("Rules")["NeitherGovCloudNorChina"];
    assert_eq!(rule["RuleCondition"], Value::Null, "it always applies");
    let is_one = json!({ "Fn::Contains": [unsupported, reference("AWS::Region")] });
    assert_eq!(rule["Assertions"][0]["Assert"], json!({ "Fn::Not": [is_one] }));
}

/// No message may outlive its delivery.
#[test]
fn deliveries_outlast_the_messages_about_them() {
    let template = Template::read();
    for queue in template.of_type("AWS::SQS::Queue").into_keys() {
        assert_eq!(template.properties(queue)["MessageRetentionPeriod"], MESSAGE_RETENTION.as_secs(), "{queue}");
    }
    let least = &template.section("Parameters")["RetentionDays"]["MinValue"];
    assert_eq!(*least, 15, "the functions start with it, as tested above");
    assert!(least.as_u64() > Some(MESSAGE_RETENTION.as_secs() / (24 * 60 * 60)));
}

#[test]
fn documented_numbers_are_the_defaults() {
    let template = Template::read();
    assert_eq!(template.default_of("RetrySchedule"), "1m,5m,30m,2h");
    assert_eq!(template.default_of("Architecture"), "arm64");
    assert_eq!(template.number("RetentionDays"), 30);
    assert_eq!(template.default_of("AllowPrivateNetworks"), "");
    assert_eq!(template.default_of("DenyNetworks"), "");
    assert_eq!(template.default_of("RequireHttps"), "false");
    assert_eq!(template.number("MaxIntegrations"), 50);
}

#[test]
fn functions_share_what_is_set_once() {
    let template = Template::read();
    let globals = &template.section("Globals")["Function"];
    assert_eq!(globals["Runtime"], "provided.al2023");
    assert_eq!(globals["Architectures"], serde_json::json!([reference("Architecture")]));
    let functions: Vec<_> = template.of_type("AWS::Serverless::Function").into_keys().collect();
    assert_eq!(functions, FUNCTIONS);
    for function in FUNCTIONS {
        assert_eq!(template.resource(function)["Metadata"]["BuildMethod"], "rust-cargolambda", "{function}");
        // API Gateway limits the API function's.
        let timeout = if function == "ApiFunction" { 29.into() } else { serde_json::Value::Null };
        assert_eq!(template.properties(function)["Timeout"], timeout, "{function}");
    }
}

/// Reserved concurrency would throttle messages that were already received, and each time would count as a receive.
#[test]
fn no_function_that_reads_a_queue_has_reserved_concurrency() {
    let template = Template::read();
    let reserved = template.all_values().into_iter().map(|(path, _)| path);
    let reserved: Vec<_> = reserved.filter(|path| path.ends_with("ReservedConcurrentExecutions")).collect();
    assert_eq!(reserved, ["/Resources/ApiFunction/Properties/ReservedConcurrentExecutions"]);
}

/// Its loop through its own queue is bounded by the schedule. No other function has a loop.
#[test]
fn only_retry_may_loop() {
    let template = Template::read();
    for function in FUNCTIONS {
        let expected = if function == "RetryFunction" { "Allow".into() } else { serde_json::Value::Null };
        assert_eq!(template.properties(function)["RecursiveLoop"], expected, "{function}");
    }
}

#[test]
fn logs_expire() {
    let template = Template::read();
    for function in FUNCTIONS {
        let group = template.properties(function)["LoggingConfig"]["LogGroup"]["Ref"].as_str();
        let group = group.unwrap_or_else(|| panic!("{function} logs to a group of the template"));
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
    let every = format!("rate({} minutes)", SWEEP_INTERVAL.as_secs() / 60);
    assert_eq!(schedule["Properties"]["ScheduleExpression"], every);
    assert_eq!(schedule["Properties"]["State"], "ENABLED");
    assert_eq!(schedule["Properties"]["Target"]["Arn"], attribute("SweepFunction", "Arn"));
}

#[test]
fn what_needs_attention_raises_an_alarm() {
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
        let description = alarm["AlarmDescription"].as_str().unwrap_or_default();
        assert!(description.len() > 20, "{alarm} has a description");
        let bound = match alarm["MetricName"].as_str() {
            Some("ApproximateAgeOfOldestMessage") => ("GreaterThanThreshold", json!(300)),
            Some("FailedDeliveries") => ("GreaterThanOrEqualToThreshold", reference("FailedDeliveriesThreshold")),
            // A single one raises it.
            _ => ("GreaterThanThreshold", json!(0)),
        };
        assert_eq!((&alarm["ComparisonOperator"], &alarm["Threshold"]), (&json!(bound.0), &bound.1), "{alarm}");
    }
    for (name, filter) in template.of_type("AWS::Logs::MetricFilter") {
        assert_eq!(filter["Properties"]["MetricTransformations"][0]["MetricValue"], "1", "{name} counts");
    }
}

/// A panic costs only one message, because it is caught. cargo-lambda builds with `abort` unless the profile says
/// otherwise.
#[test]
fn panics_unwind_in_what_is_deployed() {
    let manifest = include_str!("../../Cargo.toml");
    let (_, release) = manifest.split_once("[profile.release]").unwrap();
    let release = release.split("\n[").next().unwrap();
    assert!(release.lines().any(|line| line == r#"panic = "unwind""#), "{release}");
}
