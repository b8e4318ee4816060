//! The functions as they are deployed: times that keep their order, limits on the sources and not on the functions.

use shared::io::aws::CALL_TIMEOUT;
use shared::io::sender::BODY_TIMEOUT;

use program::template::{Template, attribute, reference};

const FUNCTIONS: [&str; 4] = ["ApiFunction", "DeliverFunction", "RetryFunction", "SweepFunction"];

#[test]
fn times_hang_together() {
    let template = Template::read();
    let [request, function, lease, visibility] =
        ["RequestTimeoutSeconds", "FunctionTimeoutSeconds", "LeaseSeconds", "VisibilityTimeoutSeconds"]
            .map(|parameter| template.number(parameter));
    assert_eq!((request, function, lease, visibility), (30, 60, 90, 360));
    assert!(visibility >= 6 * function, "what AWS advises");
    assert!(visibility > lease, "a message that comes back finds the lease over");
    let attempt_takes = request + BODY_TIMEOUT.as_secs() + 2 * CALL_TIMEOUT.as_secs();
    assert!(attempt_takes < function, "an invocation has time for an attempt");
    for queue in ["AlertsQueue", "RetryQueue", "SlowLaneQueue"] {
        assert_eq!(template.properties(queue)["VisibilityTimeout"], reference("VisibilityTimeoutSeconds"), "{queue}");
    }
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
    assert_eq!(schedule["Properties"]["ScheduleExpression"], "rate(5 minutes)");
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
