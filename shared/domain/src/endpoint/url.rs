//! The URL of an endpoint.
//!
//! URLs are parsed as browsers parse them (the WHATWG URL standard), so that `http://0x7f.1` is recognised as the
//! loopback address. Where that standard silently repairs input (white space, backslashes, missing slashes), the URL is
//! refused, so that the stored URL is the one that is called. Host *names* are not resolved here: `sender` vets their
//! addresses at every request.

use std::fmt;
use std::net::IpAddr;

use http::Uri;
use url::{Host, Url};

use crate::endpoint::address::{self, AllowedNetworks};

/// The longest URL accepted, in bytes.
pub const MAX_URL_BYTES: usize = 2048;

/// A URL that webhooks may be sent to: `http` or `https`, a host that is a name or a public address, no user, no
/// fragment, and port 80, 443, or at least 1024.
///
/// Paths and queries often contain secrets, so `Debug` and `Display` show only scheme, host and port.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    url: Url,
    uri: Uri,
}

/// Why a URL cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidUrl {
    TooLong,
    /// It contains white space, a control character or a backslash.
    Character,
    /// It begins neither with `http://` nor with `https://`.
    Scheme,
    /// It begins with `http://`, and URLs that are to be set must be encrypted.
    PlainHttp,
    /// `user:password@` before the host.
    UserInfo,
    /// No host, or an invalid one.
    Host,
    /// An IPv6 address with a zone, such as `fe80::1%eth0`.
    Zone,
    /// A dot at the end of the host.
    TrailingDot,
    /// An IP address that is not public.
    ForbiddenAddress,
    /// A port other than 80, 443, or at least 1024.
    Port,
    /// A `#` and what follows.
    Fragment,
    /// Invalid in another way.
    Malformed,
}

impl EndpointUrl {
    /// Parses a customer's URL.
    ///
    /// # Errors
    /// The first problem found; see [`InvalidUrl::message`].
    pub fn parse(text: &str, allowed: &AllowedNetworks) -> Result<Self, InvalidUrl> {
        if text.len() > MAX_URL_BYTES {
            return Err(InvalidUrl::TooLong);
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(InvalidUrl::Character);
        }
        if text.contains('#') {
            return Err(InvalidUrl::Fragment);
        }
        let authority = authority(text)?;
        check_authority(authority)?;
        let url = Url::parse(text).map_err(refusal)?;
        match url.host() {
            Some(Host::Ipv4(address)) => {
                check_address(address.into(), allowed)?;
                check_end(authority)?;
            }
            Some(Host::Ipv6(address)) => check_address(address.into(), allowed)?,
            Some(Host::Domain(name)) => check_name(name)?,
            None => return Err(InvalidUrl::Host),
        }
        if !matches!(url.port_or_known_default(), Some(80 | 443 | 1024..)) {
            return Err(InvalidUrl::Port);
        }
        // Normalizing can triple a URL's length (`ü` becomes `%C3%BC`), and the limit is for what is sent too.
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(InvalidUrl::TooLong);
        }
        let uri = Uri::try_from(url.as_str()).map_err(|_| InvalidUrl::Malformed)?;
        Ok(Self { url, uri })
    }

    /// The whole URL, normalized. It may contain secrets: show it to its owner, but never log it.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The same URL, as the HTTP client takes it.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The same URL, as the HTTP client parses and sends it.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The host's address, if the host is an IP literal and not a name.
    pub fn ip_literal(&self) -> Option<IpAddr> {
        match self.url.host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        }
    }

    /// Whether it has the same origin as `other`: the same scheme, host and port, however they are written.
    pub fn has_origin_of(&self, other: &Self) -> bool {
        self.url.origin() == other.url.origin()
    }

    /// The same URL, if its scheme is `https`.
    ///
    /// # Errors
    /// [`InvalidUrl::PlainHttp`] otherwise.
    pub fn require_https(self) -> Result<Self, InvalidUrl> {
        if self.is_encrypted() { Ok(self) } else { Err(InvalidUrl::PlainHttp) }
    }

    /// Whether the scheme is `https`.
    pub fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Scheme, host and port, for logs: a URL's path is often as secret as its query.
    pub fn redacted(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EndpointUrl").field(&self.redacted()).finish()
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

/// Whether a valid URL, as a customer wrote it, has the scheme `http`.
pub fn is_plain_http(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("http"))
}

