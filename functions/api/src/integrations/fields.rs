//! The rules for an integration's fields, and the error messages for their violation.

use std::collections::HashSet;

use domain::alert::event::{EventType, MAX_SEVERITY_BYTES};
use domain::alert::filter::{Filter, is_same_severity};
use domain::endpoint::headers::{CustomerHeaders, InvalidHeader};
use domain::endpoint::url::{EndpointUrl, InvalidUrl};
use domain::json::InvalidField;
use domain::request::signature::SigningSecret;
use domain::text::{first_invisible, first_invisible_in_prose};
use http::HeaderName;

/// The longest name of an integration, in characters.
pub const MAX_NAME_CHARS: usize = 100;

/// The most severities in a filter.
pub const MAX_SEVERITIES: usize = 20;

/// The most projects in a filter.
pub const MAX_PROJECTS: usize = 100;

/// Collects the errors of the input, so that all are reported together.
#[derive(Debug, Default)]
pub struct Errors(Vec<InvalidField>);

impl Errors {
    /// Returns the value, or records the error and returns the default.
    pub fn record<T: Default>(&mut self, checked: Result<T, InvalidField>) -> T {
        checked.unwrap_or_else(|error| {
            self.0.push(error);
            T::default()
        })
    }

    pub fn push(&mut self, error: InvalidField) {
        self.0.push(error);
    }

    /// # Errors
    /// The recorded errors, if there are any.
    pub fn into_result(self) -> Result<(), Vec<InvalidField>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

/// Checks a name: trimmed, not empty, at most [`MAX_NAME_CHARS`] characters, without control characters and invisible ones.
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
    if let Some(invisible) = first_invisible_in_prose(name) {
        return refused(format!("The name {invisible}: remove it, or type the name instead of pasting it."));
    }
    Ok(name.to_owned())
}

/// Whether an integration gets alerts if `enabled` is not given.
pub const ENABLED_BY_DEFAULT: bool = true;

/// Checks a URL, and returns it as it was written.
pub fn url(text: &str, read_url: impl Fn(&str) -> Result<EndpointUrl, InvalidUrl>) -> Result<String, InvalidField> {
    if text.is_empty() {
        let message = "The webhook URL is missing: it should look like https://example.com/webhook.";
        return Err(InvalidField::new("url", message));
    }
    if let Some(invisible) = first_invisible(text) {
        let message = format!("The webhook URL {invisible}: remove it, or type the URL instead of pasting it.");
        return Err(InvalidField::new("url", message));
    }
    read_url(text).map(|_| text.to_owned()).map_err(url_error)
}

/// The error of an invalid URL.
pub fn url_error(refused: InvalidUrl) -> InvalidField {
    InvalidField::new("url", refused.message())
}

/// Checks a signing secret that is to be set.
pub fn signing_secret(text: &str) -> Result<SigningSecret, InvalidField> {
    SigningSecret::parse_new(text).map_err(|refused| InvalidField::new("signing_secret", refused.to_string()))
}

/// Checks the custom headers, given as pairs of name and value.
///
/// # Errors
/// The error names the header at fault as it was written.
pub fn headers(pairs: &[(&str, &str)]) -> Result<CustomerHeaders, InvalidField> {
    CustomerHeaders::parse_new(pairs.iter().copied()).map_err(|refused| {
        let as_written = |name: &HeaderName| {
            let mut written = pairs.iter().rev().map(|(written, _)| *written);
            written.find(|written| written.eq_ignore_ascii_case(name.as_str()))
        };
        let at_fault = match &refused {
            InvalidHeader::Name { position } => pairs.get(position - 1).map(|(written, _)| *written),
            InvalidHeader::Value { name }
            | InvalidHeader::Duplicate { name }
            | InvalidHeader::Forbidden { name, .. } => as_written(name),
            InvalidHeader::TooMany | InvalidHeader::TooLarge => None,
        };
        header_error(at_fault, &refused)
    })
}

/// Checks that no header is named twice, set or removed. Names are compared without case.
///
/// # Errors
/// The error names the second one.
pub fn each_header_once<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), InvalidField> {
    let mut named = HashSet::new();
    for written in names {
        // An invalid name is refused elsewhere.
        let Ok(name) = HeaderName::from_bytes(written.as_bytes()) else { continue };
        if !named.insert(name.clone()) {
            return Err(header_error(Some(written), &InvalidHeader::Duplicate { name }));
        }
    }
    Ok(())
}

/// The error of a stored header value that would be sent to another origin than it was given for.
pub fn belongs_to_other_origin(name: &str, origin: &EndpointUrl) -> InvalidField {
    InvalidField::new(
        format!("headers.{name}"),
        format!(
            "The value of the custom header {name} was stored for another scheme, host or port: provide it again for \
             {origin}, or remove the header."
        ),
    )
}

fn header_error(written: Option<&str>, refused: &InvalidHeader) -> InvalidField {
    let field = written.map_or("headers".to_owned(), |written| format!("headers.{written}"));
    InvalidField::new(field, refused.message())
}

/// Checks that severities which are to be set have no characters that a reader cannot see: they would match no alert.
pub fn visible_severities<'a>(severities: impl IntoIterator<Item = &'a str>) -> Result<(), InvalidField> {
    let refused = |message: String| Err(InvalidField::new("severities", message));
    for severity in severities {
        if let Some(invisible) = first_invisible(severity) {
            return refused(format!("A severity {invisible}: remove it, or type the severity instead of pasting it."));
        }
        if severity.chars().any(char::is_control) {
            return refused("A severity contains a line break or another control character: remove it.".to_owned());
        }
    }
    Ok(())
}

