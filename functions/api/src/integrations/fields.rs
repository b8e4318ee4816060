//! The rules on an integration's fields, and what is said when one is broken.

use std::collections::HashSet;

use domain::alert::event::{EventType, MAX_SEVERITY_BYTES};
use domain::alert::filter::Filter;
use domain::endpoint::headers::{CustomerHeaders, InvalidHeader};
use domain::endpoint::url::{EndpointUrl, InvalidUrl};
use domain::json::InvalidField;
use domain::request::signature::SigningSecret;
use http::HeaderName;

/// The longest name of an integration, in characters.
pub const MAX_NAME_CHARS: usize = 100;

/// The most severities in a filter.
pub const MAX_SEVERITIES: usize = 20;

/// The most projects in a filter.
pub const MAX_PROJECTS: usize = 100;

/// Collects what is wrong with the input, so that all of it is told at once.
#[derive(Debug, Default)]
pub struct Errors(Vec<InvalidField>);

impl Errors {
    /// The value, or its default with the error noted.
    pub fn note<T: Default>(&mut self, checked: Result<T, InvalidField>) -> T {
        checked.unwrap_or_else(|error| {
            self.0.push(error);
            T::default()
        })
    }

    pub fn push(&mut self, error: InvalidField) {
        self.0.push(error);
    }

    /// # Errors
    /// All that was noted, if anything was.
    pub fn none(self) -> Result<(), Vec<InvalidField>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

/// A name: without blanks around it, not empty, on one line.
///
/// # Errors
/// What is wrong with it.
pub fn name(text: &str) -> Result<String, InvalidField> {
    let name = text.trim();
    let refused = |message: String| Err(InvalidField::new("name", message));
    if name.is_empty() {
        return refused("The name is missing: say what this webhook is for.".to_owned());
    }
    if name.chars().count() > MAX_NAME_CHARS {
        return refused(format!("The name is longer than {MAX_NAME_CHARS} characters: use a shorter one."));
    }
    if name.chars().any(char::is_control) {
        return refused("The name contains a line break or another control character: remove it.".to_owned());
    }
    Ok(name.to_owned())
}

/// Whether an integration gets alerts unless told otherwise.
pub const ENABLED_BY_DEFAULT: bool = true;

/// A URL, as it was written.
///
/// # Errors
/// What is wrong with it.
pub fn url(text: &str, read_url: impl Fn(&str) -> Result<EndpointUrl, InvalidUrl>) -> Result<String, InvalidField> {
    if text.is_empty() {
        let message = "The webhook URL is missing: it should look like https://example.com/webhook.";
        return Err(InvalidField::new("url", message));
    }
    read_url(text).map(|_| text.to_owned()).map_err(url_error)
}

/// What is wrong with a URL.
pub fn url_error(refused: InvalidUrl) -> InvalidField {
    InvalidField::new("url", refused.message())
}

/// A signing secret that is to be set.
///
/// # Errors
/// What is wrong with it.
pub fn signing_secret(text: &str) -> Result<SigningSecret, InvalidField> {
    SigningSecret::parse_new(text).map_err(|refused| InvalidField::new("signing_secret", refused.to_string()))
}

/// The custom headers, as pairs of name and value.
///
/// # Errors
/// What is wrong with them, under the name of the header at fault as it was written.
pub fn headers(pairs: &[(&str, &str)]) -> Result<CustomerHeaders, InvalidField> {
    CustomerHeaders::parse(pairs.iter().copied()).map_err(|refused| {
        let called = |name: &HeaderName| {
            let mut written = pairs.iter().rev().map(|(written, _)| *written);
            written.find(|written| written.eq_ignore_ascii_case(name.as_str()))
        };
        let at_fault = match &refused {
            InvalidHeader::Name { position } => pairs.get(position - 1).map(|(written, _)| *written),
            InvalidHeader::Value { name }
            | InvalidHeader::Duplicate { name }
            | InvalidHeader::Forbidden { name, .. } => called(name),
            InvalidHeader::TooMany | InvalidHeader::TooLarge => None,
        };
        header_error(at_fault, &refused)
    })
}

/// Looks that no header is named twice, whatever is said of it. Names do not differ by case.
///
/// # Errors
/// The second naming.
pub fn each_header_once<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), InvalidField> {
    let mut named = HashSet::new();
    for written in names {
        // What is no name is for others to refuse.
        let Ok(name) = HeaderName::from_bytes(written.as_bytes()) else { continue };
        if !named.insert(name.clone()) {
            return Err(header_error(Some(written), &InvalidHeader::Duplicate { name }));
        }
    }
    Ok(())
}

/// A header's stored value that would go to another place than it was given for.
pub fn belongs_to_other_origin(name: &str, place: &EndpointUrl) -> InvalidField {
    InvalidField::new(
        format!("headers.{name}"),
        format!(
            "The value of the custom header {name} was stored for another scheme, host or port: write it again for \
             {place}, or remove the header."
        ),
    )
}

fn header_error(written: Option<&str>, refused: &InvalidHeader) -> InvalidField {
    let field = written.map_or("headers".to_owned(), |written| format!("headers.{written}"));
    InvalidField::new(field, refused.message())
}

