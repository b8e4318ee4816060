//! The `Retry-After` header: how long an endpoint asks us to wait (RFC 9110, section 10.2.3).
//!
//! [`crate::attempt::next_step`] decides whether it is honoured.

use std::time::Duration;

use jiff::Timestamp;

/// Larger numbers of seconds count as this many, as for HTTP's other times (RFC 9111, section 1.2.2).
const MANY_SECONDS: u64 = 1 << 31;

/// Parses a header value: a number of seconds, or a date, which is taken relative to `now`. A date in the past is zero.
/// A fraction of a second, which the standard does not allow but some servers send, counts as a whole one. `None` if the
/// value is none of these.
pub fn parse(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim_ascii();
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    if are_digits(whole) && are_digits(fraction) {
        let rounded_up = u64::from(fraction.bytes().any(|digit| digit != b'0'));
        let seconds = whole.parse().unwrap_or(MANY_SECONDS).saturating_add(rounded_up).min(MANY_SECONDS);
        return Some(Duration::from_secs(seconds));
    }
    let date = Timestamp::try_from(httpdate::parse_http_date(value).ok()?).ok()?;
    Some(date.duration_since(now).try_into().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected_seconds: Option<u64>) {
        let now = "2026-11-23T08:49:37Z".parse().expect("the test's now parses");
        assert_eq!(parse(value, now), expected_seconds.map(Duration::from_secs), "{value:?}");
    }

    #[test]
    fn seconds() {
        check("0", Some(0));
        check("120", Some(120));
        check(" 120\t", Some(120));
        check("007", Some(7));
        check("7.5", Some(8));
        check("7.000", Some(7));
        check("0.001", Some(1));
        check("99999999999999999999999999.9", Some(1 << 31));
        check("2147483648", Some(1 << 31));
        check("99999999999", Some(1 << 31));
        check("99999999999999999999999999", Some(1 << 31));
    }

    #[test]
    fn dates() {
        check("Mon, 23 Nov 2026 08:49:37 GMT", Some(0));
        check("Mon, 23 Nov 2026 08:51:37 GMT", Some(120));
        check("Mon, 23 Nov 2026 08:49:36 GMT", Some(0));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(0));
        // The two obsolete forms that RFC 9110 asks recipients to accept.
        check("Monday, 23-Nov-26 08:51:37 GMT", Some(120));
        check("Mon Nov 23 08:51:37 2026", Some(120));
    }

    #[test]
    fn anything_else_is_ignored() {
        for value in [
            "",
            " ",
            "-1",
            "+5",
            "1.",
            ".5",
            "1.5.0",
            "-1.5",
            "5s",
            "1e3",
            "soon",
            "0x10",
            "١٢",
            "Mon, 23 Nov 2026",
            "2026-11-23T09:00:00Z",
        ] {
            check(value, None);
        }
    }
}
