//! The HTTP clients that requests go through: the one whose connections are used again, and a probe's own.

use std::sync::Arc;

use bytes::Bytes;
use domain::attempt::outcome::MAX_RESPONSE_HEADERS;
use http::Version;
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Request, Response, retry};

use super::connector::ConnectionRules;
use super::stopwatch::{Lap, Stopwatch};
use super::timing::{FullHandshakes, MarksReady};
use crate::connections::MAX_IDLE;

/// Why there is no response.
pub(super) enum NoResponse {
    /// It knows no URL, so that none can reach a log.
    Failed(reqwest::Error),
    /// What answered does not speak HTTP/1.
    NotHttp1 {
        /// The first bytes of what it said.
        beginning: Bytes,
    },
}

/// Makes requests over connections that follow the rules. Clones share their connections.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    stopwatch: Stopwatch,
}

impl Client {
    /// One that keeps connections open for further requests.
    pub(super) fn pooled(rules: &ConnectionRules) -> Self {
        let stopwatch = Stopwatch::stopped();
        let builder = builder(rules, &stopwatch).tls_backend_preconfigured(rules.tls.clone());
        Self::built(builder, stopwatch)
    }

    /// One that opens a connection for each request, for a single request and its stopwatch.
    ///
    /// No handshake is cut short by what an earlier one agreed upon: the certificate is looked at anew.
    pub(super) fn for_probe(rules: &ConnectionRules, stopwatch: Stopwatch) -> Self {
        let mut tls = rules.tls.clone();
        tls.resumption = FullHandshakes::resumption(stopwatch.clone());
        let builder = builder(rules, &stopwatch)
            .tls_backend_preconfigured(tls)
            .pool_max_idle_per_host(0)
            .connector_layer(MarksReady(stopwatch.clone()));
        Self::built(builder, stopwatch)
    }

    fn built(builder: ClientBuilder, stopwatch: Stopwatch) -> Self {
        let http = builder.build().expect("reqwest knows this TLS configuration, and everything else has a valid type");
        Self { http, stopwatch }
    }

    /// Makes a request, up to the end of the response head.
    ///
    /// A second connection is made only for a request of which nothing was sent on a reused one.
    pub(super) async fn request(&self, request: Request) -> Result<Response, NoResponse> {
        let sent = self.http.execute(request).await;
        let mut response = sent.map_err(|error| NoResponse::Failed(error.without_url()))?;
        if response.version() == Version::HTTP_09 {
            let beginning = response.chunk().await.ok().flatten().unwrap_or_default();
            return Err(NoResponse::NotHttp1 { beginning });
        }
        self.stopwatch.mark(Lap::Answered);
        Ok(response)
    }
}

/// What both have in common: all but TLS, which has no default.
fn builder(rules: &ConnectionRules, stopwatch: &Stopwatch) -> ClientBuilder {
    reqwest::Client::builder()
        // A proxy of the environment would connect where it likes, and so would a redirect.
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        // Nothing is sent twice. With 0 instead of the policy's 2, no copy is made for it either.
        .retry(retry::never().max_retries_per_request(0))
        .dns_resolver(Arc::new(rules.connecting_resolver(stopwatch.clone())))
        // For DNS, TCP and TLS together; and TCP's is divided among a host's addresses, so that one that swallows
        // packets leaves time for the others.
        .connect_timeout(rules.limit)
        .tcp_nodelay(true)
        // No connection is kept for long enough.
        .tcp_keepalive(None)
        .pool_idle_timeout(MAX_IDLE)
        .http1_only()
        .http1_title_case_headers()
        .http1_max_headers(MAX_RESPONSE_HEADERS)
        // The status decides: what else is odd in a head is mended, or passed over.
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        // The only way to be told what is not HTTP from what is bad HTTP: the former comes as a response of this version.
        .http09_responses()
}