/// Checks a filter and removes duplicate values. Of severities that differ in case only, the first one stays.
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
            format!("At most {MAX_SEVERITIES} severities are allowed: remove some."),
        ));
    } else if !severities.iter().all(severity_fits) {
        let message = format!("Each severity must be 1 to {MAX_SEVERITY_BYTES} bytes long, such as `critical`.");
        errors.push(InvalidField::new("severities", message));
    }
    if project_ids.len() > MAX_PROJECTS {
        errors.push(InvalidField::new(
            "project_ids",
            format!("At most {MAX_PROJECTS} projects are allowed: remove some."),
        ));
    }
    Filter {
        event_types: without_duplicates(event_types, PartialEq::eq),
        severities: without_duplicates(severities, |one, other| is_same_severity(one, other)),
        project_ids: without_duplicates(project_ids, PartialEq::eq),
    }
}

fn without_duplicates<T>(values: Vec<T>, is_same: fn(&T, &T) -> bool) -> Vec<T> {
    let mut unique = Vec::with_capacity(values.len());
    for value in values {
        if !unique.iter().any(|earlier| is_same(earlier, &value)) {
            unique.push(value);
        }
    }
    unique
}

#[cfg(test)]
mod tests {
    use domain::endpoint::address::AllowedNetworks;

    use super::*;

    #[track_caller]
    fn check_name(text: &str, expected: Result<&str, &str>) {
        let checked = name(text).map_err(|error| error.message);
        match expected {
            Ok(name) => assert_eq!(checked.as_deref(), Ok(name)),
            Err(part) => assert!(checked.expect_err("it is refused").contains(part)),
        }
    }

    #[test]
    fn names() {
        check_name("Pager", Ok("Pager"));
        check_name("  Two words ", Ok("Two words"));
        check_name(&"é".repeat(MAX_NAME_CHARS), Ok(&"é".repeat(MAX_NAME_CHARS)));
        check_name("<script>alert(1)</script>", Ok("<script>alert(1)</script>"));
        check_name("", Err("missing"));
        check_name(" \t", Err("missing"));
        check_name(&"é".repeat(MAX_NAME_CHARS + 1), Err("longer"));
        check_name("a\nb", Err("control character"));
        check_name("a\u{0}b", Err("control character"));
        check_name("⚠️ Pager", Ok("⚠️ Pager"));
        check_name("Pager\u{200b}", Err("The name contains an invisible character (U+200B) at position 6: remove it"));
        check_name("\u{feff}Pager", Err("(U+FEFF) at position 1"));
    }

    #[test]
    fn invisible_characters_in_urls_and_severities_are_refused() {
        let read_url = |text: &str| EndpointUrl::parse(text, &AllowedNetworks::none());
        let error = url("https://example.com/canary\u{200b}?a", read_url).expect_err("it is refused");
        assert!(error.message.contains("URL contains an invisible character (U+200B) at position 27"), "{error}");
        assert!(!error.message.contains("canary"), "{error}");
        for severity in ["critical\u{ad}", "critical\n"] {
            let error = visible_severities(["warning", severity]).expect_err("it is refused");
            assert_eq!(error.field, "severities");
        }
        assert_eq!(visible_severities(["très haut", "高"]), Ok(()));
    }

    #[track_caller]
    fn check_filter(severities: &[&str], projects: usize, expected_fields: &[&str]) {
        let mut errors = Errors::default();
        let severities = severities.iter().map(|&severity| severity.to_owned()).collect();
        filter(vec![], severities, (0..projects as u64).collect(), &mut errors);
        let errors = errors.into_result().err().unwrap_or_default();
        let fields: Vec<_> = errors.into_iter().map(|error| error.field).collect();
        assert_eq!(fields, expected_fields);
    }

    #[test]
    fn filters() {
        check_filter(&["critical", "warning"], MAX_PROJECTS, &[]);
        check_filter(&[""], 0, &["severities"]);
        check_filter(&[&"x".repeat(MAX_SEVERITY_BYTES + 1)], 0, &["severities"]);
        check_filter(&["x"; MAX_SEVERITIES + 1], MAX_PROJECTS + 1, &["severities", "project_ids"]);
        let severities = ["Critical", "low", "critical"].map(str::to_owned).to_vec();
        let twice = filter(vec![EventType::Resolved; 2], severities, vec![1, 2, 1], &mut Errors::default());
        assert_eq!((twice.event_types.len(), twice.project_ids), (1, vec![1, 2]));
        assert_eq!(twice.severities, ["Critical", "low"]);
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
        at_fault(&[("X-Key", "v"), ("X_Key", "v")], "headers.X_Key");
        at_fault(&[("", "v")], "headers.");
        at_fault(&[("X-Key", &"v".repeat(8_192))], "headers");
        at_fault(&[("x", "v"); 21], "headers.x");
    }

    #[test]
    fn a_value_for_another_origin_is_refused_with_that_origin() {
        let origin = EndpointUrl::parse("https://new.example:8443/canary?canary", &AllowedNetworks::none()).unwrap();
        let error = belongs_to_other_origin("x-key", &origin);
        assert_eq!(error.field, "headers.x-key");
        assert!(error.message.contains("provide it again for https://new.example:8443,"), "{}", error.message);
        assert!(!error.message.contains("canary"), "{}", error.message);
    }

    #[test]
    fn duplicate_header_names_are_found_regardless_of_case() {
        let twice = |names: &[&str]| each_header_once(names.iter().copied()).err().map(|error| error.field);
        assert_eq!(twice(&["x-a", "x-b", "not a name", "not a name"]), None);
        assert_eq!(twice(&["x-a", "x-a"]).as_deref(), Some("headers.x-a"));
        assert_eq!(twice(&["X-A", "x-b", "x-a"]).as_deref(), Some("headers.x-a"));
    }
}
