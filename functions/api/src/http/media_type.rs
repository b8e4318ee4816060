//! The media types of request bodies.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// The media type of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    Json,
    /// A JSON merge patch (RFC 7396). Plain `application/json` is accepted as well.
    MergePatch,
}

impl MediaType {
    /// The accepted names, the preferred one first.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["application/json"],
            Self::MergePatch => &["application/merge-patch+json", "application/json"],
        }
    }

    pub(crate) fn matches(self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
        let essence = value.split(';').next().unwrap_or_default().trim();
        self.names().iter().any(|known| known.eq_ignore_ascii_case(essence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(content_type: Option<&'static str>, is_json: bool, is_patch: bool) {
        let mut headers = HeaderMap::new();
        headers.extend(content_type.map(|value| (CONTENT_TYPE, value.parse().unwrap())));
        let matches = [MediaType::Json, MediaType::MergePatch].map(|media_type| media_type.matches(&headers));
        assert_eq!(matches, [is_json, is_patch], "{content_type:?}");
    }

    #[test]
    fn media_types() {
        check(Some("application/json"), true, true);
        check(Some("Application/JSON; charset=utf-8"), true, true);
        check(Some("application/merge-patch+json"), false, true);
        check(Some("application/json-patch+json"), false, false);
        check(Some("text/plain"), false, false);
        check(None, false, false);
    }
}
