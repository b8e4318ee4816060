//! Removes secrets from what an endpoint sent, however they are written there.
//!
//! An endpoint that echoes a request has often escaped it for JSON, HTML or a URL, changed its case or encoded it in
//! base64, and sometimes several of these in a row. So everything that can be decoded is decoded, up to [`MAX_LAYERS`]
//! times, and each result is searched for any [`WINDOW`] successive bytes of a secret. Every decoded byte remembers
//! which part of the text it came from, and that part is replaced.

use std::ops::Range;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

/// What a secret is replaced with.
const REDACTED: &str = "[redacted]";

/// Any part of a secret this long, in bytes, is removed. Shorter parts occur by chance.
pub const WINDOW: usize = 8;

/// How many encodings around each other are undone, such as JSON within HTML within base64.
const MAX_LAYERS: u32 = 3;

/// The most bytes that are searched for one text, decoded ones included. An ordinary text takes a few times its length;
/// only one that is made to take long reaches the limit, which bounds the work to a few milliseconds.
const MAX_SEARCHED: usize = 64 * 1024;

/// How many letters of base64, or digits, write at least [`WINDOW`] bytes.
const MIN_BASE64_LETTERS: usize = (WINDOW * 8).div_ceil(6);
const MIN_HEX_DIGITS: usize = WINDOW * 2;

/// Reads base64 with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The text is encoded in so many ways that it was not searched to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is encoded in too many ways to be searched for secrets")]
pub struct TooComplex;

/// The secrets to remove: all their parts of [`WINDOW`] bytes in lower case, sorted.
pub struct Secrets(Zeroizing<Vec<[u8; WINDOW]>>);

impl Secrets {
    /// Secrets that an endpoint may echo: header values and signing secrets. Of credentials for HTTP's Basic scheme, the
    /// user and the password are secrets too, and of a `whsec_` secret the key.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut parts = Zeroizing::new(Vec::new());
        let mut add = |secret: &[u8]| parts.extend(secret.windows(WINDOW).map(in_lower_case));
        for secret in secrets {
            add(secret.as_bytes());
            if let Some(decoded) = encoded_part(secret).and_then(|encoded| BASE64.decode(encoded).ok()) {
                add(&Zeroizing::new(decoded));
            }
        }
        parts.sort_unstable();
        parts.dedup();
        Self(parts)
    }

    /// The text without secrets, nor any part of [`WINDOW`] bytes of one, in any encoding.
    ///
    /// # Errors
    /// [`TooComplex`] when the text was not searched to its end, so that it must not be shown.
    pub fn redact(&self, text: &str) -> Result<String, TooComplex> {
        if self.0.is_empty() {
            return Ok(text.to_owned());
        }
        let mut redacted = String::with_capacity(text.len());
        let mut shown_until = 0;
        for secret in merged(self.find(text)?) {
            let (start, end) = (text.floor_char_boundary(secret.start), text.ceil_char_boundary(secret.end));
            // The blank between two words of a secret looks the same around each of them.
            let part = &text[start..end];
            let (start, end) = (end - part.trim_start().len(), start + part.trim_end().len());
            redacted.push_str(&text[shown_until..start]);
            redacted.push_str(REDACTED);
            shown_until = end;
        }
        redacted.push_str(&text[shown_until..]);
        Ok(redacted)
    }

    /// The parts of the text that stand for parts of secrets.
    fn find(&self, text: &str) -> Result<Vec<Range<usize>>, TooComplex> {
        let mut found = Vec::new();
        let mut searched = 0;
        let mut to_search = vec![(Decoded::not_at_all(text), MAX_LAYERS)];
        while let Some((decoded, layers)) = to_search.pop() {
            searched += decoded.bytes.len();
            if searched > MAX_SEARCHED {
                return Err(TooComplex);
            }
            for (at, part) in decoded.bytes.windows(WINDOW).enumerate() {
                if self.0.binary_search(&in_lower_case(part)).is_ok() {
                    found.push(decoded.origin(at..at + WINDOW));
                }
            }
            if layers > 0 {
                to_search.extend(decoded.decode().into_iter().map(|next| (next, layers - 1)));
            }
        }
        Ok(found)
    }
}

