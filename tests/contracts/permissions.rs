//! Least privilege: each role allows exactly what its function does, on exactly the resources that it uses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use support::template::{Template, list};

/// The statements of a role.
fn statements<'a>(template: &'a Template, role: &str) -> Vec<&'a Value> {
    let policies = list(&template.properties(role)["Policies"]);
    policies.into_iter().flat_map(|policy| list(&policy["PolicyDocument"]["Statement"])).collect()
}

/// What a role may do: actions, by the logical id of the resource.
fn allowed(template: &Template, role: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for statement in statements(template, role) {
        assert_eq!(statement["Effect"], "Allow", "{role}");
        let actions: Vec<_> = list(&statement["Action"]).into_iter().map(text).collect();
        for resource in list(&statement["Resource"]) {
            allowed.entry(named(resource)).or_default().extend(actions.iter().cloned());
        }
    }
    allowed
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a string")).to_owned()
}

/// `AlertsQueue` for `!Ref AlertsQueue` and `!GetAtt AlertsQueue.Arn`, the text itself for `!Sub`.
fn named(resource: &Value) -> String {
    let name = resource["Ref"].as_str().or(resource["Fn::GetAtt"][0].as_str()).or(resource["Fn::Sub"].as_str());
    name.unwrap_or_else(|| panic!("{resource} is not a resource of the template")).to_owned()
}

#[track_caller]
fn check(role: &str, expected: &[(&str, &[&str])]) {
    let template = Template::read();
    let expected: BTreeMap<_, BTreeSet<_>> = expected
        .iter()
        .map(|(resource, actions)| {
            ((*resource).to_owned(), actions.iter().map(|action| (*action).to_owned()).collect())
        })
        .collect();
    assert_eq!(allowed(&template, role), expected, "{role}");
}

const CONSUME: [&str; 4] =
    ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ChangeMessageVisibility"];
const CONSUME_AND_SEND: [&str; 5] = [CONSUME[0], CONSUME[1], CONSUME[2], CONSUME[3], "sqs:SendMessage"];
const LOG: [&str; 2] = ["logs:CreateLogStream", "logs:PutLogEvents"];

#[test]
fn roles_allow_what_the_code_does() {
    check(
        "DeliverRole",
        &[
            ("AlertsQueue", &CONSUME),
            ("RetryQueue", &["sqs:SendMessage"]),
            ("AlertsDeadLetterQueue", &["sqs:SendMessage"]),
            ("SlowLaneQueue", &["sqs:SendMessage"]),
            ("IntegrationsTable", &["dynamodb:Query", "dynamodb:UpdateItem"]),
            ("DeliveriesTable", &["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:GetItem"]),
            ("LongWait", &["states:StartExecution"]),
            ("SecretsKey", &["kms:Decrypt"]),
            ("DeliverLogGroup", &LOG),
        ],
    );
    check(
        "RetryRole",
        &[
            ("RetryQueue", &CONSUME_AND_SEND),
            ("SlowLaneQueue", &CONSUME_AND_SEND),
            ("RetryDeadLetterQueue", &["sqs:SendMessage"]),
            ("IntegrationsTable", &["dynamodb:GetItem", "dynamodb:UpdateItem"]),
            ("DeliveriesTable", &["dynamodb:GetItem", "dynamodb:UpdateItem"]),
            ("LongWait", &["states:StartExecution"]),
            ("SecretsKey", &["kms:Decrypt"]),
            ("RetryLogGroup", &LOG),
        ],
    );
    check(
        "SweepRole",
        &[
            ("${DeliveriesTable.Arn}/index/waiting", &["dynamodb:Query"]),
            ("RetryQueue", &["sqs:SendMessage"]),
            ("SweepLogGroup", &LOG),
        ],
    );
    check(
        "ApiRole",
        &[
            (
                "IntegrationsTable",
                &[
                    "dynamodb:Query",
                    "dynamodb:GetItem",
                    "dynamodb:PutItem",
                    "dynamodb:UpdateItem",
                    "dynamodb:DeleteItem",
                ],
            ),
            (
                "DeliveriesTable",
                &[
                    "dynamodb:Query",
                    "dynamodb:GetItem",
                    "dynamodb:BatchGetItem",
                    "dynamodb:PutItem",
                    "dynamodb:UpdateItem",
                ],
            ),
            ("${DeliveriesTable.Arn}/index/failed", &["dynamodb:Query"]),
            ("RetryQueue", &["sqs:SendMessage"]),
            ("SlowLaneQueue", &["sqs:SendMessage"]),
            ("SecretsKey", &["kms:GenerateDataKey", "kms:Decrypt"]),
            ("ApiLogGroup", &LOG),
        ],
    );
    // The local cloud does not enforce the permissions of these two.
    check("LongWaitRole", &[("RetryQueue", &["sqs:SendMessage"])]);
    check("SweepScheduleRole", &[("SweepFunction", &["lambda:InvokeFunction"])]);
}

/// In a resource's own policy, `*` means that resource. In a role, it means everything in the account.
#[test]
fn no_role_reaches_beyond_named_resources() {
    let template = Template::read();
    for role in template.of_type("AWS::IAM::Role").into_keys() {
        assert!(!statements(&template, role).is_empty(), "{role} has inline policies");
        for statement in statements(&template, role) {
            for resource in list(&statement["Resource"]) {
                let wild = resource.as_str().or(resource["Fn::Sub"].as_str()).is_some_and(|text| text.contains('*'));
                assert!(!wild, "{role}: {resource}");
            }
            for action in list(&statement["Action"]) {
                let action = action.as_str().unwrap_or_default();
                assert!(!action.contains('*'), "{role}: {action}");
            }
        }
    }
    for (function, resource) in template.of_type("AWS::Serverless::Function") {
        assert_eq!(
            resource["Properties"]["Policies"],
            Value::Null,
            "{function} has a role rather than policy templates"
        );
        assert!(resource["Properties"]["Role"].is_object(), "{function}");
    }
}
