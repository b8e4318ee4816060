//! What an endpoint did with one request.
//!
//! An outcome is a value, not an error: failing endpoints are normal here. Each failure has a `code`, which programs
//! may rely on because its meaning never changes, and a message that tells the customer what to do about it. Neither
//! contains an address, a header value or anything that the endpoint sent except its status.

use std::time::Duration;

use http::StatusCode;

use crate::endpoint::headers::InvalidHeader;
use crate::endpoint::url::InvalidUrl;

/// A response head of up to this many bytes, 408 KiB, is never refused for its size; one of twice as many always is. In
/// between it depends on how far hyper had enlarged its buffer. The number is hyper's `DEFAULT_MAX_BUFFER_SIZE`, which
/// reqwest does not change. Common servers send at most 8 to 16 KiB.
pub const MAX_RESPONSE_HEAD: usize = 8192 + 100 * 4096;

/// A response with more headers than this is refused. For comparison, Python accepts 100 and Node.js 2,000.
pub const MAX_RESPONSE_HEADERS: usize = 512;

/// What the endpoint did. A status is the number in the response's first line, 100 to 999.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It answered with a 2xx status.
    Accepted { status: u16 },
    /// It answered with any other status, redirects included.
    Rejected { status: u16 },
    /// This phase was not over within `limit`.
    TimedOut { phase: Phase, limit: Duration },
    /// It gave no HTTP response.
    Unreachable(Unreachable),
    /// The request was not sent, because that is not allowed.
    Blocked(Blocked),
}

/// The phase in which a request timed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Resolving the name, connecting, and the TLS handshake.
    Connect,
    /// Sending the request and receiving the whole response head.
    Response,
}

/// Why there was no HTTP response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The host name does not resolve.
    Dns,
    ConnectionRefused,
    /// No network path to the address.
    NoRoute,
    Tls(TlsFault),
    /// The connection ended before the whole response head had arrived.
    ClosedEarly,
    /// The response is not HTTP.
    NotHttp,
    /// The response begins like HTTP, but not with a valid HTTP/1 status line.
    BadStatusLine,
    /// The response has headers that the HTTP client cannot ignore: they contradict each other about the length of the
    /// body, or contain a NUL or a carriage return.
    BadResponseHead,
    /// The response head is larger than [`MAX_RESPONSE_HEAD`] allows, or has more headers than
    /// [`MAX_RESPONSE_HEADERS`].
    HeadTooLarge,
    /// The connection failed for another reason.
    Other,
}

/// Why there is no TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    CertificateExpired,
    CertificateNotYetValid,
    /// Self-signed, from a private authority, or sent without its intermediate certificates.
    UnknownIssuer,
    /// The certificate is for another host.
    WrongHost,
    /// The certificate is invalid for another reason.
    BadCertificate,
    /// The other side does not speak TLS.
    NotTls,
    /// The two sides have no common parameters, or the endpoint aborted the handshake.
    Handshake,
}

/// Why a request must not be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The host is, or resolves to, an address that is not public.
    Address,
    /// The integration's URL is not allowed.
    Url(InvalidUrl),
    /// One of the integration's headers is not allowed.
    Header(InvalidHeader),
}

/// Every code that a failure can have, for the documentation and its tests. Codes are only ever added.
pub const CODES: [&str; 30] = [
    "redirect",
    "unauthorized",
    "not_found",
    "method_not_allowed",
    "gone",
    "payload_too_large",
    "rate_limited",
    "client_error",
    "server_error",
    "unexpected_status",
    "timeout_connect",
    "timeout_response",
    "dns_failed",
    "connection_refused",
    "no_route",
    "tls_expired",
    "tls_not_yet_valid",
    "tls_unknown_issuer",
    "tls_wrong_host",
    "tls_bad_certificate",
    "tls_not_spoken",
    "tls_handshake",
    "closed_early",
    "not_http",
    "bad_status_line",
    "bad_response_head",
    "response_head_too_large",
    "connection_failed",
    "blocked_address",
    "blocked_configuration",
];

