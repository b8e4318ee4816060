//! Searches texts that others may see for secrets, in every form in which one may have got there: as it is, in base64
//! at any alignment, in hexadecimal, escaped for a URL, JSON or HTML. Of credentials for HTTP's Basic scheme, user and
//! password are secrets by themselves.
//!
//! What others may see of a stack is collected by [`Stack::visible_texts`](crate::stack::Stack::visible_texts).

use std::fmt;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use serde_json::Value;

/// The shortest secret that can be searched for: shorter ones would be found by chance.
const MIN_LENGTH: usize = 6;

/// A text that others than the customer may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VisibleText {
    /// Where it is seen.
    pub place: String,
    pub text: String,
}

impl VisibleText {
    pub fn new(place: impl Into<String>, text: impl Into<String>) -> Self {
        Self { place: place.into(), text: text.into() }
    }
}

/// A secret in a text that others may see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    pub secret: String,
    pub form: Form,
    pub found_in: VisibleText,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret, form, found_in: VisibleText { place, text } } = self;
        write!(f, "{secret:?}, {form}, in {place}: {text:?}")
    }
}

/// How a secret is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Plain,
    Base64,
    Hexadecimal,
    UrlEncoded,
    JsonEscaped,
    HtmlEscaped,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "as it is",
            Self::Base64 => "in base64",
            Self::Hexadecimal => "in hexadecimal",
            Self::UrlEncoded => "escaped for a URL",
            Self::JsonEscaped => "escaped for JSON",
            Self::HtmlEscaped => "escaped for HTML",
        })
    }
}

/// The secrets to search for, in every form.
#[derive(Clone, Debug, Default)]
pub struct Secrets(Vec<Needle>);

#[derive(Clone, Debug)]
struct Needle {
    secret: String,
    form: Form,
    text: String,
    case: Case,
}

/// Whether upper and lower case are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Sensitive,
    Insensitive,
}

impl Secrets {
    /// Secrets of six bytes or more.
    ///
    /// # Panics
    /// When one is shorter.
    pub fn new<T: AsRef<str>>(secrets: impl IntoIterator<Item = T>) -> Self {
        Self(secrets.into_iter().flat_map(|secret| needles(secret.as_ref())).collect())
    }

    /// The texts in which a secret was found, with the first one found in each.
    pub fn find_in(&self, texts: impl IntoIterator<Item = VisibleText>) -> Vec<Leak> {
        texts.into_iter().filter_map(|text| self.find_in_text(text)).collect()
    }

    fn find_in_text(&self, text: VisibleText) -> Option<Leak> {
        let lower = text.text.to_lowercase();
        let is_there = |needle: &&Needle| match needle.case {
            Case::Sensitive => text.text.contains(&needle.text),
            Case::Insensitive => lower.contains(&needle.text),
        };
        let Needle { secret, form, .. } = self.0.iter().find(is_there)?;
        Some(Leak { secret: secret.clone(), form: *form, found_in: text })
    }
}

fn needles(secret: &str) -> Vec<Needle> {
    let spelled = [secret.to_owned()].into_iter().chain(basic_credentials(secret));
    let needles = spelled.flat_map(|text| {
        spellings(&text).into_iter().map(|(form, spelled)| {
            let case = if form == Form::Base64 { Case::Sensitive } else { Case::Insensitive };
            let text = if case == Case::Insensitive { spelled.to_lowercase() } else { spelled };
            Needle { secret: secret.to_owned(), form, text, case }
        })
    });
    needles.collect()
}

/// The user, the password and both together, if the secret is a header value of HTTP's Basic scheme.
fn basic_credentials(secret: &str) -> Vec<String> {
    let encoded = secret.strip_prefix("Basic ").unwrap_or_default();
    let decoded = BASE64_STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let credentials = decoded.unwrap_or_default();
    let halves = credentials.split_once(':').map(|(user, password)| [user, password].map(str::to_owned));
    let mut all: Vec<_> = halves.into_iter().flatten().chain([credentials]).collect();
    all.retain(|text| text.len() >= MIN_LENGTH);
    all
}

