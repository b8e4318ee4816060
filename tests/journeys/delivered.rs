//! Alert events that reach their endpoints: once, signed, and byte for byte.

use std::time::Duration;

use anyhow::{Context, anyhow};
use aws::kms::vault::{OpenSecrets, Vault};
use domain::alert::event::EventType;
use domain::alert::filter::Filter;
use domain::delivery::Status;
use domain::integration::Method;
use domain::integration::secrets::Owner;
use domain::request::signature::{SigningSecret, SigningSecrets};
use harness::customer::NewIntegration;
use harness::local_cloud::sdk_config;
use harness::receiver::{Answer, Arrival};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use serde_json::json;
use sha2::Sha256;
use standardwebhooks::Webhook;
use support::function::Function;

use crate::testbed::{CANARY, PATH, SOON, STANDARD_SECRET, Testbed, ended_at, header, outcomes};

/// What the documentation tells customers to compute, implemented here independently of the code under test.
fn roboticks_signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes any key");
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    format!("sha256={}", digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn verified_by_standard_webhooks(webhook: &Webhook, arrival: &Arrival) -> anyhow::Result<()> {
    webhook.verify(&arrival.body, &arrival.headers).map_err(|refused| anyhow!("standardwebhooks: {refused}"))
}

pub async fn once(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed
        .create(NewIntegration { signing_secret: Some(STANDARD_SECRET.to_owned()), ..testbed.new_integration() })
        .await?;
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    let record = testbed.record(key, Status::Delivered).await?;

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

    let arrivals = testbed.arrivals();
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

    let line = testbed
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

pub async fn same_event_twice_is_one_delivery(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([]).await?;
    let body = testbed.send_alert().await?;
    testbed.send(&body).await?;
    let key = testbed.delivery(&integration, &body)?;
    testbed.record(key, Status::Delivered).await?;

    // One comes after the delivery has ended, and another shows that the former has been handled.
    testbed.send(&body).await?;
    let last = testbed.send_alert().await?;
    testbed.record(testbed.delivery(&integration, &last)?, Status::Delivered).await?;
    testbed.wait_a_moment().await;

    let record = testbed.record(key, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    let of_the_first = testbed.arrivals().iter().filter(|arrival| arrival.body == body.as_bytes()).count();
    assert_eq!(of_the_first, 1);
    Ok(())
}

pub async fn put_and_patch(testbed: Testbed) -> anyhow::Result<()> {
    for (method, path, expected) in
        [(Method::Put, "/put", http::Method::PUT), (Method::Patch, "/patch", http::Method::PATCH)]
    {
        let integration =
            testbed.create(NewIntegration { method, ..NewIntegration::to(testbed.receiver.url(path)) }).await?;
        let body = testbed.send_alert().await?;
        testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;
        let arrived = testbed.receiver.arrivals_at(path);
        assert!(
            arrived.iter().any(|arrival| arrival.method == expected && arrival.body == body.as_bytes()),
            "{method}"
        );
    }
    Ok(())
}

pub async fn custom_headers(testbed: Testbed) -> anyhow::Result<()> {
    let values = [("Authorization", "Bearer canary-token"), ("X-Team", "canary, robots; v=\"2\"")];
    let headers = values.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let integration = testbed.create(NewIntegration { headers, ..testbed.new_integration() }).await?;
    testbed.receiver.script(PATH, [Answer::Status(500), Answer::Status(200)]);
    let body = testbed.send_alert().await?;
    testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;

    let arrivals = testbed.arrivals();
    assert_eq!(arrivals.len(), 2, "the first attempt and a retry");
    for arrival in &arrivals {
        for (name, value) in values {
            assert_eq!(header(arrival, name), value);
        }
        assert_eq!(header(arrival, "content-type"), "application/json");
    }
    Ok(())
}

/// Unknown fields, numbers beyond any machine type, escapes, key order, white space, several scripts: parsing JSON and
/// serializing it again would change one of these, and with it the signature.
pub async fn byte_for_byte(testbed: Testbed) -> anyhow::Result<()> {
    let organization = testbed.organization;
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
    // The severity filter has to decode the escape, and the endpoint has to receive it as it is.
    let filter = Filter { severities: vec!["critical".to_owned()], ..Filter::default() };
    let integration = testbed
        .create(NewIntegration { signing_secret: Some(secret.to_owned()), filter, ..testbed.new_integration() })
        .await?;
    testbed.receiver.script(PATH, [Answer::Status(500), Answer::Status(200)]);
    testbed.send(&body).await?;
    testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;

    let arrivals = testbed.arrivals();
    assert_eq!(arrivals.len(), 2, "from the message, then from the ledger");
    for arrival in &arrivals {
        assert_eq!(arrival.body, body.as_bytes());
        assert_eq!(header(arrival, "x-roboticks-event"), "alert.resolved");
        assert_eq!(header(arrival, "x-roboticks-signature"), roboticks_signature(secret, body.as_bytes()));
    }
    Ok(())
}

/// A payload that does not fit into its delivery's item, even compressed, has an item of its own.
pub async fn large_payload(testbed: Testbed) -> anyhow::Result<()> {
    let mut alert = testbed.alert();
    let incompressible: String =
        (0..200 * 1024 / 8u32).map(|n| format!("{:08x}", n.wrapping_mul(0x9e37_79b1))).collect();
    alert["attachment"] = json!(incompressible);
    let body = alert.to_string();
    assert!(body.len() > 200 * 1024);
    let integration = testbed.create_with_answers([Answer::Status(502), Answer::Status(200)]).await?;
    testbed.send(&body).await?;
    let record = testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;

    assert_eq!(record.payload, None, "kept in an item of its own");
    let arrivals = testbed.arrivals();
    assert_eq!(arrivals.len(), 2, "from the message, then from the ledger");
    assert!(arrivals.iter().all(|arrival| arrival.body == body.as_bytes()));
    Ok(())
}

pub async fn plain_secret(testbed: Testbed) -> anyhow::Result<()> {
    let secret = "my-canary-signing-secret";
    let integration =
        testbed.create(NewIntegration { signing_secret: Some(secret.to_owned()), ..testbed.new_integration() }).await?;
    let body = testbed.send_alert().await?;
    testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;
    let arrival = &testbed.arrivals()[0];
    assert_eq!(header(arrival, "x-roboticks-signature"), roboticks_signature(secret, body.as_bytes()));
    verified_by_standard_webhooks(&Webhook::from_bytes(secret.as_bytes().to_vec())?, arrival)
}

/// Secrets that could be set under older rules go on signing, whatever else is changed.
pub async fn secrets_of_older_rules(testbed: Testbed) -> anyhow::Result<()> {
    let key = testbed.stack.environment(Function::Api).await?.remove("SECRETS_KEY_ARN").context("no key")?;
    let vault = Vault::new(aws_sdk_kms::Client::new(&sdk_config(testbed.stack.endpoint())));
    let mut stored = Vec::new();
    for (path, text) in [("/short", "canary-8"), ("/key", "whsec_AA=="), ("/blank", "eine canary, blaß\n")] {
        let integration = testbed.create(NewIntegration::to(testbed.receiver.url(path))).await?;
        let owner = Owner::of(&integration);
        let current = SigningSecret::parse_stored(text).context("it is not read")?;
        let secrets =
            OpenSecrets { signing: Some(SigningSecrets { current, previous: None }), ..OpenSecrets::default() };
        let sealed = vault.seal(&key, &owner, &secrets).await?;
        stored.push((path, text, testbed.stack.overwrite(&integration, |item| item.secrets = sealed).await?));
    }
    let body = testbed.send_alert().await?;
    let api = testbed.api().await?;
    for (path, text, integration) in &stored {
        testbed.record(testbed.delivery(integration, &body)?, Status::Delivered).await?;
        let id = integration.id.to_string();
        // Encrypts it again.
        api.change(&id, &json!({"headers": {"X-Tenant": "canary"}})).await?;
        api.test(&id).await?;
        api.rotate(&id, &json!({})).await?;
        api.test(&id).await?;

        let arrivals = testbed.receiver.arrivals_at(path);
        let signatures = ["x-roboticks-signature", "x-roboticks-signature", "x-roboticks-signature-previous"];
        assert_eq!(arrivals.len(), signatures.len(), "{text:?}");
        for (arrival, name) in arrivals.iter().zip(signatures) {
            assert_eq!(header(arrival, name), roboticks_signature(text, &arrival.body), "{text:?}");
        }
    }
    Ok(())
}

pub async fn without_secret(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([]).await?;
    let body = testbed.send_alert().await?;
    testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;
    let arrival = &testbed.arrivals()[0];
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

pub async fn both_secrets_sign_during_a_rotation(testbed: Testbed) -> anyhow::Result<()> {
    let (old, new) = (STANDARD_SECRET, "whsec_Y2FuYXJ5LW51bWJlci10d28tMDEyMzQ1Njc4OTA=");
    let integration =
        testbed.create(NewIntegration { signing_secret: Some(old.to_owned()), ..testbed.new_integration() }).await?;
    let before = testbed.send_alert().await?;
    testbed.record(testbed.delivery(&integration, &before)?, Status::Delivered).await?;

    // The function has cached the old version by now.
    let id = integration.id.to_string();
    testbed.api().await?.rotate(&id, &json!({"signing_secret": new, "overlap_seconds": 3_600})).await?;
    let rotated = testbed.stack.integration(&integration).await?;
    let during = testbed.send_alert().await?;
    testbed.record(testbed.delivery(&integration, &during)?, Status::Delivered).await?;

    let a_second_ago = Timestamp::now() - Duration::from_secs(1);
    let over = testbed
        .stack
        .overwrite(&rotated, |integration| {
            if let Some(secrets) = &mut integration.secrets {
                secrets.previous_valid_until = Some(a_second_ago);
            }
        })
        .await?;
    let after = testbed.send_alert().await?;
    testbed.record(testbed.delivery(&over, &after)?, Status::Delivered).await?;

    let arrivals = testbed.arrivals();
    let signed = |body: &str| arrivals.iter().find(|arrival| arrival.body == body.as_bytes()).context("no arrival");
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

pub async fn failing_endpoint_delays_no_other(testbed: Testbed) -> anyhow::Result<()> {
    // It was created first, so it is first in the organization's list and would delay the others in a sequential loop.
    testbed.receiver.script("/hangs", [Answer::Hang]);
    let hanging = testbed.create(NewIntegration::to(testbed.receiver.url("/hangs"))).await?;
    let healthy = testbed.create_with_answers([]).await?;
    let body = testbed.send_alert().await?;
    let delivered = testbed.record(testbed.delivery(&healthy, &body)?, Status::Delivered).await?;
    let failing = testbed.record_waiting_for(testbed.delivery(&hanging, &body)?, 2).await?;
    testbed.stack.delete(&hanging).await?;

    assert_eq!(outcomes(&delivered), [(1, "accepted", Some(200))]);
    assert_eq!(outcomes(&failing), [(1, "timed_out", None)]);
    let (healthy_ended, hanging_ended) = (ended_at(&delivered.attempts[0]), ended_at(&failing.attempts[0]));
    assert!(healthy_ended < hanging_ended, "{healthy_ended} is not before {hanging_ended}");
    Ok(())
}

pub async fn filters_apply(testbed: Testbed) -> anyhow::Result<()> {
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
        ("/severity-in-capitals", wants(&[], &["warning", "Critical"], &[]), true),
        ("/other-severity", wants(&[], &["warning"], &[]), false),
        ("/project", wants(&[], &[], &[9, 10]), true),
        ("/other-project", wants(&[], &[], &[9]), false),
        ("/two-of-three", wants(&[triggered], &["critical"], &[11]), false),
        ("/three-of-three", wants(&[triggered], &["critical"], &[10]), true),
    ];
    let mut integrations = Vec::new();
    for (path, filter, passes) in cases {
        let new = NewIntegration { filter, ..NewIntegration::to(testbed.receiver.url(path)) };
        integrations.push((path, testbed.create(new).await?, passes));
    }
    let body = testbed.send_alert().await?;
    for (_, integration, _) in integrations.iter().filter(|(_, _, passes)| *passes) {
        testbed.record(testbed.delivery(integration, &body)?, Status::Delivered).await?;
    }
    testbed.wait_a_moment().await;
    for (path, integration, passes) in &integrations {
        let record = testbed.stack.record(testbed.delivery(integration, &body)?).await?;
        assert_eq!(record.is_some(), *passes, "{path}");
        assert_eq!(testbed.receiver.arrivals_at(path).len(), usize::from(*passes), "{path}");
    }
    Ok(())
}

pub async fn disabled_integration_gets_nothing(testbed: Testbed) -> anyhow::Result<()> {
    let disabled =
        testbed.create(NewIntegration { enabled: false, ..NewIntegration::to(testbed.receiver.url("/off")) }).await?;
    let deleted = testbed.create(NewIntegration::to(testbed.receiver.url("/deleted"))).await?;
    testbed.stack.delete(&deleted).await?;
    let enabled = testbed.create_with_answers([]).await?;
    let body = testbed.send_alert().await?;
    testbed.record(testbed.delivery(&enabled, &body)?, Status::Delivered).await?;
    testbed.wait_a_moment().await;
    for (path, integration) in [("/off", &disabled), ("/deleted", &deleted)] {
        assert_eq!(testbed.stack.record(testbed.delivery(integration, &body)?).await?, None, "{path}");
        assert_eq!(testbed.receiver.arrivals_at(path).len(), 0, "{path}");
    }
    Ok(())
}
