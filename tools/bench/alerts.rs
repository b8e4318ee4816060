//! Alert events, each a new one, and the batches that Lambda would make of their messages.

use std::io;

use hyper::body::Bytes;
use jiff::Timestamp;
use serde_json::json;
use support::project::Project;

/// Makes alert events like the sample that producers are shown, each with an alert id of its own.
pub struct Alerts {
    sample: String,
    count: u64,
    rng: fastrand::Rng,
}

impl Alerts {
    /// # Errors
    /// When the sample cannot be read.
    pub fn new() -> io::Result<Self> {
        let sample = Project::source().sample_alert("triggered")?;
        assert!(
            [ALERT_ID, MESSAGE, TIMESTAMP, ORGANIZATION].iter().all(|part| sample.contains(part)),
            "the sample alert is another one"
        );
        Ok(Self { sample, count: 0, rng: fastrand::Rng::with_seed(6) })
    }

    /// The sample with an alert id of its own, and of now: an old event is treated as one that was received before.
    pub fn sample(&mut self) -> String {
        self.count += 1;
        let now = format!("\"timestamp\": \"{:.0}\"", Timestamp::now());
        let sample = self.sample.replacen(TIMESTAMP, &now, 1);
        sample.replacen(ALERT_ID, &format!("\"id\": {},", 1_000_000 + self.count), 1)
    }

    /// The same of another organization.
    pub fn of_organization(&mut self, organization: u64) -> String {
        self.sample().replacen(ORGANIZATION, &format!("\"organization\": {{\n    \"id\": {organization},"), 1)
    }

    /// The sample with so many bytes, if it does not have more: its message is extended by hexadecimal digits, which
    /// deflate to half their size.
    pub fn with_size(&mut self, bytes: usize) -> String {
        let sample = self.sample();
        let missing = bytes.saturating_sub(sample.len());
        let digits: String = (0..missing).map(|_| self.rng.digit(16)).collect();
        sample.replacen(MESSAGE, &format!("{MESSAGE}{digits}"), 1)
    }
}

const ALERT_ID: &str = "\"id\": 123,";
const TIMESTAMP: &str = "\"timestamp\": \"2025-01-10T10:23:45Z\"";
const ORGANIZATION: &str = "\"organization\": {\n    \"id\": 1,";
const MESSAGE: &str = "\"message\": \"";

/// The messages of a full batch: the template's `BatchSize`.
pub const FULL_BATCH: usize = 10;

/// The event of a batch of new messages, as Lambda hands it over. `queue` is the logical id.
pub fn batch(queue: &str, bodies: &[String]) -> Bytes {
    received_batch(queue, bodies, 1, Timestamp::now())
}

/// The same, of messages that are received for the given time, and were first received then.
pub fn received_batch(queue: &str, bodies: &[String], receives: u32, first_at: Timestamp) -> Bytes {
    let records: Vec<_> = bodies
        .iter()
        .enumerate()
        .map(|(index, body)| {
            json!({
                "messageId": format!("00000000-0000-4000-8000-{index:012}"),
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": receives.to_string(),
                    "SentTimestamp": "1736504625000",
                    "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                    "ApproximateFirstReceiveTimestamp": first_at.as_millisecond().to_string(),
                    "MessageGroupId": "1"
                },
                "messageAttributes": {},
                "md5OfBody": "00000000000000000000000000000000",
                "eventSource": "aws:sqs",
                "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{queue}"),
                "awsRegion": "us-east-1"
            })
        })
        .collect();
    Bytes::from(json!({ "Records": records }).to_string())
}
