//! The hooks for a probe's stopwatch. reqwest has none for the phases of connecting, but it calls code of ours in
//! between.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls12Resumption, Tls13ClientSessionValue,
};
use rustls::pki_types::ServerName;
use tower_layer::Layer;
use tower_service::Service;

use super::stopwatch::{Lap, Stopwatch};

/// Wraps a connector in [`Timed`].
#[derive(Clone)]
pub(super) struct MarksReady(pub(super) Stopwatch);

impl<S> Layer<S> for MarksReady {
    type Service = Timed<S>;

    fn layer(&self, connector: S) -> Timed<S> {
        Timed { connector, stopwatch: self.0.clone() }
    }
}

/// A connector that marks when a connection is ready: TCP, and with `https` TLS.
#[derive(Clone)]
pub(super) struct Timed<S> {
    connector: S,
    stopwatch: Stopwatch,
}

impl<S, R> Service<R> for Timed<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, target: R) -> Self::Future {
        let connecting = self.connector.call(target);
        let stopwatch = self.stopwatch.clone();
        Box::pin(async move {
            let connection = connecting.await?;
            stopwatch.mark(Lap::Ready);
            Ok(connection)
        })
    }
}

/// Stores no TLS session, so that every handshake is a full one, and marks when the TCP connection is open. At that
/// moment, before it sends anything, rustls asks which key exchange group an earlier handshake with the server used. It
/// asks only if TLS 1.3 is offered, which our configuration always does.
#[derive(Debug)]
pub(super) struct FullHandshakes(Stopwatch);

impl FullHandshakes {
    pub(super) fn resumption(stopwatch: Stopwatch) -> Resumption {
        Resumption::store(Arc::new(Self(stopwatch))).tls12_resumption(Tls12Resumption::Disabled)
    }
}

impl ClientSessionStore for FullHandshakes {
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.mark(Lap::Connected);
        None
    }

    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {}
}