/// The part between `://` and the path, parsed strictly: the WHATWG standard also accepts `https:host` and
/// `https:///host`, and drops an empty user.
fn authority(text: &str) -> Result<&str, InvalidUrl> {
    let (scheme, rest) = text.split_once("://").ok_or(InvalidUrl::Scheme)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(InvalidUrl::Scheme);
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.is_empty() { Err(InvalidUrl::Host) } else { Ok(authority) }
}

fn check_authority(authority: &str) -> Result<(), InvalidUrl> {
    if authority.contains('@') {
        return Err(InvalidUrl::UserInfo);
    }
    if authority.starts_with('[') && authority.contains('%') {
        return Err(InvalidUrl::Zone);
    }
    Ok(())
}

fn check_address(address: IpAddr, allowed: &AllowedNetworks) -> Result<(), InvalidUrl> {
    address::check(address, allowed).map_err(|_| InvalidUrl::ForbiddenAddress)
}

/// The standard drops a dot after an IPv4 address, in any of its spellings.
fn check_end(authority: &str) -> Result<(), InvalidUrl> {
    let host = authority.split(':').next().unwrap_or_default();
    let is_dot = |c: char| matches!(c, '.' | '。' | '．' | '｡');
    if host.ends_with(is_dot) || host.to_ascii_lowercase().ends_with("%2e") {
        Err(InvalidUrl::TrailingDot)
    } else {
        Ok(())
    }
}

/// A dot at the end is valid in DNS, but certificates and servers do not have it in their host names. No name is
/// forbidden as such, not even `localhost`: the addresses that it resolves to decide.
fn check_name(name: &str) -> Result<(), InvalidUrl> {
    if name.ends_with('.') {
        return Err(InvalidUrl::TrailingDot);
    }
    let label_is_valid = |label: &str| !label.is_empty() && label.len() <= 63;
    if name.len() > 253 || !name.split('.').all(label_is_valid) {
        return Err(InvalidUrl::Host);
    }
    Ok(())
}

fn refusal(error: url::ParseError) -> InvalidUrl {
    use url::ParseError;
    match error {
        ParseError::EmptyHost
        | ParseError::IdnaError
        | ParseError::InvalidIpv4Address
        | ParseError::InvalidIpv6Address
        | ParseError::InvalidDomainCharacter => InvalidUrl::Host,
        ParseError::InvalidPort => InvalidUrl::Port,
        _ => InvalidUrl::Malformed,
    }
}

