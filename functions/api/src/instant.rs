//! Times as callers write them.

use jiff::Timestamp;

/// What a time must be, as the end of a sentence that begins with the field's name.
pub(crate) const WANTED: &str = "must be an RFC 3339 time with its offset, such as 2025-01-10T10:23:45Z";

/// A text that is no RFC 3339 time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotATime;

/// Reads an RFC 3339 time.
///
/// # Errors
/// [`NotATime`] when it is none, or has no offset.
pub(crate) fn read(text: &str) -> Result<Timestamp, NotATime> {
    text.parse().map_err(|_| NotATime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_its_offset() {
        assert_eq!(read("2025-01-10T11:23:45+01:00"), read("2025-01-10T10:23:45Z"));
        for text in ["", "yesterday", "2025-01-10", "2025-01-10T10:23:45", "1736504625"] {
            assert_eq!(read(text), Err(NotATime), "{text}");
        }
    }
}
