//! A customer's settings: creating, reading, changing and deleting integrations, and what is said to bad input.

use std::io::Read;

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
use libtest_mimic::Failed;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use support::function::Function;

use crate::at_hand::{ApiAtHand, Link, Weather};
use crate::scene::{CANARY, PATH, STANDARD_SECRET, Scene, header};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IF_MATCH: HeaderName = http::header::IF_MATCH;

/// A value whose last four characters may be shown, and no more of it.
const LONG_VALUE: &str = "Bearer canary-0123456789-wxyz";

pub async fn from_creation_to_deletion(scene: Scene) -> Result<(), Failed> {
    let api = scene.api().await?;
    assert_eq!(api.list().await?, json!({"items": [], "next_cursor": null}));

    let answer = post(
        &api,
        &json!({
            "name": " Pager ", "url": scene.receiver.url(PATH), "method": "PUT", "signing_secret": STANDARD_SECRET,
            "headers": {"Authorization": LONG_VALUE, "X-Short": "canary"}, "event_types": ["alert.triggered"],
            "severities": ["critical"], "project_ids": [10],
        }),
    )
    .await?
    .expect(StatusCode::CREATED)?;
    let created = answer.json()?;
    let id = created["id"].as_str().ok_or("no id")?.to_owned();
    assert_eq!(answer.header("location"), Some(format!("/integrations/{id}").as_str()));
    assert_eq!(answer.header("etag"), Some("\"1\""));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        created,
        json!({
            "id": id, "name": "Pager", "url": scene.receiver.url(PATH), "method": "PUT", "enabled": true,
            "headers": {"authorization": {"last4": "wxyz"}, "x-short": {"last4": null}},
            "has_signing_secret": true, "signing_secret_last4": STANDARD_SECRET[STANDARD_SECRET.len() - 4..],
            "signing_secret_format": "whsec",
            "previous_secret_valid_until": null,
            "event_types": ["alert.triggered"], "severities": ["critical"], "project_ids": [10],
            "health": {"state": "unknown", "since": null, "reason": null},
            "created_at": created["created_at"], "updated_at": created["created_at"],
        })
    );
    assert!(!answer.text().contains(LONG_VALUE) && !answer.text().contains(STANDARD_SECRET));
    assert_eq!(api.read(&id).await?, created);
    assert_eq!(api.list().await?["items"], json!([created]));

    let body = scene.raise().await?;
    let integration = scene.stack.find_integration(scene.organization, &id).await?;
    scene.record(scene.delivery(&integration, &body)?, Status::Delivered).await?;
    let arrivals = scene.arrivals();
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

pub async fn a_patch_keeps_what_it_does_not_name(scene: Scene) -> Result<(), Failed> {
    let api = scene.api().await?;
    let id = created(
        &api,
        &json!({
            "name": "Pager", "url": scene.receiver.url(PATH), "signing_secret": STANDARD_SECRET,
            "headers": {"Authorization": LONG_VALUE, "X-Tenant": "canary-tenant-0001"},
        }),
    )
    .await?;

    let changed =
        api.change(&id, &json!({"name": "On-call", "headers": {"x-tenant": null, "X-New": LONG_VALUE}})).await?;
    assert_eq!(changed["name"], "On-call");
    assert_eq!(changed["headers"], json!({"authorization": {"last4": "wxyz"}, "x-new": {"last4": "wxyz"}}));
    assert_eq!(changed["has_signing_secret"], true);

    let integration = scene.stack.find_integration(scene.organization, &id).await?;
    let body = scene.raise().await?;
    scene.record(scene.delivery(&integration, &body)?, Status::Delivered).await?;
    let arrival = &scene.arrivals()[0];
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

pub async fn an_update_is_not_lost(scene: Scene) -> Result<(), Failed> {
    let api = scene.api().await?;
    let id = created(&api, &json!({"name": "Pager", "url": scene.receiver.url(PATH)})).await?;
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

    // Without a precondition nobody's change is lost either: each is made to what the others have made of it.
    let (severities, projects) = (json!({"severities": ["critical"]}), json!({"project_ids": [1]}));
    let (one, other) = tokio::join!(api.change(&id, &severities), api.change(&id, &projects));
    one?;
    other?;
    let both = api.read(&id).await?;
    assert_eq!((&both["severities"], &both["project_ids"]), (&json!(["critical"]), &json!([1])));

    // Many at once are too many for some perhaps, and that is no failure of ours.
    let renamed = |number| {
        let content = Content::json(&json!({"name": format!("Name {number}")}));
        call(&api, Method::PATCH, &path, content)
    };
    for answer in join_all((0..12).map(renamed)).await {
        let answer = answer?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::CONFLICT => assert_eq!(answer.header("retry-after"), Some("1"), "{}", answer.text()),
            other => return Err(format!("{other}: {}", answer.text()).into()),
        }
    }
    Ok(())
}

