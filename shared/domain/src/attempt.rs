//! One HTTP request of a delivery: its outcome, what is stored about it, and what follows.

pub mod excerpt;
pub mod next_step;
pub mod outcome;
pub mod redaction;
pub mod redirect;
pub mod retry_after;
pub mod schedule;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::delivery::ledger::Freshness;

/// The record of one HTTP request of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub number: u32,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub started_at: Timestamp,
    /// Absent where the duration would reveal something about our network: blocked addresses and names that do not
    /// resolve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// `accepted`, `rejected`, `timed_out`, `unreachable`, `blocked`, or [`Attempt::UNKNOWN`].
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<AttemptError>,
    /// An excerpt of the response body, cleaned up, or where a redirect led; of failures only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_excerpt: Option<String>,
    /// A worker died while making this attempt earlier, so the endpoint may have received it twice.
    #[serde(default, skip_serializing_if = "is_false")]
    pub possible_duplicate: bool,
}

impl Attempt {
    /// The outcome of an attempt whose worker died before recording it.
    pub const UNKNOWN: &str = "unknown";

    /// An attempt whose worker died in the middle and that is not repeated. Whether the endpoint received the request
    /// is unknown; `freshness` says whether an earlier worker had already died in this attempt.
    pub fn interrupted(number: u32, started_at: Timestamp, freshness: Freshness) -> Self {
        let message = "We were interrupted during this request and did not repeat it, because the integration no \
                       longer wanted the event or it was redelivered by hand. Your endpoint may have received it.";
        Self {
            number,
            started_at,
            duration_ms: None,
            outcome: Self::UNKNOWN.to_owned(),
            status_code: None,
            error: Some(AttemptError { code: "interrupted".to_owned(), message: message.to_owned() }),
            response_excerpt: None,
            possible_duplicate: freshness == Freshness::PossibleDuplicate,
        }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    /// Stable: one of [`crate::attempt::outcome::CODES`], or `interrupted`.
    pub code: String,
    /// What happened and what the customer can do about it.
    pub message: String,
}

fn is_false(value: &bool) -> bool {
    !value
}
