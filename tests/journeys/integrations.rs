//! A customer's settings: creating, reading, changing and deleting integrations, and the answers to invalid input.

use std::io::Read;

use anyhow::{Context, anyhow};
use aws_sdk_dynamodb::types::AttributeValue;
use domain::delivery::Status;
use domain::integration::{DisabledReason, Integration};
use flate2::read::GzDecoder;
use futures_util::future::join_all;
use harness::api::{Api, Content, Response};
use harness::local_cloud::sdk_config;
use harness::receiver::{Answer, Receiver};
use http::header::ACCEPT_ENCODING;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use support::function::Function;

use crate::in_process_api::{FaultyLink, InProcessApi, LinkFault};
use crate::testbed::{CANARY, PATH, STANDARD_SECRET, Testbed, header};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IF_MATCH: HeaderName = http::header::IF_MATCH;

/// A header value, of which only the last four characters may be shown.
const LONG_VALUE: &str = "Bearer canary-0123456789-wxyz";

pub async fn from_creation_to_deletion(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    assert_eq!(api.list().await?, json!({"items": [], "next_cursor": null}));

    let answer = post(
        &api,
        &json!({
            "name": " Pager ", "url": testbed.receiver.url(PATH), "method": "PUT", "signing_secret": STANDARD_SECRET,
            "headers": {"Authorization": LONG_VALUE, "X-Short": "canary"}, "event_types": ["alert.triggered"],
            "severities": ["critical"], "project_ids": [10],
        }),
    )
    .await?
    .expect(StatusCode::CREATED)?;
    let created = answer.json()?;
    let id = created["id"].as_str().context("no id")?.to_owned();
    assert_eq!(answer.header("location"), Some(format!("/integrations/{id}").as_str()));
    assert_eq!(answer.header("etag"), Some("\"1\""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        created,
        json!({
            "id": id, "name": "Pager", "url": testbed.receiver.url(PATH), "method": "PUT", "enabled": true,
            "headers": {"authorization": {"last4": "wxyz"}, "x-short": {"last4": null}},
            "has_signing_secret": true, "signing_secret_last4": STANDARD_SECRET[STANDARD_SECRET.len() - 4..],
            "signing_secret_format": "whsec",
            "previous_secret_valid_until": null,
            "event_types": ["alert.triggered"], "severities": ["critical"], "project_ids": [10],
            "health": {"state": "unknown", "since": null, "reason": null},
            "warnings": [{"field": "url", "message": created["warnings"][0]["message"]}],
            "created_at": created["created_at"], "updated_at": created["created_at"],
        })
    );
    assert!(!answer.text().contains(LONG_VALUE) && !answer.text().contains(STANDARD_SECRET));
    assert_eq!(api.read(&id).await?, created);
    assert_eq!(api.list().await?["items"], json!([created]));

    let body = testbed.send_alert().await?;
    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;
    let arrivals = testbed.arrivals();
    assert_eq!((arrivals.len(), &arrivals[0].method), (1, &Method::PUT));
    assert_eq!((header(&arrivals[0], "authorization"), header(&arrivals[0], "x-short")), (LONG_VALUE, "canary"));
    assert_eq!(api.read(&id).await?["health"]["state"], "healthy");

    api.delete(&id).await?;
    for gone in [
        get(&api, &format!("/integrations/{id}")).await?,
        get(&api, &format!("/integrations/{id}/deliveries")).await?,
        call(&api, Method::DELETE, &format!("/integrations/{id}"), Content::none()).await?,
        call(&api, Method::POST, &format!("/integrations/{id}/test"), Content::none()).await?,
    ] {
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "{}", gone.text());
    }
    assert_eq!(api.list().await?["items"], json!([]));
    Ok(())
}

