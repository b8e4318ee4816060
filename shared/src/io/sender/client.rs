//! The HTTP clients that requests go through: the one whose connections are used again, and a probe's own.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::MAX_RESPONSE_HEAD;
use super::connector::{ConnectionRules, Connector};
use super::stopwatch::{Lap, Stopwatch};
use crate::io::connections::MAX_IDLE;

/// Makes requests over connections that follow the rules. Clones share their connections.
#[derive(Clone)]
pub(super) struct Client {
    http: legacy::Client<Connector, Full<Bytes>>,
    stopwatch: Stopwatch,
}

impl Client {
    /// One that keeps connections open for further requests.
    pub(super) fn pooled(rules: &ConnectionRules) -> Self {
        Self::new(rules, Stopwatch::stopped(), usize::MAX)
    }

    /// One that opens a connection for each request, for a single request and its stopwatch.
    pub(super) fn for_probe(rules: &ConnectionRules, stopwatch: Stopwatch) -> Self {
        Self::new(&rules.with_full_handshakes(), stopwatch, 0)
    }

    fn new(rules: &ConnectionRules, stopwatch: Stopwatch, max_idle_per_host: usize) -> Self {
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(MAX_IDLE)
            .pool_max_idle_per_host(max_idle_per_host)
            // The limit is looked at before a read, and a read can double what is in the buffer.
            .http1_max_buf_size(MAX_RESPONSE_HEAD / 2)
            .build(Connector::new(rules, stopwatch.clone()));
        Self { http, stopwatch }
    }

    /// Makes a request, up to the end of the response head.
    ///
    /// The HTTP client makes a second connection only for a request of which nothing was sent on a reused one.
    pub(super) async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, legacy::Error> {
        let response = self.http.request(request).await?;
        self.stopwatch.mark(Lap::Answered);
        Ok(response)
    }
}
