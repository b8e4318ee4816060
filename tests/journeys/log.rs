//! The integration log: finding deliveries, understanding them, sending them again.

use std::time::Duration;

use anyhow::Context;
use domain::alert::event::EventType;
use domain::delivery::ledger::{End, State};
use domain::delivery::{Identity, Record, Status};
use domain::ids::DeliveryId;
use domain::request::signature::SigningSecret;
use futures_util::future::join_all;
use harness::api::Content;
use harness::receiver::{Answer, Arrival};
use http::header::IF_MATCH;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use support::function::Function;

use crate::in_process_api::{FaultyLink, InProcessApi, LinkFault};
use crate::integrations::{assert_problem, create_integration};
use crate::testbed::{PATH, SOON, STANDARD_SECRET, Testbed, header};

pub async fn pages_and_filters(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    let mut sent = Vec::new();
    for number in 0..7 {
        let mut alert = testbed.alert();
        if number % 2 == 1 {
            alert["event_type"] = json!("alert.resolved");
        }
        let body = alert.to_string();
        testbed.send(&body).await?;
        let key = testbed.delivery(&integration, &body)?;
        testbed.record(key, Status::Delivered).await?;
        sent.push((key.delivery_id.to_string(), alert));
    }
    let newest_first: Vec<_> = sent.iter().rev().map(|(id, _)| id.clone()).collect();
    assert_eq!(ids(api.all_deliveries(&id, "limit=3").await?), newest_first);
    assert_eq!(ids(api.all_deliveries(&id, "").await?), newest_first);
    let page = api.deliveries(&id, "limit=7").await?;
    assert_eq!(page["next_cursor"], Value::Null, "a full last page leads nowhere");

    let resolved = ids(api.all_deliveries(&id, "event_type=alert.resolved&limit=2").await?);
    assert_eq!(resolved, [&sent[5].0, &sent[3].0, &sent[1].0].map(String::clone));
    let alert = sent[4].1["alert"]["id"].as_u64().unwrap_or_default();
    assert_eq!(ids(api.all_deliveries(&id, &format!("alert_id={alert}")).await?), [sent[4].0.clone()]);
    assert_eq!(ids(api.all_deliveries(&id, "status=failed").await?), [""; 0]);
    assert_eq!(ids(api.all_deliveries(&id, "status=delivered").await?).len(), 7);

    let third = api.delivery(&id, &sent[2].0).await?;
    let received = third["created_at"].as_str().context("no time")?;
    assert_eq!(ids(api.all_deliveries(&id, &format!("to={received}")).await?), &newest_first[4..]);
    assert_eq!(ids(api.all_deliveries(&id, &format!("from={received}")).await?), &newest_first[..5]);
    Ok(())
}

fn ids(items: Vec<Value>) -> Vec<String> {
    items.iter().filter_map(|item| item["id"].as_str().map(str::to_owned)).collect()
}

