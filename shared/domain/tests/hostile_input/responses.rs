//! Endpoints' responses: the header `Retry-After`, and bodies that excerpts are made of.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use domain::attempt::excerpt::{Extent, MAX_BODY_BYTES, MAX_EXCERPT_BYTES};
use domain::attempt::retry_after;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;

use crate::oracles;

fn times() -> impl Strategy<Value = Timestamp> {
    (0_i64..253_402_300_799).prop_map(|second| Timestamp::from_second(second).expect("within the range"))
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn seconds(seconds in any::<u64>(), now in times()) {
        let expected = Duration::from_secs(seconds.min(1 << 31));
        prop_assert_eq!(retry_after::parse(&format!(" {seconds:03}\t"), now), Some(expected));
    }

    #[test]
    fn dates(date in times(), now in times()) {
        let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(date.as_second().unsigned_abs()));
        let expected = u64::try_from(date.as_second() - now.as_second()).unwrap_or(0);
        prop_assert_eq!(retry_after::parse(&text, now), Some(Duration::from_secs(expected)));
        oracles::retry_after(&text, now);
    }

    #[test]
    fn nearly_valid_times(
        date in times(),
        now in times(),
        at in any::<prop::sample::Index>(),
        by in "[0-9A-Za-z :,+-]{0,3}|\\PC",
    ) {
        let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(date.as_second().unsigned_abs()));
        let at = at.index(text.len());
        oracles::retry_after(&format!("{}{by}{}", &text[..at], &text[at + 1..]), now);
        oracles::retry_after(&by, now);
    }

    #[test]
    fn arbitrary_values(text in any::<String>(), now in times()) {
        oracles::retry_after(&text, now);
    }
}

/// Secrets as header values contain them.
fn secrets() -> impl Strategy<Value = String> {
    prop_oneof!["[!-~]{8,40}", "Bearer [!-~]{8,40}", "[!-~]{1,12}( {1,2}[!-~]{1,12}){1,3}"]
}

/// Text before and after a secret that an endpoint echoes.
fn fillers() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[ -~]{1,30}",
        "\\PC{1,30}",
        select(vec!["\u{200b}", "\u{202e}", "\r\n", "\0", "\u{1b}[31m", "  ", "\u{fffd}", "\u{ad}"])
            .prop_map(str::to_owned),
        (1_usize..1100).prop_map(|length| "a".repeat(length)),
        (3000_usize..4100).prop_map(|length| " ".repeat(length)),
    ]
}

/// How an endpoint escapes the characters of what it echoes.
#[derive(Clone, Copy, Debug)]
enum Escape {
    Json,
    /// As PHP writes it by default.
    JsonWithSlashes,
    JsonEveryCharacter,
    Html,
    HtmlDecimal,
    HtmlHexadecimal,
    Url,
    UrlEveryByte,
    Form,
}

const ESCAPES: [Escape; 9] = [
    Escape::Json,
    Escape::JsonWithSlashes,
    Escape::JsonEveryCharacter,
    Escape::Html,
    Escape::HtmlDecimal,
    Escape::HtmlHexadecimal,
    Escape::Url,
    Escape::UrlEveryByte,
    Escape::Form,
];

impl Escape {
    /// Writes text of ASCII.
    fn write(self, text: &str) -> String {
        let each = |write: &dyn Fn(char) -> String| text.chars().map(write).collect::<String>();
        let unless_alphanumeric = |char: char, escaped: String| {
            if char.is_ascii_alphanumeric() { char.to_string() } else { escaped }
        };
        match self {
            Self::Json => text.replace('\\', "\\\\").replace('"', "\\\""),
            Self::JsonWithSlashes => Self::Json.write(text).replace('/', "\\/"),
            Self::JsonEveryCharacter => each(&|char| format!("\\u{:04x}", u32::from(char))),
            Self::Html => each(&|char| match char {
                '&' => "&amp;".to_owned(),
                '<' => "&lt;".to_owned(),
                '>' => "&gt;".to_owned(),
                '"' => "&quot;".to_owned(),
                '\'' => "&#039;".to_owned(),
                other => other.to_string(),
            }),
            Self::HtmlDecimal => each(&|char| unless_alphanumeric(char, format!("&#{};", u32::from(char)))),
            Self::HtmlHexadecimal => each(&|char| format!("&#x{:X};", u32::from(char))),
            Self::Url => each(&|char| unless_alphanumeric(char, format!("%{:02x}", u32::from(char)))),
            Self::UrlEveryByte => each(&|char| format!("%{:02X}", u32::from(char))),
            Self::Form => form_urlencoded::byte_serialize(text.as_bytes()).collect(),
        }
    }
}

/// How an endpoint encodes what it echoes as a whole.
#[derive(Clone, Copy, Debug)]
enum Encoding {
    Base64,
    Base64Url,
    Hex,
}

