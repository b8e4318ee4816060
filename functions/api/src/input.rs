//! Reading a request: its JSON body, and the headers that say on which condition it is meant.

use std::fmt;
use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::IntoResponse;
use http::header::{CONTENT_TYPE, IF_MATCH};
use http::{HeaderMap, StatusCode};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;

use crate::compression::uncompressed_tag;
use crate::problem::{FieldError, Problem, WHOLE_BODY};

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

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (said, bytes) = body(request, state, MediaType::Json).await?;
        said?;
        Ok(Self { value: read(&bytes)?, bytes })
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalJsonBody<T> {
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

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for MergePatchBody<T> {
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

/// The members of a JSON object as they stand there: in their order, and twice where they stand there twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members<V>(pub Vec<(String, V)>);

impl<V> Default for Members<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Members<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for MembersVisitor<V> {
    type Value = Members<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let not_json = |error: &serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        Problem::malformed(WHOLE_BODY, format!("The body is not valid JSON (line {line}, column {column})."))
    };
    // The parser would take a list for an object with its fields in order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes).map_err(|error| not_json(&error))?;
        return Err(Problem::field(WHOLE_BODY, "The body must be an object."));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        match error.classify() {
            Category::Data => Problem::Invalid(vec![field_error(&path, &error.to_string())]),
            _ => not_json(&error),
        }
    })?;
    deserializer.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

/// Our sentence for what the parser says. Its own would quote the value, which may be a secret.
fn field_error(path: &str, told: &str) -> FieldError {
    let field = if path == "." { WHOLE_BODY } else { path };
    if let Some(rest) = told.strip_prefix("unknown field `") {
        let known = rest.split_once("expected ").map_or("", |(_, known)| known);
        let known = known.split(" at line ").next().unwrap_or_default().trim_start_matches("one of ");
        return FieldError::new(field, format!("`{field}` is not known here: use {known}."));
    }
    if let Some(rest) = told.strip_prefix("duplicate field `") {
        let name = rest.split('`').next().unwrap_or_default();
        return FieldError::new(name, format!("`{name}` stands there twice: keep one."));
    }
    let wanted = told.rsplit_once("expected ").map_or("", |(_, wanted)| wanted);
    let wanted = wanted.split(" at line ").next().unwrap_or_default();
    FieldError::new(field, format!("`{field}` must be {}.", in_words(wanted)))
}

/// What the parser expects, in the words of JSON.
fn in_words(wanted: &str) -> &str {
    match wanted {
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "u64" => "a whole number from 0 to 18446744073709551615",
        _ if wanted.starts_with("struct") || wanted == "a map" => "an object",
        "" => "another kind of value",
        _ => wanted,
    }
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
    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Sample {
        name: String,
        count: u64,
        on: bool,
        list: Vec<String>,
        headers: Members<String>,
    }

    #[track_caller]
    fn check(body: &str, field: &str, message: &str) {
        match read::<Sample>(body.as_bytes()).expect_err(body) {
            Problem::Malformed(error) => assert_eq!((error.field.as_str(), error.message.as_str()), (field, message)),
            Problem::Invalid(errors) => {
                assert_eq!(errors, [FieldError::new(field, message)], "{body}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_has_the_wrong_shape_is_named_and_not_quoted() {
        check(r#"{"name": 12345678}"#, "name", "`name` must be a string.");
        check(r#"{"count": -1}"#, "count", "`count` must be a whole number from 0 to 18446744073709551615.");
        check(
            r#"{"count": 18446744073709551616}"#,
            "count",
            "`count` must be a whole number from 0 to 18446744073709551615.",
        );
        check(r#"{"on": "yes"}"#, "on", "`on` must be true or false.");
        check(r#"{"list": {}}"#, "list", "`list` must be a list.");
        check(r#"{"list": ["a", 5]}"#, "list[1]", "`list[1]` must be a string.");
        check(r#"{"headers": {"x-key": 5}}"#, "headers.x-key", "`headers.x-key` must be a string.");
        check(r#"{"headers": []}"#, "headers", "`headers` must be an object.");
        check("[]", WHOLE_BODY, "The body must be an object.");
        check("5", WHOLE_BODY, "The body must be an object.");
        check("[]x", WHOLE_BODY, "The body is not valid JSON (line 1, column 3).");
        check(r#"{"name": "a", "name": "b"}"#, "name", "`name` stands there twice: keep one.");
        check(r#"{"nmae": "a"}"#, "nmae", "`nmae` is not known here: use `name`, `count`, `on`, `list`, `headers`.");
    }

    #[test]
    fn what_is_not_json_is_told_where() {
        check("{", WHOLE_BODY, "The body is not valid JSON (line 1, column 1).");
        check("", WHOLE_BODY, "The body is not valid JSON (line 1, column 0).");
        check("{} {}", WHOLE_BODY, "The body is not valid JSON (line 1, column 4).");
    }

    #[test]
    fn members_stand_there_as_often_as_they_are_written() {
        let sample = read::<Sample>(br#"{"headers": {"b": "1", "a": "2", "b": "3"}}"#).unwrap();
        let written = sample.headers.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        assert_eq!(written.collect::<Vec<_>>(), [("b", "1"), ("a", "2"), ("b", "3")]);
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
