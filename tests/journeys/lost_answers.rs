//! Lost answers of DynamoDB, which a customer does not notice.

use anyhow::{Context, anyhow};
use domain::delivery::Status;
use harness::receiver::Answer as Endpoint;
use http::{Method, StatusCode};
use serde_json::json;

use crate::in_process_api::{Answer, FaultyLink, InProcessApi, LinkFault};
use crate::testbed::{PATH, Testbed};

pub async fn own_writes_are_recognized(testbed: Testbed) -> anyhow::Result<()> {
    let link = FaultyLink::start(testbed.stack.endpoint(), LinkFault::LoseAnswers).await?;
    let api = InProcessApi::new(&testbed, &[], &link.url()).await?;
    let new = json!({"name": "Pager", "url": testbed.receiver.url(PATH), "signing_secret": "canary-the-first"});
    let created = api.call(Method::POST, "/integrations", &[("idempotency-key", "a-key")], Some(&new)).await?;
    expect(&created, StatusCode::CREATED)?;
    let id = created.body["id"].as_str().context("no id")?;
    let path = format!("/integrations/{id}");
    let all = api.call(Method::GET, "/integrations", &[], None).await?;
    assert_eq!(all.body["items"].as_array().map(Vec::len), Some(1));

    // Each request names the version. If its own write looked like somebody else's, it would be refused.
    let renamed = api.call(Method::PATCH, &path, &[("if-match", "\"1\"")], Some(&json!({"name": "On-call"}))).await?;
    expect(&renamed, StatusCode::OK)?;
    assert_eq!(etag(&renamed), "\"2\"");
    let rotation = format!("{path}/rotate-secret");
    let rotated = api.call(Method::POST, &rotation, &[("if-match", "\"2\"")], None).await?;
    expect(&rotated, StatusCode::OK)?;
    assert!(rotated.body["signing_secret"].is_string());
    let keyed = [("if-match", "\"3\""), ("idempotency-key", "another-key")];
    let replaced = json!({"replace_previous": true});
    let rotated = api.call(Method::POST, &rotation, &keyed, Some(&replaced)).await?;
    expect(&rotated, StatusCode::OK)?;
    assert!(rotated.body["signing_secret"].is_string());
    assert_eq!(etag(&rotated), "\"4\"");

    testbed.receiver.script(PATH, [Endpoint::Status(410), Endpoint::Status(200)]);
    let integration = testbed.stack.find_integration(testbed.organization, id).await?;
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    testbed.record(key, Status::Failed).await?;
    expect(&api.call(Method::PATCH, &path, &[], Some(&json!({"enabled": true}))).await?, StatusCode::OK)?;
    let redelivery = format!("{path}/deliveries/{}/redeliver", key.delivery_id);
    expect(&api.call(Method::POST, &redelivery, &[], None).await?, StatusCode::ACCEPTED)?;
    testbed.record(key, Status::Delivered).await?;

    testbed.receiver.script(PATH, [Endpoint::Status(410), Endpoint::Status(200)]);
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    testbed.record(key, Status::Failed).await?;
    expect(&api.call(Method::PATCH, &path, &[], Some(&json!({"enabled": true}))).await?, StatusCode::OK)?;
    let recovered = api.call(Method::POST, &format!("{path}/recover"), &[], None).await?;
    expect(&recovered, StatusCode::OK)?;
    assert_eq!((&recovered.body["count"], &recovered.body["skipped"]), (&json!(1), &json!(0)));
    testbed.record(key, Status::Delivered).await?;

    let tested = api.call(Method::POST, &format!("{path}/test"), &[], None).await?;
    expect(&tested, StatusCode::OK)?;
    assert_eq!(tested.body["outcome"], "accepted");
    expect(&api.call(Method::DELETE, &path, &[], None).await?, StatusCode::NO_CONTENT)
}

fn expect(answer: &Answer, status: StatusCode) -> anyhow::Result<()> {
    if answer.status == status { Ok(()) } else { Err(anyhow!("{}: {}", answer.status, answer.body)) }
}

fn etag(answer: &Answer) -> &str {
    answer.headers.get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default()
}
