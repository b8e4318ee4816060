//! Searches what anybody may see for what must never be shown, in whatever form it may have got there: as it is, in
//! base64 at any alignment, in hexadecimal, escaped for a URL or for JSON.
//!
//! What is shown is the same for every run: see [`Stack::shown`](crate::stack::Stack::shown).

use std::fmt;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use serde_json::Value;

/// Shorter ones would be found everywhere by chance.
const SHORTEST: usize = 6;

/// Something that anybody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Where it is seen.
    pub place: String,
    pub text: String,
}

impl Shown {
    pub fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }
}

/// A secret in something that anybody may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    pub secret: String,
    pub form: Form,
    pub shown: Shown,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret, form, shown: Shown { place, text } } = self;
        write!(f, "{secret:?}, {form}, in {place}: {text:?}")
    }
}

/// How a secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Plain,
    Base64,
    Hexadecimal,
    ForUrl,
    InJson,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "as it is",
            Self::Base64 => "in base64",
            Self::Hexadecimal => "in hexadecimal",
            Self::ForUrl => "escaped for a URL",
            Self::InJson => "escaped for JSON",
        })
    }
}

/// What must never be shown, in every form.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<Needle>);

#[derive(Clone, Debug)]
struct Needle {
    secret: String,
    form: Form,
    text: String,
    case: Case,
}

/// Whether letters must be of the same case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Same,
    Any,
}

impl Secrets {
    /// Secrets of six bytes or more.
    ///
    /// # Panics
    /// When one is shorter, which would be found by chance.
    pub fn new<T: AsRef<str>>(secrets: impl IntoIterator<Item = T>) -> Self {
        Self(secrets.into_iter().flat_map(|secret| needles(secret.as_ref())).collect())
    }

    /// Every secret that is seen somewhere, once for each place.
    pub fn leaks(&self, shown: impl IntoIterator<Item = Shown>) -> Vec<Leak> {
        shown.into_iter().filter_map(|shown| self.leak(shown)).collect()
    }

    fn leak(&self, shown: Shown) -> Option<Leak> {
        let lower = shown.text.to_lowercase();
        let is_there = |needle: &&Needle| match needle.case {
            Case::Same => shown.text.contains(&needle.text),
            Case::Any => lower.contains(&needle.text),
        };
        let Needle { secret, form, .. } = self.0.iter().find(is_there)?;
        Some(Leak { secret: secret.clone(), form: *form, shown })
    }
}

fn needles(secret: &str) -> Vec<Needle> {
    assert!(secret.len() >= SHORTEST, "too short to be told from chance: {secret:?}");
    let needle = |form, case, text: String| {
        let text = if case == Case::Any { text.to_lowercase() } else { text };
        Needle { secret: secret.to_owned(), form, text, case }
    };
    let escaped_whole: String = secret.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut needles = vec![
        needle(Form::Plain, Case::Any, secret.to_owned()),
        needle(Form::Hexadecimal, Case::Any, hexadecimal),
        needle(Form::ForUrl, Case::Any, escaped_whole),
        needle(Form::ForUrl, Case::Any, escaped_for_url(secret)),
        needle(Form::InJson, Case::Any, Value::from(secret).to_string().trim_matches('"').to_owned()),
    ];
    for alignment in 0..3 {
        needles.push(needle(Form::Base64, Case::Same, in_base64(&BASE64_STANDARD, secret, alignment)));
        needles.push(needle(Form::Base64, Case::Same, in_base64(&BASE64_URL_SAFE, secret, alignment)));
    }
    needles
}

/// What stands for a secret in the base64 of something that it is in the middle of: those letters that depend on nothing
/// else, where so many bytes of a group of three come before it.
fn in_base64(alphabet: &impl Engine, secret: &str, alignment: usize) -> String {
    let bytes = [&[0; 2][..alignment], secret.as_bytes()].concat();
    let letters = alphabet.encode(&bytes);
    letters[(alignment * 8).div_ceil(6)..bytes.len() * 8 / 6].to_owned()
}

/// As RFC 3986 has it, which leaves alone what need not be escaped.
fn escaped_for_url(secret: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    secret.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Bearer \"canary\" 1";

    #[track_caller]
    fn check(text: impl Into<String>, expected: Option<Form>) {
        let leaks = Secrets::new([SECRET]).leaks([Shown::new("a log", text)]);
        assert_eq!(leaks.first().map(|leak| leak.form), expected);
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        check(format!("said {SECRET}."), Some(Form::Plain));
        check("BEARER \"CANARY\" 1", Some(Form::Plain));
        check("426561726572202263616e6172792220310a", Some(Form::Hexadecimal));
        check("426561726572202263616E617279222031", Some(Form::Hexadecimal));
        check("?q=Bearer%20%22canary%22%201&", Some(Form::ForUrl));
        let all: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
        check(all, Some(Form::ForUrl));
        check(serde_json::json!({ "said": SECRET }).to_string(), Some(Form::InJson));
        check("nothing of that kind", None);
        check("Bearer \"canary\" 2", None);
    }

    #[test]
    fn base64_hides_nothing_wherever_it_begins() {
        for before in ["", "1", "12", "123", "1234"] {
            for after in ["", "!", "!!"] {
                let text = format!("{before}{SECRET}{after}");
                check(BASE64_STANDARD.encode(&text), Some(Form::Base64));
                check(BASE64_URL_SAFE.encode(&text), Some(Form::Base64));
            }
        }
    }

    #[test]
    fn bytes_whose_two_alphabets_differ_are_found_in_both() {
        let secrets = Secrets::new(["??>>??>>"]);
        for alphabet in [&BASE64_STANDARD, &BASE64_URL_SAFE] {
            let text = alphabet.encode("12??>>??>>3");
            assert_eq!(secrets.leaks([Shown::new("a log", text)]).len(), 1);
        }
    }

    #[test]
    #[should_panic(expected = "too short")]
    fn what_would_be_found_by_chance_is_not_searched_for() {
        Secrets::new(["short"]);
    }
}
