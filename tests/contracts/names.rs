//! The names that users and external checks rely on, and the descriptions that users see.

use support::template::{Template, attribute, list, reference};

const PARAMETERS: [&str; 10] = [
    "Architecture",
    "RetrySchedule",
    "RequestTimeoutSeconds",
    "RetentionDays",
    "AllowPrivateNetworks",
    "JwtIssuer",
    "JwtAudience",
    "OrganizationClaim",
    "ProducerPrincipals",
    "MaxIntegrations",
];

const RESOURCES: [(&str, &str); 13] = [
    ("ApiFunction", "AWS::Serverless::Function"),
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

/// Each output of that name with `Url`, and the same with `Arn`.
const QUEUES: [&str; 5] =
    ["AlertsQueue", "RetryQueue", "SlowLaneQueue", "AlertsDeadLetterQueue", "RetryDeadLetterQueue"];

/// Each other output, and the resource that it names.
const OUTPUTS: [(&str, &str); 5] = [
    ("IntegrationsTableName", "IntegrationsTable"),
    ("DeliveriesTableName", "DeliveriesTable"),
    ("LongWaitArn", "LongWait"),
    ("UserPoolId", "UserPool"),
    ("UserPoolClientId", "UserPoolClient"),
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
    let value = |output: &str| &template.section("Outputs")[output]["Value"];
    for (output, logical_id) in OUTPUTS {
        assert_eq!(*value(output), reference(logical_id), "{output}");
    }
    for queue in QUEUES {
        assert_eq!(*value(&format!("{queue}Url")), reference(queue), "{queue}");
        assert_eq!(*value(&format!("{queue}Arn")), attribute(queue, "Arn"), "{queue}");
    }
    assert_eq!(*value("ApiUrl"), attribute("HttpApi", "ApiEndpoint"));
    assert_eq!(*value("ConsoleUrl"), serde_json::json!({ "Fn::Sub": "${HttpApi.ApiEndpoint}/" }));
}

#[test]
fn every_parameter_is_asked_for_in_a_group() {
    let template = Template::read();
    let groups = &template.section("Metadata")["AWS::CloudFormation::Interface"]["ParameterGroups"];
    let grouped = groups.as_array().into_iter().flatten().flat_map(|group| list(&group["Parameters"]));
    let mut grouped: Vec<_> = grouped.filter_map(|name| name.as_str()).collect();
    grouped.sort_unstable();
    let mut parameters: Vec<_> = template.section("Parameters").keys().map(String::as_str).collect();
    parameters.sort_unstable();
    assert_eq!(grouped, parameters);
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
