//! Alert events that reach their endpoints: once, signed, and byte for byte.

use std::time::Duration;

use aws::kms::vault::{OpenSecrets, Vault};
use domain::alert::event::EventType;
use domain::alert::filter::Filter;
use domain::delivery::Status;
use domain::integration::Method;
use domain::integration::secrets::Owner;
use domain::request::signature::{SigningSecret, SigningSecrets};
use harness::local_cloud::sdk_config;
use harness::receiver::{Answer, Arrival};
use harness::stack::NewIntegration;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use libtest_mimic::Failed;
use serde_json::json;
use sha2::Sha256;
use standardwebhooks::Webhook;
use support::function::Function;

use crate::scene::{CANARY, PATH, SOON, STANDARD_SECRET, Scene, ended_at, header, outcomes};

/// What the reference page tells customers to compute, written anew: the code under test has no part in it.
fn roboticks_signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes any key");
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    format!("sha256={}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn verified_by_standard_webhooks(webhook: &Webhook, arrival: &Arrival) -> Result<(), Failed> {
    webhook.verify(&arrival.body, &arrival.headers).map_err(|refused| format!("standardwebhooks: {refused}").into())
}

pub async fn once(scene: Scene) -> Result<(), Failed> {
    let integration =
        scene.create(NewIntegration { signing_secret: Some(STANDARD_SECRET.to_owned()), ..scene.here() }).await?;
    let body = scene.raise().await?;
    let key = scene.delivery(&integration, &body)?;
    let record = scene.record(key, Status::Delivered).await?;

    assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    let attempt = &record.attempts[0];
    assert_eq!((attempt.error.as_ref(), attempt.response_excerpt.as_ref()), (None, None));
    assert!(attempt.duration_ms.is_some() && !attempt.possible_duplicate);
    assert_eq!(record.identity.event_type, EventType::Triggered);
    assert_eq!(
        (record.due_at, record.lease_until, record.claim_id),
        (None, None, None),
        "an ended delivery waits for nothing"
    );

    let arrivals = scene.arrivals();
    assert_eq!(arrivals.len(), 1);
    let arrival = &arrivals[0];
    let delivery_id = key.delivery_id.to_string();
    assert_eq!(arrival.method, http::Method::POST);
    assert_eq!(arrival.body, body.as_bytes());
    for (name, value) in [
        ("content-type", "application/json"),
        ("user-agent", "Roboticks-Webhooks/0.1.0"),
        ("x-roboticks-event", "alert.triggered"),
        ("x-roboticks-delivery", &delivery_id),
        ("x-roboticks-attempt", "1"),
        ("x-roboticks-signature", &roboticks_signature(STANDARD_SECRET, body.as_bytes())),
        ("webhook-id", &delivery_id),
    ] {
        assert_eq!(header(arrival, name), value, "{name}");
    }
    assert_eq!(arrival.header("x-roboticks-signature-previous"), None);
    verified_by_standard_webhooks(&Webhook::new(STANDARD_SECRET)?, arrival)?;

    let line = scene
        .stack
        .log_line_when(SOON, "the attempt's line", |line| line["delivery_id"] == delivery_id.as_str())
        .await?;
    assert_eq!(line["level"], "INFO");
    assert_eq!(
        (&line["attempt"], &line["outcome"], &line["status_code"]),
        (&json!(1), &json!("accepted"), &json!(200))
    );
    assert_eq!(line["status"], "delivered");
    Ok(())
}

pub async fn same_event_twice_is_one_delivery(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([]).await?;
    let body = scene.raise().await?;
    scene.send(&body).await?;
    let key = scene.delivery(&integration, &body)?;
    scene.record(key, Status::Delivered).await?;

    // One that comes after the delivery has ended, and one more to know that the former has been dealt with.
    scene.send(&body).await?;
    let last = scene.raise().await?;
    scene.record(scene.delivery(&integration, &last)?, Status::Delivered).await?;
    scene.and_nothing_more().await;

    let record = scene.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    let of_the_first = scene.arrivals().iter().filter(|arrival| arrival.body == body.as_bytes()).count();
    assert_eq!(of_the_first, 1);
    Ok(())
}

pub async fn put_and_patch(scene: Scene) -> Result<(), Failed> {
    for (method, path, expected) in
        [(Method::Put, "/put", http::Method::PUT), (Method::Patch, "/patch", http::Method::PATCH)]
    {
        let integration =
            scene.create(NewIntegration { method, ..NewIntegration::to(scene.receiver.url(path)) }).await?;
        let body = scene.raise().await?;
        scene.record(scene.delivery(&integration, &body)?, Status::Delivered).await?;
        let arrived = scene.receiver.arrivals_at(path);
        assert!(
            arrived.iter().any(|arrival| arrival.method == expected && arrival.body == body.as_bytes()),
            "{method}"
        );
    }
    Ok(())
}