/// A filter, each value in it once.
pub fn filter(
    event_types: Vec<EventType>,
    severities: Vec<String>,
    project_ids: Vec<u64>,
    errors: &mut Errors,
) -> Filter {
    let severity_fits = |severity: &String| (1..=MAX_SEVERITY_BYTES).contains(&severity.len());
    if severities.len() > MAX_SEVERITIES {
        errors.push(InvalidField::new(
            "severities",
            format!("There are more than {MAX_SEVERITIES} severities: remove some."),
        ));
    } else if !severities.iter().all(severity_fits) {
        let sentence = format!("Each severity must have 1 to {MAX_SEVERITY_BYTES} bytes, such as `critical`.");
        errors.push(InvalidField::new("severities", sentence));
    }
    if project_ids.len() > MAX_PROJECTS {
        errors.push(InvalidField::new(
            "project_ids",
            format!("There are more than {MAX_PROJECTS} projects: remove some."),
        ));
    }
    Filter {
        event_types: each_once(event_types),
        severities: each_once(severities),
        project_ids: each_once(project_ids),
    }
}

fn each_once<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(values.len());
    for value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use domain::endpoint::address::AllowedNetworks;

    use super::*;

    #[track_caller]
    fn named(text: &str, expected: Result<&str, &str>) {
        let told = name(text).map_err(|error| error.message);
        match expected {
            Ok(name) => assert_eq!(told.as_deref(), Ok(name)),
            Err(part) => assert!(told.expect_err("it is refused").contains(part)),
        }
    }

    #[test]
    fn names() {
        named("Pager", Ok("Pager"));
        named("  Two words ", Ok("Two words"));
        named(&"é".repeat(MAX_NAME_CHARS), Ok(&"é".repeat(MAX_NAME_CHARS)));
        named("<script>alert(1)</script>", Ok("<script>alert(1)</script>"));
        named("", Err("missing"));
        named(" \t", Err("missing"));
        named(&"é".repeat(MAX_NAME_CHARS + 1), Err("longer"));
        named("a\nb", Err("control character"));
        named("a\u{0}b", Err("control character"));
    }

    #[track_caller]
    fn filtered(severities: &[&str], projects: usize, expected_fields: &[&str]) {
        let mut errors = Errors::default();
        let severities = severities.iter().map(|&severity| severity.to_owned()).collect();
        filter(vec![], severities, (0..projects as u64).collect(), &mut errors);
        let fields: Vec<_> = errors.none().err().unwrap_or_default().into_iter().map(|error| error.field).collect();
        assert_eq!(fields, expected_fields);
    }

    #[test]
    fn filters() {
        filtered(&["critical", "warning"], MAX_PROJECTS, &[]);
        filtered(&[""], 0, &["severities"]);
        filtered(&[&"x".repeat(MAX_SEVERITY_BYTES + 1)], 0, &["severities"]);
        filtered(&["x"; MAX_SEVERITIES + 1], MAX_PROJECTS + 1, &["severities", "project_ids"]);
        let twice = filter(vec![EventType::Resolved; 2], vec![], vec![1, 2, 1], &mut Errors::default());
        assert_eq!((twice.event_types.len(), twice.project_ids), (1, vec![1, 2]));
    }

    #[track_caller]
    fn at_fault(pairs: &[(&str, &str)], field: &str) {
        assert_eq!(headers(pairs).expect_err("it is refused").field, field);
    }

    #[test]
    fn a_header_at_fault_is_named_as_it_was_written() {
        at_fault(&[("X-Key", "v"), ("Host", "v")], "headers.Host");
        at_fault(&[("X-Key", "a\nb")], "headers.X-Key");
        at_fault(&[("X-Key", "v"), ("X Key", "v")], "headers.X Key");
        at_fault(&[("X-Key", "v"), ("x-KEY", "v")], "headers.x-KEY");
        at_fault(&[("", "v")], "headers.");
        at_fault(&[("X-Key", &"v".repeat(8_192))], "headers");
        at_fault(&[("x", "v"); 21], "headers.x");
    }

    #[test]
    fn a_value_for_another_place_is_told_by_that_place() {
        let place = EndpointUrl::parse("https://new.example:8443/canary?canary", &AllowedNetworks::none()).unwrap();
        let error = belongs_to_other_origin("x-key", &place);
        assert_eq!(error.field, "headers.x-key");
        assert!(error.message.contains("write it again for https://new.example:8443,"), "{}", error.message);
        assert!(!error.message.contains("canary"), "{}", error.message);
    }

    #[test]
    fn a_header_is_named_once() {
        let twice = |names: &[&str]| each_header_once(names.iter().copied()).err().map(|error| error.field);
        assert_eq!(twice(&["x-a", "x-b", "not a name", "not a name"]), None);
        assert_eq!(twice(&["x-a", "x-a"]).as_deref(), Some("headers.x-a"));
        assert_eq!(twice(&["X-A", "x-b", "x-a"]).as_deref(), Some("headers.x-a"));
    }
}
