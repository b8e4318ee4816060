//! Deliveries that are not wanted any more.

use domain::delivery::{CancelReason, Record, Status};
use domain::integration::Integration;
use harness::receiver::Answer;
use harness::stack::NewIntegration;
use libtest_mimic::Failed;
use serde_json::json;
use support::function::Function;

use crate::scene::{SOON, Scene, outcomes};

/// Long enough to change an integration in, short enough to wait for.
const A_MOMENT: &str = "4";

async fn waiting_delivery(scene: &Scene) -> Result<(Integration, String, Record), Failed> {
    let answers = [Answer::with_header(503, "retry-after", A_MOMENT), Answer::Status(200)];
    let integration = scene.integration_that_meets(answers).await?;
    let body = scene.raise().await?;
    let record = scene.waiting_for(scene.delivery(&integration, &body)?, 2).await?;
    Ok((integration, body, record))
}

fn assert_cancelled(scene: &Scene, record: &Record, reason: CancelReason) {
    assert_eq!(record.cancel_reason, Some(reason));
    assert_eq!(outcomes(record), [(1, "rejected", Some(503))], "what was attempted stays on record");
    assert_eq!((record.due_at, record.due_shard), (None, None), "it waits for nothing");
    assert_eq!(scene.arrivals().len(), 1);
}

pub async fn disabled_while_waiting(scene: Scene) -> Result<(), Failed> {
    let (integration, _, waiting) = waiting_delivery(&scene).await?;
    scene.stack.change(&integration, &json!({"enabled": false})).await?;
    let key = waiting.identity.key();
    let record = scene.record(key, Status::Cancelled).await?;
    assert_cancelled(&scene, &record, CancelReason::IntegrationDisabled);
    let delivery_id = key.delivery_id.to_string();
    let is_it = |line: &serde_json::Value| line["delivery_id"] == delivery_id.as_str() && line["status"] == "cancelled";
    let line = scene.stack.log_line_when(SOON, "the cancellation's line", is_it).await?;
    assert_eq!(line["reason"], "integration_disabled");
    Ok(())
}

pub async fn deleted_while_waiting(scene: Scene) -> Result<(), Failed> {
    let (integration, _, waiting) = waiting_delivery(&scene).await?;
    scene.stack.delete(&integration).await?;
    let record = scene.record(waiting.identity.key(), Status::Cancelled).await?;
    assert_cancelled(&scene, &record, CancelReason::IntegrationDeleted);
    Ok(())
}

/// A run that died half-way is run again, with the integrations as they are by then: what the first run began has to
/// end, and nothing is begun for those that do not want it now.
pub async fn alert_that_comes_back(scene: Scene) -> Result<(), Failed> {
    scene.receiver.script("/1", [Answer::with_header(503, "retry-after", "7200"), Answer::Status(200)]);
    scene.receiver.script("/2", [Answer::with_header(503, "retry-after", "7200"), Answer::Status(200)]);
    let disabled = scene.create(NewIntegration::to(scene.receiver.url("/1"))).await?;
    let narrowed = scene.create(NewIntegration::to(scene.receiver.url("/2"))).await?;
    let never_wanted =
        scene.create(NewIntegration { enabled: false, ..NewIntegration::to(scene.receiver.url("/3")) }).await?;
    let body = scene.raise().await?;
    for integration in [&disabled, &narrowed] {
        scene.waiting_for(scene.delivery(integration, &body)?, 2).await?;
    }
    scene.stack.change(&disabled, &json!({"enabled": false})).await?;
    scene.stack.change(&narrowed, &json!({"project_ids": [11]})).await?;

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
    let answer = scene.stack.invoke(Function::Deliver, &again).await?;
    assert_eq!(answer, json!({ "batchItemFailures": [] }));

    for (integration, reason) in
        [(&disabled, CancelReason::IntegrationDisabled), (&narrowed, CancelReason::NoLongerMatches)]
    {
        let record = scene.record(scene.delivery(integration, &body)?, Status::Cancelled).await?;
        assert_eq!(record.cancel_reason, Some(reason));
        assert_eq!(outcomes(&record), [(1, "rejected", Some(503))]);
    }
    assert_eq!(scene.stack.record(scene.delivery(&never_wanted, &body)?).await?, None);
    assert_eq!(scene.receiver.arrivals().len(), 2);
    Ok(())
}