impl Encoding {
    fn write(self, text: &str) -> String {
        match self {
            Self::Base64 => BASE64_STANDARD.encode(text),
            Self::Base64Url => BASE64_URL_SAFE_NO_PAD.encode(text),
            Self::Hex => hex::encode(text),
        }
    }

    /// The letters that a part of a longer text determines alone, after `alignment` bytes of a group of three.
    fn write_part(self, text: &str, alignment: usize) -> String {
        if matches!(self, Self::Hex) {
            return self.write(text);
        }
        let letters = self.write(&format!("{}{text}", &"..."[..alignment]));
        letters[(alignment * 8).div_ceil(6)..(alignment + text.len()) * 8 / 6].to_owned()
    }
}

fn extents() -> impl Strategy<Value = Extent> {
    select(vec![Extent::Whole, Extent::Cut])
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn an_echoed_secret_is_redacted(
        secret in secrets(),
        before in fillers(),
        after in fillers(),
        extent in extents(),
    ) {
        let body = format!("{before}{secret}{after}");
        oracles::excerpt(body.as_bytes(), extent, &[&secret]);
    }

    /// Removing invisible characters joins the parts of a secret that they had split.
    #[test]
    fn a_secret_with_an_invisible_character_in_it_is_redacted(
        secret in "[!-~]{8,40}",
        at in 1_usize..8,
        invisible in select(vec!["\u{200b}", "\u{202e}", "\u{ad}", "\u{feff}"]),
        before in fillers(),
    ) {
        let body = format!("{before}{}{invisible}{}", &secret[..at], &secret[at..]);
        oracles::excerpt(body.as_bytes(), Extent::Whole, &[&secret]);
    }

    /// No eight characters of it are left, in whichever spelling.
    #[test]
    fn a_secret_is_redacted_however_it_is_spelled(
        secret in "[!-~]{8,24}",
        inner in proptest::option::of(select(ESCAPES.to_vec())),
        encoding in select(vec![None, Some(Encoding::Base64), Some(Encoding::Base64Url), Some(Encoding::Hex)]),
        outer in proptest::option::of(select(ESCAPES.to_vec())),
        case in select(vec![str::to_owned as fn(&str) -> String, str::to_uppercase, str::to_lowercase]),
        around in ("[a-z ]{0,4}", "[a-z ]{0,4}"),
    ) {
        let spell = |text: &str, encode: &dyn Fn(&str) -> String| {
            let inner = inner.iter().fold(case(text), |text, escape| escape.write(&text));
            let encoded = encode(&inner);
            outer.map_or(encoded.clone(), |outer: Escape| outer.write(&encoded))
        };
        let whole = spell(&format!("{}{secret}{}", around.0, around.1), &|text| match encoding {
            None => text.to_owned(),
            Some(encoding) => encoding.write(text),
        });
        let excerpt = domain::attempt::excerpt::excerpt(whole.as_bytes(), Extent::Whole, [secret.as_str()]);
        let excerpt = excerpt.unwrap_or_default();
        prop_assert!(excerpt.contains("[redacted]") || whole.len() > MAX_EXCERPT_BYTES, "{} {}", whole, excerpt);
        for at in 0..=secret.len() - 8 {
            for alignment in 0..3 {
                let part = spell(&secret[at..at + 8], &|text| match encoding {
                    None => text.to_owned(),
                    Some(encoding) => encoding.write_part(text, alignment),
                });
                prop_assert!(!excerpt.contains(&part), "{} is in {}", part, excerpt);
            }
        }
    }

    /// The part of the body that is read may end in the middle of a secret.
    #[test]
    fn the_beginning_of_a_secret_is_dropped(secret in "[!-~]{16,40}", read in 8_usize..16, blanks in 0_usize..2) {
        let blanks = " ".repeat(blanks * (MAX_BODY_BYTES - read));
        let body = format!("{blanks}{}", &secret[..read]);
        let excerpt = domain::attempt::excerpt::excerpt(body.as_bytes(), Extent::Cut, [secret.as_str()]).unwrap_or_default();
        prop_assert!(!excerpt.contains(&secret[..8]), "{}", excerpt);
    }

    #[test]
    fn arbitrary_bodies(
        body in proptest::collection::vec(any::<u8>(), 0..300),
        times in select(vec![1, 1, 1, 20]),
        extent in extents(),
        secret in secrets(),
    ) {
        oracles::excerpt(&body.repeat(times), extent, &[&secret]);
    }

    #[test]
    fn arbitrary_texts(body in "\\PC{0,400}|[\u{0}-\u{ff}]{0,400}", extent in extents(), secret in secrets()) {
        oracles::excerpt(body.as_bytes(), extent, &[&secret]);
    }
}
