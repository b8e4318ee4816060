//! Places in a list, as opaque texts for callers to bring back.
//!
//! A cursor is no secret and needs no signature: it says where to go on within what the caller may see anyway, and
//! whatever is read with it is read under the integration of the request's own path.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::problem::Problem;

/// The longest cursor that is looked at, in characters. Ours have about 200.
const MAX_CHARS: usize = 1024;

/// Makes a cursor of a place.
pub fn encode(place: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(place).expect("a place is plain data"))
}

/// Reads a cursor.
///
/// # Errors
/// [`Problem::Malformed`] when it is none that we made for such a list.
pub fn decode<T: DeserializeOwned>(cursor: &str) -> Result<T, Problem> {
    let bytes = if cursor.len() > MAX_CHARS { None } else { URL_SAFE_NO_PAD.decode(cursor).ok() };
    let place = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    place.ok_or_else(invalid_cursor)
}

/// A cursor that we would not have made.
pub(crate) fn invalid_cursor() -> Problem {
    Problem::malformed("cursor", "The cursor is not one of this list: use `next_cursor` of an answer, unchanged.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_nothing_else_does() {
        let place = ("dlv_01JH7VVHV81KJMEKY94GFHBBTY".to_owned(), 5_u64);
        let cursor = encode(&place);
        assert_eq!(decode::<(String, u64)>(&cursor).unwrap(), place);
        for strange in ["", "not a cursor", "AAAA", &cursor[1..], &"A".repeat(2_000)] {
            assert!(matches!(decode::<(String, u64)>(strange), Err(Problem::Malformed(_))), "{strange}");
        }
    }
}