/// As often as it is said: neither the version nor the time of the last change moves, and nothing is sealed anew.
pub async fn what_changes_nothing_makes_no_version(scene: Scene) -> Result<(), Failed> {
    let api = scene.api().await?;
    let body = json!({
        "name": "Pager", "url": scene.receiver.url(PATH), "signing_secret": STANDARD_SECRET,
        "headers": {"Authorization": LONG_VALUE, "X-Tenant": "canary-tenant-0001"}, "severities": ["critical"],
    });
    let id = created(&api, &body).await?;
    let before = scene.stack.find_integration(scene.organization, &id).await?;
    for patch in [json!({}), json!({"headers": {"X-Tenant": "canary-tenant-0001", "X-Gone": null}}), body] {
        let answer = call(&api, Method::PATCH, &format!("/integrations/{id}"), Content::json(&patch)).await?;
        assert_eq!(answer.expect(StatusCode::OK)?.header("etag"), Some("\"1\""));
    }
    assert_eq!(scene.stack.find_integration(scene.organization, &id).await?, before);
    Ok(())
}

/// Whoever switched it off; and what is known of its endpoint outlives that.
pub async fn off_says_since_when_and_why(scene: Scene) -> Result<(), Failed> {
    scene.receiver.script(PATH, [Answer::with_header(503, "retry-after", "4"), Answer::Status(410)]);
    let api = scene.api().await?;
    let id = created(&api, &json!({"name": "Pager", "url": scene.receiver.url(PATH)})).await?;
    let integration = scene.stack.find_integration(scene.organization, &id).await?;
    let body = scene.raise().await?;
    let key = scene.delivery(&integration, &body)?;
    scene.waiting_for(key, 2).await?;
    let failed = api.delivery(&id, &key.delivery_id.to_string()).await?;
    scene.record(key, Status::Failed).await?;

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

    let born_off = json!({"name": "Later", "url": scene.receiver.url(PATH), "enabled": false});
    let born_off = api.create(&born_off).await?;
    off(&born_off["created_at"], "by_hand", &born_off["health"]);

    // Switched off before its time was kept.
    let integration = scene.stack.find_integration(scene.organization, &id).await?;
    let edit = |integration: &mut Integration| {
        (integration.enabled, integration.disabled_reason) = (false, Some(DisabledReason::Gone));
    };
    scene.stack.overwrite(&integration, edit).await?;
    off(&Value::Null, "gone", &api.read(&id).await?["health"]);
    Ok(())
}