pub async fn a_patch_keeps_what_it_does_not_name(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(
        &api,
        &json!({
            "name": "Pager", "url": testbed.receiver.url(PATH), "signing_secret": STANDARD_SECRET,
            "headers": {"Authorization": LONG_VALUE, "X-Tenant": "canary-tenant-0001"},
        }),
    )
    .await?;

    let changed =
        api.change(&id, &json!({"name": "On-call", "headers": {"x-tenant": null, "X-New": LONG_VALUE}})).await?;
    assert_eq!(changed["name"], "On-call");
    assert_eq!(changed["headers"], json!({"authorization": {"last4": "wxyz"}, "x-new": {"last4": "wxyz"}}));
    assert_eq!(changed["has_signing_secret"], true);

    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    let body = testbed.send_alert().await?;
    testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;
    let arrival = &testbed.arrivals()[0];
    assert_eq!((header(arrival, "authorization"), header(arrival, "x-new")), (LONG_VALUE, LONG_VALUE));
    assert_eq!(arrival.header("x-tenant"), None);
    assert!(arrival.header("x-roboticks-signature").is_some());

    let changed = api.change(&id, &json!({"signing_secret": "canary-as-it-is-now"})).await?;
    assert_eq!(changed["signing_secret_format"], "raw");
    let changed = api.change(&id, &json!({"signing_secret": null, "headers": null, "enabled": false})).await?;
    assert_eq!(changed["signing_secret_format"], Value::Null);
    assert_eq!(
        (&changed["has_signing_secret"], &changed["headers"], &changed["enabled"]),
        (&json!(false), &json!({}), &json!(false))
    );
    assert_eq!(changed["health"]["state"], "disabled");
    Ok(())
}

