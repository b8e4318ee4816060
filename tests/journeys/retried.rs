//! Endpoints that fail: what counts as a failure, how it is retried, and how it ends.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, bail};
use aws_sdk_sfn::types::ExecutionStatus;
use domain::delivery::{Record, Status};
use domain::integration::health::Health;
use domain::integration::{DisabledReason, Integration};
use futures_util::future::try_join_all;
use harness::customer::NewIntegration;
use harness::receiver::Answer;
use jiff::SignedDuration;
use tokio::net::TcpSocket;

use crate::testbed::{PATH, SOON, Testbed, ended_at, error_codes, header, outcomes};

/// How long five attempts may take: delays of 1 s, 3 s, 3.6 s and 14.4 s, and a busy machine.
const ALL_FIVE_ATTEMPTS: Duration = Duration::from_secs(90);

pub async fn fails_twice_then_delivered(testbed: Testbed) -> anyhow::Result<()> {
    let unwell =
        Answer::Full { status: 503, headers: Vec::new(), body: "<h1>canary</h1> is\r\n unwell\u{7}".to_owned() };
    let integration = testbed.create_with_answers([Answer::Status(500), unwell, Answer::Status(204)]).await?;
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    let record = testbed.record(key, Status::Delivered).await?;

    assert_eq!(outcomes(&record), [(1, "rejected", Some(500)), (2, "rejected", Some(503)), (3, "accepted", Some(204))]);
    assert_eq!(error_codes(&record), ["server_error", "server_error", "-"]);
    let excerpt = record.attempts[1].response_excerpt.as_deref().unwrap_or_default();
    assert!(excerpt.contains("is unwell") && !excerpt.contains(['\r', '\u{7}']), "{excerpt:?}");

    let arrivals = testbed.arrivals();
    let delivery_id = key.delivery_id.to_string();
    for (arrival, attempt) in arrivals.iter().zip(["1", "2", "3"]) {
        assert_eq!(header(arrival, "x-roboticks-attempt"), attempt);
        assert_eq!(header(arrival, "x-roboticks-delivery"), delivery_id, "the same through all attempts");
        assert_eq!(arrival.body, body.as_bytes());
    }
    assert_eq!(arrivals.len(), 3);
    assert!(arrivals[1].at.duration_since(arrivals[0].at) >= SignedDuration::from_millis(950), "the schedule's 1 s");
    assert!(arrivals[2].at.duration_since(arrivals[1].at) >= SignedDuration::from_millis(2_950), "the schedule's 3 s");
    assert_eq!(testbed.stack.executions(key.delivery_id).await?.len(), 0, "short delays are the queue's");
    Ok(())
}

pub async fn five_failures_end_failed(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([Answer::Status(500)]).await?;
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    let record = testbed.record_within(key, Status::Failed, ALL_FIVE_ATTEMPTS).await?;

    let five: Vec<_> = (1..=5).map(|number| (number, "rejected", Some(500))).collect();
    assert_eq!(outcomes(&record), five);
    assert_eq!(record.failed_created_at, Some(record.identity.created_at), "found by the index of what failed");
    assert_eq!((record.due_at, record.due_shard), (None, None), "not found by the index of what waits");
    let attempts: Vec<_> =
        testbed.arrivals().iter().map(|arrival| header(arrival, "x-roboticks-attempt").to_owned()).collect();
    assert_eq!(attempts, ["1", "2", "3", "4", "5"]);

    // The first two delays are the queue's, 30 m and 2 h the state machine's.
    let executions = testbed.stack.executions(key.delivery_id).await?;
    assert_eq!(executions.len(), 2, "{executions:?}");
    for attempt in [4, 5] {
        let prefix = format!("{}-{attempt}-", key.delivery_id);
        let execution = executions.iter().find(|execution| execution.name().starts_with(&prefix));
        let execution = execution.with_context(|| format!("no execution waited for attempt {attempt}"))?;
        assert_eq!(*execution.status(), ExecutionStatus::Succeeded);
    }

    let delivery_id = key.delivery_id.to_string();
    let is_the_end =
        |line: &serde_json::Value| line["delivery_id"] == delivery_id.as_str() && line["status"] == "failed";
    let line = testbed.stack.log_line_when(SOON, "the line of the last attempt", is_the_end).await?;
    assert_eq!((line["level"].as_str(), line["attempt"].as_u64()), (Some("ERROR"), Some(5)));

    // Nothing else happens.
    let enabled = testbed.stack.integration(&integration).await?.enabled;
    assert!(enabled, "failing does not switch an integration off");
    Ok(())
}

