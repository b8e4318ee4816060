//! What it costs that something was used: counted calls, units and bytes times listed prices.

use std::time::Duration;

use serde::Serialize;

use crate::aws::Tally;
use crate::prices as price;

/// One invocation of a function, as it is billed for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Invocation {
    /// From the event's hand-over to the answer, as measured here.
    pub duration: Duration,
    pub cpu: Duration,
    /// Messages of its batch.
    pub messages: u64,
    /// The bytes of their bodies.
    pub payload: u64,
    /// How many AWS calls it makes one after the other.
    pub calls_in_a_row: u32,
}

impl Invocation {
    /// How long it would take on Lambda, in seconds: with a share of a processor, and AWS calls that take their time.
    pub fn billed_seconds(&self, memory_mb: f64) -> f64 {
        let slower = (price::MEMORY_OF_ONE_PROCESSOR / memory_mb - 1.0).max(0.0);
        self.duration.as_secs_f64()
            + self.cpu.as_secs_f64() * slower
            + f64::from(self.calls_in_a_row) * price::AWS_CALL_SECONDS
    }
}

/// All that deliveries used.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub deliveries: u64,
    pub invocations: Vec<Invocation>,
    pub calls: Tally,
    /// Executions of the state machine, and how many states each passes through.
    pub waits: u64,
    pub states_per_wait: u64,
    pub log_lines: u64,
    pub log_bytes: u64,
    pub requests: u64,
    pub request_bytes: u64,
    pub memory_mb: f64,
}

/// What a million deliveries cost, in dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bill {
    pub lambda_requests: f64,
    pub lambda_time: f64,
    pub sqs: f64,
    pub dynamodb: f64,
    pub step_functions: f64,
    pub logs: f64,
    pub kms: f64,
    pub egress: f64,
}

impl Bill {
    /// Every item with its name.
    pub fn items(&self) -> [(&'static str, f64); 8] {
        [
            ("Lambda requests", self.lambda_requests),
            ("Lambda time", self.lambda_time),
            ("SQS", self.sqs),
            ("DynamoDB", self.dynamodb),
            ("Step Functions", self.step_functions),
            ("logs", self.logs),
            ("KMS", self.kms),
            ("egress", self.egress),
        ]
    }

    pub fn total(&self) -> f64 {
        self.items().iter().map(|(_, dollars)| dollars).sum()
    }
}

/// The bill of a million deliveries that each use what these did. The producer's own send is not in it.
pub fn bill(usage: &Usage) -> Bill {
    let Usage { deliveries, invocations, calls, .. } = usage;
    let a_million = |dollars: f64| dollars * 1e6 / (*deliveries).max(1) as f64;
    let invoked = invocations.len() as f64;
    let seconds: f64 = invocations.iter().map(|it| it.billed_seconds(usage.memory_mb)).sum();

    // Lambda receives and deletes each batch by one request, and messages of over a chunk by more.
    let polls: u64 = invocations.iter().map(|it| it.payload.div_ceil(price::SQS_CHUNK).max(1) + 1).sum();
    let sends = calls.of("SendMessage").count + calls.of("SendMessageBatch").count + usage.waits;
    let sqs_requests = (polls + sends) as f64;

    let lines = usage.log_lines + invocations.len() as u64 * price::LAMBDA_LINES;
    let log_bytes =
        usage.log_bytes + invocations.len() as u64 * price::LAMBDA_LINES_BYTES + lines * price::LOGS_LINE_OVERHEAD;
    let egress_bytes = usage.request_bytes + usage.requests * price::EGRESS_OVERHEAD;

    Bill {
        lambda_requests: a_million(invoked * price::LAMBDA_REQUEST),
        lambda_time: a_million(seconds * usage.memory_mb / 1024.0 * price::LAMBDA_GB_SECOND),
        sqs: a_million(sqs_requests * (price::SQS_REQUEST + price::SQS_FAIR_SURCHARGE)),
        dynamodb: a_million(
            calls.write_units() as f64 * price::DYNAMODB_WRITE_UNIT + calls.read_units() * price::DYNAMODB_READ_UNIT,
        ),
        step_functions: a_million((usage.waits * usage.states_per_wait) as f64 * price::STEP_FUNCTIONS_TRANSITION),
        logs: a_million(log_bytes as f64 / price::GB * price::LOGS_GB),
        kms: a_million(usage.requests as f64 / price::DELIVERIES_PER_DECRYPTION * price::KMS_REQUEST),
        egress: a_million(egress_bytes as f64 / price::GB * price::EGRESS_GB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{name}: {found}, not {expected}");
    }

    /// Calculated by hand: ten deliveries of one full batch at 256 MB.
    #[test]
    fn a_full_batch_costs_what_is_listed() {
        let invocation = Invocation {
            duration: Duration::from_millis(310),
            cpu: Duration::from_millis(2),
            messages: 10,
            payload: 10_000,
            calls_in_a_row: 3,
        };
        let mut calls = Tally::default();
        calls.0.entry("PutItem DeliveriesTable".to_owned()).or_default().write_units = 20;
        calls.0.entry("Query IntegrationsTable".to_owned()).or_default().read_units = 1.0;
        let usage = Usage {
            deliveries: 10,
            invocations: vec![invocation],
            calls,
            waits: 1,
            states_per_wait: 2,
            log_lines: 10,
            log_bytes: 4_000,
            requests: 10,
            request_bytes: 13_000,
            memory_mb: 256.0,
        };
        let bill = bill(&usage);
        check("Lambda requests", bill.lambda_requests, 0.02);
        // 310 ms, 15 ms of calls, and 2 ms of processor time at 256/1769 of a processor: 11.8203 ms more.
        check("Lambda time", bill.lambda_time, 1e5 * (0.325 + 0.002 * (1769.0 / 256.0 - 1.0)) * 0.25 * 0.000_013_333_4);
        // Received, deleted, and one message sent by the wait.
        check("SQS", bill.sqs, 0.15);
        check("DynamoDB", bill.dynamodb, 1.2625);
        check("Step Functions", bill.step_functions, 5.0);
        check("logs", bill.logs, 1e5 * (4_000.0 + 290.0 + 13.0 * 26.0) / 1e9 * 0.5);
        check("KMS", bill.kms, 0.003);
        check("egress", bill.egress, 1e6 * 2_000.0 / 1e9 * 0.09);
    }
}