impl InvalidUrl {
    /// What is wrong and what the customer can do about it.
    pub fn message(self) -> String {
        match self {
            Self::TooLong => {
                return format!("The webhook URL is longer than {MAX_URL_BYTES} characters: use a shorter one.");
            }
            Self::Character => {
                "The webhook URL contains a space, a line break, a control character or a backslash: remove it, or \
                 percent-encode it."
            }
            Self::Scheme => "The webhook URL must start with https:// (recommended) or http://.",
            Self::PlainHttp => "The webhook URL must start with https://: requests over http:// are not encrypted.",
            Self::UserInfo => {
                "The webhook URL must not contain a user name or password: send credentials in a custom header instead."
            }
            Self::Host => "The webhook URL has no valid host: it should look like https://example.com/webhook.",
            Self::Zone => "The webhook URL must not contain an IPv6 zone: use a host name or a public address.",
            Self::TrailingDot => "The host of the webhook URL must not end with a dot: remove the dot.",
            Self::ForbiddenAddress => "The webhook URL must be publicly accessible: use a host with a public address.",
            Self::Port => "The port of the webhook URL must be 80, 443, or at least 1024.",
            Self::Fragment => "The webhook URL must not contain a #: remove it and what follows, which is never sent.",
            Self::Malformed => "The webhook URL is not valid: it should look like https://example.com/webhook.",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<EndpointUrl, InvalidUrl> {
        EndpointUrl::parse(text, &AllowedNetworks::none())
    }

    #[track_caller]
    fn accepted(text: &str, normalized: &str) {
        let url = parse(text).unwrap_or_else(|refused| panic!("{text:?} was refused: {refused:?}"));
        assert_eq!(url.as_str(), normalized);
        assert_eq!(url.uri().host(), Url::parse(normalized).expect("a test URL parses").host_str());
    }

    #[track_caller]
    fn refused(texts: &[&str], expected: InvalidUrl) {
        for text in texts {
            assert_eq!(parse(text).map(|url| url.url), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn ordinary_urls() {
        accepted("https://example.com", "https://example.com/");
        accepted("http://example.com/webhook", "http://example.com/webhook");
        accepted("HTTPS://Example.COM:443/A?b=C&d", "https://example.com/A?b=C&d");
        accepted("https://example.com:8443/a%20b", "https://example.com:8443/a%20b");
        accepted("https://example.com?token=1", "https://example.com/?token=1");
        accepted("http://example.com:1024/", "http://example.com:1024/");
        accepted("https://bücher.example/ü", "https://xn--bcher-kva.example/%C3%BC");
        accepted("https://example.com/a@b:c", "https://example.com/a@b:c");
        accepted("https://example.com/{id}|x?y={z}", "https://example.com/%7Bid%7D|x?y={z}");
        accepted("https://8.8.8.8/", "https://8.8.8.8/");
        accepted("https://[2606:4700:4700::1111]:8443/", "https://[2606:4700:4700::1111]:8443/");
        // A name's addresses are vetted when it is resolved.
        accepted("http://localhost:8080/", "http://localhost:8080/");
        accepted("http://printer/", "http://printer/");
    }

    #[test]
    fn https_can_be_required() {
        for (text, expected) in [("HTTPS://example.com/", None), ("HTTP://example.com/", Some(InvalidUrl::PlainHttp))] {
            assert_eq!(parse(text).and_then(EndpointUrl::require_https).err(), expected, "{text}");
            assert_eq!(is_plain_http(text), expected.is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_web_url() {
        refused(&["", "example.com", "//example.com", "/webhook", "mailto:a@example.com"], InvalidUrl::Scheme);
        refused(
            &["ftp://example.com", "file:///etc/passwd", "gopher://example.com:70/", "ws://a.b"],
            InvalidUrl::Scheme,
        );
        refused(&["https:example.com", "https:/example.com", "http//example.com"], InvalidUrl::Scheme);
        refused(&["https://", "https:///example.com", "https://?a", "https://:443/", "http://[]/"], InvalidUrl::Host);
        refused(&["https://exa<mple.com", "https://a..b/", "https://.example.com", "https://[::1"], InvalidUrl::Host);
        refused(
            &["https://999.1.1.1/", "https://1.2.3.4.5/", "https://[1::2::3]/", "https://a%00b/"],
            InvalidUrl::Host,
        );
        refused(&["https://xn--/", "https://a%2fb/"], InvalidUrl::Host);
    }

    #[test]
    fn urls_that_browsers_would_repair() {
        refused(&[" https://example.com", "https://example.com ", "https://exa\tmple.com"], InvalidUrl::Character);
        refused(&["https://example.com/\n", "https://example.com/a b", "https:\\\\example.com"], InvalidUrl::Character);
        refused(
            &["https://example.com\\@evil.example", "https://example.com/\u{0}", "\u{a0}https://a.b"],
            InvalidUrl::Character,
        );
        refused(
            &["https://user@example.com", "https://u:p@example.com/", "https://@example.com"],
            InvalidUrl::UserInfo,
        );
        refused(&["https://example.com/#top", "https://example.com#", "https://a#@b"], InvalidUrl::Fragment);
        refused(&["https://example.com./", "http://localhost./", "https://8.8.8.8./"], InvalidUrl::TrailingDot);
        refused(&["http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/"], InvalidUrl::Zone);
    }

    #[test]
    fn ports() {
        refused(&["http://example.com:0/", "http://example.com:22/", "https://example.com:25"], InvalidUrl::Port);
        refused(&["https://example.com:1023/", "https://example.com:79", "https://example.com:444/"], InvalidUrl::Port);
        refused(&["https://example.com:65536/", "https://example.com:http/"], InvalidUrl::Port);
        accepted("https://example.com:80/", "https://example.com:80/");
        accepted("http://example.com:443/", "http://example.com:443/");
        accepted("https://example.com:65535/", "https://example.com:65535/");
        accepted("https://example.com:/", "https://example.com/");
    }

    #[test]
    fn forbidden_addresses_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "127。0。0。1",
            "0",
            "0.0.0.0",
            "169.254.169.254",
            "0xa9fea9fe",
            "10.0.0.1",
            "[::]",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[fd00:ec2::254]",
            "[fe80::1]",
        ] {
            refused(&[&format!("http://{host}/"), &format!("https://{host}:8443/x")], InvalidUrl::ForbiddenAddress);
        }
    }

    #[test]
    fn allowed_networks_open_literals() {
        let loopback = "127.0.0.0/8".parse().expect("the test's networks parse");
        let url = EndpointUrl::parse("http://127.0.0.1:9000/x", &loopback).expect("it is allowed");
        assert_eq!(url.ip_literal(), Some("127.0.0.1".parse().expect("it is an address")));
        assert_eq!(EndpointUrl::parse("http://10.0.0.1/", &loopback), Err(InvalidUrl::ForbiddenAddress));
        assert_eq!(parse("https://example.com").map(|url| url.ip_literal()), Ok(None));
    }

    #[test]
    fn lengths() {
        let of_length = |length: usize| format!("https://example.com/{}", "a".repeat(length - 20));
        assert!(parse(&of_length(MAX_URL_BYTES)).is_ok());
        refused(&[&of_length(MAX_URL_BYTES + 1)], InvalidUrl::TooLong);
        refused(&[&format!("https://example.com/{}", "ü".repeat(600))], InvalidUrl::TooLong);
        refused(&[&format!("https://{}.example/", "a".repeat(64))], InvalidUrl::Host);
        refused(&[&format!("https://{}example/", "a.".repeat(130))], InvalidUrl::Host);
    }

    #[test]
    fn secrets_in_path_and_query_are_not_shown() {
        let url = parse("https://hooks.example.com:8443/services/T0/B0/secret?token=secret").expect("it is valid");
        assert_eq!(url.redacted(), "https://hooks.example.com:8443");
        assert_eq!(
            format!("{url} {url:?}"),
            r#"https://hooks.example.com:8443 EndpointUrl("https://hooks.example.com:8443")"#
        );
    }

    #[track_caller]
    fn same_origin(one: &str, other: &str, expected: bool) {
        let [one, other] = [one, other].map(|text| parse(text).unwrap_or_else(|refused| panic!("{text}: {refused:?}")));
        assert_eq!((one.has_origin_of(&other), other.has_origin_of(&one)), (expected, expected), "{one} {other}");
    }

    #[test]
    fn an_origin_is_the_same_however_it_is_written() {
        same_origin("https://example.com/a?b", "HTTPS://Example.COM:443/c", true);
        same_origin("http://example.com", "http://example.com:80/", true);
        same_origin("https://bücher.example/", "https://XN--BCHER-KVA.example/", true);
        same_origin("https://exam%70le.com/", "https://ｅｘａｍｐｌｅ.com/", true);
        same_origin("https://8.8.8.8/", "https://0x08080808/", true);
        same_origin("https://[2606:4700:4700::1111]/", "https://[2606:4700:4700:0:0:0:0:1111]/", true);
    }

    #[test]
    fn another_scheme_host_or_port_is_another_origin() {
        same_origin("https://example.com/", "http://example.com/", false);
        same_origin("https://example.com/", "http://example.com:443/", false);
        same_origin("https://example.com/", "https://example.com:8443/", false);
        same_origin("https://example.com/", "https://www.example.com/", false);
        same_origin("https://example.com/", "https://example.co/m", false);
        same_origin("https://8.8.8.8/", "https://8.8.4.4/", false);
    }

    #[test]
    fn every_error_is_a_sentence() {
        use InvalidUrl::*;
        for refused in
            [TooLong, Character, Scheme, UserInfo, Host, Zone, TrailingDot, ForbiddenAddress, Port, Fragment, Malformed]
        {
            let message = refused.message();
            assert!(message.starts_with("The ") && message.ends_with('.') && !message.contains("  "), "{message}");
        }
    }
}
