//! What the body of a request may be said to be.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// What a body may be said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    Json,
    /// A merge patch (RFC 7396). It is JSON, and may be called so.
    MergePatch,
}

impl MediaType {
    /// The names that it goes by, the best one first.
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
    fn said(content_type: Option<&'static str>, is_json: bool, is_patch: bool) {
        let mut headers = HeaderMap::new();
        headers.extend(content_type.map(|value| (CONTENT_TYPE, value.parse().unwrap())));
        let said = [MediaType::Json, MediaType::MergePatch].map(|wanted| wanted.matches(&headers));
        assert_eq!(said, [is_json, is_patch], "{content_type:?}");
    }

    #[test]
    fn media_types() {
        said(Some("application/json"), true, true);
        said(Some("Application/JSON; charset=utf-8"), true, true);
        said(Some("application/merge-patch+json"), false, true);
        said(Some("application/json-patch+json"), false, false);
        said(Some("text/plain"), false, false);
        said(None, false, false);
    }
}