pub async fn custom_headers(scene: Scene) -> Result<(), Failed> {
    let values = [("Authorization", "Bearer canary-token"), ("X-Team", "canary, robots; v=\"2\"")];
    let headers = values.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let integration = scene.create(NewIntegration { headers, ..scene.here() }).await?;
    scene.receiver.script(PATH, [Answer::Status(500), Answer::Status(200)]);
    let body = scene.raise().await?;
    scene.record(scene.delivery(&integration, &body)?, Status::Delivered).await?;

    let arrivals = scene.arrivals();
    assert_eq!(arrivals.len(), 2, "the first attempt and a retry");
    for arrival in &arrivals {
        for (name, value) in values {
            assert_eq!(header(arrival, name), value);
        }
        assert_eq!(header(arrival, "content-type"), "application/json");
    }
    Ok(())
}

/// Unknown fields, numbers beyond any machine type, escapes, key order, white space, text of several scripts: whoever
/// parses and writes JSON anew changes one of these, and with it the signature.
pub async fn byte_for_byte(scene: Scene) -> Result<(), Failed> {
    let organization = scene.organization;
    let timestamp = Timestamp::now();
    let body = format!(
        "{{\r\n\t\"zeta\" : 1.0, \"big\": 123456789012345678901234567890, \"exact\": 0.1000, \"exponent\": -1E+400,\n\
         \"escapes\": \"\\u0041\\/\\ud83e\\udd16 \\u0000 {CANARY}\", \"text\": \"Zürich 倉庫 🤖 \u{200f}روبوت\u{2028}\",\n\
         \"nested\": [[[[{{\"null\": null, \"\": []}}]]]],\n\
         \"organization\" : {{\"id\":{organization}, \"name\":\"Ünïcode ⚙\", \"extra\":[1e2]}},\n\
         \"project\": {{\"id\": 10}}, \"alert\": {{ \"severity\":\"cr\\u0069tical\", \"id\":7, \"unknown\": true }},\n\
         \"timestamp\": \"{timestamp}\" ,\"event_type\":\"alert.resolved\"}}\n  "
    );
    let secret = "a-plain-canary-secret";
    // The severity filter must read the escape, the endpoint must get it.
    let filter = Filter { severities: vec!["critical".to_owned()], ..Filter::default() };
    let integration =
        scene.create(NewIntegration { signing_secret: Some(secret.to_owned()), filter, ..scene.here() }).await?;
    scene.receiver.script(PATH, [Answer::Status(500), Answer::Status(200)]);
    scene.send(&body).await?;
    scene.record(scene.delivery(&integration, &body)?, Status::Delivered).await?;

    let arrivals = scene.arrivals();
    assert_eq!(arrivals.len(), 2, "from the message, then from the ledger");
    for arrival in &arrivals {
        assert_eq!(arrival.body, body.as_bytes());
        assert_eq!(header(arrival, "x-roboticks-event"), "alert.resolved");
        assert_eq!(header(arrival, "x-roboticks-signature"), roboticks_signature(secret, body.as_bytes()));
    }
    Ok(())
}

/// Beyond what fits beside the delivery, deflated or not: it has an item of its own.
pub async fn large_payload(scene: Scene) -> Result<(), Failed> {
    let mut alert = scene.alert();
    let incompressible: String =
        (0..200 * 1024 / 8u32).map(|n| format!("{:08x}", n.wrapping_mul(0x9e37_79b1))).collect();
    alert["attachment"] = json!(incompressible);
    let body = alert.to_string();
    assert!(body.len() > 200 * 1024);
    let integration = scene.integration_that_meets([Answer::Status(502), Answer::Status(200)]).await?;
    scene.send(&body).await?;
    let record = scene.record(scene.delivery(&integration, &body)?, Status::Delivered).await?;

    assert_eq!(record.payload, None, "kept in an item of its own");
    let arrivals = scene.arrivals();
    assert_eq!(arrivals.len(), 2, "from the message, then from the ledger");
    assert!(arrivals.iter().all(|arrival| arrival.body == body.as_bytes()));
    Ok(())
}