/// The stack allows plain HTTP; this API is configured not to.
pub async fn plain_http_can_be_refused(testbed: Testbed) -> anyhow::Result<()> {
    let strict = InProcessApi::new(&testbed, &[("REQUIRE_HTTPS", "true")], testbed.stack.endpoint()).await?;
    let plain = json!({"name": "Pager", "url": testbed.receiver.url(PATH)});
    let refused = strict.call(Method::POST, "/integrations", &[], Some(&plain)).await?;
    assert_eq!(
        (refused.status, &refused.body["errors"][0]["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("url"))
    );

    // One that was set before stays in use.
    let id = create_integration(&testbed.api().await?, &plain).await?;
    let path = format!("/integrations/{id}");
    for (patch, status) in [
        (json!({"enabled": false}), StatusCode::OK),
        (json!({"enabled": true, "headers": {"X-Key": "canary"}}), StatusCode::OK),
        (json!({"url": testbed.receiver.url("/other")}), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let answer = strict.call(Method::PATCH, &path, &[], Some(&patch)).await?;
        assert_eq!(answer.status, status, "{patch}: {}", answer.body);
    }
    Ok(())
}

pub async fn an_update_is_not_lost(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let path = format!("/integrations/{id}");
    let patch = |name: &str, tag: &'static str| {
        let content = Content::json(&json!({ "name": name })).with(IF_MATCH, HeaderValue::from_static(tag));
        call(&api, Method::PATCH, &path, content)
    };
    let first = patch("First", "\"1\"").await?.expect(StatusCode::OK)?;
    assert_eq!(first.header("etag"), Some("\"2\""));
    let late = patch("Second", "\"1\"").await?;
    assert_problem(&late, StatusCode::PRECONDITION_FAILED, &["If-Match"])?;
    let late =
        call(&api, Method::DELETE, &path, Content::none().with(IF_MATCH, HeaderValue::from_static("\"1\""))).await?;
    assert_problem(&late, StatusCode::PRECONDITION_FAILED, &["If-Match"])?;
    assert_eq!(api.read(&id).await?["name"], "First");
    patch("Whichever", "*").await?.expect(StatusCode::OK)?;

    // Without a precondition no change is lost either: each is applied to the result of the others.
    let (severities, projects) = (json!({"severities": ["critical"]}), json!({"project_ids": [1]}));
    let (one, other) = tokio::join!(api.change(&id, &severities), api.change(&id, &projects));
    one?;
    other?;
    let both = api.read(&id).await?;
    assert_eq!((&both["severities"], &both["project_ids"]), (&json!(["critical"]), &json!([1])));

    // When many changes come at once, some may be refused with 409 and `Retry-After`.
    let renamed = |number| {
        let content = Content::json(&json!({"name": format!("Name {number}")}));
        call(&api, Method::PATCH, &path, content)
    };
    for answer in join_all((0..12).map(renamed)).await {
        let answer = answer?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::CONFLICT => assert_eq!(answer.header("retry-after"), Some("1"), "{}", answer.text()),
            other => return Err(anyhow!("{other}: {}", answer.text())),
        }
    }
    Ok(())
}

/// However often it is repeated: the version and the time of the last change stay, and nothing is encrypted again.
pub async fn what_changes_nothing_makes_no_version(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let body = json!({
        "name": "Pager", "url": testbed.receiver.url(PATH), "signing_secret": STANDARD_SECRET,
        "headers": {"Authorization": LONG_VALUE, "X-Tenant": "canary-tenant-0001"}, "severities": ["critical"],
    });
    let id = create_integration(&api, &body).await?;
    let before = testbed.stack.find_integration(testbed.organization, &id).await?;
    for patch in [json!({}), json!({"headers": {"X-Tenant": "canary-tenant-0001", "X-Gone": null}}), body] {
        let answer = call(&api, Method::PATCH, &format!("/integrations/{id}"), Content::json(&patch)).await?;
        assert_eq!(answer.expect(StatusCode::OK)?.header("etag"), Some("\"1\""));
    }
    assert_eq!(testbed.stack.find_integration(testbed.organization, &id).await?, before);
    Ok(())
}

/// It does not matter who switched it off, and the health of its endpoint is remembered.
pub async fn disabled_says_since_when_and_why(testbed: Testbed) -> anyhow::Result<()> {
    testbed.receiver.script(PATH, [Answer::with_header(503, "retry-after", "4"), Answer::Status(410)]);
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    testbed.record_waiting_for(key, 2).await?;
    let failed = api.delivery(&id, &key.delivery_id.to_string()).await?;
    testbed.record(key, Status::Failed).await?;

    let gone = api.read(&id).await?;
    let off = |since: &Value, code: &str, health: &Value| {
        assert_eq!((&health["state"], &health["since"]), (&json!("disabled"), since));
        assert_eq!(health["reason"]["code"], code);
        assert!(health["reason"]["message"].as_str().is_some_and(|message| message.contains("are not sent")));
    };
    off(&gone["updated_at"], "gone", &gone["health"]);
    api.change(&id, &json!({"name": "On-call"})).await?;
    let still = api.change(&id, &json!({"enabled": false, "severities": ["critical"]})).await?;
    assert_ne!(still["updated_at"], gone["updated_at"]);
    assert_eq!(still["health"], gone["health"], "whatever else is changed meanwhile");

    let on = api.change(&id, &json!({"enabled": true})).await?;
    assert_eq!((&on["health"]["state"], &on["health"]["reason"]), (&json!("failing"), &failed["attempts"][0]["error"]));
    let by_hand = api.change(&id, &json!({"enabled": false})).await?;
    off(&by_hand["updated_at"], "by_hand", &by_hand["health"]);
    assert_eq!(api.change(&id, &json!({"enabled": true})).await?["health"], on["health"]);

    let born_off = json!({"name": "Later", "url": testbed.receiver.url(PATH), "enabled": false});
    let born_off = api.create(&born_off).await?;
    off(&born_off["created_at"], "by_hand", &born_off["health"]);

    // One that was switched off before the time of that was stored.
    let integration = testbed.stack.find_integration(testbed.organization, &id).await?;
    let edit = |integration: &mut Integration| {
        (integration.enabled, integration.disabled_reason) = (false, Some(DisabledReason::Gone));
    };
    testbed.stack.overwrite(&integration, edit).await?;
    off(&Value::Null, "gone", &api.read(&id).await?["health"]);
    Ok(())
}

/// A large compressed answer is another representation, with another entity tag.
pub async fn large_answers_are_compressed_on_request(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let body = json!({"name": "Pager", "url": testbed.receiver.url(PATH)});
    let small = create_integration(&api, &body).await?;
    let large = json!({"name": "Pager", "url": testbed.receiver.url(PATH), "project_ids": Vec::from_iter(1_000_000..1_000_100)});
    let large = create_integration(&api, &large).await?;
    let [small, large] = [small, large].map(|id| format!("/integrations/{id}"));
    let accepting = |path, coding| {
        call(&api, Method::GET, path, Content::none().with(ACCEPT_ENCODING, HeaderValue::from_static(coding)))
    };
    let plain = get(&api, &large).await?;
    let headers = |answer: &Response| {
        ["content-encoding", "vary", "etag"].map(|name| answer.header(name).unwrap_or_default().to_owned())
    };
    assert_eq!(headers(&plain), ["", "accept-encoding", "\"1\""]);
    for coding in ["identity", "br", "gzip;q=0", ""] {
        let same = accepting(&large, coding).await?;
        assert_eq!((headers(&same), &same.body), (headers(&plain), &plain.body), "{coding}");
    }
    for coding in ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, GZIP;q=0.8"] {
        let compressed = accepting(&large, coding).await?;
        assert_eq!(headers(&compressed), ["gzip", "accept-encoding", "\"1-gzip\""], "{coding}");
        assert!(2 * compressed.body.len() < plain.body.len(), "{} bytes", compressed.body.len());
        let mut text = String::new();
        GzDecoder::new(compressed.body.as_ref()).read_to_string(&mut text)?;
        assert_eq!(text, plain.text(), "{coding}");
    }
    assert_eq!(headers(&accepting(&small, "gzip").await?), ["", "", "\"1\""], "it fits into one packet");

    let renaming = Content::json(&json!({"name": "On-call"})).with(IF_MATCH, HeaderValue::from_static("\"1-gzip\""));
    let renamed = || call(&api, Method::PATCH, &large, renaming.clone());
    assert_eq!(renamed().await?.status, StatusCode::OK, "either tag names the version");
    assert_problem(&renamed().await?, StatusCode::PRECONDITION_FAILED, &["If-Match"])
}

