//! The headers that a customer adds to the requests to an endpoint, mostly for authentication.
//!
//! Their values are secrets: they are zeroed when dropped and no `Debug` output shows them. Headers that frame or route
//! the request or carry our signatures cannot be set, so that no customer header can change the meaning of a request or
//! impersonate another sender.
//!
//! `_` counts as `-` in a name: CGI, WSGI, Rack and PHP hand both to an application as the same variable (RFC 3875,
//! section 4.1.18), so `X_Roboticks_Signature` could pass for our signature.

use std::borrow::Cow;
use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// The most headers an integration can have.
pub const MAX_HEADERS: usize = 20;

/// The most bytes that they can take in a request in total: names, values, and four bytes of punctuation for each.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;

/// An integration's own headers, in the order given.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CustomerHeaders(Vec<(HeaderName, Zeroizing<String>)>);

/// Why headers cannot be used. Contains valid names, but never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidHeader {
    TooMany,
    TooLarge,
    /// The header at this position, counted from 1, has a name that HTTP does not allow.
    Name {
        position: usize,
    },
    /// The value contains a line break, another control character, a character outside ASCII, or white space at either
    /// end.
    Value {
        name: HeaderName,
    },
    Duplicate {
        name: HeaderName,
    },
    Forbidden {
        name: HeaderName,
        why: Why,
    },
}

/// Why a header cannot be set by a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It belongs to one connection and not to the request.
    HopByHop,
    /// It follows from the URL.
    Host,
    /// It describes the payload, which we write.
    Content,
    /// It asks for a response that we do not support.
    Response,
    /// It describes proxies, and there are none.
    Forwarding,
    /// It identifies us to receivers.
    UserAgent,
    /// It carries our signature or ids.
    Ours,
}

impl CustomerHeaders {
    /// Checks headers that a customer sets, given as pairs of name and value.
    ///
    /// # Errors
    /// The first problem found; see [`InvalidHeader::message`].
    pub fn parse_new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, InvalidHeader>
    where
        N: AsRef<str>,
        V: Into<String>,
    {
        Self::parse(pairs, with_hyphens)
    }

    /// Checks stored headers. Names with `_` may be there that can no longer be set.
    ///
    /// # Errors
    /// As [`CustomerHeaders::parse_new`].
    pub fn parse_stored<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, InvalidHeader>
    where
        N: AsRef<str>,
        V: Into<String>,
    {
        Self::parse(pairs, |name| Cow::Borrowed(name.as_str()))
    }

    /// `compared` is how a name is compared with forbidden names and with other ones.
    fn parse<N, V>(
        pairs: impl IntoIterator<Item = (N, V)>,
        compared: fn(&HeaderName) -> Cow<'_, str>,
    ) -> Result<Self, InvalidHeader>
    where
        N: AsRef<str>,
        V: Into<String>,
    {
        let mut headers: Vec<(HeaderName, Zeroizing<String>)> = Vec::new();
        let mut bytes = 0;
        for (index, (name, value)) in pairs.into_iter().enumerate() {
            let value = Zeroizing::new(value.into());
            if index == MAX_HEADERS {
                return Err(InvalidHeader::TooMany);
            }
            let name = HeaderName::from_bytes(name.as_ref().as_bytes())
                .map_err(|_| InvalidHeader::Name { position: index + 1 })?;
            if let Some(why) = why_forbidden(&compared(&name)) {
                return Err(InvalidHeader::Forbidden { name, why });
            }
            if headers.iter().any(|(earlier, _)| compared(earlier) == compared(&name)) {
                return Err(InvalidHeader::Duplicate { name });
            }
            if !is_field_value(&value) {
                return Err(InvalidHeader::Value { name });
            }
            bytes += name.as_str().len() + ": ".len() + value.len() + "\r\n".len();
            if bytes > MAX_HEADER_BYTES {
                return Err(InvalidHeader::TooLarge);
            }
            headers.push((name, value));
        }
        Ok(Self(headers))
    }

    /// The names, in lower case. Names are not secret.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, for encryption.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds them to a request. The values are marked sensitive, which keeps them out of `Debug` output and makes
    /// `sender` redact them in excerpts.
    pub fn insert_into(&self, request_headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            let mut value = HeaderValue::from_str(value).expect("parse checked that it is a valid value");
            value.set_sensitive(true);
            request_headers.insert(name, value);
        }
    }
}

impl fmt::Debug for CustomerHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.names().map(|name| (name, "…"))).finish()
    }
}

fn with_hyphens(name: &HeaderName) -> Cow<'_, str> {
    if name.as_str().contains('_') { Cow::Owned(name.as_str().replace('_', "-")) } else { Cow::Borrowed(name.as_str()) }
}