impl Outcome {
    /// The outcome of a response with this status: 2xx is accepted, anything else rejected.
    pub fn of_status(status: StatusCode) -> Self {
        let number = status.as_u16();
        if status.is_success() { Self::Accepted { status: number } } else { Self::Rejected { status: number } }
    }

    /// Whether the endpoint accepted the request: any 2xx.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }

    /// The status the endpoint answered with, if it answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Accepted { status } | Self::Rejected { status } => Some(*status),
            Self::TimedOut { .. } | Self::Unreachable(_) | Self::Blocked(_) => None,
        }
    }

    /// The name of its kind in the ledger, the log and the API.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Rejected { .. } => "rejected",
            Self::TimedOut { .. } => "timed_out",
            Self::Unreachable(_) => "unreachable",
            Self::Blocked(_) => "blocked",
        }
    }

    /// Whether a customer may see how long it took. Not for blocked addresses and names that do not resolve, since the
    /// timing would reveal what is inside our network.
    pub fn shows_timing(&self) -> bool {
        !matches!(self, Self::Blocked(_) | Self::Unreachable(Unreachable::Dns))
    }

    /// The stable code of a failure, one of [`CODES`]; `None` for a success.
    pub fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Accepted { .. } => return None,
            Self::Rejected { status } => rejection_code(*status),
            Self::TimedOut { phase: Phase::Connect, .. } => "timeout_connect",
            Self::TimedOut { phase: Phase::Response, .. } => "timeout_response",
            Self::Unreachable(reason) => reason.code(),
            Self::Blocked(reason) => reason.code(),
        })
    }

    /// What happened and what the customer can do about it; `None` for a success.
    pub fn message(&self) -> Option<String> {
        Some(match self {
            Self::Accepted { .. } => return None,
            Self::Rejected { status } => rejection_message(*status),
            Self::TimedOut { phase, limit } => timeout_message(*phase, *limit),
            Self::Unreachable(reason) => reason.message().to_owned(),
            Self::Blocked(reason) => reason.message(),
        })
    }
}

impl From<InvalidUrl> for Outcome {
    fn from(refused: InvalidUrl) -> Self {
        Self::Blocked(match refused {
            InvalidUrl::ForbiddenAddress => Blocked::Address,
            refused => Blocked::Url(refused),
        })
    }
}

impl From<InvalidHeader> for Outcome {
    fn from(refused: InvalidHeader) -> Self {
        Self::Blocked(Blocked::Header(refused))
    }
}

fn rejection_code(status: u16) -> &'static str {
    match status {
        300..=399 => "redirect",
        401 | 403 => "unauthorized",
        404 => "not_found",
        405 => "method_not_allowed",
        410 => "gone",
        413 => "payload_too_large",
        429 => "rate_limited",
        400..=499 => "client_error",
        500..=599 => "server_error",
        _ => "unexpected_status",
    }
}

fn rejection_message(status: u16) -> String {
    let advice = match status {
        300..=399 => "a redirect, and redirects are never followed: set the webhook URL to the final address",
        401 | 403 => {
            "so it refused the request: check that the signing secret and the custom headers match on both sides, and \
             that the signature is verified over the raw body, before any JSON parsing"
        }
        404 => "so there is nothing at this path: check the webhook URL",
        405 => "so it does not accept this method: set the integration's HTTP method to the one it expects",
        410 => {
            "which means that it wants no more webhooks, and switches the integration off if it was the answer to an \
                alert: to receive more, answer with 200 and switch the integration on if it is off"
        }
        413 => "so the alert is larger than it accepts: raise its limit for request bodies to 256 KiB",
        429 => {
            "so it received more requests than it accepts: raise its rate limit, or answer immediately and process \
                the webhook in the background"
        }
        400..=499 => "so it refused the request: check its log for the reason",
        500..=599 => "so it failed while handling the request: check its log for the reason",
        _ => "which is not a final HTTP status: answer with 200 once the webhook is received",
    };
    format!("Your endpoint answered {status}, {advice}.")
}