/// One user's header values for an endpoint must not be sent to an endpoint that another user sets.
pub async fn stored_header_values_go_to_no_other_origin(testbed: Testbed) -> anyhow::Result<()> {
    let elsewhere = Receiver::start().await?;
    let (home, away) = (testbed.receiver.url(PATH), elsewhere.url(PATH));
    let api = testbed.api().await?;
    let headers = json!({"Authorization": LONG_VALUE, "X-Tenant": "canary-tenant"});
    let id = create_integration(
        &api,
        &json!({"name": "Pager", "url": home, "signing_secret": STANDARD_SECRET, "headers": headers}),
    )
    .await?;
    let before = testbed.stack.find_integration(testbed.organization, &id).await?;
    let path = format!("/integrations/{id}");
    let patch = |body: Value| call(&api, Method::PATCH, &path, Content::json(&body));

    let both = &["headers.authorization", "headers.x-tenant"][..];
    for (headers, fields) in [
        (None, both),
        (Some(json!({})), both),
        (Some(json!({"X-Other": "canary-other"})), both),
        (Some(json!({"X-Tenant": "canary-new"})), &["headers.authorization"]),
        (Some(json!({"X-TENANT": null})), &["headers.authorization"]),
    ] {
        let mut body = json!({"url": away, "name": "Moved"});
        if let Some(headers) = headers {
            body["headers"] = headers;
        }
        let refused = patch(body).await?;
        assert_problem(&refused, StatusCode::UNPROCESSABLE_ENTITY, fields)?;
        let place = away.trim_end_matches(PATH);
        assert!(refused.text().contains(&format!("provide it again for {place},")), "{}", refused.text());
    }
    assert_eq!(testbed.stack.find_integration(testbed.organization, &id).await?, before, "nothing is changed");
    api.test(&id).await?;
    assert_eq!(elsewhere.arrivals().len(), 0);

    // The same origin, with another path and in another spelling.
    let elsewhere_here = testbed.receiver.url("/other/canary").replace("http://127.0.0.1", "HTTP://127.1");
    patch(json!({ "url": elsewhere_here })).await?.expect(StatusCode::OK)?;
    api.test(&id).await?;
    let arrivals = testbed.receiver.arrivals();
    assert_eq!(arrivals.iter().map(|arrival| arrival.path.as_str()).collect::<Vec<_>>(), [PATH, "/other/canary"]);
    for arrival in &arrivals {
        assert_eq!((header(arrival, "authorization"), header(arrival, "x-tenant")), (LONG_VALUE, "canary-tenant"));
    }

    let moved = json!({"url": away, "headers": {"authorization": "canary-2", "X-Tenant": null}});
    let moved = patch(moved).await?.expect(StatusCode::OK)?.json()?;
    assert_eq!(moved["headers"], json!({"authorization": {"last4": null}}));
    api.test(&id).await?;
    let arrivals = elsewhere.arrivals();
    assert_eq!(arrivals.len(), 1);
    assert_eq!(header(&arrivals[0], "authorization"), "canary-2");
    assert_eq!(arrivals[0].header("x-tenant"), None);
    // The signing secret is never sent, so it may stay.
    Webhook::new(STANDARD_SECRET)?.verify(&arrivals[0].body, &arrivals[0].headers)?;
    Ok(())
}