/// When the next attempt is due, counted from the end of the last one.
fn put_off(record: &Record) -> Option<SignedDuration> {
    Some(record.due_at?.duration_since(ended_at(record.attempts.last()?)))
}

pub async fn retry_after_is_honoured(testbed: Testbed) -> anyhow::Result<()> {
    let cases = [
        // Longer than the schedule's 1 s: honoured, on these two statuses.
        ("/429", Answer::with_header(429, "retry-after", "5"), 5_000),
        ("/503", Answer::with_header(503, "retry-after", "6"), 6_000),
        ("/500", Answer::with_header(500, "retry-after", "6"), 1_000),
        ("/nonsense", Answer::with_header(503, "retry-after", "soon"), 1_000),
        ("/shorter", Answer::with_header(429, "retry-after", "0"), 1_000),
    ];
    let mut integrations = Vec::new();
    for (path, answer, delay) in cases {
        testbed.receiver.script(path, [answer, Answer::Status(200)]);
        integrations.push((path, testbed.create(NewIntegration::to(testbed.receiver.url(path))).await?, delay));
    }
    let body = testbed.send_alert().await?;
    // All waiting deliveries are read before the first wait is over.
    let put_offs =
        integrations.iter().filter(|(_, _, delay)| *delay >= 5_000).map(async |(path, integration, delay)| {
            let waiting = testbed.record_waiting_for(testbed.delivery(integration, &body)?, 2).await?;
            let put_off = put_off(&waiting).context("a waiting delivery is due some time")?.as_millis();
            assert!((delay - 50..delay + 1_500).contains(&put_off), "{path}: {put_off} ms, asked for {delay}");
            anyhow::Ok(())
        });
    try_join_all(put_offs).await?;
    for (path, integration, delay) in integrations {
        let key = testbed.delivery(&integration, &body)?;
        testbed.record(key, Status::Delivered).await?;
        let arrivals = testbed.receiver.arrivals_at(path);
        let [first, second] = arrivals.as_slice() else {
            bail!("{path}: {} arrivals", arrivals.len());
        };
        let between = second.at.duration_since(first.at).as_millis();
        assert!(between >= delay - 50, "{path}: attempt 2 came {between} ms after attempt 1");
    }
    Ok(())
}

pub async fn redirect_is_not_followed(testbed: Testbed) -> anyhow::Result<()> {
    let elsewhere = testbed.receiver.url("/elsewhere");
    let answers = [Answer::with_header(302, "location", &elsewhere), Answer::with_header(308, "location", &elsewhere)];
    let integration = testbed.create_with_answers(answers.into_iter().chain([Answer::Status(200)])).await?;
    let body = testbed.send_alert().await?;
    let record = testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "rejected", Some(302)), (2, "rejected", Some(308)), (3, "accepted", Some(200))]);
    assert_eq!(error_codes(&record), ["redirect", "redirect", "-"]);
    assert_eq!(testbed.receiver.arrivals_at("/elsewhere").len(), 0);
    Ok(())
}

pub async fn slow_endpoint_times_out(testbed: Testbed) -> anyhow::Result<()> {
    let late = Answer::Late { after: Duration::from_secs(1), status: 200 };
    let integration = testbed.create_with_answers([Answer::Hang, late]).await?;
    let body = testbed.send_alert().await?;
    let record = testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "timed_out", None), (2, "accepted", Some(200))]);
    assert_eq!(error_codes(&record), ["timeout_response", "-"]);
    let took = record.attempts[0].duration_ms.unwrap_or_default();
    assert!((3_000..4_500).contains(&took), "{took} ms, of a limit of 3 s");
    Ok(())
}

pub async fn refused_connection_is_unreachable(testbed: Testbed) -> anyhow::Result<()> {
    // Reserved, so that nothing listens on it during the journey.
    let held = TcpSocket::new_v4()?;
    held.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let nobody = testbed.create(NewIntegration::to(format!("http://{}/canary", held.local_addr()?))).await?;
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&nobody, &body)?;
    let record =
        testbed.stack.record_when(key, SOON, "an attempt that failed", |record| !record.attempts.is_empty()).await?;
    assert_eq!(outcomes(&record)[0], (1, "unreachable", None));
    assert_eq!(error_codes(&record)[0], "connection_refused");
    testbed.stack.delete(&nobody).await?;
    Ok(())
}

