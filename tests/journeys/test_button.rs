//! The Test button: what a customer sees after pressing it.

use std::collections::BTreeSet;

use anyhow::Context;
use domain::alert::event::AlertEvent;
use harness::api::Content;
use harness::receiver::Answer;
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::integrations::{assert_problem, create_integration};
use crate::testbed::{PATH, STANDARD_SECRET, Testbed, header};

pub async fn shows_what_was_sent_and_what_came_back(testbed: Testbed) -> anyhow::Result<()> {
    testbed.receiver.script(PATH, [Answer::Full { status: 200, headers: Vec::new(), body: "thanks".to_owned() }]);
    let api = testbed.api().await?;
    let id = create_integration(
        &api,
        &json!({
            "name": "Pager", "url": testbed.receiver.url(&format!("/a/..{PATH}")), "method": "PATCH", "signing_secret": STANDARD_SECRET,
            "headers": {"Authorization": "Bearer canary-0123456789"}, "event_types": ["alert.resolved"], "enabled": false,
        }),
    )
    .await?;
    let shown = api.test(&id).await?;

    let arrivals = testbed.arrivals();
    assert_eq!(arrivals.len(), 1, "whatever the filters, and though it is switched off");
    let arrival = &arrivals[0];
    let sent = std::str::from_utf8(&arrival.body)?;
    assert_eq!((&shown["request"]["method"], &shown["request"]["body"]), (&json!("PATCH"), &json!(sent)));
    assert_eq!(shown["request"]["url"], testbed.receiver.url(PATH), "what was called, not what was written");
    for name in [
        "X-Roboticks-Test",
        "X-Roboticks-Signature",
        "X-Roboticks-Delivery",
        "Webhook-Signature",
        "User-Agent",
        "Accept",
        "Host",
        "Content-Length",
    ] {
        assert_eq!(shown["request"]["headers"][name], header(arrival, name), "{name}");
    }
    let shown_headers = shown["request"]["headers"].as_object().context("no headers")?;
    assert_eq!(arrival.headers.len(), shown_headers.len(), "{shown_headers:?}");
    assert_eq!(header(arrival, "authorization"), "Bearer canary-0123456789");
    assert_eq!(shown["request"]["headers"]["Authorization"], "••••");
    assert_eq!(shown["response"], json!({"status_code": 200, "excerpt": "thanks"}));
    assert_eq!((&shown["outcome"], &shown["error"]), (&json!("accepted"), &Value::Null));
    let timings = &shown["timings"];
    assert!(timings["connect_ms"].is_number() && timings["first_byte_ms"].is_number(), "{timings}");
    assert_eq!((&timings["dns_ms"], &timings["tls_ms"]), (&Value::Null, &Value::Null), "an address, in clear");

    let logged = api.all_deliveries(&id, "").await?;
    assert_eq!(logged.len(), 1);
    let delivery = api.delivery(&id, shown["delivery_id"].as_str().context("no delivery")?).await?;
    assert_eq!(delivery["payload"], serde_json::from_str::<Value>(sent)?, "what was sent");
    assert_eq!((&logged[0]["id"], &logged[0]["test"]), (&shown["delivery_id"], &json!(true)));
    assert_eq!(
        (&logged[0]["status"], &logged[0]["attempts"][0]["response_excerpt"]),
        (&json!("delivered"), &Value::Null)
    );
    Ok(())
}