fn in_lower_case(part: &[u8]) -> [u8; WINDOW] {
    let mut lower: [u8; WINDOW] = part.try_into().expect("windows have this length");
    lower.make_ascii_lowercase();
    lower
}

/// The part of a secret that is base64.
fn encoded_part(secret: &str) -> Option<&str> {
    let basic = || secret.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    secret.strip_prefix("whsec_").or_else(|| basic().map(|(_, credentials)| credentials.trim_start()))
}

/// Ranges that overlap or touch, joined.
fn merged(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Text that was decoded, and for each byte the range of the original text that it stands for.
#[derive(Default)]
struct Decoded {
    bytes: Vec<u8>,
    origins: Vec<Range<usize>>,
}

/// How characters are escaped in a text.
#[derive(Clone, Copy)]
enum Escape {
    /// `\/`, `\"`, `\u002f`, and what programming languages add: `\x2f`, `\u{2f}`.
    Backslash,
    /// `&amp;`, `&#38;`, `&#x26;`.
    Entity,
    /// `%2f`.
    Percent,
    /// `%2f`, and `+` for a space, as forms are sent.
    Form,
}

impl Escape {
    const ALL: [Self; 4] = [Self::Backslash, Self::Entity, Self::Percent, Self::Form];

    /// Appends what is escaped at the beginning of a text, and returns the length of the escape, if there is one.
    fn decode(self, text: &[u8], decoded: &mut Vec<u8>) -> Option<usize> {
        match (self, text) {
            (Self::Backslash, [b'\\', rest @ ..]) => Some(1 + decode_backslash(rest, decoded)?),
            (Self::Entity, [b'&', rest @ ..]) => Some(1 + decode_entity(rest, decoded)?),
            (Self::Percent | Self::Form, [b'%', high, low, ..]) => {
                decoded.push(u8::try_from(number(&[*high, *low], 16)?).ok()?);
                Some(3)
            }
            (Self::Form, [b'+', ..]) => {
                decoded.push(b' ');
                Some(1)
            }
            _ => None,
        }
    }
}

/// `text` begins after the backslash. Returns how long the rest of the escape is.
fn decode_backslash(text: &[u8], decoded: &mut Vec<u8>) -> Option<usize> {
    match text {
        [b'u' | b'U', b'{', rest @ ..] => {
            let digits = rest.iter().position(|byte| *byte == b'}')?;
            push_char(number(rest.get(..digits)?, 16)?, decoded);
            Some(digits + 3)
        }
        [b'u' | b'U', rest @ ..] => {
            let unit = number(rest.get(..4)?, 16)?;
            let low =
                || number(rest.get(6..10)?, 16).filter(|_| rest[4] == b'\\' && rest[5].eq_ignore_ascii_case(&b'u'));
            match (unit, low()) {
                (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
                    push_char(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00), decoded);
                    Some(11)
                }
                _ => {
                    push_char(unit, decoded);
                    Some(5)
                }
            }
        }
        [b'x' | b'X', high, low, ..] => {
            push_char(number(&[*high, *low], 16)?, decoded);
            Some(3)
        }
        [b't' | b'n' | b'r', ..] => {
            decoded.push(b' ');
            Some(1)
        }
        [escaped, ..] => {
            decoded.push(*escaped);
            Some(1)
        }
        [] => None,
    }
}

