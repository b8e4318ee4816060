//! Compresses responses for clients that accept it: a page of the log is so repetitive that it shrinks to a thirtieth.
//!
//! The compressed size gives no secret away (BREACH): to have text of one's own compressed together with a secret, one
//! needs the bearer token, which no other site's page can make a browser send.

use axum::response::Response;
use http::HeaderValue;
use http::header::{CONTENT_ENCODING, ETAG};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;

/// Responses up to this size, in bytes, are not compressed: what fits into one packet arrives no sooner when smaller.
const MAX_UNCOMPRESSED: u16 = 1024;

/// The end of a compressed response's entity tag.
const GZIP_SUFFIX: &str = "-gzip\"";

/// Compresses responses and sets `Content-Encoding` and `Vary`.
pub(crate) fn layer() -> CompressionLayer<SizeAbove> {
    CompressionLayer::new().compress_when(SizeAbove::new(MAX_UNCOMPRESSED))
}

/// Gives a compressed response an entity tag of its own: it is another representation, and a strong entity tag stands
/// for just one (RFC 9110, section 8.8.3.3).
pub(crate) async fn tag_compressed(mut response: Response) -> Response {
    if response.headers().contains_key(CONTENT_ENCODING)
        && let Some(tag) = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok())
        && let Some(start) = tag.strip_suffix('"').filter(|_| tag.starts_with('"'))
        && let Ok(tag) = HeaderValue::try_from(format!("{start}{GZIP_SUFFIX}"))
    {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// The entity tag of the uncompressed representation.
pub(crate) fn uncompressed_tag(tag: &str) -> String {
    tag.strip_suffix(GZIP_SUFFIX).map_or_else(|| tag.to_owned(), |start| format!("{start}\""))
}