/// A receiver can tell a test from a real alert, and one test from another.
pub async fn sends_any_event_as_of_now_and_marked(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let types = ["alert.triggered", "alert.acknowledged", "alert.resolved"];
    for event_type in types {
        api.test_event(&id, event_type).await?;
    }
    let arrivals = testbed.arrivals();
    let mut alerts = Vec::new();
    for (arrival, event_type) in arrivals.iter().zip(types) {
        let event = AlertEvent::parse(std::str::from_utf8(&arrival.body)?)?;
        assert_eq!((event.event_type.as_str(), header(arrival, "x-roboticks-event")), (event_type, event_type));
        assert_eq!(header(arrival, "x-roboticks-test"), "true");
        let age = Timestamp::now().duration_since(event.timestamp);
        assert!((0..60).contains(&age.as_secs()), "{age:?}");
        assert!((1 << 52..1 << 53).contains(&event.alert_id), "{}", event.alert_id);
        alerts.push(event.alert_id);
    }
    assert_eq!(alerts.iter().collect::<BTreeSet<_>>().len(), types.len(), "{alerts:?}");
    let logged = api.all_deliveries(&id, &format!("alert_id={}", alerts[2])).await?;
    assert_eq!(logged.iter().map(|delivery| &delivery["event_type"]).collect::<Vec<_>>(), [types[2]]);

    let path = format!("/integrations/{id}/test");
    let unknown = api.call(Method::POST, &path, Content::json(&json!({"event_type": "alert.closed"}))).await?;
    assert_problem(&unknown, StatusCode::UNPROCESSABLE_ENTITY, &["event_type"])?;
    let garbled = api.call(Method::POST, &path, Content::raw("application/json", "{".to_owned())).await?;
    assert_problem(&garbled, StatusCode::BAD_REQUEST, &["$"])?;
    assert_eq!(testbed.arrivals().len(), types.len());
    Ok(())
}

pub async fn explains_a_failure_and_tries_once(testbed: Testbed) -> anyhow::Result<()> {
    let answer = Answer::Full { status: 401, headers: Vec::new(), body: "no canary-0123456789 here".to_owned() };
    testbed.receiver.script(PATH, [answer]);
    let api = testbed.api().await?;
    let headers = json!({"Authorization": "canary-0123456789"});
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH), "headers": headers}))
        .await?;
    let shown = api.test(&id).await?;
    assert_eq!((&shown["outcome"], &shown["error"]["code"]), (&json!("rejected"), &json!("unauthorized")));
    assert!(shown["error"]["message"].as_str().is_some_and(|advice| advice.contains("signing secret")), "{shown}");
    let excerpt = shown["response"]["excerpt"].as_str().unwrap_or_default();
    assert!(
        excerpt.starts_with("no ") && !excerpt.contains("canary"),
        "an echoed header value is cut out: {excerpt:?}"
    );

    testbed.wait_a_moment().await;
    assert_eq!(testbed.arrivals().len(), 1, "a test is not retried");
    let logged = api.deliveries(&id, "status=failed").await?;
    assert_eq!(logged["items"][0]["id"], shown["delivery_id"]);
    assert_eq!(api.recover(&id, &json!({"dry_run": true})).await?["count"], 0, "nor recovered");

    api.change(&id, &json!({"url": "http://127.0.0.1:1024/canary", "headers": headers})).await?;
    let shown = api.test(&id).await?;
    assert_eq!((&shown["error"]["code"], &shown["response"]), (&json!("connection_refused"), &Value::Null));
    Ok(())
}

pub async fn gone_switches_nothing_off(testbed: Testbed) -> anyhow::Result<()> {
    testbed.receiver.script(PATH, [Answer::Status(410)]);
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    assert_eq!(api.test(&id).await?["error"]["code"], "gone");
    assert_eq!(api.read(&id).await?["enabled"], true);
    Ok(())
}

pub async fn a_test_is_not_sent_again(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let tested = api.test(&id).await?["delivery_id"].as_str().context("no delivery")?.to_owned();
    let path = format!("/integrations/{id}/deliveries/{tested}/redeliver");
    let refused = api.call(Method::POST, &path, Content::none()).await?;
    assert_problem(&refused, StatusCode::CONFLICT, &[])?;
    assert!(refused.json()?["detail"].as_str().is_some_and(|detail| detail.contains("make a new test")));
    assert_eq!(api.delivery(&id, &tested).await?["redeliveries_left"], 0);
    assert_eq!(testbed.arrivals().len(), 1);
    Ok(())
}
