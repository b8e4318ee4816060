//! One HTTP request of a delivery: what came of it, what is remembered of it, and what follows.

pub mod excerpt;
pub mod next_step;
pub mod outcome;
pub mod retry_after;
pub mod schedule;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::delivery::ledger::Freshness;

/// One HTTP request of a delivery, after the fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub number: u32,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub started_at: Timestamp,
    /// Absent where the time itself would tell of our network: blocked addresses and names that do not resolve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// `accepted`, `rejected`, `timed_out`, `unreachable`, `blocked`, or [`Attempt::UNKNOWN`].
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<AttemptError>,
    /// What the endpoint said, cleaned up; only of failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_excerpt: Option<String>,
    /// A worker died while it made this attempt before: the endpoint may have seen it twice.
    #[serde(default, skip_serializing_if = "is_false")]
    pub possible_duplicate: bool,
}

impl Attempt {
    /// The outcome that nobody lived to record.
    pub const UNKNOWN: &str = "unknown";

    /// An attempt in the middle of which its worker died, and that is not made again. Whether the endpoint saw its request
    /// is not known; `freshness` says whether it may have seen it before that.
    pub fn interrupted(number: u32, started_at: Timestamp, freshness: Freshness) -> Self {
        let message = "We were interrupted in the middle of this request, and did not repeat it: the integration did not \
                       want this event any more, or it was sent again by hand. Your endpoint may have received it.";
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
    /// Stable, one of the codes of [`crate::attempt::outcome`], or `interrupted`.
    pub code: String,
    /// A sentence that the customer can act on.
    pub message: String,
}

fn is_false(value: &bool) -> bool {
    !value
}
