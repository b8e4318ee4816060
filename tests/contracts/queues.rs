//! The queues, and how the functions read from them.

use serde_json::{Value, json};

use support::template::{Template, attribute, list, reference};

/// 14 days, the maximum of SQS.
const LONGEST_RETENTION_SECONDS: u64 = 14 * 24 * 60 * 60;

/// Every queue, with its dead-letter queue if it has one.
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
    assert_eq!(template.of_type("AWS::SQS::Queue").len(), QUEUES.len(), "the list above is complete");
    for (queue, dead_letters) in QUEUES {
        let properties = template.properties(queue);
        assert_eq!(properties["MessageRetentionPeriod"], LONGEST_RETENTION_SECONDS, "{queue}");
        assert_eq!(properties["SqsManagedSseEnabled"], true, "{queue}");
        assert_eq!(
            properties["FifoQueue"],
            Value::Null,
            "{queue}: standard queues are fair, which matters more than order"
        );
        let redrive = &properties["RedrivePolicy"];
        match dead_letters {
            Some(dead_letters) => {
                assert_eq!(redrive["deadLetterTargetArn"], attribute(dead_letters, "Arn"), "{queue}");
                assert_eq!(redrive["maxReceiveCount"], 20, "{queue}: throttled receives count too");
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
        let name = name.unwrap_or_else(|| panic!("{queue} has a fixed name"));
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
    assert_eq!(policies.keys().copied().collect::<Vec<_>>(), ["AlertsQueuePolicy", "QueuesRefusePlainHttp"]);
    let mut covered: Vec<_> =
        policies.keys().flat_map(|policy| list(&template.properties(policy)["Queues"])).map(Value::to_string).collect();
    covered.sort_unstable();
    let mut queues: Vec<_> = QUEUES.iter().map(|(queue, _)| reference(queue).to_string()).collect();
    queues.sort_unstable();
    assert_eq!(covered, queues, "a queue has exactly one policy");
    let refusal = json!({
        "Sid": "DenyPlainHttp",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "sqs:*",
        // Each of the queues.
        "Resource": "*",
        "Condition": { "Bool": { "aws:SecureTransport": "false" } },
    });
    for policy in policies.keys() {
        assert_eq!(template.properties(policy)["PolicyDocument"]["Statement"][0], refusal, "{policy}");
        assert_eq!(template.resource(policy)["Condition"], "OnAws", "{policy}");
    }
    let calls_aws = json!({ "Fn::Equals": [reference("LocalCloudUrl"), ""] });
    assert_eq!(template.section("Conditions")["OnAws"], calls_aws);
    assert_eq!(template.default_of("LocalCloudUrl"), "");
}

/// Nobody else may send to a queue, unless a policy of this account's IAM allows it.
#[test]
fn only_named_producers_may_send_alerts() {
    let template = Template::read();
    let statements = |policy: &str| list(&template.properties(policy)["PolicyDocument"]["Statement"]).len();
    assert_eq!((statements("QueuesRefusePlainHttp"), statements("AlertsQueuePolicy")), (1, 2));
    let permission = json!({
        "Sid": "ProducersSend",
        "Effect": "Allow",
        "Principal": { "AWS": { "Fn::Split": [",", reference("ProducerPrincipals")] } },
        "Action": ["sqs:SendMessage", "sqs:GetQueueUrl"],
        "Resource": attribute("AlertsQueue", "Arn"),
    });
    let statement = &template.properties("AlertsQueuePolicy")["PolicyDocument"]["Statement"][1];
    assert_eq!(*statement, json!({ "Fn::If": ["ProducersNamed", permission, reference("AWS::NoValue")] }));
    let named = json!({ "Fn::Not": [{ "Fn::Equals": [reference("ProducerPrincipals"), ""] }] });
    assert_eq!(template.section("Conditions")["ProducersNamed"], named);
    assert_eq!(template.default_of("ProducerPrincipals"), "");
    let principals = template.section("Parameters")["ProducerPrincipals"]["AllowedPattern"].as_str();
    assert!(principals.is_some_and(|pattern| !pattern.contains('*')), "not everybody");
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
            let limit = limit.unwrap_or_else(|| panic!("{function}: {name} has no limit that is a parameter"));
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
    assert_eq!(read, expected, "each source has its own limit");
}
