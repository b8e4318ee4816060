//! Answers are compressed for whoever takes that: a page of the log repeats itself so much that a thirtieth is left.
//!
//! Sizes give no secret away. To have text of one's own compressed together with a secret takes the bearer, and no page of
//! another site can make a browser send that.

use axum::response::Response;
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, ETAG};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

/// The largest answer that stays as it is, in bytes. What fits into one packet arrives no sooner for being smaller.
const STAYS_AS_IT_IS: u16 = 1024;

/// What ends the entity tag of a compressed answer.
const MARK: &str = "-gzip\"";

/// Compresses, says so, and says that it depends on what the request accepts.
pub(crate) fn layer() -> CompressionLayer<SizeAbove> {
    CompressionLayer::new().compress_when(SizeAbove::new(STAYS_AS_IT_IS))
}

/// Compressed, an answer is another representation of the same thing, and a strong entity tag names just one of them
/// (RFC 9110, section 8.8.3.3).
pub(crate) async fn tag_compressed(mut response: Response) -> Response {
    if response.headers().contains_key(CONTENT_ENCODING)
        && let Some(tag) = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok())
        && let Some(start) = tag.strip_suffix('"').filter(|_| tag.starts_with('"'))
        && let Ok(apart) = HeaderValue::try_from(format!("{start}{MARK}"))
    {
        response.headers_mut().insert(ETAG, apart);
    }
    response
}

/// The entity tag of the same thing uncompressed.
pub(crate) fn uncompressed_tag(tag: &str) -> String {
    tag.strip_suffix(MARK).map_or_else(|| tag.to_owned(), |start| format!("{start}\""))
}