/// Each in its own words: what is large and compressed is another representation, with another entity tag.
pub async fn compressed_for_whoever_takes_that(scene: Scene) -> Result<(), Failed> {
    let api = scene.api().await?;
    let body = json!({"name": "Pager", "url": scene.receiver.url(PATH)});
    let small = created(&api, &body).await?;
    let large =
        json!({"name": "Pager", "url": scene.receiver.url(PATH), "project_ids": Vec::from_iter(1_000_000..1_000_100)});
    let large = created(&api, &large).await?;
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

/// What one user of an organization wrote for one endpoint, another cannot have sent to an endpoint of theirs.
pub async fn stored_header_values_stay_home(scene: Scene) -> Result<(), Failed> {
    let elsewhere = Receiver::start().await?;
    let (home, away) = (scene.receiver.url(PATH), elsewhere.url(PATH));
    let api = scene.api().await?;
    let headers = json!({"Authorization": LONG_VALUE, "X-Tenant": "canary-tenant"});
    let id =
        created(&api, &json!({"name": "Pager", "url": home, "signing_secret": STANDARD_SECRET, "headers": headers}))
            .await?;
    let before = scene.stack.find_integration(scene.organization, &id).await?;
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
        assert!(refused.text().contains(&format!("write it again for {place},")), "{}", refused.text());
    }
    assert_eq!(scene.stack.find_integration(scene.organization, &id).await?, before, "nothing is changed");
    api.test(&id).await?;
    assert_eq!(elsewhere.arrivals().len(), 0);

    // The same place by another path, and written otherwise.
    let elsewhere_here = scene.receiver.url("/other/canary").replace("http://127.0.0.1", "HTTP://127.1");
    patch(json!({ "url": elsewhere_here })).await?.expect(StatusCode::OK)?;
    api.test(&id).await?;
    let arrivals = scene.receiver.arrivals();
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
    // It is never sent, so it may stay.
    Webhook::new(STANDARD_SECRET)?.verify(&arrivals[0].body, &arrivals[0].headers)?;
    Ok(())
}

/// Whoever moves the URL has read the integration before a header was added to it: the value does not go along.
pub async fn a_value_that_comes_while_the_url_moves_stays_home(scene: Scene) -> Result<(), Failed> {
    let api = scene.api().await?;
    let link = Link::to(scene.stack.endpoint(), Weather::DelaysReads).await?;
    let slow = ApiAtHand::open(&scene, &[], &link.url()).await?;
    let (home, away) = (scene.receiver.url(PATH), json!({"url": "http://127.0.0.1:1024/canary"}));
    let round = async || -> Result<Option<StatusCode>, Failed> {
        let id = created(&api, &json!({"name": "Pager", "url": home})).await?;
        let path = format!("/integrations/{id}");
        let added = Content::json(&json!({"headers": {"Authorization": LONG_VALUE}}));
        let (moved, added) =
            tokio::join!(slow.call(Method::PATCH, &path, &[], Some(&away)), call(&api, Method::PATCH, &path, added));
        let (moved, is_first) = (moved?, added?.expect(StatusCode::OK)?.header("etag") == Some("\"2\""));
        assert_eq!(api.read(&id).await?["url"] == home, moved.status == StatusCode::UNPROCESSABLE_ENTITY);
        // Where the URL had moved before, the value was given for where it leads.
        Ok(is_first.then_some(moved.status))
    };
    let refused: Vec<_> = join_all((0..6).map(|_| round())).await.into_iter().collect::<Result<_, _>>()?;
    let refused: Vec<_> = refused.into_iter().flatten().collect();
    assert!(!refused.is_empty(), "of six reads that are slow, one is slower than a write");
    assert!(refused.iter().all(|&status| status == StatusCode::UNPROCESSABLE_ENTITY), "{refused:?}");

    // Who names the version that was read is told that it is gone, and not of a header that was not there.
    let id = created(&api, &json!({"name": "Pager", "url": home})).await?;
    api.change(&id, &json!({"headers": {"Authorization": LONG_VALUE}})).await?;
    let late = slow.call(Method::PATCH, &format!("/integrations/{id}"), &[("if-match", "\"1\"")], Some(&away)).await?;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED, "{}", late.body);
    Ok(())
}

