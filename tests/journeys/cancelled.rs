//! Deliveries that are cancelled, because their integration no longer wants them.

use domain::delivery::{CancelReason, Record, Status};
use domain::integration::Integration;
use harness::customer::NewIntegration;
use harness::receiver::Answer;
use serde_json::json;
use support::function::Function;

use crate::testbed::{SOON, Testbed, outcomes};

/// Long enough to change an integration meanwhile, and short enough to wait for.
const RETRY_AFTER_SECONDS: &str = "4";

async fn waiting_delivery(testbed: &Testbed) -> anyhow::Result<(Integration, String, Record)> {
    let answers = [Answer::with_header(503, "retry-after", RETRY_AFTER_SECONDS), Answer::Status(200)];
    let integration = testbed.create_with_answers(answers).await?;
    let body = testbed.send_alert().await?;
    let record = testbed.record_waiting_for(testbed.delivery(&integration, &body)?, 2).await?;
    Ok((integration, body, record))
}

fn assert_cancelled(testbed: &Testbed, record: &Record, reason: CancelReason) {
    assert_eq!(record.cancel_reason, Some(reason));
    assert_eq!(outcomes(record), [(1, "rejected", Some(503))], "what was attempted stays on record");
    assert_eq!((record.due_at, record.due_shard), (None, None), "it waits for nothing");
    assert_eq!(testbed.arrivals().len(), 1);
}

pub async fn disabled_while_waiting(testbed: Testbed) -> anyhow::Result<()> {
    let (integration, _, waiting) = waiting_delivery(&testbed).await?;
    testbed.stack.change(&integration, &json!({"enabled": false})).await?;
    let key = waiting.identity.key();
    let record = testbed.record(key, Status::Cancelled).await?;
    assert_cancelled(&testbed, &record, CancelReason::IntegrationDisabled);
    let delivery_id = key.delivery_id.to_string();
    let is_it = |line: &serde_json::Value| line["delivery_id"] == delivery_id.as_str() && line["status"] == "cancelled";
    let line = testbed.stack.log_line_when(SOON, "the cancellation's line", is_it).await?;
    assert_eq!(line["reason"], "integration_disabled");
    Ok(())
}

pub async fn deleted_while_waiting(testbed: Testbed) -> anyhow::Result<()> {
    let (integration, _, waiting) = waiting_delivery(&testbed).await?;
    testbed.stack.delete(&integration).await?;
    let record = testbed.record(waiting.identity.key(), Status::Cancelled).await?;
    assert_cancelled(&testbed, &record, CancelReason::IntegrationDeleted);
    Ok(())
}

/// An alert is handled again after a worker died, when its integrations have changed: deliveries that exist have to
/// end, and no new ones are created for integrations that do not want it.
pub async fn alert_that_comes_back(testbed: Testbed) -> anyhow::Result<()> {
    testbed.receiver.script("/1", [Answer::with_header(503, "retry-after", "7200"), Answer::Status(200)]);
    testbed.receiver.script("/2", [Answer::with_header(503, "retry-after", "7200"), Answer::Status(200)]);
    testbed.receiver.script("/4", [Answer::with_header(503, "retry-after", "7200"), Answer::Status(200)]);
    let disabled = testbed.create(NewIntegration::to(testbed.receiver.url("/1"))).await?;
    let narrowed = testbed.create(NewIntegration::to(testbed.receiver.url("/2"))).await?;
    let never_wanted =
        testbed.create(NewIntegration { enabled: false, ..NewIntegration::to(testbed.receiver.url("/3")) }).await?;
    let deleted = testbed.create(NewIntegration::to(testbed.receiver.url("/4"))).await?;
    let body = testbed.send_alert().await?;
    for integration in [&disabled, &narrowed, &deleted] {
        testbed.record_waiting_for(testbed.delivery(integration, &body)?, 2).await?;
    }
    testbed.stack.change(&disabled, &json!({"enabled": false})).await?;
    testbed.stack.change(&narrowed, &json!({"project_ids": [11]})).await?;
    testbed.stack.delete(&deleted).await?;

    let again = json!({ "Records": [{
        "messageId": "5a2f2b5e-0000-4000-8000-000000000001",
        "receiptHandle": "the second time",
        "body": body,
        "attributes": { "ApproximateReceiveCount": "2" },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:journeys-alerts",
        "awsRegion": "us-east-1",
    }] });
    let answer = testbed.stack.invoke(Function::Deliver, &again).await?;
    assert_eq!(answer, json!({ "batchItemFailures": [] }));

    for (integration, reason) in [
        (&disabled, CancelReason::IntegrationDisabled),
        (&narrowed, CancelReason::NoLongerMatches),
        (&deleted, CancelReason::IntegrationDeleted),
    ] {
        let record = testbed.record(testbed.delivery(integration, &body)?, Status::Cancelled).await?;
        assert_eq!(record.cancel_reason, Some(reason));
        assert_eq!(outcomes(&record), [(1, "rejected", Some(503))]);
    }
    assert_eq!(testbed.stack.record(testbed.delivery(&never_wanted, &body)?).await?, None);
    assert_eq!(testbed.receiver.arrivals().len(), 3);
    Ok(())
}
