//! Where a redirect led, for the integration log: redirects are never followed, and the customer has to set the URL to
//! the final address.

use crate::attempt::excerpt::{Extent, excerpt};

/// How much of a `Location` is shown at most, in bytes.
const MAX_LOCATION_BYTES: usize = 512;

/// What is shown of a redirect instead of its body, which usually just repeats the target; `None` if its `Location` has
/// nothing to show. Cleaned and redacted like a body.
pub fn target<'a>(location: &[u8], secrets: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let (shown, extent) = match location.split_at_checked(MAX_LOCATION_BYTES) {
        Some((beginning, rest)) if !rest.is_empty() => (beginning, Extent::Cut),
        _ => (location, Extent::Whole),
    };
    Some(format!("redirects to {}", excerpt(shown, extent, secrets)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::excerpt::MAX_EXCERPT_BYTES;

    const TOKEN: &str = "0123456789-token";

    #[track_caller]
    fn check(location: &[u8], expected: Option<&str>) {
        assert_eq!(target(location, [TOKEN]).as_deref(), expected);
    }

    #[test]
    fn the_target_is_shown_as_it_was_sent() {
        check(b"https://example.com/hook?a=b", Some("redirects to https://example.com/hook?a=b"));
        check(b"/login", Some("redirects to /login"));
        check("/größe".as_bytes(), Some("redirects to /größe"));
    }

    #[test]
    fn a_hostile_target_is_cleaned_shortened_and_redacted() {
        check(b"", None);
        check(b"/a\t\x1b[31m\x07b", Some("redirects to /a [31m b"));
        check("/user\u{202e}gpj.exe\u{200b}".as_bytes(), Some("redirects to /usergpj.exe"));
        check(&[0xff; 10], Some("redirects to (not text, 10 bytes)"));
        check(b"/login?token=0123456789-token&x", Some("redirects to /login?token=[redacted]&x"));
        check(&[b'a'; MAX_LOCATION_BYTES], Some(&format!("redirects to {}", "a".repeat(MAX_LOCATION_BYTES))));
        let huge = format!("redirects to {}…", "a".repeat(MAX_LOCATION_BYTES));
        check(&[b'a'; 300_000], Some(&huge));
        let torn = [&[b'/'; MAX_LOCATION_BYTES - 9][..], TOKEN.as_bytes()].concat();
        check(&torn, Some(&format!("redirects to {}[redacted]…", "/".repeat(MAX_LOCATION_BYTES - 9))));
        let many = TOKEN.repeat(1000);
        assert!(target(many.as_bytes(), [TOKEN]).is_some_and(|shown| shown.len() <= MAX_EXCERPT_BYTES));
    }
}