/// Here, what the names of this machine lead to is allowed: the API is told that it is not.
pub async fn a_host_is_looked_up_when_it_is_set_or_switched_on(scene: Scene) -> Result<(), Failed> {
    let strict = ApiAtHand::open(&scene, &[("ALLOW_PRIVATE_NETWORKS", "")], scene.stack.endpoint()).await?;
    let here = json!({"name": "Pager", "url": "http://localhost:1024/canary"});
    let refused = strict.call(Method::POST, "/integrations", &[], Some(&here)).await?;
    assert_eq!(
        (refused.status, &refused.body["errors"][0]["field"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("url"))
    );

    // The name has come to lead here since it was set.
    let api = scene.api().await?;
    let id = created(&api, &here).await?;
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

pub async fn an_unreadable_one_hides_no_other(scene: Scene) -> Result<(), Failed> {
    let api = scene.api().await?;
    let body = json!({"name": "Pager", "url": scene.receiver.url(PATH)});
    let (broken, sound) = (created(&api, &body).await?, created(&api, &body).await?);
    aws_sdk_dynamodb::Client::new(&sdk_config(scene.stack.endpoint()))
        .update_item()
        .table_name(scene.stack.output("IntegrationsTableName")?)
        .key("organization_id", AttributeValue::N(scene.organization.to_string()))
        .key("integration_id", AttributeValue::S(broken))
        .update_expression("SET version = :broken")
        .expression_attribute_values(":broken", AttributeValue::S("broken".to_owned()))
        .send()
        .await?;
    let listed = api.list().await?;
    let ids: Vec<_> = listed["items"].as_array().into_iter().flatten().map(|item| &item["id"]).collect();
    assert_eq!(ids, [&json!(sound)]);
    let told = scene.stack.log_lines(Function::Api).await?.into_iter().any(|line| {
        line.contains("left out of a list") && line.contains(&format!("\"organization_id\":{},", scene.organization))
    });
    assert!(told, "an operator is told");
    Ok(())
}

/// Many at once, so that some find neither the others' answer nor what they created when they look.
pub async fn asking_often_creates_once(scene: Scene) -> Result<(), Failed> {
    let api = scene.api().await?;
    let body = json!({"name": "Pager", "url": scene.receiver.url(PATH), "generate_signing_secret": true});
    let key = HeaderValue::from_static("5f0c2c9e-6f2e-4d8f-9d3a-0a1b2c3d4e5f");
    let ask = || call(&api, Method::POST, "/integrations", Content::json(&body).with(IDEMPOTENCY_KEY, key.clone()));
    let link = Link::to(scene.stack.endpoint(), Weather::DelaysReads).await?;
    let at_hand = ApiAtHand::open(&scene, &[], &link.url()).await?;
    let named = [("idempotency-key", "5f0c2c9e-6f2e-4d8f-9d3a-0a1b2c3d4e5f")];
    let many = (0..16).map(|_| at_hand.call(Method::POST, "/integrations", &named, Some(&body)));
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

    let other_body = Content::json(&json!({"name": "Other", "url": scene.receiver.url(PATH)}));
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

/// The most that the journeys' stack lets an organization have: see `parameters` in `main.rs`.
pub async fn an_organization_has_only_so_many(scene: Scene) -> Result<(), Failed> {
    let api = scene.api().await?;
    let most: usize = scene.stack.parameters().get("MaxIntegrations").ok_or("not set")?.parse()?;
    let body = json!({"name": "Pager", "url": scene.receiver.url(PATH)});
    for _ in 0..most - 2 {
        created(&api, &body).await?;
    }
    // Two places are left, and four ask at once.
    let asking = [post(&api, &body), post(&api, &body), post(&api, &body), post(&api, &body)];
    let answers = join_all(asking).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let with = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with(StatusCode::CREATED), with(StatusCode::CONFLICT)), (2, 2));
    assert_eq!(api.list().await?["items"].as_array().map(Vec::len), Some(most));
    Ok(())
}

pub async fn bad_input_is_told_by_field(scene: Scene) -> Result<(), Failed> {
    let api = scene.api().await?;
    let id = created(&api, &json!({"name": "Pager", "url": scene.receiver.url(PATH)})).await?;
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

/// A problem document with these fields at fault; whatever canary the input held is not in it.
pub fn assert_problem(answer: &Response, status: StatusCode, fields: &[&str]) -> Result<(), Failed> {
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

pub async fn created(api: &Api, integration: &Value) -> Result<String, Failed> {
    let created = api.create(integration).await?;
    Ok(created["id"].as_str().ok_or("no id")?.to_owned())
}

async fn post(api: &Api, body: &Value) -> Result<Response, Failed> {
    call(api, Method::POST, "/integrations", Content::json(body)).await
}

async fn get(api: &Api, path: &str) -> Result<Response, Failed> {
    call(api, Method::GET, path, Content::none()).await
}

async fn call(api: &Api, method: Method, path: &str, content: Content) -> Result<Response, Failed> {
    Ok(api.call(method, path, content).await?)
}