pub async fn plain_secret(scene: Scene) -> Result<(), Failed> {
    let secret = "my-canary-signing-secret";
    let integration = scene.create(NewIntegration { signing_secret: Some(secret.to_owned()), ..scene.here() }).await?;
    let body = scene.raise().await?;
    scene.record(scene.delivery(&integration, &body)?, Status::Delivered).await?;
    let arrival = &scene.arrivals()[0];
    assert_eq!(header(arrival, "x-roboticks-signature"), roboticks_signature(secret, body.as_bytes()));
    verified_by_standard_webhooks(&Webhook::from_bytes(secret.as_bytes().to_vec())?, arrival)
}

/// What could be set once and can no longer be signs on, whatever else is changed of its integration.
pub async fn secrets_of_older_rules(scene: Scene) -> Result<(), Failed> {
    let key = scene.stack.environment(Function::Api).await?.remove("SECRETS_KEY_ARN").ok_or("no key")?;
    let vault = Vault::new(aws_sdk_kms::Client::new(&sdk_config(scene.stack.endpoint())));
    let mut stored = Vec::new();
    for (path, text) in [("/short", "canary-8"), ("/key", "whsec_AA=="), ("/blank", "eine canary, blaß\n")] {
        let integration = scene.create(NewIntegration::to(scene.receiver.url(path))).await?;
        let owner = Owner { organization: scene.organization, integration: integration.id };
        let current = SigningSecret::parse_stored(text).ok_or("it is not read")?;
        let secrets =
            OpenSecrets { signing: Some(SigningSecrets { current, previous: None }), ..OpenSecrets::default() };
        let sealed = vault.seal(&key, &owner, &secrets).await?;
        stored.push((path, text, scene.stack.overwrite(&integration, |item| item.secrets = sealed).await?));
    }
    let body = scene.raise().await?;
    let api = scene.api().await?;
    for (path, text, integration) in &stored {
        scene.record(scene.delivery(integration, &body)?, Status::Delivered).await?;
        let id = integration.id.to_string();
        // Seals it anew.
        api.change(&id, &json!({"headers": {"X-Tenant": "canary"}})).await?;
        api.test(&id).await?;
        api.rotate(&id, &json!({})).await?;
        api.test(&id).await?;

        let arrivals = scene.receiver.arrivals_at(path);
        let signatures = ["x-roboticks-signature", "x-roboticks-signature", "x-roboticks-signature-previous"];
        assert_eq!(arrivals.len(), signatures.len(), "{text:?}");
        for (arrival, name) in arrivals.iter().zip(signatures) {
            assert_eq!(header(arrival, name), roboticks_signature(text, &arrival.body), "{text:?}");
        }
    }
    Ok(())
}

pub async fn without_secret(scene: Scene) -> Result<(), Failed> {
    let integration = scene.integration_that_meets([]).await?;
    let body = scene.raise().await?;
    scene.record(scene.delivery(&integration, &body)?, Status::Delivered).await?;
    let arrival = &scene.arrivals()[0];
    for name in [
        "x-roboticks-signature",
        "x-roboticks-signature-previous",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ] {
        assert_eq!(arrival.header(name), None, "{name}");
    }
    Ok(())
}

pub async fn both_secrets_sign_during_a_rotation(scene: Scene) -> Result<(), Failed> {
    let (old, new) = (STANDARD_SECRET, "whsec_Y2FuYXJ5LW51bWJlci10d28tMDEyMzQ1Njc4OTA=");
    let integration = scene.create(NewIntegration { signing_secret: Some(old.to_owned()), ..scene.here() }).await?;
    let before = scene.raise().await?;
    scene.record(scene.delivery(&integration, &before)?, Status::Delivered).await?;

    // The function has the old version in memory by now.
    let id = integration.id.to_string();
    scene.api().await?.rotate(&id, &json!({"signing_secret": new, "overlap_seconds": 3_600})).await?;
    let rotated = scene.stack.integration(&integration).await?;
    let during = scene.raise().await?;
    scene.record(scene.delivery(&integration, &during)?, Status::Delivered).await?;

    let a_second_ago = Timestamp::now() - Duration::from_secs(1);
    let over = scene
        .stack
        .overwrite(&rotated, |integration| {
            if let Some(secrets) = &mut integration.secrets {
                secrets.previous_valid_until = Some(a_second_ago);
            }
        })
        .await?;
    let after = scene.raise().await?;
    scene.record(scene.delivery(&over, &after)?, Status::Delivered).await?;

    let arrivals = scene.arrivals();
    let signed = |body: &str| arrivals.iter().find(|arrival| arrival.body == body.as_bytes()).ok_or("no arrival");
    let (with_old, with_new) = (Webhook::new(old)?, Webhook::new(new)?);

    let arrival = signed(&before)?;
    assert_eq!(header(arrival, "x-roboticks-signature"), roboticks_signature(old, before.as_bytes()));

    let arrival = signed(&during)?;
    assert_eq!(header(arrival, "x-roboticks-signature"), roboticks_signature(new, during.as_bytes()));
    assert_eq!(header(arrival, "x-roboticks-signature-previous"), roboticks_signature(old, during.as_bytes()));
    verified_by_standard_webhooks(&with_old, arrival)?;
    verified_by_standard_webhooks(&with_new, arrival)?;

    let arrival = signed(&after)?;
    assert_eq!(arrival.header("x-roboticks-signature-previous"), None);
    verified_by_standard_webhooks(&with_new, arrival)?;
    assert!(verified_by_standard_webhooks(&with_old, arrival).is_err(), "the old secret signs no more");
    Ok(())
}

