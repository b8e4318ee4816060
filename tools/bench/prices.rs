//! What AWS charges: us-east-1, arm64, on demand, without free tiers and discounts. Looked up in November 2026 from
//! AWS's public price pages; look again before you rely on it. Dollars throughout.

/// A Lambda request.
pub const LAMBDA_REQUEST: f64 = 0.20 / 1e6;

/// A gigabyte-second of Lambda on arm64. Billed by the millisecond.
pub const LAMBDA_GB_SECOND: f64 = 0.000_013_333_4;

/// A request to a standard queue: each begun [`SQS_CHUNK`] of payload counts as one.
pub const SQS_REQUEST: f64 = 0.40 / 1e6;

/// What a request costs more when its messages carry a group id (fair queues).
pub const SQS_FAIR_SURCHARGE: f64 = 0.10 / 1e6;

/// In bytes.
pub const SQS_CHUNK: u64 = 64 * 1024;

/// A write unit: an item of up to 1 KB, table or index.
pub const DYNAMODB_WRITE_UNIT: f64 = 0.625 / 1e6;

/// A read unit: 4 KB, strongly consistent.
pub const DYNAMODB_READ_UNIT: f64 = 0.125 / 1e6;

/// A gigabyte-month of DynamoDB's storage beyond the first 25 GB, and of its point-in-time recovery.
pub const DYNAMODB_GB_MONTH: f64 = 0.25 + 0.20;

/// What DynamoDB adds to each item's size in storage, in bytes.
pub const DYNAMODB_ITEM_OVERHEAD: u64 = 100;

/// A state transition of a standard workflow.
pub const STEP_FUNCTIONS_TRANSITION: f64 = 0.025 / 1e3;

/// A gigabyte taken in by CloudWatch Logs.
pub const LOGS_GB: f64 = 0.50;

/// What CloudWatch Logs adds to each line's size, in bytes.
pub const LOGS_LINE_OVERHEAD: u64 = 26;

/// A KMS request.
pub const KMS_REQUEST: f64 = 0.03 / 1e4;

/// A request to an HTTP API. Those that its throttles refuse are free.
pub const HTTP_API_REQUEST: f64 = 1.00 / 1e6;

/// A gigabyte sent to the internet.
pub const EGRESS_GB: f64 = 0.09;

/// The gigabyte of all these prices, in bytes.
pub const GB: f64 = 1e9;

// What follows are no prices, but what has to be assumed to get from this machine to AWS.

/// The memory at which a function has one whole processor, in MB; with less it has that share of one.
pub const MEMORY_OF_ONE_PROCESSOR: f64 = 1769.0;

/// How long one call of DynamoDB, SQS or Step Functions takes from a function, in seconds.
pub const AWS_CALL_SECONDS: f64 = 0.005;

/// What TLS, TCP and IP add to a request on an open connection, in bytes: record and packet headers, the
/// acknowledgements of the answer, and a share of the handshake.
pub const EGRESS_OVERHEAD: u64 = 700;

/// The lines that Lambda itself writes about an invocation (START, END, REPORT): how many, and their bytes.
pub const LAMBDA_LINES: u64 = 3;
pub const LAMBDA_LINES_BYTES: u64 = 290;

/// A line of the API's access log, in bytes.
pub const ACCESS_LINE_BYTES: u64 = 450;

/// How many deliveries share one decryption of an integration's data key: it is kept in memory while its sandbox lives.
pub const DELIVERIES_PER_DECRYPTION: f64 = 1_000.0;
