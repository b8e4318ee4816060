//! Reading a request: its JSON body, and the headers that say on which condition it is meant.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::IntoResponse;
use domain::json::{Fields, InvalidField, Object, Unreadable, WHOLE_BODY};
use http::header::{CONTENT_TYPE, IF_MATCH};
use http::{HeaderMap, StatusCode};

use crate::compression::uncompressed_tag;
use crate::problem::Problem;

/// The largest body, in bytes. The largest integration, with a URL of 2 KiB and headers of 8 KiB, has about 15 KiB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

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

    fn is_said_in(self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
        let essence = value.split(';').next().unwrap_or_default().trim();
        self.names().iter().any(|known| known.eq_ignore_ascii_case(essence))
    }
}

/// What is read of a body.
pub trait FromBody: Sized {
    /// All that the body may say. Whatever else it says is refused: it might be misspelled.
    const FIELDS: Fields;

    /// # Errors
    /// The first field that is not what it must be.
    fn read(object: &Object<'_>) -> Result<Self, InvalidField>;
}

/// A JSON object, and the bytes that it was read from.
pub struct JsonBody<T> {
    pub value: T,
    pub bytes: Bytes,
}

/// A JSON object that may be left out.
pub struct OptionalJsonBody<T> {
    pub value: T,
    pub bytes: Bytes,
}

/// A merge patch.
pub struct MergePatchBody<T>(pub T);

impl<S: Send + Sync, T: FromBody> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (said, bytes) = body(request, state, MediaType::Json).await?;
        said?;
        Ok(Self { value: read(&bytes)?, bytes })
    }
}

impl<S: Send + Sync, T: FromBody + Default> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (said, bytes) = body(request, state, MediaType::Json).await?;
        if bytes.is_empty() {
            return Ok(Self { value: T::default(), bytes });
        }
        said?;
        Ok(Self { value: read(&bytes)?, bytes })
    }
}

impl<S: Send + Sync, T: FromBody> FromRequest<S> for MergePatchBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (said, bytes) = body(request, state, MediaType::MergePatch).await?;
        said?;
        read(&bytes).map(Self)
    }
}

/// A body, and whether it is said to be what is wanted: one that is too large is told so first.
async fn body<S: Send + Sync>(
    request: Request,
    state: &S,
    wanted: MediaType,
) -> Result<(Result<(), Problem>, Bytes), Problem> {
    let said = if wanted.is_said_in(request.headers()) { Ok(()) } else { Err(Problem::OtherMediaType { wanted }) };
    let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::TooLarge
        } else {
            Problem::malformed(WHOLE_BODY, "The body did not arrive whole.")
        }
    })?;
    Ok((said, bytes))
}

/// Reads a body's bytes.
pub(crate) fn read<T: FromBody>(bytes: &[u8]) -> Result<T, Problem> {
    let text = str::from_utf8(bytes).map_err(|_| Problem::malformed(WHOLE_BODY, "The body is not UTF-8 text."))?;
    let object = Object::parse(text, &T::FIELDS).map_err(|unreadable| match unreadable {
        Unreadable::NotJson(error) => Problem::Malformed(error),
        Unreadable::Invalid(error) => Problem::Invalid(vec![error]),
    })?;
    T::read(&object).map_err(|error| Problem::Invalid(vec![error]))
}

/// On which version of an integration a change is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Whichever there is.
    Any,
    /// One of these.
    OneOf(Vec<u64>),
}

impl Precondition {
    /// Reads `If-Match`. An entity tag that is none of ours matches nothing.
    pub fn read(headers: &HeaderMap) -> Self {
        let mut tags = headers.get_all(IF_MATCH).iter().filter_map(|value| value.to_str().ok()).peekable();
        if tags.peek().is_none() && !headers.contains_key(IF_MATCH) {
            return Self::Any;
        }
        let tags: Vec<&str> = tags.flat_map(|value| value.split(',')).map(str::trim).collect();
        if tags.contains(&"*") { Self::Any } else { Self::OneOf(tags.into_iter().filter_map(version).collect()) }
    }

    /// # Errors
    /// [`Problem::Outdated`] when it is meant for another version.
    pub fn check(&self, current: u64) -> Result<(), Problem> {
        match self {
            Self::OneOf(versions) if !versions.contains(&current) => Err(Problem::Outdated),
            Self::Any | Self::OneOf(_) => Ok(()),
        }
    }
}

/// The entity tag of an integration's version.
pub fn entity_tag(version: u64) -> String {
    format!("\"{version}\"")
}

/// The version that a tag names, whichever representation of it that was of.
fn version(tag: &str) -> Option<u64> {
    uncompressed_tag(tag).strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use domain::json::{Others, STRING};

    use super::*;

    struct Sample;

    impl FromBody for Sample {
        const FIELDS: Fields = Fields { names: &["name"], others: Others::Refused };

        fn read(object: &Object<'_>) -> Result<Self, InvalidField> {
            object.required("name", &STRING).map(|_name| Self)
        }
    }

    #[track_caller]
    fn refused(body: &[u8], status: StatusCode, field: &str) {
        let problem = read::<Sample>(body).map(drop).expect_err("it is refused");
        match &problem {
            Problem::Malformed(error) => assert_eq!(error.field, field),
            Problem::Invalid(errors) => {
                assert_eq!(errors.iter().map(|error| &error.field).collect::<Vec<_>>(), [field])
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(problem.into_response().status(), status);
    }

    #[test]
    fn what_is_not_json_is_another_problem_than_what_says_the_wrong_thing() {
        assert!(read::<Sample>(br#"{"name": "n"}"#).is_ok());
        refused(b"{", StatusCode::BAD_REQUEST, WHOLE_BODY);
        refused(b"{\"name\": \"\xff\"}", StatusCode::BAD_REQUEST, WHOLE_BODY);
        refused(b"[]", StatusCode::UNPROCESSABLE_ENTITY, WHOLE_BODY);
        refused(br#"{"nmae": "n"}"#, StatusCode::UNPROCESSABLE_ENTITY, "nmae");
        refused(br#"{"name": 5}"#, StatusCode::UNPROCESSABLE_ENTITY, "name");
    }

    #[track_caller]
    fn said(content_type: Option<&'static str>, is_json: bool, is_patch: bool) {
        let mut headers = HeaderMap::new();
        headers.extend(content_type.map(|value| (CONTENT_TYPE, value.parse().unwrap())));
        let said = [MediaType::Json, MediaType::MergePatch].map(|wanted| wanted.is_said_in(&headers));
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
