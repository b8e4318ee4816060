//! One batch in which nine of ten endpoints are hostile, each in another way; and one that echoes secrets.

#[allow(dead_code, reason = "the sender's own tests use all of it")]
#[path = "../../shared/sender/tests/hostile_endpoints/endpoint.rs"]
mod endpoint;

use std::io::{self, Read};

use anyhow::Context;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use domain::delivery::Status;
use harness::customer::NewIntegration;
use harness::leaks::{Secrets, VisibleText, spellings};
use harness::receiver::Answer;
use serde_json::{Value, json};
use support::function::Function;

use self::endpoint::{Behaviour, Endpoint, Wire};
use crate::testbed::{PATH, SOON, Testbed, ended_at, outcomes};

/// A hostile endpoint: the scheme of its URL, its behaviour, and the error code that results.
struct Hostile {
    scheme: &'static str,
    behaviour: Behaviour,
    code: &'static str,
}

const HOSTILE: [Hostile; 8] = [
    Hostile { scheme: "http", behaviour: drips, code: "timeout_response" },
    Hostile { scheme: "https", behaviour: Wire::hold, code: "timeout_connect" },
    Hostile { scheme: "http", behaviour: has_endless_headers, code: "response_head_too_large" },
    Hostile { scheme: "http", behaviour: speaks_ssh, code: "not_http" },
    Hostile { scheme: "http", behaviour: Wire::read_request, code: "closed_early" },
    Hostile { scheme: "http", behaviour: redirects_to_the_metadata, code: "redirect" },
    Hostile { scheme: "http", behaviour: answers_without_end, code: "server_error" },
    Hostile { scheme: "https", behaviour: speaks_plainly, code: "tls_not_spoken" },
];

/// The metadata service of cloud machines, which returns credentials: the ninth endpoint.
const METADATA: (&str, &str) = ("http://169.254.169.254/", "blocked_address");

fn drips(wire: &mut Wire) -> io::Result<()> {
    wire.read_request()?;
    wire.drip("HTTP/1.1 200 OK\r\nX-Filler: ")?;
    wire.drip([b'x'; 1_000])
}

fn has_endless_headers(wire: &mut Wire) -> io::Result<()> {
    wire.read_request()?;
    wire.write("HTTP/1.1 200 OK\r\n")?;
    wire.flood("X-More: and more\r\n")
}

fn speaks_ssh(wire: &mut Wire) -> io::Result<()> {
    wire.read_exact(&mut [0])?;
    wire.write("SSH-2.0-OpenSSH_9.7\r\n")?;
    wire.hold()
}

fn redirects_to_the_metadata(wire: &mut Wire) -> io::Result<()> {
    wire.read_request()?;
    wire.write("HTTP/1.1 307 Moved\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")?;
    wire.hold()
}

fn answers_without_end(wire: &mut Wire) -> io::Result<()> {
    wire.read_request()?;
    wire.write("HTTP/1.1 503 Busy\r\nContent-Length: 1073741824\r\n\r\n")?;
    wire.flood("x")
}

fn speaks_plainly(wire: &mut Wire) -> io::Result<()> {
    wire.write("HTTP/1.1 400 Bad Request\r\n\r\n")?;
    wire.hold()
}