fn timeout_message(phase: Phase, limit: Duration) -> String {
    let limit = in_words(limit);
    match phase {
        Phase::Connect => format!(
            "We could not connect to your endpoint within {limit}: check the host and port of the webhook URL, and \
             that your firewall allows incoming requests."
        ),
        Phase::Response => format!(
            "Your endpoint did not answer within {limit}: answer with 200 as soon as the webhook is received, and \
             process it in the background."
        ),
    }
}

fn in_words(limit: Duration) -> String {
    match (limit.as_secs(), limit.subsec_millis()) {
        (1, 0) => "1 second".to_owned(),
        (seconds, 0) => format!("{seconds} seconds"),
        _ => format!("{} milliseconds", limit.as_millis()),
    }
}

impl Unreachable {
    fn code(self) -> &'static str {
        match self {
            Self::Dns => "dns_failed",
            Self::ConnectionRefused => "connection_refused",
            Self::NoRoute => "no_route",
            Self::Tls(fault) => fault.code(),
            Self::ClosedEarly => "closed_early",
            Self::NotHttp => "not_http",
            Self::BadStatusLine => "bad_status_line",
            Self::BadResponseHead => "bad_response_head",
            Self::HeadTooLarge => "response_head_too_large",
            Self::Other => "connection_failed",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Dns => {
                "The host name of the webhook URL does not resolve: check its spelling, and that it is in public DNS."
            }
            Self::ConnectionRefused => {
                "Nothing accepts connections at the host and port of the webhook URL: check that the server is \
                 running, that the port is right, and that your firewall allows incoming requests."
            }
            Self::NoRoute => {
                "There is no network path to the host of the webhook URL: check that it is publicly reachable over \
                 IPv4 and that your firewall allows incoming requests."
            }
            Self::Tls(fault) => fault.message(),
            Self::ClosedEarly => {
                "Your endpoint closed the connection without answering: check its log and those of any proxy or \
                 firewall in front of it."
            }
            Self::NotHttp => {
                "The server at the host and port of the webhook URL does not speak HTTP: check the port, and use an \
                 https:// URL if the server expects TLS."
            }
            Self::BadStatusLine => {
                "Your endpoint's response does not begin with a valid HTTP/1.1 status line: begin it like \
                 HTTP/1.1 200 OK, with single spaces, a three-digit status and no control characters."
            }
            Self::BadResponseHead => {
                "Your endpoint answered, but its headers leave unclear where the response ends: send no \
                 Transfer-Encoding with HTTP/1.0, at most one Content-Length, which must be a whole number, and no NUL \
                 or lone carriage return in any header."
            }
            Self::HeadTooLarge => {
                "Your endpoint's response headers are too large: send at most 512 headers, of at most 400 KiB together."
            }
            Self::Other => {
                "The connection to your endpoint failed: check that the webhook URL is right and publicly reachable."
            }
        }
    }
}

impl TlsFault {
    fn code(self) -> &'static str {
        match self {
            Self::CertificateExpired => "tls_expired",
            Self::CertificateNotYetValid => "tls_not_yet_valid",
            Self::UnknownIssuer => "tls_unknown_issuer",
            Self::WrongHost => "tls_wrong_host",
            Self::BadCertificate => "tls_bad_certificate",
            Self::NotTls => "tls_not_spoken",
            Self::Handshake => "tls_handshake",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::CertificateExpired => "Your endpoint's HTTPS certificate has expired: renew it.",
            Self::CertificateNotYetValid => {
                "Your endpoint's HTTPS certificate is not valid yet: check its dates, or use one that is valid now."
            }
            Self::UnknownIssuer => {
                "Your endpoint's HTTPS certificate is self-signed or its chain is incomplete: use one from a public \
                 authority, and make the server send the intermediate certificates with it."
            }
            Self::WrongHost => {
                "Your endpoint's HTTPS certificate is for another host: use one that names the host of the webhook URL."
            }
            Self::BadCertificate => {
                "Your endpoint's HTTPS certificate is not valid: check it with an online TLS test, and replace it."
            }
            Self::NotTls => {
                "The server at the host and port of the webhook URL does not speak TLS: check the port, or use an \
                 http:// URL."
            }
            Self::Handshake => {
                "The TLS handshake with your endpoint failed: check that it supports TLS 1.2 or 1.3, offers HTTP/1.1 \
                 besides HTTP/2, and does not require a client certificate."
            }
        }
    }
}