/// A secret in every form that is searched for.
///
/// # Panics
/// When it is shorter than six bytes.
pub fn spellings(secret: &str) -> Vec<(Form, String)> {
    assert!(secret.len() >= MIN_LENGTH, "too short, it would be found by chance: {secret:?}");
    let each = |spell: &dyn Fn(char) -> String| secret.chars().map(spell).collect::<String>();
    let escaped_for_json = Value::from(secret).to_string();
    let escaped_for_json = &escaped_for_json[1..escaped_for_json.len() - 1];
    let number_unless_alphanumeric =
        |char: char| if char.is_alphanumeric() { char.to_string() } else { format!("&#{};", u32::from(char)) };
    let named = |char| match char {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        other => other.to_string(),
    };
    let mut spellings = vec![
        (Form::Plain, secret.to_owned()),
        (Form::Hexadecimal, secret.bytes().map(|byte| format!("{byte:02x}")).collect()),
        (Form::UrlEncoded, secret.bytes().map(|byte| format!("%{byte:02x}")).collect()),
        (Form::UrlEncoded, url_encode(secret)),
        (Form::UrlEncoded, url_encode(secret).replace("%20", "+")),
        (Form::JsonEscaped, escaped_for_json.to_owned()),
        (Form::JsonEscaped, escaped_for_json.replace('/', "\\/")),
        (Form::JsonEscaped, each(&|char| format!("\\u{:04x}", u32::from(char)))),
        (Form::HtmlEscaped, each(&named)),
        (Form::HtmlEscaped, each(&number_unless_alphanumeric)),
    ];
    for alignment in 0..3 {
        spellings.push((Form::Base64, base64_at(&BASE64_STANDARD, secret, alignment)));
        spellings.push((Form::Base64, base64_at(&BASE64_URL_SAFE, secret, alignment)));
    }
    spellings
}

/// The part of a longer text's base64 that a secret within it determines alone. `alignment` is how many bytes of a
/// group of three come before the secret.
fn base64_at(alphabet: &impl Engine, secret: &str, alignment: usize) -> String {
    let bytes = [&[0; 2][..alignment], secret.as_bytes()].concat();
    let letters = alphabet.encode(&bytes);
    letters[(alignment * 8).div_ceil(6)..bytes.len() * 8 / 6].to_owned()
}

/// Percent-encoded as RFC 3986 says, with the unreserved characters as they are.
fn url_encode(secret: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02x}"),
    };
    secret.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Bearer \"canary/\" 1";

    #[track_caller]
    fn check(text: impl Into<String>, expected: Option<Form>) {
        let leaks = Secrets::new([SECRET]).find_in([VisibleText::new("a log", text)]);
        assert_eq!(leaks.first().map(|leak| leak.form), expected);
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        check(format!("said {SECRET}."), Some(Form::Plain));
        check("BEARER \"CANARY/\" 1", Some(Form::Plain));
        check("426561726572202263616e6172792f2220310a", Some(Form::Hexadecimal));
        check("426561726572202263616E6172792F222031", Some(Form::Hexadecimal));
        check("?q=Bearer%20%22canary%2F%22%201&", Some(Form::UrlEncoded));
        check("q=Bearer+%22canary%2f%22+1", Some(Form::UrlEncoded));
        let all: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
        check(all, Some(Form::UrlEncoded));
        check(serde_json::json!({ "said": SECRET }).to_string(), Some(Form::JsonEscaped));
        check(r#"{"said":"Bearer \"canary\/\" 1"}"#, Some(Form::JsonEscaped));
        let all: String = SECRET.chars().map(|char| format!("\\u{:04X}", u32::from(char))).collect();
        check(all, Some(Form::JsonEscaped));
        check("Bearer &quot;canary/&quot; 1", Some(Form::HtmlEscaped));
        check("Bearer&#32;&#34;canary&#47;&#34;&#32;1", Some(Form::HtmlEscaped));
        check("nothing of that kind", None);
        check("Bearer \"canary/\" 2", None);
    }

    #[test]
    fn user_and_password_are_secrets_by_themselves() {
        let header = format!("Basic {}", BASE64_STANDARD.encode("robot-7:canary"));
        for text in ["no user ROBOT-7", "the password is canary", "robot-7:canary", &header] {
            assert_eq!(Secrets::new([&header]).find_in([VisibleText::new("a log", text)]).len(), 1, "{text}");
        }
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
            assert_eq!(secrets.find_in([VisibleText::new("a log", text)]).len(), 1);
        }
    }

    #[test]
    #[should_panic(expected = "too short")]
    fn a_secret_that_would_be_found_by_chance_is_refused() {
        Secrets::new(["short"]);
    }
}
