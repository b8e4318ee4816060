//! Which outcome, or which fault of this machine, an error of the HTTP client stands for.
//!
//! The client, TLS and the operating system wrap each other's errors. They are classified by the types of their causes,
//! never by their texts.

use std::error::Error;
use std::io;
use std::time::Duration;

use domain::attempt::outcome::{Blocked, Outcome, Phase, TlsFault, Unreachable};
use rustls::{CertificateError, InvalidMessage, OtherError};

use super::SendFault;
use super::connector::ConnectFault;

/// Classifies the failure of a request. `connect_limit` is the limit that a timeout while connecting reports.
pub(super) fn classify(error: &reqwest::Error, connect_limit: Duration) -> Result<Outcome, SendFault> {
    let phase = if error.is_connect() { Phase::Connect } else { Phase::Response };
    // reqwest's timeout type is private, but it has this predicate.
    if phase == Phase::Connect && error.is_timeout() {
        return Ok(Outcome::TimedOut { phase, limit: connect_limit });
    }
    classify_chain(error, phase, connect_limit)
}

/// Classifies an error by the first cause in its chain that is conclusive.
fn classify_chain(error: &(dyn Error + 'static), phase: Phase, connect_limit: Duration) -> Result<Outcome, SendFault> {
    let found = causes(error).find_map(|cause| classify_cause(cause, phase, connect_limit));
    found.unwrap_or(Ok(Outcome::Unreachable(Unreachable::Other)))
}

/// Classifies a single cause; `None` if it is not conclusive.
fn classify_cause(
    cause: &(dyn Error + 'static),
    phase: Phase,
    connect_limit: Duration,
) -> Option<Result<Outcome, SendFault>> {
    let connect_timeout = Outcome::TimedOut { phase: Phase::Connect, limit: connect_limit };
    if let Some(fault) = cause.downcast_ref::<ConnectFault>() {
        return Some(match fault {
            ConnectFault::Unresolved(Some(error)) if is_out_of_resources(error) => Err(SendFault::OutOfResources),
            ConnectFault::Unresolved(_) => Ok(Outcome::Unreachable(Unreachable::Dns)),
            ConnectFault::Blocked(_) => Ok(Outcome::Blocked(Blocked::Address)),
        });
    }
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return Some(Ok(Outcome::Unreachable(Unreachable::Tls(tls_fault(error)))));
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return http_fault(error).map(Outcome::Unreachable).map(Ok);
    }
    let error = cause.downcast_ref::<io::Error>()?;
    if is_out_of_resources(error) {
        return Some(Err(SendFault::OutOfResources));
    }
    if phase == Phase::Connect && error.kind() == io::ErrorKind::TimedOut {
        return Some(Ok(connect_timeout));
    }
    network_fault(error.kind(), phase).map(Outcome::Unreachable).map(Ok)
}

/// An error and its causes, outermost first. `source` of an `io::Error` skips the error that it wraps, which is often
/// the conclusive one.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    })
}

/// Errors of `open` and `socket` that have nothing to do with the endpoint.
fn is_out_of_resources(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

fn http_fault(error: &hyper::Error) -> Option<Unreachable> {
    if error.is_parse_too_large() {
        return Some(Unreachable::HeadTooLarge);
    }
    if error.is_parse_status() {
        return Some(Unreachable::BadStatusLine);
    }
    // A response that is not HTTP/1 at all is not an error to the client: see `not_http1`.
    if error.is_parse() {
        return Some(Unreachable::BadResponseHead);
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return Some(Unreachable::ClosedEarly);
    }
    // The server spoke first, as mail servers do. The client has no predicate for that, but it is the only fault left
    // that has no cause.
    (error.source().is_none() && !error.is_user()).then_some(Unreachable::NotHttp)
}

/// Classifies a response that is not HTTP/1, by its first bytes.
pub(super) fn not_http1(beginning: &[u8]) -> Unreachable {
    const PREFIX: &[u8] = b"HTTP/";
    match beginning.get(..PREFIX.len()) {
        Some(bytes) if bytes.eq_ignore_ascii_case(PREFIX) => Unreachable::BadStatusLine,
        _ => Unreachable::NotHttp,
    }
}

fn network_fault(kind: io::ErrorKind, phase: Phase) -> Option<Unreachable> {
    use io::ErrorKind;
    match kind {
        ErrorKind::ConnectionRefused => Some(Unreachable::ConnectionRefused),
        ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::NotConnected
        | ErrorKind::AddrNotAvailable => Some(Unreachable::NoRoute),
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof
        | ErrorKind::TimedOut => Some(match phase {
            // TCP was connected already: refused connections have another error.
            Phase::Connect => Unreachable::Tls(TlsFault::Handshake),
            Phase::Response => Unreachable::ClosedEarly,
        }),
        _ => None,
    }
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate_fault(error),
        // How the first bytes of another protocol are reported.
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => TlsFault::NotTls,
        _ => TlsFault::Handshake,
    }
}