/// HTML's names for the punctuation of ASCII, in lower case.
const ENTITIES: [(&str, char); 42] = [
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("nbsp", ' '),
    ("tab", ' '),
    ("newline", ' '),
    ("excl", '!'),
    ("num", '#'),
    ("dollar", '$'),
    ("percnt", '%'),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("midast", '*'),
    ("plus", '+'),
    ("comma", ','),
    ("period", '.'),
    ("sol", '/'),
    ("colon", ':'),
    ("semi", ';'),
    ("equals", '='),
    ("quest", '?'),
    ("commat", '@'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("bsol", '\\'),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("hat", '^'),
    ("lowbar", '_'),
    ("underbar", '_'),
    ("grave", '`'),
    ("diacriticalgrave", '`'),
    ("lcub", '{'),
    ("lbrace", '{'),
    ("verbar", '|'),
    ("vert", '|'),
    ("verticalline", '|'),
    ("rcub", '}'),
    ("rbrace", '}'),
];

/// `text` begins after the ampersand. Returns how long the rest of the entity is.
fn decode_entity(text: &[u8], decoded: &mut Vec<u8>) -> Option<usize> {
    let (prefix, radix) = match text {
        [b'#', b'x' | b'X', ..] => (2, 16),
        [b'#', ..] => (1, 10),
        _ => return decode_named_entity(text, decoded),
    };
    let digits = text[prefix..].iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
    push_char(number(&text[prefix..prefix + digits], radix)?, decoded);
    let semicolon = usize::from(text.get(prefix + digits) == Some(&b';'));
    Some(prefix + digits + semicolon)
}

fn decode_named_entity(text: &[u8], decoded: &mut Vec<u8>) -> Option<usize> {
    let length = text.iter().take(20).position(|byte| *byte == b';')?;
    let name = &text[..length];
    let (_, char) = ENTITIES.iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))?;
    push_char(u32::from(*char), decoded);
    Some(length + 1)
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?, radix).ok()
}

