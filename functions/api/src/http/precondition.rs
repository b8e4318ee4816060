//! The version of an integration that a change is meant for: `If-Match` and entity tags.

use http::HeaderMap;
use http::header::IF_MATCH;

use crate::http::compression::uncompressed_tag;
use crate::http::problem::Problem;

/// The version of an integration that a change is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Whichever is current.
    Any,
    /// One of these.
    OneOf(Vec<u64>),
}

impl Precondition {
    /// Reads `If-Match`. A foreign entity tag matches no version.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut tags = headers.get_all(IF_MATCH).iter().filter_map(|value| value.to_str().ok()).peekable();
        if tags.peek().is_none() && !headers.contains_key(IF_MATCH) {
            return Self::Any;
        }
        let tags: Vec<&str> = tags.flat_map(|value| value.split(',')).map(str::trim).collect();
        if tags.contains(&"*") { Self::Any } else { Self::OneOf(tags.into_iter().filter_map(version).collect()) }
    }

    /// # Errors
    /// [`Problem::PreconditionFailed`] when the change is meant for another version.
    pub fn check(&self, current: u64) -> Result<(), Problem> {
        match self {
            Self::OneOf(versions) if !versions.contains(&current) => Err(Problem::PreconditionFailed),
            Self::Any | Self::OneOf(_) => Ok(()),
        }
    }
}

/// The entity tag of an integration's version.
pub fn entity_tag(version: u64) -> String {
    format!("\"{version}\"")
}

/// The version that a tag names, whether that of the compressed or of the uncompressed representation.
fn version(tag: &str) -> Option<u64> {
    uncompressed_tag(tag).strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn precondition(value: Option<&'static str>, expected: Precondition) {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(IF_MATCH, value.parse().unwrap());
        }
        assert_eq!(Precondition::read(&headers), expected, "{value:?}");
    }

    #[test]
    fn preconditions() {
        precondition(None, Precondition::Any);
        precondition(Some("*"), Precondition::Any);
        precondition(Some("\"3\""), Precondition::OneOf(vec![3]));
        precondition(Some("\"3\", \"4\""), Precondition::OneOf(vec![3, 4]));
        precondition(Some("\"3-gzip\""), Precondition::OneOf(vec![3]));
        for strange in ["3", "3-gzip", "\"-gzip\"", "W/\"3\"", "\"\"", "", "\"three\""] {
            precondition(Some(strange), Precondition::OneOf(vec![]));
        }
        assert!(Precondition::OneOf(vec![3]).check(3).is_ok());
        assert!(Precondition::OneOf(vec![3]).check(4).is_err());
        assert!(Precondition::OneOf(vec![]).check(0).is_err());
    }
}