pub async fn gone_disables_the_integration(testbed: Testbed) -> anyhow::Result<()> {
    let integration = testbed.create_with_answers([Answer::Status(410)]).await?;
    let body = testbed.send_alert().await?;
    let key = testbed.delivery(&integration, &body)?;
    let record = testbed.record(key, Status::Failed).await?;
    assert_eq!(outcomes(&record), [(1, "rejected", Some(410))]);
    assert_eq!(error_codes(&record), ["gone"]);

    let after = testbed.stack.integration(&integration).await?;
    assert_eq!((after.enabled, after.disabled_reason), (false, Some(DisabledReason::Gone)));
    assert!(after.version > integration.version);
    let [since, ended] = [after.disabled_at.context("no time")?, ended_at(&record.attempts[0])];
    assert!((since.duration_since(ended)).abs() < SignedDuration::from_secs(1), "off since {since}, answered {ended}");
    assert!(
        matches!(&after.health, Some(Health::Failing { reason, .. }) if reason.code == "gone"),
        "{:?}",
        after.health
    );

    // The next alert event finds it disabled.
    let witness = testbed.create(NewIntegration::to(testbed.receiver.url("/witness"))).await?;
    let next = testbed.send_alert().await?;
    testbed.record(testbed.delivery(&witness, &next)?, Status::Delivered).await?;
    assert_eq!(testbed.stack.record(testbed.delivery(&integration, &next)?).await?, None);
    assert_eq!(testbed.arrivals().len(), 1);
    let delivery_id = key.delivery_id.to_string();
    let is_it = |line: &serde_json::Value| line["delivery_id"] == delivery_id.as_str();
    let line = testbed.stack.log_line_when(SOON, "the attempt's line", is_it).await?;
    assert_eq!((&line["level"], &line["status"]), (&"ERROR".into(), &"failed".into()));
    assert!(line["message"].as_str().unwrap_or_default().contains("disabled"), "{line}");
    Ok(())
}

pub async fn forbidden_addresses_are_blocked(testbed: Testbed) -> anyhow::Result<()> {
    // This stack allows loopback only. The metadata service is never allowed.
    let urls = [
        "http://169.254.169.254/latest/meta-data/canary",
        "http://10.0.0.1/canary",
        "http://[::ffff:10.0.0.1]/canary",
        "http://[64:ff9b::a9fe:a9fe]/canary",
        "http://2130706433.example.invalid/canary",
    ];
    let mut integrations = Vec::new();
    for url in urls {
        // The API would refuse these: as if a name had been changed in DNS since it was set.
        let integration = testbed.create(testbed.new_integration()).await?;
        let edit = |integration: &mut Integration| integration.url = url.to_owned();
        integrations.push((url, testbed.stack.overwrite(&integration, edit).await?));
    }
    let body = testbed.send_alert().await?;
    for (url, integration) in integrations {
        let key = testbed.delivery(&integration, &body)?;
        let record = testbed
            .stack
            .record_when(key, SOON, "an attempt that failed", |record| !record.attempts.is_empty())
            .await?;
        let attempt = &record.attempts[0];
        let told = attempt.error.as_ref().map(|error| (error.code.as_str(), error.message.as_str()));
        let (code, sentence) = told.with_context(|| format!("{url}: no error"))?;
        match url {
            "http://2130706433.example.invalid/canary" => {
                assert_eq!((attempt.outcome.as_str(), code), ("unreachable", "dns_failed"))
            }
            _ => assert_eq!((attempt.outcome.as_str(), code), ("blocked", "blocked_address"), "{url}"),
        }
        assert_eq!(attempt.duration_ms, None, "{url}: a timing tells of our network");
        assert!(!sentence.contains("169.254") && !sentence.contains("10.0."), "{sentence}");
        assert!(record.attempt > 1, "{url}: it goes through the schedule like any failure");
        testbed.stack.delete(&integration).await?;
    }
    assert_eq!(testbed.receiver.arrivals_at(PATH).len(), 0);
    Ok(())
}