/// `name` is in lower case.
fn why_forbidden(name: &str) -> Option<Why> {
    Some(match name {
        "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade" | "http2-settings" => {
            Why::HopByHop
        }
        "host" => Why::Host,
        "accept-encoding" | "expect" => Why::Response,
        "forwarded" => Why::Forwarding,
        "user-agent" => Why::UserAgent,
        _ if name.starts_with("proxy-") => Why::HopByHop,
        _ if name.starts_with("content-") => Why::Content,
        _ if name.starts_with("x-forwarded-") => Why::Forwarding,
        _ if name.starts_with("x-roboticks-") || name.starts_with("webhook-") => Why::Ours,
        _ => return None,
    })
}

/// Visible ASCII, with spaces and tabs in between (RFC 9110, section 5.5). The standard also allows bytes beyond ASCII,
/// but recipients need not understand them.
fn is_field_value(value: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    value.bytes().all(is_allowed) && value.trim_ascii() == value
}

impl InvalidHeader {
    /// What is wrong and what the customer can do about it.
    pub fn message(&self) -> String {
        match self {
            Self::TooMany => format!("There are more than {MAX_HEADERS} custom headers: remove some."),
            Self::TooLarge => {
                format!("The custom headers take more than {MAX_HEADER_BYTES} bytes in total: shorten or remove some.")
            }
            // The name is not quoted: it may be a whole header including its value.
            Self::Name { .. } => {
                "The name of this custom header is not valid: use letters, digits and hyphens, without \
                                  spaces or a colon."
                    .to_owned()
            }
            Self::Value { name } => format!(
                "The value of the custom header {name} is not valid: use printable ASCII characters, with no line \
                 breaks and no spaces at either end."
            ),
            Self::Duplicate { name } => {
                format!(
                    "The custom header {name} is given twice (upper and lower case are the same, and so are _ and -): \
                     keep one."
                )
            }
            Self::Forbidden { name, why } => {
                format!("The custom header {name} cannot be set, because {}: remove it.", why.clause())
            }
        }
    }
}

impl Why {
    fn clause(self) -> &'static str {
        match self {
            Self::HopByHop => "it belongs to the connection and not to the webhook",
            Self::Host => "it follows from the webhook URL",
            Self::Content => "it describes the payload, which is always JSON",
            Self::Response => "it asks for a kind of response that is not supported",
            Self::Forwarding => "it describes proxies, and webhooks are sent directly",
            Self::UserAgent => "it tells receivers that the webhook is from Roboticks",
            Self::Ours => "its name is reserved for the signature and the ids of webhooks",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, value: &str, expected: Result<(), InvalidHeader>) {
        assert_eq!(CustomerHeaders::parse_new([(name, value)]).map(|_| ()), expected, "{name:?}: {value:?}");
    }

    fn named(name: &'static str) -> HeaderName {
        HeaderName::from_static(name)
    }

    #[test]
    fn ordinary_headers() {
        check("Authorization", "Bearer abc.def-123", Ok(()));
        check("X-Api-Key", "s3cr3t with blanks\tand a tab", Ok(()));
        check("x_underscore.and~more", "", Ok(()));
        check("X_Roboticks", "not one of ours", Ok(()));
        check("Cookie", "a=b; c=d", Ok(()));
        check("Accept", "*/*", Ok(()));
        check("X-Roboticks", "not one of ours", Ok(()));
        check("Webhooks-Id", "nor this", Ok(()));
        check("Forwarded-For", "nor this", Ok(()));
    }

    #[test]
    fn names_that_http_does_not_allow() {
        for name in ["", " ", "X Key", "X-Key:", "X-Key\r\n", "Schlüssel", "a\u{0}", "(x)", "X-Key "] {
            check(name, "v", Err(InvalidHeader::Name { position: 1 }));
        }
        let second = CustomerHeaders::parse_new([("a", "1"), ("b:", "2")]);
        assert_eq!(second, Err(InvalidHeader::Name { position: 2 }));
    }

    #[test]
    fn values_that_http_does_not_allow() {
        for value in ["a\nb", "a\r\nX-Evil: 1", "token\n", "\u{0}", "a\u{7f}", "ключ", " a", "a ", "\ta"] {
            check("X-Key", value, Err(InvalidHeader::Value { name: named("x-key") }));
        }
    }

    #[track_caller]
    fn forbidden(names: &[&str], expected: Why) {
        for name in names {
            let refused = CustomerHeaders::parse_new([(name, "v")]).expect_err("it is forbidden");
            assert!(matches!(&refused, InvalidHeader::Forbidden { why, .. } if *why == expected), "{refused:?}");
            assert!(refused.message().contains(&name.to_ascii_lowercase()), "{}", refused.message());
        }
    }