pub async fn nine_of_ten_endpoints_are_hostile(testbed: Testbed) -> anyhow::Result<()> {
    let endpoints: Vec<_> = HOSTILE.iter().map(|hostile| Endpoint::start(hostile.behaviour)).collect();
    let urls = HOSTILE.iter().zip(&endpoints).map(|(hostile, endpoint)| {
        (format!("{}://{}/hooks/canary", hostile.scheme, endpoint.address), Some(hostile.code))
    });
    let here = (testbed.new_integration().url, None);
    let all = urls.chain([(METADATA.0.to_owned(), Some(METADATA.1)), here]);

    // Each integration wants alerts of its own severity.
    let (mut records, mut deliveries) = (Vec::new(), Vec::new());
    for (number, (url, code)) in all.enumerate() {
        let severity = format!("severity-{number}");
        let mut new = testbed.new_integration();
        new.filter.severities = vec![severity.clone()];
        let created = testbed.create(new).await?;
        // Past the API, which refuses one of them.
        let integration = testbed.stack.overwrite(&created, |integration| integration.url = url).await?;
        let mut alert = testbed.alert();
        alert["alert"]["severity"] = json!(severity);
        let body = alert.to_string();
        deliveries.push((testbed.delivery(&integration, &body)?, integration, code));
        records.push(record(number, &body));
    }
    let answer = testbed.stack.invoke(Function::Deliver, &json!({ "Records": records })).await?;
    assert_eq!(answer, json!({ "batchItemFailures": [] }));

    let mut slowest = None;
    for (key, _, code) in &deliveries {
        let Some(code) = code else { continue };
        let tried = |record: &domain::delivery::Record| !record.attempts.is_empty();
        let record = testbed.stack.record_when(*key, SOON, "a delivery that was tried", tried).await?;
        let attempt = record.attempts.first().context("it was tried")?;
        assert_eq!(attempt.error.as_ref().map(|error| error.code.as_str()), Some(*code), "{record:?}");
        slowest = slowest.max(Some(ended_at(attempt)));
    }
    let (healthy, ..) = deliveries.last().context("the last one is healthy")?;
    let record = testbed.record(*healthy, Status::Delivered).await?;
    assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
    let arrivals = testbed.arrivals();
    assert_eq!(arrivals.len(), 1);
    assert!(Some(arrivals[0].at) < slowest, "it did not wait for the others: {} and {slowest:?}", arrivals[0].at);

    // Their further attempts would slow down the other journeys.
    for (_, integration, _) in &deliveries {
        testbed.stack.delete(integration).await?;
    }
    Ok(())
}

/// An SQS message as Lambda passes it on.
fn record(number: usize, body: &str) -> Value {
    json!({
        "messageId": format!("message-{number}"),
        "receiptHandle": "handle",
        "body": body,
        "attributes": { "ApproximateReceiveCount": "1" },
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:alerts",
        "awsRegion": "us-east-1",
    })
}

/// A header value, a password and a signing secret whose characters are escaped in JSON, HTML and URLs.
pub const ECHOED: [&str; 3] = [KEY, PASSWORD, SIGNING_SECRET];
const KEY: &str = r#"canary/k"e&y+<7>='%41'\"#;
const PASSWORD: &str = r#"canary/p"a&s+<8>='%41'\"#;
const SIGNING_SECRET: &str = r#"canary/s"i&g+<9>='%41'\"#;

/// An endpoint that shows what it was sent, and the signing secret that it knows, in every spelling: in its answers to
/// deliveries and to a Test.
pub async fn secrets_are_echoed(testbed: Testbed) -> anyhow::Result<()> {
    let credentials = format!("Basic {}", BASE64_STANDARD.encode(format!("robot:{PASSWORD}")));
    let secrets = [KEY, &credentials, SIGNING_SECRET];
    let echo = |secret: &str| {
        let spelled: Vec<_> = spellings(secret).into_iter().map(|(_, spelled)| spelled).collect();
        Answer::Full { status: 500, headers: Vec::new(), body: spelled.join(" | ") }
    };
    testbed.receiver.script(PATH, [echo(KEY), echo(PASSWORD), echo(SIGNING_SECRET)]);
    let headers = [("X-Key", KEY), ("Authorization", &credentials)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let signing_secret = Some(SIGNING_SECRET.to_owned());
    let integration = testbed.create(NewIntegration { headers, signing_secret, ..testbed.new_integration() }).await?;
    let body = testbed.send_alert().await?;
    let record = testbed.record_waiting_for(testbed.delivery(&integration, &body)?, 4).await?;

    let api = testbed.api().await?;
    let id = integration.id.to_string();
    let mut shown = vec![VisibleText::new("the Test's result", api.test(&id).await?.to_string())];
    for delivery in api.all_deliveries(&id, "").await? {
        let delivery = delivery["id"].as_str().context("a delivery has an id")?;
        shown.push(VisibleText::new("the log", api.delivery(&id, delivery).await?.to_string()));
    }
    let excerpts: Vec<_> = record.attempts.into_iter().filter_map(|attempt| attempt.response_excerpt).collect();
    assert_eq!(excerpts.len(), 3);
    for excerpt in excerpts {
        // At either end of what is base64, a few letters stand for no whole byte.
        let rest = |spelled: &str| spelled.split("[redacted]").map(str::len).max();
        assert!(
            excerpt.split(" | ").all(|spelled| spelled.contains("[redacted]") && rest(spelled) <= Some(3)),
            "{excerpt}"
        );
        shown.push(VisibleText::new("the ledger", excerpt));
    }
    let leaks = Secrets::new(secrets).find_in(shown);
    assert!(leaks.is_empty(), "{leaks:#?}");
    api.delete(&id).await
}