pub async fn failing_neighbour_delays_nobody(scene: Scene) -> Result<(), Failed> {
    // Created first, it is also first in the organization's list: one after the other, it would be in the way.
    scene.receiver.script("/hangs", [Answer::Hang]);
    let hanging = scene.create(NewIntegration::to(scene.receiver.url("/hangs"))).await?;
    let healthy = scene.integration_that_meets([]).await?;
    let body = scene.raise().await?;
    let delivered = scene.record(scene.delivery(&healthy, &body)?, Status::Delivered).await?;
    let failing = scene.waiting_for(scene.delivery(&hanging, &body)?, 2).await?;
    scene.stack.delete(&hanging).await?;

    assert_eq!(outcomes(&delivered), [(1, "accepted", Some(200))]);
    assert_eq!(outcomes(&failing), [(1, "timed_out", None)]);
    let (healthy_ended, hanging_ended) = (ended_at(&delivered.attempts[0]), ended_at(&failing.attempts[0]));
    assert!(healthy_ended < hanging_ended, "{healthy_ended} is not before {hanging_ended}");
    Ok(())
}

pub async fn filters_hold_back(scene: Scene) -> Result<(), Failed> {
    let wants = |event_types: &[EventType], severities: &[&str], project_ids: &[u64]| Filter {
        event_types: event_types.to_vec(),
        severities: severities.iter().map(|severity| (*severity).to_owned()).collect(),
        project_ids: project_ids.to_vec(),
    };
    let (triggered, resolved) = (EventType::Triggered, EventType::Resolved);
    let cases = [
        ("/all", wants(&[], &[], &[]), true),
        ("/type", wants(&[resolved, triggered], &[], &[]), true),
        ("/other-type", wants(&[resolved], &[], &[]), false),
        ("/severity", wants(&[], &["critical"], &[]), true),
        ("/other-severity", wants(&[], &["warning", "Critical"], &[]), false),
        ("/project", wants(&[], &[], &[9, 10]), true),
        ("/other-project", wants(&[], &[], &[9]), false),
        ("/two-of-three", wants(&[triggered], &["critical"], &[11]), false),
        ("/three-of-three", wants(&[triggered], &["critical"], &[10]), true),
    ];
    let mut integrations = Vec::new();
    for (path, filter, passes) in cases {
        let new = NewIntegration { filter, ..NewIntegration::to(scene.receiver.url(path)) };
        integrations.push((path, scene.create(new).await?, passes));
    }
    let body = scene.raise().await?;
    for (_, integration, _) in integrations.iter().filter(|(_, _, passes)| *passes) {
        scene.record(scene.delivery(integration, &body)?, Status::Delivered).await?;
    }
    scene.and_nothing_more().await;
    for (path, integration, passes) in &integrations {
        let record = scene.stack.record(scene.delivery(integration, &body)?).await?;
        assert_eq!(record.is_some(), *passes, "{path}");
        assert_eq!(scene.receiver.arrivals_at(path).len(), usize::from(*passes), "{path}");
    }
    Ok(())
}

pub async fn disabled_integration_gets_nothing(scene: Scene) -> Result<(), Failed> {
    let disabled =
        scene.create(NewIntegration { enabled: false, ..NewIntegration::to(scene.receiver.url("/off")) }).await?;
    let deleted = scene.create(NewIntegration::to(scene.receiver.url("/deleted"))).await?;
    scene.stack.delete(&deleted).await?;
    let enabled = scene.integration_that_meets([]).await?;
    let body = scene.raise().await?;
    scene.record(scene.delivery(&enabled, &body)?, Status::Delivered).await?;
    scene.and_nothing_more().await;
    for (path, integration) in [("/off", &disabled), ("/deleted", &deleted)] {
        assert_eq!(scene.stack.record(scene.delivery(integration, &body)?).await?, None, "{path}");
        assert_eq!(scene.receiver.arrivals_at(path).len(), 0, "{path}");
    }
    Ok(())
}
