//! The time that answers tell.

use jiff::Timestamp;

/// The time, to the millisecond: what is answered now and what is read later are the same.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
