//! The excerpt of a response body: a short, harmless text for the integration log and the Test button.
//!
//! The endpoint can send anything. The body is never parsed or decompressed. Of a binary body only the size is shown.
//! Characters that could disturb a page or a terminal (control characters, text-direction overrides, invisible
//! characters) are removed.

use zeroize::Zeroizing;

use crate::attempt::redaction::{Secrets, TooComplex};
use crate::text::is_invisible;

/// How much of a response body is read at most, in bytes.
pub const MAX_BODY_BYTES: usize = 4 * 1024;

/// The longest excerpt, in bytes of UTF-8.
pub const MAX_EXCERPT_BYTES: usize = 1024;

const ELLIPSIS: char = '…';

/// What is shown instead of a text that could not be searched for secrets to its end.
const NOT_SHOWN: &str = "(not shown: it is encoded in too many ways to be searched for your secrets)";

/// Whether the bytes that were read are the whole body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Whole,
    Cut,
}

/// Makes an excerpt of the part of a response body that was read; `None` if there is nothing to show.
///
/// `secrets` are texts that an endpoint may echo, such as header values. No part of eight or more characters of one is
/// shown, in no encoding; see [`Secrets`].
pub fn excerpt<'a>(body: &[u8], extent: Extent, secrets: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let text = String::from_utf8_lossy(without_torn_character(body, extent));
    if is_binary(&text) {
        return Some(describe_binary(body.len(), extent));
    }
    let cleaned = clean(&text);
    if cleaned.is_empty() {
        return None;
    }
    // Redacted after cleaning: removing invisible characters may join a secret that the endpoint had split with them.
    let secrets: Vec<_> = secrets.into_iter().map(|secret| (Zeroizing::new(clean(secret)), secret)).collect();
    let secrets = Secrets::new(secrets.iter().flat_map(|(cleaned, given)| [cleaned.as_str(), given]));
    // Not the whole body, which bounds the work; but more than is shown, so that a secret at the end is seen whole.
    let (searched, extent) = beginning(cleaned, 2 * MAX_EXCERPT_BYTES, extent);
    match secrets.redact(&searched) {
        Ok(redacted) => Some(shorten(redacted, extent)),
        Err(TooComplex) => Some(NOT_SHOWN.to_owned()),
    }
}

/// The beginning of a text, of at most `max` bytes, and whether anything is missing.
fn beginning(mut text: String, max: usize, extent: Extent) -> (String, Extent) {
    if text.len() <= max {
        return (text, extent);
    }
    text.truncate(text.floor_char_boundary(max));
    (text, Extent::Cut)
}

/// Drops an incomplete character at the end of a cut body: at most three bytes.
fn without_torn_character(body: &[u8], extent: Extent) -> &[u8] {
    match (extent, std::str::from_utf8(body)) {
        (Extent::Cut, Err(error)) if error.error_len().is_none() => &body[..error.valid_up_to()],
        _ => body,
    }
}

/// Text has no NUL, and at most one in ten characters is another control character or invalid UTF-8.
fn is_binary(text: &str) -> bool {
    let is_odd = |c: char| c == char::REPLACEMENT_CHARACTER || (c.is_control() && !c.is_whitespace() && c != '\u{1b}');
    let odd = text.chars().filter(|c| is_odd(*c)).count();
    text.contains('\0') || odd * 10 > text.chars().count()
}

fn describe_binary(bytes: usize, extent: Extent) -> String {
    match extent {
        Extent::Whole => format!("(not text, {bytes} bytes)"),
        Extent::Cut => format!("(not text, more than {bytes} bytes)"),
    }
}

/// Removes invisible characters, even though that splits emoji sequences, and replaces each run of white space and
/// control characters with one space.
fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    let mut is_gap = false;
    for c in text.chars().filter(|c| !is_invisible(*c)) {
        if c.is_whitespace() || c.is_control() {
            is_gap = true;
            continue;
        }
        if is_gap && !cleaned.is_empty() {
            cleaned.push(' ');
        }
        is_gap = false;
        cleaned.push(c);
    }
    cleaned
}