/// The URL is changed by a request that read the integration before a header was added: the new value must not be sent
/// to the new URL.
pub async fn a_header_added_while_the_url_changes_is_not_sent_elsewhere(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let link = FaultyLink::start(testbed.stack.endpoint(), LinkFault::DelayReads).await?;
    let slow = InProcessApi::new(&testbed, &[], &link.url()).await?;
    let (home, away) = (testbed.receiver.url(PATH), json!({"url": "http://127.0.0.1:1024/canary"}));
    let round = async || -> anyhow::Result<Option<StatusCode>> {
        let id = create_integration(&api, &json!({"name": "Pager", "url": home})).await?;
        let path = format!("/integrations/{id}");
        let added = Content::json(&json!({"headers": {"Authorization": LONG_VALUE}}));
        let (moved, added) =
            tokio::join!(slow.call(Method::PATCH, &path, &[], Some(&away)), call(&api, Method::PATCH, &path, added));
        let (moved, is_first) = (moved?, added?.expect(StatusCode::OK)?.header("etag") == Some("\"2\""));
        assert_eq!(api.read(&id).await?["url"] == home, moved.status == StatusCode::UNPROCESSABLE_ENTITY);
        // If the URL was changed first, the value was given for the new URL.
        Ok(is_first.then_some(moved.status))
    };
    let refused: Vec<_> = join_all((0..6).map(|_| round())).await.into_iter().collect::<Result<_, _>>()?;
    let refused: Vec<_> = refused.into_iter().flatten().collect();
    assert!(!refused.is_empty(), "of six reads that are slow, one is slower than a write");
    assert!(refused.iter().all(|&status| status == StatusCode::UNPROCESSABLE_ENTITY), "{refused:?}");

    // A request with If-Match is told that the version is outdated, rather than about a header.
    let id = create_integration(&api, &json!({"name": "Pager", "url": home})).await?;
    api.change(&id, &json!({"headers": {"Authorization": LONG_VALUE}})).await?;
    let late = slow.call(Method::PATCH, &format!("/integrations/{id}"), &[("if-match", "\"1\"")], Some(&away)).await?;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED, "{}", late.body);
    Ok(())
}

/// The stack allows this machine's addresses; this API is configured not to.
pub async fn a_host_is_looked_up_when_it_is_set_or_switched_on(testbed: Testbed) -> anyhow::Result<()> {
    let strict = InProcessApi::new(&testbed, &[("ALLOW_PRIVATE_NETWORKS", "")], testbed.stack.endpoint()).await?;
    let here = json!({"name": "Pager", "url": "http://localhost:1024/canary"});
    let refused = strict.call(Method::POST, "/integrations", &[], Some(&here)).await?;
    assert_eq!(
        (refused.status, &refused.body["errors"][0]["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("url"))
    );

    // As if the name had been changed in DNS to this machine's address since it was set.
    let api = testbed.api().await?;
    let id = create_integration(&api, &here).await?;
    api.change(&id, &json!({"enabled": false})).await?;
    let path = format!("/integrations/{id}");
    for (patch, status) in [
        (json!({"name": "On-call"}), StatusCode::OK),
        (json!({"url": here["url"]}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"url": "http://localhost:1025/canary"}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"enabled": true}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"url": "http://canary.invalid/"}), StatusCode::OK),
    ] {
        let answer = strict.call(Method::PATCH, &path, &[], Some(&patch)).await?;
        assert_eq!(answer.status, status, "{patch}: {}", answer.body);
    }
    assert_eq!(api.list().await?["items"].as_array().map(Vec::len), Some(1));
    Ok(())
}

