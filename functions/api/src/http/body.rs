//! The body of a request: a JSON object, of which every field is known.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::IntoResponse;
use domain::json::{Fields, InvalidField, Object, Unreadable, WHOLE_BODY};
use http::StatusCode;

use crate::http::media_type::MediaType;
use crate::http::problem::Problem;

/// The largest body, in bytes. The largest integration, with a URL of 2 KiB and headers of 8 KiB, has about 15 KiB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

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
    let said = if wanted.matches(request.headers()) { Ok(()) } else { Err(Problem::UnsupportedMediaType { wanted }) };
    let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
            Problem::TooLarge { max_bytes: MAX_BODY_BYTES }
        } else {
            Problem::malformed(WHOLE_BODY, "The body did not arrive whole.")
        }
    })?;
    Ok((said, bytes))
}

/// Reads the bytes of a body.
///
/// # Errors
/// [`Problem::Malformed`] when they are no JSON, [`Problem::Invalid`] when they say something else than they may.
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
    fn what_is_not_json_is_another_problem_than_what_says_the_wrong_thing() {
        assert!(read::<Sample>(br#"{"name": "n"}"#).is_ok());
        refused(b"{", StatusCode::BAD_REQUEST, WHOLE_BODY);
        refused(b"{\"name\": \"\xff\"}", StatusCode::BAD_REQUEST, WHOLE_BODY);
        refused(b"[]", StatusCode::UNPROCESSABLE_ENTITY, WHOLE_BODY);
        refused(br#"{"nmae": "n"}"#, StatusCode::UNPROCESSABLE_ENTITY, "nmae");
        refused(br#"{"name": 5}"#, StatusCode::UNPROCESSABLE_ENTITY, "name");
    }
}
