//! Bad messages: they are sent to the dead-letter queue with what is wrong with them. A message about a delivery that
//! does not exist is dropped.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use aws::kms::vault::random;
use domain::alert::event::MAX_EVENT_BYTES;
use domain::delivery::Status;
use domain::delivery::retry_message::RetryMessage;
use domain::ids::{DeliveryId, IntegrationId, OrganizationId};
use harness::dead_letters::{DeadLetter, DeadLetterQueue};
use harness::receiver::Answer;
use jiff::Timestamp;
use serde_json::json;

use crate::testbed::{CANARY, INTRUDER, SOON, Testbed, outcomes};

async fn wait_for_dead_letter(testbed: &Testbed, queue: DeadLetterQueue, body: &str) -> anyhow::Result<DeadLetter> {
    let started = Instant::now();
    loop {
        let letters = testbed.stack.dead_letters().await?;
        if let Some(letter) = letters.into_iter().find(|letter| letter.queue == queue && letter.body == body) {
            return Ok(letter);
        }
        if started.elapsed() > SOON {
            let start: String = body.chars().take(80).collect();
            bail!("not in the dead-letter queue within {} s: {start}", SOON.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[track_caller]
fn assert_attributes(letter: &DeadLetter, field: &str, words: &str) {
    let attribute = |name: &str| letter.attributes.get(name).map(String::as_str).unwrap_or_default();
    assert_eq!(attribute("field"), field, "{letter:?}");
    let error = attribute("error");
    assert!(error.contains(words) && error.ends_with('.') && error.len() < 300, "{error:?} should say {words:?}");
}

pub async fn bad_alerts(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([]).await?;
    let changed = |change: fn(&mut serde_json::Value)| {
        let mut alert = testbed.alert();
        change(&mut alert);
        alert.to_string()
    };
    let not_json = format!("{{\"event_type\": \"alert.triggered\", {CANARY}");
    let no_object = format!("[\"{CANARY}\", {}]", testbed.organization);
    let mut too_large = testbed.alert();
    too_large["padding"] = json!("x".repeat(MAX_EVENT_BYTES));
    let cases = [
        (not_json, "$", "not valid JSON"),
        (no_object, "$", "it must be an object"),
        (
            changed(|alert| drop(alert["alert"].as_object_mut().and_then(|alert| alert.remove("severity")))),
            "alert.severity",
            "missing",
        ),
        (changed(|alert| alert["alert"]["id"] = json!("canary")), "alert.id", "a string"),
        (changed(|alert| alert["organization"]["id"] = json!(0)), "organization.id", "1 or more"),
        (changed(|alert| alert["event_type"] = json!("alert.canary")), "event_type", "`alert.acknowledged`"),
        (changed(|alert| alert["timestamp"] = json!("canary o'clock")), "timestamp", "RFC 3339"),
        (too_large.to_string(), "$", "at most 262144"),
    ];
    for (body, ..) in &cases {
        testbed.send(body).await?;
    }
    for (body, field, words) in &cases {
        let letter = wait_for_dead_letter(&testbed, DeadLetterQueue::Alerts, body).await?;
        assert_attributes(&letter, field, words);
        assert_eq!(letter.group, Some(testbed.organization.to_string()), "it keeps its group");
    }
    // A good one beside them is delivered.
    let good = testbed.send_alert().await?;
    testbed.record(testbed.delivery(&integration, &good)?, Status::Delivered).await?;
    assert_eq!(testbed.arrivals().len(), 1);
    Ok(())
}

pub async fn bad_retry_messages(testbed: Testbed) -> anyhow::Result<()> {
    let organization = testbed.organization;
    let cases = [
        (format!("{INTRUDER} {organization}"), "$", "not valid JSON"),
        (
            format!(
                "{{\"organization_id\":{organization},\"integration_id\":\"int_{INTRUDER}\",\
                 \"delivery_id\":\"dlv_01JH7VVHV8550CMES94JPY72KG\",\"attempt\":2}}"
            ),
            "integration_id",
            "followed by a ULID",
        ),
    ];
    for (body, field, words) in &cases {
        testbed.stack.send_retry_message(body).await?;
        assert_attributes(&wait_for_dead_letter(&testbed, DeadLetterQueue::Retries, body).await?, field, words);
    }
    Ok(())
}

pub async fn message_ahead_of_its_delivery(testbed: Testbed) -> anyhow::Result<()> {
    let answers = [Answer::with_header(429, "retry-after", "7200"), Answer::Status(200)];
    let integration = testbed.create_with_answers(answers).await?;
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    testbed.record_waiting_for(key, 2).await?;
    let message = RetryMessage {
        organization_id: testbed.organization,
        integration_id: key.integration_id,
        delivery_id: key.delivery_id,
        attempt: 4,
    };
    testbed.stack.send_retry_message(&message.to_json()).await?;
    assert_attributes(
        &wait_for_dead_letter(&testbed, DeadLetterQueue::Retries, &message.to_json()).await?,
        "attempt",
        "ahead",
    );
    // The delivery itself is not affected.
    let record = testbed.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "rejected", Some(429)), (2, "accepted", Some(200))]);
    Ok(())
}

pub async fn message_of_another_organization(testbed: Testbed) -> anyhow::Result<()> {
    let answers = [Answer::with_header(429, "retry-after", "7200"), Answer::Status(200)];
    let integration = testbed.create_with_answers(answers).await?;
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    let before = testbed.record_waiting_for(key, 2).await?;
    let message = RetryMessage {
        organization_id: OrganizationId::new(u64::MAX).context("it is positive")?,
        integration_id: key.integration_id,
        delivery_id: key.delivery_id,
        attempt: 2,
    };
    testbed.stack.send_retry_message(&message.to_json()).await?;
    let letter = wait_for_dead_letter(&testbed, DeadLetterQueue::Retries, &message.to_json()).await?;
    assert_attributes(&letter, "organization_id", "the delivery belongs to");
    assert_eq!(testbed.stack.record(key).await?, Some(before));
    let record = testbed.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "rejected", Some(429)), (2, "accepted", Some(200))]);
    Ok(())
}

pub async fn unknown_delivery_is_dropped(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([]).await?;
    let now = Timestamp::now();
    let (of_known, of_unknown) = (integration.id, IntegrationId::new(now, random()));
    for integration_id in [of_known, of_unknown] {
        let delivery_id = DeliveryId::new(now, random());
        let message = RetryMessage { organization_id: testbed.organization, integration_id, delivery_id, attempt: 2 };
        testbed.stack.send_retry_message(&message.to_json()).await?;
        let id = delivery_id.to_string();
        let is_it = |line: &serde_json::Value| line["delivery_id"] == id.as_str();
        let line = testbed.stack.log_line_when(SOON, "the line of a dropped message", is_it).await?;
        assert!(line["message"].as_str().is_some_and(|text| text.contains("no such delivery")), "{line}");
    }
    assert_eq!(testbed.receiver.arrivals().len(), 0);
    Ok(())
}