pub async fn an_unreadable_integration_hides_no_other(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let body = json!({"name": "Pager", "url": testbed.receiver.url(PATH)});
    let (broken, sound) = (create_integration(&api, &body).await?, create_integration(&api, &body).await?);
    aws_sdk_dynamodb::Client::new(&sdk_config(testbed.stack.endpoint()))
        .update_item()
        .table_name(testbed.stack.output("IntegrationsTableName")?)
        .key("organization_id", AttributeValue::N(testbed.organization.to_string()))
        .key("integration_id", AttributeValue::S(broken))
        .update_expression("SET version = :broken")
        .expression_attribute_values(":broken", AttributeValue::S("broken".to_owned()))
        .send()
        .await?;
    let listed = api.list().await?;
    let ids: Vec<_> = listed["items"].as_array().into_iter().flatten().map(|item| &item["id"]).collect();
    assert_eq!(ids, [&json!(sound)]);
    let told = testbed.stack.log_lines(Function::Api).await?.into_iter().any(|line| {
        line.contains("left out of a list") && line.contains(&format!("\"organization_id\":{},", testbed.organization))
    });
    assert!(told, "an operator is told");
    Ok(())
}

/// Many at once, so that some find neither the others' answer nor the integration that these created.
pub async fn repeated_requests_create_once(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let body = json!({"name": "Pager", "url": testbed.receiver.url(PATH), "generate_signing_secret": true});
    let key = HeaderValue::from_static("5f0c2c9e-6f2e-4d8f-9d3a-0a1b2c3d4e5f");
    let ask = || call(&api, Method::POST, "/integrations", Content::json(&body).with(IDEMPOTENCY_KEY, key.clone()));
    let link = FaultyLink::start(testbed.stack.endpoint(), LinkFault::DelayReads).await?;
    let in_process_api = InProcessApi::new(&testbed, &[], &link.url()).await?;
    let named = [("idempotency-key", "5f0c2c9e-6f2e-4d8f-9d3a-0a1b2c3d4e5f")];
    let many = (0..16).map(|_| in_process_api.call(Method::POST, "/integrations", &named, Some(&body)));
    let answers = join_all(many).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let one = &answers[0];
    for other in &answers {
        assert_eq!((other.status, &other.body), (StatusCode::CREATED, &one.body), "the secret included");
    }
    let one = ask().await?.expect(StatusCode::CREATED)?;
    assert_eq!(one.json()?, answers[0].body);
    let secret = one.json()?["signing_secret"].as_str().unwrap_or_default().to_owned();
    assert!(secret.starts_with("whsec_"), "a secret of ours");
    assert_eq!(api.list().await?["items"].as_array().map(Vec::len), Some(1));

    let other_body = Content::json(&json!({"name": "Other", "url": testbed.receiver.url(PATH)}));
    let refused = call(&api, Method::POST, "/integrations", other_body.with(IDEMPOTENCY_KEY, key.clone())).await?;
    assert_problem(&refused, StatusCode::UNPROCESSABLE_ENTITY, &["Idempotency-Key"])?;

    let id = one.json()?["id"].as_str().unwrap_or_default().to_owned();
    assert!(api.read(&id).await?.get("signing_secret").is_none(), "it is shown once");
    api.delete(&id).await?;
    assert_problem(&ask().await?, StatusCode::CONFLICT, &[])?;

    let bad = Content::json(&body).with(IDEMPOTENCY_KEY, HeaderValue::from_static("two words"));
    assert_problem(
        &call(&api, Method::POST, "/integrations", bad).await?,
        StatusCode::BAD_REQUEST,
        &["Idempotency-Key"],
    )
}

/// The limit of the journeys' stack: see `parameters` in `main.rs`.
pub async fn an_organization_has_a_limit(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let most: usize = testbed.stack.parameters().get("MaxIntegrations").context("not set")?.parse()?;
    let body = json!({"name": "Pager", "url": testbed.receiver.url(PATH)});
    let first = testbed.create(testbed.new_integration()).await?;
    for _ in 1..most - 2 {
        testbed.stack.copy(&first, first.url.clone()).await?;
    }
    // Two more are allowed, and four are requested at once.
    let asking = [post(&api, &body), post(&api, &body), post(&api, &body), post(&api, &body)];
    let answers = join_all(asking).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let with = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with(StatusCode::CREATED), with(StatusCode::CONFLICT)), (2, 2));
    assert_eq!(api.list().await?["items"].as_array().map(Vec::len), Some(most));
    Ok(())
}

