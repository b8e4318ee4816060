//! The queues and how the functions read them.

use serde_json::{Value, json};

use support::template::{Template, attribute, reference};

/// 14 days, the longest that SQS keeps a message.
const LONGEST_RETENTION_SECONDS: u64 = 14 * 24 * 60 * 60;

/// Every queue with the dead-letter queue it empties into; a dead-letter queue has none.
const QUEUES: [(&str, Option<&str>); 5] = [
    ("AlertsQueue", Some("AlertsDeadLetterQueue")),
    ("RetryQueue", Some("RetryDeadLetterQueue")),
    ("SlowLaneQueue", Some("RetryDeadLetterQueue")),
    ("AlertsDeadLetterQueue", None),
    ("RetryDeadLetterQueue", None),
];

#[test]
fn messages_are_kept_and_encrypted() {
    let template = Template::read();
    assert_eq!(template.of_type("AWS::SQS::Queue").len(), QUEUES.len(), "every queue is known here");
    for (queue, dead_letters) in QUEUES {
        let properties = template.properties(queue);
        assert_eq!(properties["MessageRetentionPeriod"], LONGEST_RETENTION_SECONDS, "{queue}");
        assert_eq!(properties["SqsManagedSseEnabled"], true, "{queue}");
        assert_eq!(properties["FifoQueue"], Value::Null, "{queue}: order is not promised, fairness is");
        let redrive = &properties["RedrivePolicy"];
        match dead_letters {
            Some(dead_letters) => {
                assert_eq!(redrive["deadLetterTargetArn"], attribute(dead_letters, "Arn"), "{queue}");
                assert_eq!(redrive["maxReceiveCount"], 20, "{queue}: receives that Lambda throttled count too");
            }
            None => assert_eq!(*redrive, Value::Null, "{queue}"),
        }
    }
}

#[test]
fn dead_letter_queues_admit_their_own_sources() {
    let template = Template::read();
    let arn_of = |queue: &str| {
        let name = template.properties(queue)["QueueName"]["Fn::Sub"].as_str();
        let name = name.unwrap_or_else(|| panic!("{queue} has a name of its own"));
        json!({ "Fn::Sub": format!("arn:${{AWS::Partition}}:sqs:${{AWS::Region}}:${{AWS::AccountId}}:{name}") })
    };
    for dead_letters in ["AlertsDeadLetterQueue", "RetryDeadLetterQueue"] {
        let policy = &template.properties(dead_letters)["RedriveAllowPolicy"];
        let sources = QUEUES.iter().filter(|(_, target)| *target == Some(dead_letters));
        let sources: Vec<_> = sources.map(|(source, _)| arn_of(source)).collect();
        assert_eq!(*policy, json!({ "redrivePermission": "byQueue", "sourceQueueArns": sources }), "{dead_letters}");
    }
}

#[test]
fn queues_refuse_plain_http() {
    let template = Template::read();
    let policies = template.of_type("AWS::SQS::QueuePolicy");
    for (queue, _) in QUEUES {
        let policy = policies.values().find(|policy| policy["Properties"]["Queues"] == json!([reference(queue)]));
        let policy = policy.unwrap_or_else(|| panic!("{queue} has no policy"));
        assert_eq!(policy["Condition"], "TlsRequired", "{queue}");
        let statement = &policy["Properties"]["PolicyDocument"]["Statement"][0];
        assert_eq!((&statement["Effect"], &statement["Resource"]), (&json!("Deny"), &attribute(queue, "Arn")));
        assert_eq!(statement["Condition"], json!({ "Bool": { "aws:SecureTransport": "false" } }), "{queue}");
    }
    assert_eq!(template.default_of("RequireTls"), "true");
    let is_asked_for = json!({ "Fn::Equals": [{ "Ref": "RequireTls" }, "true"] });
    assert_eq!(template.section("Conditions")["TlsRequired"], is_asked_for);
}

#[test]
fn every_queue_that_is_read_reports_failures_by_message() {
    let template = Template::read();
    let mut read = Vec::new();
    for (function, resource) in template.of_type("AWS::Serverless::Function") {
        for (name, event) in resource["Properties"]["Events"].as_object().into_iter().flatten() {
            let source = &event["Properties"];
            assert_eq!(event["Type"], "SQS", "{function}: {name}");
            assert_eq!(source["FunctionResponseTypes"], json!(["ReportBatchItemFailures"]), "{function}: {name}");
            let limit = source["ScalingConfig"]["MaximumConcurrency"]["Ref"].as_str();
            let limit = limit.unwrap_or_else(|| panic!("{function}: {name} has a limit that is a parameter"));
            assert!((2..=1_000).contains(&template.number(limit)), "{limit}");
            assert_eq!(source["BatchSize"], 10, "{function}: {name}");
            read.push((function, source["Queue"]["Fn::GetAtt"][0].as_str().unwrap_or_default(), limit));
        }
    }
    read.sort_unstable();
    let expected = [
        ("DeliverFunction", "AlertsQueue", "DeliverConcurrency"),
        ("RetryFunction", "RetryQueue", "RetryConcurrency"),
        ("RetryFunction", "SlowLaneQueue", "SlowLaneConcurrency"),
    ];
    assert_eq!(read, expected, "each with a limit of its own");
}
