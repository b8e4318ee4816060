//! The HTTP clients that requests go through: the one whose connections are used again, and a probe's own.

use bytes::Bytes;
use domain::attempt::outcome::{MAX_RESPONSE_HEAD, MAX_RESPONSE_HEADERS};
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connector::{ConnectionRules, Connector};
use super::stopwatch::{Lap, Stopwatch};
use crate::connections::MAX_IDLE;

/// Why there is no response.
pub(super) enum NoResponse {
    Failed(legacy::Error),
    /// What answered does not speak HTTP/1.
    NotHttp1 {
        /// The first bytes of what it said.
        beginning: Bytes,
    },
}

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
            .http1_max_headers(MAX_RESPONSE_HEADERS)
            // The status decides: what else is odd in a head is mended, or passed over.
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            // The only way to be told what is not HTTP from what is bad HTTP: the former comes as a response of this version.
            .http09_responses(true)
            .http1_title_case_headers(true)
            .build(Connector::new(rules, stopwatch.clone()));
        Self { http, stopwatch }
    }

    /// Makes a request, up to the end of the response head.
    ///
    /// The HTTP client makes a second connection only for a request of which nothing was sent on a reused one.
    pub(super) async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, NoResponse> {
        let mut response = self.http.request(request).await.map_err(NoResponse::Failed)?;
        if response.version() == Version::HTTP_09 {
            let frame = response.body_mut().frame().await.and_then(Result::ok);
            let beginning = frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
            return Err(NoResponse::NotHttp1 { beginning });
        }
        self.stopwatch.mark(Lap::Answered);
        Ok(response)
    }
}
