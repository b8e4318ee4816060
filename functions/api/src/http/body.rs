//! The body of a request: a JSON object without unknown fields.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::IntoResponse;
use domain::json::{Fields, InvalidField, Object, Unreadable, WHOLE_BODY};
use http::StatusCode;

use crate::http::media_type::MediaType;
use crate::http::problem::Problem;

/// The largest body, in bytes. The largest integration, with a URL of 2 KiB and headers of 8 KiB, takes about 15 KiB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// A type that is read from a body.
pub trait FromBody: Sized {
    /// The fields that the body may have. Others are refused, since they may be misspelled ones.
    const FIELDS: Fields;

    /// # Errors
    /// The first invalid field.
    fn read(object: &Object<'_>) -> Result<Self, InvalidField>;
}

/// A required JSON object, and the bytes that it was read from.
pub struct JsonBody<T> {
    pub value: T,
    pub bytes: Bytes,
}

/// An optional JSON object; without a body, `value` is the default.
pub struct OptionalJsonBody<T> {
    pub value: T,
    pub bytes: Bytes,
}

/// A JSON merge patch (RFC 7396).
pub struct MergePatchBody<T>(pub T);

impl<S: Send + Sync, T: FromBody> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (content_type, bytes) = body(request, state, MediaType::Json).await?;
        content_type?;
        Ok(Self { value: read(&bytes)?, bytes })
    }
}

impl<S: Send + Sync, T: FromBody + Default> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (content_type, bytes) = body(request, state, MediaType::Json).await?;
        if bytes.is_empty() {
            return Ok(Self { value: T::default(), bytes });
        }
        content_type?;
        Ok(Self { value: read(&bytes)?, bytes })
    }
}

impl<S: Send + Sync, T: FromBody> FromRequest<S> for MergePatchBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (content_type, bytes) = body(request, state, MediaType::MergePatch).await?;
        content_type?;
        read(&bytes).map(Self)
    }
}

/// Reads a body, and checks its content type separately: that a body is too large, or empty, counts first.
async fn body<S: Send + Sync>(
    request: Request,
    state: &S,
    expected: MediaType,
) -> Result<(Result<(), Problem>, Bytes), Problem> {
    let is_expected = expected.matches(request.headers());
    let content_type = if is_expected { Ok(()) } else { Err(Problem::UnsupportedMediaType { expected }) };
    let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::TooLarge { max_bytes: MAX_BODY_BYTES }
        } else {
            Problem::malformed(WHOLE_BODY, "The body did not arrive completely.")
        }
    })?;
    Ok((content_type, bytes))
}

/// Parses a body.
///
/// # Errors
/// [`Problem::Malformed`] when it is not JSON, [`Problem::Invalid`] when a field is invalid.
pub(crate) fn read<T: FromBody>(bytes: &[u8]) -> Result<T, Problem> {
    let text = str::from_utf8(bytes).map_err(|_| Problem::malformed(WHOLE_BODY, "The body is not UTF-8 text."))?;
    let object = Object::parse(text, &T::FIELDS).map_err(|unreadable| match unreadable {
        Unreadable::NotJson(error) => Problem::Malformed(error),
        Unreadable::Invalid(error) => Problem::Invalid(vec![error]),
    })?;
    T::read(&object).map_err(|error| Problem::Invalid(vec![error]))
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
    fn malformed_json_and_invalid_fields_are_different_problems() {
        assert!(read::<Sample>(br#"{"name": "n"}"#).is_ok());
        refused(b"{", StatusCode::BAD_REQUEST, WHOLE_BODY);
        refused(b"{\"name\": \"\xff\"}", StatusCode::BAD_REQUEST, WHOLE_BODY);
        refused(b"[]", StatusCode::UNPROCESSABLE_ENTITY, WHOLE_BODY);
        refused(br#"{"nmae": "n"}"#, StatusCode::UNPROCESSABLE_ENTITY, "nmae");
        refused(br#"{"name": 5}"#, StatusCode::UNPROCESSABLE_ENTITY, "name");
    }
}