/// Appends a character in UTF-8. What is no character is dropped, as a browser may do.
fn push_char(code: u32, decoded: &mut Vec<u8>) {
    if let Some(char) = char::from_u32(code) {
        decoded.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// The six bits that a letter stands for in base64 or its variant for URLs.
fn base64_bits(letter: u8) -> Option<u32> {
    Some(u32::from(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    }))
}

fn hex_bits(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

impl Decoded {
    fn not_at_all(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), origins: (0..text.len()).map(|at| at..at + 1).collect() }
    }

    /// The part of the original text that these bytes stand for.
    fn origin(&self, bytes: Range<usize>) -> Range<usize> {
        self.origins[bytes.start].start..self.origins[bytes.end - 1].end
    }

    /// Everything that one more decoding makes of it.
    fn decode(&self) -> Vec<Self> {
        let mut all: Vec<_> = Escape::ALL.into_iter().filter_map(|escape| self.unescape(escape)).collect();
        for run in self.runs(|byte| base64_bits(byte).is_some(), MIN_BASE64_LETTERS) {
            // A group of four letters may begin anywhere in it: other text may precede it immediately.
            all.extend((0..4).map(|skipped| self.regroup(run.start + skipped..run.end, 6, base64_bits)));
        }
        for run in self.runs(|byte| hex_bits(byte).is_some(), MIN_HEX_DIGITS) {
            all.extend((0..2).map(|skipped| self.regroup(run.start + skipped..run.end, 4, hex_bits)));
        }
        all
    }

    /// `None` if nothing is escaped in this way.
    fn unescape(&self, escape: Escape) -> Option<Self> {
        let mut unescaped = Self::default();
        let mut at = 0;
        while at < self.bytes.len() {
            let length = escape.decode(&self.bytes[at..], &mut unescaped.bytes).unwrap_or_else(|| {
                unescaped.bytes.push(self.bytes[at]);
                1
            });
            let origin = self.origin(at..at + length);
            unescaped.origins.resize(unescaped.bytes.len(), origin);
            at += length;
        }
        (unescaped.bytes != self.bytes).then_some(unescaped)
    }

    /// The longest successions of such bytes, of at least this length.
    fn runs(&self, belongs: impl Fn(u8) -> bool, min: usize) -> Vec<Range<usize>> {
        let mut runs = Vec::new();
        let mut start = 0;
        for at in 0..=self.bytes.len() {
            if self.bytes.get(at).is_none_or(|byte| !belongs(*byte)) {
                if at - start >= min {
                    runs.push(start..at);
                }
                start = at + 1;
            }
        }
        runs
    }

    /// Joins the bits that letters stand for, `width` each, to bytes.
    fn regroup(&self, letters: Range<usize>, width: u32, bits: impl Fn(u8) -> Option<u32>) -> Self {
        let mut decoded = Self::default();
        let (mut joined, mut count, mut first) = (0_u32, 0, letters.start);
        for at in letters {
            joined = (joined << width) | bits(self.bytes[at]).unwrap_or_default();
            count += width;
            if count >= 8 {
                count -= 8;
                decoded.bytes.push((joined >> count) as u8);
                decoded.origins.push(self.origin(first..at + 1));
                joined &= (1 << count) - 1;
                // The next byte begins in this letter if bits of it are left.
                first = if count > 0 { at } else { at + 1 };
            }
        }
        decoded
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;

    use super::*;

    const SECRET: &str = r#"p+s/s="w&rd<1> %41"#;

    #[track_caller]
    fn check(secrets: &[&str], text: &str, expected: &str) {
        assert_eq!(Secrets::new(secrets.iter().copied()).redact(text).as_deref(), Ok(expected), "{text}");
    }

    #[test]
    fn every_spelling_of_a_secret_is_removed() {
        for spelling in [
            SECRET,
            r#"P+S/S="W&RD<1> %41"#,
            r#"p+s\/s=\"w&rd<1> %41"#,
            r#"p+s/s=\u0022w\u0026rd\u003c1\u003e %41"#,
            r#"p+s\x2fs=\x22w&rd\u{3c}1> %41"#,
            r#"p+s/s=\\\"w&rd<1> %41"#,
            "p+s/s=&quot;w&amp;rd&lt;1&gt; %41",
            "p&plus;s&#47;s&#x3D;&QUOT;w&#38rd&lt;1&gt; &percnt;41",
            "p%2Bs%2Fs%3D%22w%26rd%3C1%3E%20%2541",
            "p%2bs%2fs%3d%22w%26rd%3c1%3e+%2541",
            "p%252Bs%252Fs%253D%2522w%2526rd%253C1%253E%2520%252541",
            &BASE64.encode(SECRET),
            &URL_SAFE_NO_PAD.encode(SECRET),
            &hex::encode(SECRET),
            &hex::encode_upper(SECRET),
        ] {
            check(&[SECRET], &format!("<{spelling}>"), "<[redacted]>");
        }
    }

    #[test]
    fn base64_is_decoded_wherever_it_begins() {
        for before in ["", "1", "12", "123"] {
            let text = BASE64.encode(format!("{before}{SECRET}"));
            let redacted = Secrets::new([SECRET]).redact(&text).unwrap();
            let rest = redacted.trim_end_matches('=').strip_suffix(REDACTED).map(str::len);
            assert!(rest.is_some_and(|letters| letters <= 4), "{redacted}");
        }
        let json = r#"{"a": "p+s\/s=\"w&rd<1> %41"}"#;
        let text = format!("%22{}%22", BASE64.encode(json).replace('=', "%3D"));
        check(&[SECRET], &text, "%22eyJhIjogI[redacted]In0%3D%22");
    }

    #[test]
    fn parts_of_eight_bytes_are_removed_and_shorter_ones_stay() {
        check(&["Bearer 0123456789"], "no such token: 23456789.", "no such token: [redacted].");
        check(&["Bearer 0123456789"], "no such token: 3456789.", "no such token: 3456789.");
        check(&["1234567"], "1234567", "1234567");
        check(&[], "anything", "anything");
    }

    #[test]
    fn credentials_and_keys_are_secrets_by_themselves() {
        let header = format!("basic  {}", BASE64.encode("fleet-user:hunter2-hunter2"));
        check(
            &[&header],
            "the user fleet-user has another password than hunter2-hunter2",
            "the user [redacted] has another password than [redacted]",
        );
        check(&["whsec_AAECAwQFBgcICQoLDA0ODw"], "key 000102030405060708090a0b0c0d0e0f", "key [redacted]");
    }

    #[test]
    fn text_around_a_secret_stays() {
        check(&["0123456789"], "Größe 0123456789€ Größe", "Größe [redacted]€ Größe");
        check(&["0123456789"], "0123456789 0123456789,89", "[redacted] [redacted],89");
        check(&["0123456789", "456789abc"], "0123456789abc", "[redacted]");
    }

    #[test]
    fn a_text_that_is_made_to_take_long_is_not_shown() {
        let complex = r"%2541\u0025&amp;aaaaaaaaaaa+".repeat(74);
        assert_eq!(Secrets::new([SECRET]).redact(&complex), Err(TooComplex));
        assert_eq!(Secrets::new([SECRET]).redact(&"plain text ".repeat(186)), Ok("plain text ".repeat(186)));
    }
}
