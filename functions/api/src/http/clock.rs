//! The current time, as responses show it.

use jiff::Timestamp;

/// The current time in whole milliseconds, as it is stored: a response now and one read later show the same.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
