//! The long wait. The local cloud enforces neither its role nor all of its retries, so its definition is checked.

use serde_json::json;

use support::template::{Template, attribute, reference};

#[test]
fn long_wait_waits_then_sends_fairly_and_retries() {
    let template = Template::read();
    let properties = template.properties("LongWait");
    assert_eq!(properties["StateMachineType"], "STANDARD", "express executions end after five minutes");
    assert_eq!(properties["RoleArn"], attribute("LongWaitRole", "Arn"));
    assert_eq!(properties["DefinitionSubstitutions"], json!({ "RetryQueueUrl": reference("RetryQueue") }));

    let definition = &properties["Definition"];
    assert_eq!(definition["QueryLanguage"], "JSONata");
    let states = definition["States"].as_object().expect("a definition has states");
    assert_eq!(states.len(), 2, "each state costs a transition");
    let wait = &states[definition["StartAt"].as_str().expect("it starts somewhere")];
    assert_eq!((&wait["Type"], &wait["Timestamp"]), (&json!("Wait"), &json!("{% $states.input.due_at %}")));

    let send = &states[wait["Next"].as_str().expect("something follows the wait")];
    assert_eq!((&send["Resource"], &send["End"]), (&json!("arn:aws:states:::sqs:sendMessage"), &json!(true)));
    let arguments = json!({
        "QueueUrl": "${RetryQueueUrl}",
        "MessageBody": "{% $states.input.message %}",
        "MessageGroupId": "{% $states.input.organization_id %}",
    });
    assert_eq!(send["Arguments"], arguments);

    let retry = &send["Retry"][0];
    assert_eq!(retry["ErrorEquals"], json!(["States.ALL"]));
    assert!(retry["MaxAttempts"].as_u64() >= Some(10), "{retry}");
    // It goes on retrying often instead of waiting for hours.
    assert!(retry["MaxDelaySeconds"].as_u64() <= Some(600), "{retry}");
}