pub async fn bad_input_is_reported_by_field(testbed: Testbed) -> anyhow::Result<()> {
    let api = testbed.api().await?;
    let id = create_integration(&api, &json!({"name": "Pager", "url": testbed.receiver.url(PATH)})).await?;
    let good = |changes: Value| {
        let mut body = json!({"name": "Pager", "url": "https://example.com/canary"});
        if let (Some(body), Some(changes)) = (body.as_object_mut(), changes.as_object()) {
            body.extend(changes.clone());
        }
        body
    };
    let many_headers: serde_json::Map<_, _> = (0..21).map(|n| (format!("x-{n}"), json!("canary"))).collect();
    let long_url = format!("https://example.com/{}", "x".repeat(2_048));
    for (changes, fields) in [
        (json!({"name": null}), &["name"][..]),
        (json!({"name": ""}), &["name"]),
        (json!({"name": "x".repeat(101)}), &["name"]),
        (json!({"url": 5}), &["url"]),
        (json!({"url": ""}), &["url"]),
        (json!({"url": "example.com"}), &["url"]),
        (json!({"url": "ftp://example.com/"}), &["url"]),
        (json!({"url": "https://user:canary@example.com/"}), &["url"]),
        (json!({"url": "http://169.254.169.254/latest/meta-data"}), &["url"]),
        (json!({"url": "http://0x7f.1:22/"}), &["url"]),
        (json!({"url": "http://[::ffff:10.0.0.1]/"}), &["url"]),
        (json!({"url": long_url}), &["url"]),
        (json!({"method": "GET"}), &["method"]),
        (json!({"enabled": "yes"}), &["enabled"]),
        (json!({"signing_secret": 12345678}), &["signing_secret"]),
        (json!({"headers": {"Host": "canary"}}), &["headers.Host"]),
        (json!({"headers": {"X Key": "canary"}}), &["headers.X Key"]),
        (json!({"headers": {"X-Key": "canary\r\nX-Evil: 1"}}), &["headers.X-Key"]),
        (json!({"headers": {"X-Key": 5}}), &["headers.X-Key"]),
        (json!({"headers": {"X-Key": "canary", "x-key": "canary"}}), &["headers.x-key"]),
        (json!({"headers": {"x-big": "c".repeat(8_192)}}), &["headers"]),
        (json!({"headers": many_headers}), &["headers"]),
        (json!({"event_types": ["alert.closed"]}), &["event_types[0]"]),
        (json!({"severities": [""]}), &["severities"]),
        (json!({"project_ids": [-1]}), &["project_ids[0]"]),
        (json!({"project_ids": [1, 18_446_744_073_709_551_616.0]}), &["project_ids[1]"]),
        (json!({"nmae": "Pager"}), &["nmae"]),
        (json!({"name": "", "url": "x", "severities": [""]}), &["name", "url", "severities"]),
    ] {
        let answer = post(&api, &good(changes)).await?;
        assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY, fields)?;
    }

    let integration = format!("/integrations/{id}");
    let patched = |body: Value| call(&api, Method::PATCH, &integration, Content::json(&body));
    assert_problem(&patched(json!({"url": "http://10.0.0.1/"})).await?, StatusCode::UNPROCESSABLE_ENTITY, &["url"])?;
    assert_problem(&patched(json!({"name": null})).await?, StatusCode::UNPROCESSABLE_ENTITY, &["name"])?;
    assert_problem(&patched(json!({"id": "int_x"})).await?, StatusCode::UNPROCESSABLE_ENTITY, &["id"])?;
    let twice = json!({"headers": {"X-Key": "canary", "x-key": null}});
    assert_problem(&patched(twice).await?, StatusCode::UNPROCESSABLE_ENTITY, &["headers.x-key"])?;
    let as_text = call(&api, Method::PATCH, &integration, Content::raw("text/plain", "{}")).await?;
    assert_problem(&as_text, StatusCode::UNSUPPORTED_MEDIA_TYPE, &["$"])?;
    assert_eq!(as_text.header("accept-patch"), Some("application/merge-patch+json, application/json"));

    let raw = |content_type, body: String| call(&api, Method::POST, "/integrations", Content::raw(content_type, body));
    let json = "application/json";
    assert_problem(&raw(json, "{".to_owned()).await?, StatusCode::BAD_REQUEST, &["$"])?;
    assert_problem(&raw(json, "[]".to_owned()).await?, StatusCode::UNPROCESSABLE_ENTITY, &["$"])?;
    for other in ["text/plain", "application/merge-patch+json"] {
        assert_problem(&raw(other, "{}".to_owned()).await?, StatusCode::UNSUPPORTED_MEDIA_TYPE, &["$"])?;
    }
    let twice = r#"{"name": "Pager", "url": "https://example.com/canary", "headers": {"X-Key": "1", "X-Key": "1"}}"#;
    assert_problem(&raw(json, twice.to_owned()).await?, StatusCode::UNPROCESSABLE_ENTITY, &["headers.X-Key"])?;
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(64 * 1024));
    assert_problem(&raw(json, large).await?, StatusCode::PAYLOAD_TOO_LARGE, &["$"])?;

    let log = format!("{integration}/deliveries");
    for (query, field) in
        [("status=lost", "status"), ("from=yesterday", "from"), ("cursor=x", "cursor"), ("limit=0", "limit")]
    {
        assert_problem(&get(&api, &format!("{log}?{query}")).await?, StatusCode::BAD_REQUEST, &[field])?;
    }
    let rotation = Content::json(&json!({"overlap_seconds": 604_801}));
    let rotated = call(&api, Method::POST, &format!("{integration}/rotate-secret"), rotation).await?;
    assert_problem(&rotated, StatusCode::UNPROCESSABLE_ENTITY, &["overlap_seconds"])?;

    for (secret, told) in [
        ("canary-is-short", "16 to 256 characters"),
        ("canary-signing-secret\n", "ends with a space or a line break"),
        ("canary signing secret", "visible ASCII"),
        ("whsec_Y2FuYXJ5", "24 to 64 bytes"),
        ("whsec_canary!", "valid base64"),
        (&format!("v1,{STANDARD_SECRET}"), "leave out the `v1,`"),
    ] {
        let set = json!({ "signing_secret": secret });
        for answer in [
            post(&api, &good(set.clone())).await?,
            patched(set.clone()).await?,
            call(&api, Method::POST, &format!("{integration}/rotate-secret"), Content::json(&set)).await?,
        ] {
            assert_problem(&answer, StatusCode::UNPROCESSABLE_ENTITY, &["signing_secret"])?;
            assert!(answer.text().contains(told), "{}", answer.text());
        }
    }

    assert_problem(&get(&api, "/integrations/int_x").await?, StatusCode::NOT_FOUND, &[])?;
    assert_problem(&get(&api, &format!("{log}/dlv_x")).await?, StatusCode::NOT_FOUND, &[])?;
    let not_allowed = call(&api, Method::PUT, &integration, Content::json(&json!({}))).await?;
    assert_problem(&not_allowed, StatusCode::METHOD_NOT_ALLOWED, &[])?;
    assert!(not_allowed.header("allow").is_some());
    Ok(())
}