pub async fn a_delivery_shows_its_attempts(testbed: Testbed) -> anyhow::Result<()> {
    testbed.receiver.script(PATH, [Answer::Status(500), Answer::Hang]);
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    // Numbers that a parser would round, and an order of keys that it might change.
    let body = testbed.alert().to_string().replacen('{', r#"{ "zzz": 12345678901234567890.10, "aaa": 1,"#, 1);
    testbed.send(&body).await?;
    let key = testbed.delivery(&integration, &body)?;
    let record = testbed.record_waiting_for(key, 3).await?;

    let path = format!("/integrations/{id}/deliveries/{}", key.delivery_id);
    let answer = api.call(Method::GET, &path, Content::none()).await?.expect(StatusCode::OK)?;
    assert!(answer.text().contains(&body), "the payload's own bytes: {}", answer.text());
    let shown = answer.json()?;
    assert_eq!((&shown["status"], &shown["test"]), (&json!("waiting"), &json!(false)));
    assert_eq!(shown["next_attempt_at"].as_str(), record.due_at.map(|due_at| due_at.to_string()).as_deref());
    let attempts: Vec<_> = shown["attempts"].as_array().into_iter().flatten().collect();
    let codes: Vec<_> = attempts.iter().map(|attempt| attempt["error"]["code"].as_str().unwrap_or("-")).collect();
    assert_eq!(codes, ["server_error", "timeout_response"]);
    assert_eq!((&attempts[0]["status_code"], &attempts[1]["status_code"]), (&json!(500), &Value::Null));
    assert!(
        attempts.iter().all(|attempt| attempt["error"]["message"].as_str().is_some_and(|text| text.ends_with('.')))
    );
    let health = &api.read(&id).await?["health"];
    assert_eq!((&health["state"], &health["reason"]), (&json!("failing"), &attempts[0]["error"]), "in the same words");

    let in_flight = api.call(Method::POST, &format!("{path}/redeliver"), Content::none()).await?;
    assert_problem(&in_flight, StatusCode::CONFLICT, &[])?;
    api.delete(&id).await?;
    Ok(())
}

pub async fn sent_again_by_hand(testbed: Testbed) -> anyhow::Result<()> {
    testbed.receiver.script(PATH, [Answer::Status(410), Answer::Status(500), Answer::Status(200)]);
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    testbed.record(key, Status::Failed).await?;
    let read = api.read(&id).await?;
    assert_eq!((&read["enabled"], &read["health"]["reason"]["code"]), (&json!(false), &json!("gone")));

    let path = format!("/integrations/{id}/deliveries/{}/redeliver", key.delivery_id);
    let redeliver = || api.call(Method::POST, &path, Content::none());
    assert_problem(&redeliver().await?, StatusCode::CONFLICT, &[])?;
    api.change(&id, &json!({"enabled": true})).await?;

    let answer = redeliver().await?.expect(StatusCode::ACCEPTED)?.json()?;
    assert_eq!((&answer["status"], &answer["redeliveries_left"]), (&json!("waiting"), &json!(3)));
    let record = testbed.record(key, Status::Delivered).await?;
    let made: Vec<_> = record.attempts.iter().map(|attempt| (attempt.number, attempt.status_code)).collect();
    assert_eq!(made, [(1, Some(410)), (2, Some(500)), (3, Some(200))], "a round has its own retries");
    assert_eq!((record.round_start, record.rounds), (2, 2));
    let attempts: Vec<_> =
        testbed.arrivals().iter().map(|arrival| header(arrival, "x-roboticks-attempt").to_owned()).collect();
    assert_eq!(attempts, ["1", "2", "3"]);

    for left in [2, 1, 0] {
        assert_eq!(redeliver().await?.expect(StatusCode::ACCEPTED)?.json()?["redeliveries_left"], left);
        testbed.record(key, Status::Delivered).await?;
    }
    assert_problem(&redeliver().await?, StatusCode::CONFLICT, &[])?;
    assert_eq!(testbed.arrivals().len(), 6);
    Ok(())
}

pub async fn a_large_payload_is_sent_again_too(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    let mut alert = testbed.alert();
    let noise: String = (1_u64..400).map(|n| format!("{:016x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
    alert["noise"] = json!(noise);
    let body = alert.to_string();
    testbed.send(&body).await?;
    let key = testbed.delivery(&integration, &body)?;
    let record = testbed.record(key, Status::Delivered).await?;
    assert!(record.payload.is_none(), "it has an item of its own");
    api.redeliver(&id, &key.delivery_id.to_string()).await?;
    let again = |record: &domain::delivery::Record| record.status == Status::Delivered && record.rounds == 2;
    testbed.stack.record_when(key, SOON, "a second round that is delivered", again).await?;
    assert!(testbed.arrivals().iter().all(|arrival| arrival.body == body.as_bytes()));
    assert_eq!(testbed.arrivals().len(), 2);
    Ok(())
}

pub async fn rotated_secrets_sign_for_the_overlap(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let body = json!({"name": "Pager", "url": testbed.receiver.url(PATH), "signing_secret": STANDARD_SECRET});
    let id = create_integration(&api, &body).await?;
    let rotated = api.rotate(&id, &json!({"overlap_seconds": 3})).await?;
    let new = rotated["signing_secret"].as_str().context("no generated secret")?.to_owned();
    assert!(rotated["previous_secret_valid_until"].is_string());
    api.test(&id).await?;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    api.test(&id).await?;

    let arrivals = testbed.arrivals();
    let verifies = |secret: &str, index: usize| -> anyhow::Result<bool> {
        let webhook = standardwebhooks::Webhook::new(secret)?;
        Ok(webhook.verify(&arrivals[index].body, &arrivals[index].headers).is_ok())
    };
    assert!(verifies(STANDARD_SECRET, 0)? && verifies(&new, 0)?, "both, during the overlap");
    assert!(!verifies(STANDARD_SECRET, 1)? && verifies(&new, 1)?, "the new one alone, after it");
    assert!(arrivals[0].header("x-roboticks-signature-previous").is_some());
    assert!(arrivals[1].header("x-roboticks-signature-previous").is_none());
    assert_eq!(api.read(&id).await?["previous_secret_valid_until"], Value::Null);
    let shown = testbed.stack.log_lines(Function::Api).await?;
    assert!(!shown.iter().any(|line| line.contains(&new)));
    Ok(())
}

/// A secret signs as long as promised, unless its owner ends that.
pub async fn a_promised_overlap_is_kept(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let body = json!({"name": "Pager", "url": testbed.receiver.url(PATH), "signing_secret": STANDARD_SECRET});
    let id = create_integration(&api, &body).await?;
    let path = format!("/integrations/{id}/rotate-secret");
    let rotate = |body: Value, tag: &'static str| {
        let content = Content::json(&body).with(IF_MATCH, HeaderValue::from_static(tag));
        api.call(Method::POST, &path, content)
    };
    let second =
        rotate(json!({"signing_secret": "canary-the-second"}), "\"1\"").await?.expect(StatusCode::OK)?.json()?;
    let until = second["previous_secret_valid_until"].as_str().context("no overlap")?;

    let refused = rotate(json!({}), "*").await?;
    assert_problem(&refused, StatusCode::CONFLICT, &[])?;
    let to_the_second = &until["2025-01-10T".len()..][.."10:23:45".len()];
    let detail = refused.json()?["detail"].as_str().unwrap_or_default().to_owned();
    assert!(detail.contains(to_the_second) && detail.contains("replace_previous"), "{detail}");
    api.test(&id).await?;

    let replacing = || json!({"signing_secret": "canary-the-third", "replace_previous": true});
    assert_problem(&rotate(replacing(), "\"1\"").await?, StatusCode::PRECONDITION_FAILED, &["If-Match"])?;
    rotate(replacing(), "\"2\"").await?.expect(StatusCode::OK)?;
    api.test(&id).await?;
    // Immediately, without an overlap.
    let last = json!({"signing_secret": "canary-the-fourth", "replace_previous": true, "overlap_seconds": 0});
    let last = api.rotate(&id, &last).await?;
    assert_eq!((&last["previous_secret_valid_until"], &last["signing_secret_format"]), (&Value::Null, &json!("raw")));
    api.test(&id).await?;

    let signed_by = |arrival: &Arrival| -> Vec<&str> {
        let secrets = [STANDARD_SECRET, "canary-the-second", "canary-the-third", "canary-the-fourth"];
        let signs = |secret: &&str| {
            let secret = SigningSecret::parse_new(secret).map(|secret| secret.roboticks_signature(&arrival.body));
            let signatures = ["x-roboticks-signature", "x-roboticks-signature-previous"];
            secret.is_ok_and(|signature| signatures.iter().any(|name| header(arrival, name) == signature))
        };
        secrets.into_iter().filter(signs).collect()
    };
    let arrivals = testbed.arrivals();
    assert_eq!(signed_by(&arrivals[0]), [STANDARD_SECRET, "canary-the-second"]);
    assert_eq!(signed_by(&arrivals[1]), ["canary-the-second", "canary-the-third"]);
    assert_eq!(signed_by(&arrivals[2]), ["canary-the-fourth"]);
    Ok(())
}

/// Many at once, so that some find neither the others' answer nor the secret that these set.
pub async fn repeated_requests_rotate_once(testbed: Testbed) -> anyhow::Result<()> {
    const KEY: &str = "a1f0c2c9-6f2e-4d8f-9d3a-0a1b2c3d4e5f";
    let api = testbed.api().await?;
    let body = json!({"name": "Pager", "url": testbed.receiver.url(PATH), "signing_secret": STANDARD_SECRET});
    let (id, other) = (create_integration(&api, &body).await?, create_integration(&api, &body).await?);
    let ask = |id: &str, body: Value| {
        let key = HeaderValue::from_static(KEY);
        let content = Content::json(&body).with(HeaderName::from_static("idempotency-key"), key);
        let (api, path) = (api.clone(), format!("/integrations/{id}/rotate-secret"));
        async move { api.call(Method::POST, &path, content).await }
    };
    let link = FaultyLink::start(testbed.stack.endpoint(), LinkFault::DelayReads).await?;
    let in_process_api = InProcessApi::new(&testbed, &[], &link.url()).await?;
    let (path, named) = (format!("/integrations/{id}/rotate-secret"), [("idempotency-key", KEY)]);
    let (nothing, many) = (json!({}), 0..8);
    let many = many.map(|_| in_process_api.call(Method::POST, &path, &named, Some(&nothing)));
    let answers = join_all(many).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let one = ask(&id, json!({})).await?.expect(StatusCode::OK)?;
    assert!(one.json()?["signing_secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")));
    assert_eq!(one.header("etag"), Some("\"2\""));
    for other in answers {
        assert_eq!((other.status, other.body), (StatusCode::OK, one.json()?), "the secret included");
    }
    for different in [ask(&id, json!({"overlap_seconds": 0})).await?, ask(&other, json!({})).await?] {
        assert_problem(&different, StatusCode::UNPROCESSABLE_ENTITY, &["Idempotency-Key"])?;
    }
    // After another change the integration may have another secret.
    api.change(&id, &json!({"name": "On-call"})).await?;
    let later = ask(&id, json!({})).await?.expect(StatusCode::OK)?.json()?;
    assert_eq!((&later["name"], later.get("signing_secret")), (&json!("On-call"), None));
    Ok(())
}

/// The log is sorted by the time of the events; `from` and `to` are times of receipt.
/// Events of 1970, of 1024 weeks ago (a GPS receiver's overflow) and of the future are found by when they were received.
pub async fn misdated_events_are_found_by_their_receipt(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    let (began, weeks) = (Timestamp::now(), Duration::from_secs(1_024 * 7 * 24 * 60 * 60));
    let mut sent = Vec::new();
    for timestamp in [began, "1970-01-01T00:00:12Z".parse()?, began - weeks, began + weeks] {
        let mut alert = testbed.alert();
        alert["timestamp"] = json!(timestamp.to_string());
        let body = alert.to_string();
        testbed.send(&body).await?;
        let key = testbed.delivery(&integration, &body)?;
        testbed.record(key, Status::Delivered).await?;
        sent.push(key.delivery_id.to_string());
    }
    let found = async |query: &str| -> anyhow::Result<Vec<String>> { Ok(ids(api.all_deliveries(&id, query).await?)) };
    let minute = Duration::from_secs(60);
    let (minute_before, minute_after) = (began - minute, Timestamp::now() + minute);
    let newest_receipt_last = [&sent[0], &sent[3], &sent[2], &sent[1]].map(String::clone);
    for limit in [1, 2, 100] {
        let range = format!("from={minute_before}&to={minute_after}&limit={limit}");
        assert_eq!(found(&range).await?, newest_receipt_last, "{range}");
    }
    assert_eq!(found(&format!("from={minute_before}&to={minute_after}&status=delivered")).await?, newest_receipt_last);
    assert_eq!(found(&format!("to={minute_before}")).await?, [""; 0]);
    assert_eq!(found(&format!("from={minute_after}")).await?, [""; 0]);
    // Within this range of times of receipt, an event of 1970 is no surprise, and is listed once.
    assert_eq!(found(&format!("from=1970-01-02T00:00:00Z&to={minute_after}")).await?.len(), 4);
    // Without an end, events of the future are no surprise either.
    let since = [&sent[3], &sent[0], &sent[2], &sent[1]].map(String::clone);
    assert_eq!(found(&format!("from={minute_before}")).await?, since);
    assert_eq!(found("").await?, [&sent[3], &sent[0], &sent[2], &sent[1]].map(String::clone), "by the events' time");
    Ok(())
}

pub async fn a_time_range_ends_the_search(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    let now = Timestamp::now();
    let mut put = Vec::new();
    // An event of each age, all received now.
    for age in [0, 14, 16] {
        let body = testbed.alert().to_string();
        let event_at = now - days(age);
        let delivery_id = DeliveryId::of_alert(testbed.organization, integration.id, event_at, body.as_bytes());
        let identity = Identity {
            integration_id: integration.id,
            delivery_id,
            organization_id: testbed.organization,
            event_type: EventType::Triggered,
            alert_id: age,
            created_at: now,
        };
        let state = State::Ended { attempt: 1, round_start: 1, end: End::Delivered };
        testbed.stack.put_record(Record::new(identity, &state, now + days(1))).await?;
        put.push(delivery_id.to_string());
    }
    let found =
        async |query: String| -> anyhow::Result<Vec<String>> { Ok(ids(api.all_deliveries(&id, &query).await?)) };
    let hour = Duration::from_secs(3_600);
    assert_eq!(found(String::new()).await?, put);
    assert_eq!(found(format!("from={}", now - hour)).await?, put[..2], "two weeks late, and no later");
    assert_eq!(found(format!("to={}", now + hour)).await?, put);
    assert_eq!(found(format!("to={}", now - days(15))).await?, [""; 0]);

    let page = api.deliveries(&id, "limit=1").await?;
    let cursor = page["next_cursor"].as_str().context("there is more")?;
    for filters in ["status=delivered", "status=failed", "alert_id=0", "to=2025-01-10T10:00:00Z"] {
        let path = format!("/integrations/{id}/deliveries?{filters}&cursor={cursor}");
        let refused = api.call(Method::GET, &path, Content::none()).await?;
        assert_problem(&refused, StatusCode::BAD_REQUEST, &["cursor"])?;
    }
    assert_eq!(api.deliveries(&id, &format!("limit=2&cursor={cursor}")).await?["items"][0]["id"], put[1]);
    Ok(())
}
