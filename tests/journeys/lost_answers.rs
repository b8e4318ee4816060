//! What a customer notices of answers of the database that are lost on their way: nothing.

use domain::delivery::Status;
use harness::receiver::Answer as Endpoint;
use http::{Method, StatusCode};
use libtest_mimic::Failed;
use serde_json::json;

use crate::at_hand::{Answer, ApiAtHand, Link, Weather};
use crate::scene::{PATH, Scene};

pub async fn own_writes_are_known_again(scene: Scene) -> Result<(), Failed> {
    let link = Link::to(scene.stack.endpoint(), Weather::LosesAnswers).await?;
    let api = ApiAtHand::open(&scene, &[], &link.url()).await?;
    let new = json!({"name": "Pager", "url": scene.receiver.url(PATH), "signing_secret": "canary-the-first"});
    let created = api.call(Method::POST, "/integrations", &[("idempotency-key", "a-key")], Some(&new)).await?;
    expect(&created, StatusCode::CREATED)?;
    let id = created.body["id"].as_str().ok_or("no id")?;
    let path = format!("/integrations/{id}");
    let all = api.call(Method::GET, "/integrations", &[], None).await?;
    assert_eq!(all.body["items"].as_array().map(Vec::len), Some(1));

    // Each says which version it means. Taken for somebody else's, its own write would be a reason to refuse it.
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

    scene.receiver.script(PATH, [Endpoint::Status(410), Endpoint::Status(200)]);
    let integration = scene.stack.find_integration(scene.organization, id).await?;
    let body = scene.raise().await?;
    let key = scene.delivery(&integration, &body)?;
    scene.record(key, Status::Failed).await?;
    expect(&api.call(Method::PATCH, &path, &[], Some(&json!({"enabled": true}))).await?, StatusCode::OK)?;
    let redelivery = format!("{path}/deliveries/{}/redeliver", key.delivery_id);
    expect(&api.call(Method::POST, &redelivery, &[], None).await?, StatusCode::ACCEPTED)?;
    scene.record(key, Status::Delivered).await?;

    scene.receiver.script(PATH, [Endpoint::Status(410), Endpoint::Status(200)]);
    let body = scene.raise().await?;
    let key = scene.delivery(&integration, &body)?;
    scene.record(key, Status::Failed).await?;
    expect(&api.call(Method::PATCH, &path, &[], Some(&json!({"enabled": true}))).await?, StatusCode::OK)?;
    let recovered = api.call(Method::POST, &format!("{path}/recover"), &[], None).await?;
    expect(&recovered, StatusCode::OK)?;
    assert_eq!((&recovered.body["count"], &recovered.body["skipped"]), (&json!(1), &json!(0)));
    scene.record(key, Status::Delivered).await?;

    let tested = api.call(Method::POST, &format!("{path}/test"), &[], None).await?;
    expect(&tested, StatusCode::OK)?;
    assert_eq!(tested.body["outcome"], "accepted");
    expect(&api.call(Method::DELETE, &path, &[], None).await?, StatusCode::NO_CONTENT)
}

fn expect(answer: &Answer, status: StatusCode) -> Result<(), Failed> {
    if answer.status == status { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.body).into()) }
}

fn etag(answer: &Answer) -> &str {
    answer.headers.get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default()
}