/// Checks that an answer is a problem document about these fields, without any canary of the input.
pub fn assert_problem(answer: &Response, status: StatusCode, fields: &[&str]) -> anyhow::Result<()> {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let problem = answer.json()?;
    let named: Vec<_> =
        problem["errors"].as_array().into_iter().flatten().filter_map(|error| error["field"].as_str()).collect();
    assert_eq!(named, fields, "{problem}");
    assert_eq!(problem["status"], status.as_u16());
    for sentence in
        problem["errors"].as_array().into_iter().flatten().map(|error| &error["message"]).chain([&problem["detail"]])
    {
        let sentence = sentence.as_str().unwrap_or_default();
        assert!(sentence.ends_with('.') && !sentence.to_lowercase().contains(CANARY), "{sentence:?}");
    }
    Ok(())
}

pub async fn create_integration(api: &Api, integration: &Value) -> anyhow::Result<String> {
    let created = api.create(integration).await?;
    Ok(created["id"].as_str().context("no id")?.to_owned())
}

async fn post(api: &Api, body: &Value) -> anyhow::Result<Response> {
    call(api, Method::POST, "/integrations", Content::json(body)).await
}

async fn get(api: &Api, path: &str) -> anyhow::Result<Response> {
    call(api, Method::GET, path, Content::none()).await
}

async fn call(api: &Api, method: Method, path: &str, content: Content) -> anyhow::Result<Response> {
    api.call(method, path, content).await
}
