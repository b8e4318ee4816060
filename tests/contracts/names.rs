//! The names that users and outside checks rely on, and a description on each that a person meets.

use crate::template::Template;

/// Those of the API come with it.
const PARAMETERS: [&str; 5] =
    ["Architecture", "RetrySchedule", "RequestTimeoutSeconds", "RetentionDays", "AllowPrivateNetworks"];

const RESOURCES: [(&str, &str); 12] = [
    ("DeliverFunction", "AWS::Serverless::Function"),
    ("RetryFunction", "AWS::Serverless::Function"),
    ("SweepFunction", "AWS::Serverless::Function"),
    ("AlertsQueue", "AWS::SQS::Queue"),
    ("RetryQueue", "AWS::SQS::Queue"),
    ("SlowLaneQueue", "AWS::SQS::Queue"),
    ("AlertsDeadLetterQueue", "AWS::SQS::Queue"),
    ("RetryDeadLetterQueue", "AWS::SQS::Queue"),
    ("IntegrationsTable", "AWS::DynamoDB::Table"),
    ("DeliveriesTable", "AWS::DynamoDB::Table"),
    ("LongWait", "AWS::StepFunctions::StateMachine"),
    ("SecretsKey", "AWS::KMS::Key"),
];

/// Each output, and the resource that it names.
const OUTPUTS: [(&str, &str); 8] = [
    ("AlertsQueueUrl", "AlertsQueue"),
    ("RetryQueueUrl", "RetryQueue"),
    ("SlowLaneQueueUrl", "SlowLaneQueue"),
    ("AlertsDeadLetterQueueUrl", "AlertsDeadLetterQueue"),
    ("RetryDeadLetterQueueUrl", "RetryDeadLetterQueue"),
    ("IntegrationsTableName", "IntegrationsTable"),
    ("DeliveriesTableName", "DeliveriesTable"),
    ("LongWaitArn", "LongWait"),
];

#[test]
fn contract_names_are_there() {
    let template = Template::read();
    for parameter in PARAMETERS {
        assert!(template.section("Parameters").contains_key(parameter), "parameter {parameter}");
    }
    for (logical_id, kind) in RESOURCES {
        assert_eq!(template.resource(logical_id)["Type"], kind, "{logical_id}");
    }
    for (output, logical_id) in OUTPUTS {
        let value = &template.section("Outputs")[output]["Value"];
        assert_eq!(*value, crate::template::reference(logical_id), "{output}");
    }
}

#[test]
fn parameters_and_outputs_are_described() {
    let template = Template::read();
    for section in ["Parameters", "Outputs"] {
        for (name, what) in template.section(section) {
            let described = what["Description"].as_str().unwrap_or_default();
            assert!(described.len() > 15, "{section}: {name} has a description");
        }
    }
}