fn certificate_fault(error: &CertificateError) -> TlsFault {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFault::CertificateExpired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => TlsFault::CertificateNotYetValid,
        CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
        // A self-signed authority's certificate used as the server's: what `openssl req -x509` makes by default.
        CertificateError::Other(error) if is_authority_as_server(error) => TlsFault::UnknownIssuer,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongHost,
        _ => TlsFault::BadCertificate,
    }
}

fn is_authority_as_server(error: &OtherError) -> bool {
    matches!(error.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_error(error: impl Error + 'static, phase: Phase, expected: Result<Outcome, SendFault>) {
        assert_eq!(classify_chain(&error, phase, Duration::from_secs(10)), expected, "{error:?}");
    }

    fn os(code: i32) -> io::Error {
        io::Error::from_raw_os_error(code)
    }

    #[test]
    fn network_errors() {
        let unreachable = |reason| Ok(Outcome::Unreachable(reason));
        check_error(os(libc::ECONNREFUSED), Phase::Connect, unreachable(Unreachable::ConnectionRefused));
        check_error(os(libc::ENETUNREACH), Phase::Connect, unreachable(Unreachable::NoRoute));
        check_error(os(libc::EHOSTUNREACH), Phase::Connect, unreachable(Unreachable::NoRoute));
        check_error(os(libc::EADDRNOTAVAIL), Phase::Connect, unreachable(Unreachable::NoRoute));
        check_error(os(libc::ECONNRESET), Phase::Response, unreachable(Unreachable::ClosedEarly));
        check_error(os(libc::EPIPE), Phase::Response, unreachable(Unreachable::ClosedEarly));
        check_error(os(libc::ECONNRESET), Phase::Connect, unreachable(Unreachable::Tls(TlsFault::Handshake)));
        check_error(os(libc::EACCES), Phase::Connect, unreachable(Unreachable::Other));
        let timed_out = Outcome::TimedOut { phase: Phase::Connect, limit: Duration::from_secs(10) };
        check_error(os(libc::ETIMEDOUT), Phase::Connect, Ok(timed_out));
    }

    #[test]
    fn faults_of_this_machine_are_not_outcomes() {
        check_error(os(libc::EMFILE), Phase::Connect, Err(SendFault::OutOfResources));
        check_error(io::Error::other(os(libc::ENFILE)), Phase::Connect, Err(SendFault::OutOfResources));
        let lookup = ConnectFault::Unresolved(Some(os(libc::EMFILE)));
        check_error(lookup, Phase::Connect, Err(SendFault::OutOfResources));
        let lookup = ConnectFault::Unresolved(Some(io::Error::other("no such name")));
        check_error(lookup, Phase::Connect, Ok(Outcome::Unreachable(Unreachable::Dns)));
    }

    /// The TLS connector wraps errors in an `io::Error` within an `io::Error`.
    #[track_caller]
    fn check_tls(error: rustls::Error, expected: TlsFault) {
        let error = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        check_error(error, Phase::Connect, Ok(Outcome::Unreachable(Unreachable::Tls(expected))));
    }

    #[test]
    fn tls_errors() {
        use rustls::{AlertDescription, Error, PeerIncompatible};
        check_tls(Error::InvalidCertificate(CertificateError::Expired), TlsFault::CertificateExpired);
        check_tls(Error::InvalidCertificate(CertificateError::NotValidYet), TlsFault::CertificateNotYetValid);
        check_tls(Error::InvalidCertificate(CertificateError::UnknownIssuer), TlsFault::UnknownIssuer);
        check_tls(Error::InvalidCertificate(CertificateError::NotValidForName), TlsFault::WrongHost);
        check_tls(Error::InvalidCertificate(CertificateError::BadEncoding), TlsFault::BadCertificate);
        check_tls(Error::AlertReceived(AlertDescription::HandshakeFailure), TlsFault::Handshake);
        check_tls(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered), TlsFault::Handshake);
        check_tls(Error::InvalidMessage(InvalidMessage::InvalidContentType), TlsFault::NotTls);
    }
}