impl Blocked {
    fn code(&self) -> &'static str {
        match self {
            Self::Address | Self::Url(InvalidUrl::ForbiddenAddress) => "blocked_address",
            Self::Url(_) | Self::Header(_) => "blocked_configuration",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Address => {
                "The host of the webhook URL is not publicly accessible: use a host whose addresses are all public."
                    .to_owned()
            }
            Self::Url(refused) => refused.message(),
            Self::Header(refused) => refused.message(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const THIRTY_SECONDS: Duration = Duration::from_secs(30);

    fn answered(status: u16) -> Outcome {
        Outcome::of_status(StatusCode::from_u16(status).expect("a test status is valid"))
    }

    #[track_caller]
    fn check(outcome: Outcome, kind: &str, code: &str, part_of_message: &str) {
        assert_eq!(outcome.kind(), kind);
        assert_eq!(outcome.code(), Some(code), "{outcome:?}");
        assert!(CODES.contains(&code), "{code} is not in CODES");
        assert!(!outcome.is_success());
        let message = outcome.message().expect("a failure has a message");
        assert!(message.contains(part_of_message), "{message}");
        assert!(message.ends_with('.') && !message.contains("  "), "{message}");
    }

    #[test]
    fn only_a_2xx_is_a_success() {
        for status in 100..=999 {
            let outcome = answered(status);
            assert_eq!(outcome.status(), Some(status));
            assert_eq!(outcome.is_success(), (200..300).contains(&status), "{status}");
            assert_eq!(outcome.code().is_none(), outcome.is_success());
            assert_eq!(outcome.message().is_none(), outcome.is_success());
        }
        assert_eq!(answered(204).kind(), "accepted");
    }

    #[test]
    fn rejections() {
        check(answered(301), "rejected", "redirect", "final address");
        check(answered(304), "rejected", "redirect", "answered 304");
        check(answered(401), "rejected", "unauthorized", "raw body");
        check(answered(403), "rejected", "unauthorized", "signing secret");
        check(answered(404), "rejected", "not_found", "check the webhook URL");
        check(answered(405), "rejected", "method_not_allowed", "HTTP method");
        check(answered(410), "rejected", "gone", "switches the integration off");
        check(answered(413), "rejected", "payload_too_large", "256 KiB");
        check(answered(429), "rejected", "rate_limited", "rate limit");
        check(answered(400), "rejected", "client_error", "answered 400");
        check(answered(422), "rejected", "client_error", "answered 422");
        check(answered(500), "rejected", "server_error", "answered 500");
        check(answered(503), "rejected", "server_error", "answered 503");
        check(answered(101), "rejected", "unexpected_status", "200");
        check(answered(999), "rejected", "unexpected_status", "answered 999");
    }

    #[test]
    fn timeouts_name_their_limit() {
        let timed_out = |phase, limit| Outcome::TimedOut { phase, limit };
        check(timed_out(Phase::Connect, Duration::from_secs(10)), "timed_out", "timeout_connect", "10 seconds");
        check(timed_out(Phase::Connect, Duration::from_secs(1)), "timed_out", "timeout_connect", "1 second:");
        check(timed_out(Phase::Response, THIRTY_SECONDS), "timed_out", "timeout_response", "30 seconds");
        check(timed_out(Phase::Response, Duration::from_millis(1500)), "timed_out", "timeout_response", "1500 milli");
    }

    const UNREACHABLE: [Unreachable; 16] = [
        Unreachable::Dns,
        Unreachable::ConnectionRefused,
        Unreachable::NoRoute,
        Unreachable::Tls(TlsFault::CertificateExpired),
        Unreachable::Tls(TlsFault::CertificateNotYetValid),
        Unreachable::Tls(TlsFault::UnknownIssuer),
        Unreachable::Tls(TlsFault::WrongHost),
        Unreachable::Tls(TlsFault::BadCertificate),
        Unreachable::Tls(TlsFault::NotTls),
        Unreachable::Tls(TlsFault::Handshake),
        Unreachable::ClosedEarly,
        Unreachable::NotHttp,
        Unreachable::BadStatusLine,
        Unreachable::BadResponseHead,
        Unreachable::HeadTooLarge,
        Unreachable::Other,
    ];

    fn blocked() -> Vec<Outcome> {
        vec![Outcome::Blocked(Blocked::Address), InvalidUrl::Scheme.into(), InvalidHeader::TooMany.into()]
    }

    #[test]
    fn unreachable_and_blocked() {
        check(Outcome::Unreachable(Unreachable::Dns), "unreachable", "dns_failed", "public DNS");
        check(Outcome::Unreachable(Unreachable::ConnectionRefused), "unreachable", "connection_refused", "firewall");
        check(Outcome::Unreachable(Unreachable::NotHttp), "unreachable", "not_http", "https://");
        check(Outcome::Unreachable(Unreachable::BadStatusLine), "unreachable", "bad_status_line", "HTTP/1.1 200 OK");
        check(Outcome::Unreachable(Unreachable::BadResponseHead), "unreachable", "bad_response_head", "HTTP/1.0");
        let (headers, kib) = (MAX_RESPONSE_HEADERS, MAX_RESPONSE_HEAD / 1024 / 100 * 100);
        let bounds = format!("at most {headers} headers, of at most {kib} KiB");
        check(Outcome::Unreachable(Unreachable::HeadTooLarge), "unreachable", "response_head_too_large", &bounds);
        check(Outcome::Blocked(Blocked::Address), "blocked", "blocked_address", "public");
        check(InvalidUrl::ForbiddenAddress.into(), "blocked", "blocked_address", "public");
        check(InvalidUrl::Scheme.into(), "blocked", "blocked_configuration", "https://");
        check(InvalidHeader::TooMany.into(), "blocked", "blocked_configuration", "20");
    }

    #[test]
    fn each_unreachable_reason_has_its_own_code() {
        let codes = UNREACHABLE.map(Unreachable::code);
        assert_eq!(codes.iter().collect::<BTreeSet<_>>().len(), codes.len());
        for reason in UNREACHABLE {
            check(Outcome::Unreachable(reason), "unreachable", reason.code(), "");
        }
    }

    #[test]
    fn the_list_has_exactly_the_codes_that_can_occur() {
        let timed_out =
            [Phase::Connect, Phase::Response].map(|phase| Outcome::TimedOut { phase, limit: THIRTY_SECONDS });
        let outcomes =
            (100..=999).map(answered).chain(timed_out).chain(UNREACHABLE.map(Outcome::Unreachable)).chain(blocked());
        let codes: BTreeSet<_> = outcomes.filter_map(|outcome| outcome.code()).collect();
        assert_eq!(codes, BTreeSet::from(CODES));
    }

    #[test]
    fn what_is_inside_our_network_shows_no_timing() {
        assert!(answered(200).shows_timing());
        assert!(answered(500).shows_timing());
        assert!(Outcome::Unreachable(Unreachable::ConnectionRefused).shows_timing());
        assert!(!Outcome::Unreachable(Unreachable::Dns).shows_timing());
        assert!(blocked().iter().all(|outcome| !outcome.shows_timing()));
    }
}
