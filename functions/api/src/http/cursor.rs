//! Cursors: positions in a list, as opaque strings that callers send back.
//!
//! A cursor is not secret and needs no signature: it only says where to continue within what the caller may see anyway,
//! and everything read with it is read under the integration of the request's own path.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::problem::Problem;

/// The longest cursor that is decoded, in bytes. Ours have about 200.
const MAX_BYTES: usize = 1024;

/// Encodes a position as a cursor.
pub fn encode(position: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).expect("a position is plain data"))
}

/// Decodes a cursor.
///
/// # Errors
/// [`Problem::Malformed`] when it was not made for this kind of list.
pub fn decode<T: DeserializeOwned>(cursor: &str) -> Result<T, Problem> {
    let bytes = if cursor.len() > MAX_BYTES { None } else { URL_SAFE_NO_PAD.decode(cursor).ok() };
    let position = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    position.ok_or_else(invalid_cursor)
}

/// The problem of a cursor that was not made for the list.
pub(crate) fn invalid_cursor() -> Problem {
    let message = "The cursor does not belong to this list: use the `next_cursor` of the previous response, unchanged.";
    Problem::malformed("cursor", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_nothing_else_does() {
        let position = ("dlv_01JH7VVHV81KJMEKY94GFHBBTY".to_owned(), 5_u64);
        let cursor = encode(&position);
        assert_eq!(decode::<(String, u64)>(&cursor).unwrap(), position);
        for strange in ["", "not a cursor", "AAAA", &cursor[1..], &"A".repeat(2_000)] {
            assert!(matches!(decode::<(String, u64)>(strange), Err(Problem::Malformed(_))), "{strange}");
        }
    }
}