/// Cuts between characters, and appends an ellipsis if anything is missing.
fn shorten(text: String, extent: Extent) -> String {
    if extent == Extent::Whole && text.len() <= MAX_EXCERPT_BYTES {
        return text;
    }
    let (mut text, _) = beginning(text, MAX_EXCERPT_BYTES - ELLIPSIS.len_utf8(), extent);
    text.push(ELLIPSIS);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &[u8], expected: Option<&str>) {
        assert_eq!(excerpt(body, Extent::Whole, []).as_deref(), expected);
    }

    #[track_caller]
    fn check_cut(body: &[u8], expected: Option<&str>) {
        assert_eq!(excerpt(body, Extent::Cut, []).as_deref(), expected);
    }

    #[test]
    fn text_stays_as_it_is() {
        check(b"not found", Some("not found"));
        check(br#"{"error":"no such robot"}"#, Some(r#"{"error":"no such robot"}"#));
        check("Größe ≠ 5 €, ロボット 🤖".as_bytes(), Some("Größe ≠ 5 €, ロボット 🤖"));
        check(b"<h1>404</h1>", Some("<h1>404</h1>"));
    }

    #[test]
    fn nothing_to_show() {
        check(b"", None);
        check(b" \r\n\t ", None);
        check("\u{200b}\u{feff}".as_bytes(), None);
    }

    #[test]
    fn white_space_and_control_characters_become_one_space() {
        check(b"  a\r\n\r\n\tb  \x0b c\n", Some("a b c"));
        check("a\u{a0}\u{2028}b\u{85}c".as_bytes(), Some("a b c"));
        check(b"error: \x1b[31mred\x1b[0m, not a colour", Some("error: [31mred [0m, not a colour"));
        check(b"ding\x07dong and more text", Some("ding dong and more text"));
    }

    #[test]
    fn invisible_characters_are_removed() {
        check("user\u{202e}gpj.exe\u{202c}".as_bytes(), Some("usergpj.exe"));
        check("a\u{200b}b\u{2066}c\u{2069}d\u{feff}e\u{ad}f\u{e0041}g".as_bytes(), Some("abcdefg"));
        check("a \u{200b} b".as_bytes(), Some("a b"));
    }

    #[test]
    fn of_a_binary_body_only_the_size_is_shown() {
        check(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], Some("(not text, 10 bytes)"));
        check(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Some("(not text, 16 bytes)"));
        check(&[0xff; 100], Some("(not text, 100 bytes)"));
        check_cut(&[0xff; 4096], Some("(not text, more than 4096 bytes)"));
    }

    #[test]
    fn a_few_invalid_bytes_are_replaced() {
        check(b"Latin-1: Gr\xf6sse, all the rest is ASCII", Some("Latin-1: Gr\u{fffd}sse, all the rest is ASCII"));
    }

    #[test]
    fn a_character_cut_by_the_limit_is_dropped() {
        check_cut(&"ab€".as_bytes()[..4], Some("ab…"));
        check(&"0123456789ab€".as_bytes()[..14], Some("0123456789ab\u{fffd}"));
    }

    #[test]
    fn at_most_a_kibibyte() {
        check(&[b'a'; MAX_EXCERPT_BYTES], Some(&"a".repeat(MAX_EXCERPT_BYTES)));
        check(&[b'a'; MAX_EXCERPT_BYTES + 1], Some(&format!("{}…", "a".repeat(MAX_EXCERPT_BYTES - 3))));
        check_cut(b"short but cut", Some("short but cut…"));
        for character in ["é", "€", "🤖"] {
            let text = excerpt(character.repeat(1000).as_bytes(), Extent::Whole, []).expect("there is text");
            assert!(text.len() <= MAX_EXCERPT_BYTES && text.len() > MAX_EXCERPT_BYTES - 8, "{}", text.len());
            assert!(text.ends_with(&format!("{character}…")));
        }
    }

    #[test]
    fn echoed_secrets_are_redacted() {
        let shown = excerpt(b"got Bearer s3cr3t, Bearer s3cr3t!", Extent::Whole, ["Bearer s3cr3t", "other"]);
        assert_eq!(shown.as_deref(), Some("got [redacted], [redacted]!"));
        let a_word_of_it = excerpt(b"no such token: 0123456789", Extent::Whole, ["Bearer 0123456789"]);
        assert_eq!(a_word_of_it.as_deref(), Some("no such token: [redacted]"));
        let taken_apart = excerpt("no such token: 01234\u{200b}56789".as_bytes(), Extent::Whole, ["0123456789"]);
        assert_eq!(taken_apart.as_deref(), Some("no such token: [redacted]"));
        let torn = excerpt(b"no such token: 01234567", Extent::Cut, ["Bearer 0123456789"]);
        assert_eq!(torn.as_deref(), Some("no such token: [redacted]…"));
        let by_chance = excerpt(b"1 error in 1 robot", Extent::Whole, ["1", ""]);
        assert_eq!(by_chance.as_deref(), Some("1 error in 1 robot"));
        let at_the_limit = [&[b'a'; MAX_EXCERPT_BYTES - 8][..], b"s3cr3t-token"].concat();
        let shown = excerpt(&at_the_limit, Extent::Whole, ["s3cr3t-token"]).expect("there is text");
        assert!(!shown.contains("s3c"), "{shown}");
        let complex = r"%2541\u0025&amp;aaaaaaaaaaa+".repeat(70);
        assert_eq!(excerpt(complex.as_bytes(), Extent::Whole, ["s3cr3t-token"]).as_deref(), Some(NOT_SHOWN));
        assert_ne!(excerpt(complex.as_bytes(), Extent::Whole, []).as_deref(), Some(NOT_SHOWN));
    }
}