    #[test]
    fn headers_that_customers_cannot_set() {
        forbidden(&["Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade"], Why::HopByHop);
        forbidden(&["Proxy-Authorization", "proxy-connection", "Proxy-Anything"], Why::HopByHop);
        forbidden(&["Host", "HOST"], Why::Host);
        forbidden(&["Content-Type", "Content-Length", "content-encoding", "Content-Anything"], Why::Content);
        forbidden(&["Accept-Encoding", "Expect"], Why::Response);
        forbidden(&["Forwarded", "X-Forwarded-For", "x-forwarded-host"], Why::Forwarding);
        forbidden(&["User-Agent"], Why::UserAgent);
        forbidden(&["X-Roboticks-Signature", "x-roboticks-anything", "Webhook-Id", "webhook-signature"], Why::Ours);
    }

    #[test]
    fn an_underscore_counts_as_a_hyphen() {
        forbidden(&["X_Roboticks_Signature", "x-roboticks_delivery", "Webhook_Signature"], Why::Ours);
        forbidden(&["Content_Length", "CONTENT_TYPE"], Why::Content);
        forbidden(&["Transfer_Encoding", "Proxy_Authorization"], Why::HopByHop);
        forbidden(&["X_Forwarded_For"], Why::Forwarding);
        let twice = CustomerHeaders::parse_new([("X-Api-Key", "1"), ("x_api-KEY", "2")]);
        assert_eq!(twice, Err(InvalidHeader::Duplicate { name: named("x_api-key") }));
    }

    #[test]
    fn stored_names_with_underscores_still_work() {
        let pairs = [("x_roboticks_signature", "1"), ("x_key", "2"), ("x-key", "3")];
        assert!(CustomerHeaders::parse_stored(pairs).is_ok_and(|headers| headers.iter().eq(pairs)));
        assert!(CustomerHeaders::parse_stored([("x-roboticks-signature", "1")]).is_err());
        assert!(CustomerHeaders::parse_stored([("x-key", "2"), ("x-key", "3")]).is_err());
    }

    #[test]
    fn at_most_twenty() {
        let pairs = |count: usize| (0..count).map(|number| (format!("x-{number}"), "v"));
        assert_eq!(CustomerHeaders::parse_new(pairs(MAX_HEADERS)).map(|headers| headers.names().count()), Ok(20));
        assert_eq!(CustomerHeaders::parse_new(pairs(MAX_HEADERS + 1)), Err(InvalidHeader::TooMany));
    }

    #[test]
    fn at_most_8_kib_in_total() {
        let pair = |value_bytes: usize| [("x-key", "v".repeat(value_bytes))];
        let around = "x-key: \r\n".len();
        assert!(CustomerHeaders::parse_new(pair(MAX_HEADER_BYTES - around)).is_ok());
        assert_eq!(CustomerHeaders::parse_new(pair(MAX_HEADER_BYTES - around + 1)), Err(InvalidHeader::TooLarge));
        let many = (0..9).map(|number| (format!("x-{number}"), "v".repeat(1000)));
        assert_eq!(CustomerHeaders::parse_new(many), Err(InvalidHeader::TooLarge));
    }

    #[test]
    fn names_are_case_insensitive() {
        let twice = CustomerHeaders::parse_new([("X-Key", "1"), ("x-KEY", "2")]);
        assert_eq!(twice, Err(InvalidHeader::Duplicate { name: named("x-key") }));
    }

    #[test]
    fn values_reach_the_request_and_no_debug_output() {
        let headers =
            CustomerHeaders::parse_new([("Authorization", "Bearer s3cr3t"), ("X-Tenant", "s3cr3t")]).expect("valid");
        let mut request = HeaderMap::new();
        headers.insert_into(&mut request);
        assert_eq!(request["authorization"], "Bearer s3cr3t");
        assert_eq!(request["x-tenant"], "s3cr3t");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("authorization", "Bearer s3cr3t"), ("x-tenant", "s3cr3t")]);
        assert_eq!(format!("{headers:?}"), r#"{"authorization": "…", "x-tenant": "…"}"#);
        assert!(!format!("{request:?}").contains("s3cr3t"));
    }

    #[test]
    fn errors_never_contain_values() {
        for refused in [
            CustomerHeaders::parse_new([("X-Key", "s3cr3t\n")]),
            CustomerHeaders::parse_new([("Host", "s3cr3t")]),
            CustomerHeaders::parse_new([("s3cr3t:", "v")]),
            CustomerHeaders::parse_new([("a", "s3cr3t"), ("A", "s3cr3t")]),
        ] {
            let refused = refused.expect_err("each is refused");
            let message = refused.message();
            assert!(!format!("{refused:?} {message}").contains("s3cr3t"), "{message}");
            assert!(message.starts_with("The ") && message.ends_with('.') && !message.contains("  "), "{message}");
        }
    }
}
