//! The HTTP clients: one that reuses connections, and one for each probe.

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
    /// Without its URL, so that no URL reaches a log.
    Failed(reqwest::Error),
    /// The response is not HTTP/1.
    NotHttp1 {
        /// The first bytes of the response.
        beginning: Bytes,
    },
}

/// Makes requests over connections that obey the rules. Clones share their connections.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    stopwatch: Stopwatch,
}

impl Client {
    /// A client that keeps connections open for further requests.
    pub(super) fn pooled(rules: &ConnectionRules) -> Self {
        let stopwatch = Stopwatch::stopped();
        let builder = builder(rules, &stopwatch).tls_backend_preconfigured(rules.tls.clone());
        Self::built(builder, stopwatch)
    }

    /// A client for a single request and its stopwatch, over a new connection.
    ///
    /// It resumes no TLS session, so that the certificate is verified again.
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

    /// Makes a request, and returns when the response head has arrived.
    ///
    /// A second connection is opened only if a reused one turned out to be closed before anything was sent.
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

/// The configuration that both have in common: everything but TLS.
fn builder(rules: &ConnectionRules, stopwatch: &Stopwatch) -> ClientBuilder {
    reqwest::Client::builder()
        // A proxy from the environment or a redirect could lead to addresses that were not vetted.
        .no_proxy()
        .redirect(Policy::none())
        .referer(false)
        // Nothing is sent twice. With 0 instead of the policy's default of 2, reqwest keeps no copy of the request
        // either.
        .retry(retry::never().max_retries_per_request(0))
        .dns_resolver(Arc::new(rules.connecting_resolver(stopwatch.clone())))
        // Covers DNS, TCP and TLS together. The part for TCP is divided among a host's addresses, so that an address
        // that drops packets leaves time for the others.
        .connect_timeout(rules.limit)
        .tcp_nodelay(true)
        // No connection stays open for long enough to need it.
        .tcp_keepalive(None)
        .pool_idle_timeout(MAX_IDLE)
        .http1_only()
        .http1_title_case_headers()
        .http1_max_headers(MAX_RESPONSE_HEADERS)
        // The status decides; other errors in a response head are tolerated where possible.
        .http1_allow_spaces_after_header_name_in_responses(true)
        .http1_allow_obsolete_multiline_headers_in_responses(true)
        .http1_ignore_invalid_headers_in_responses(true)
        // Distinguishes responses that are not HTTP from malformed HTTP: the former appear as responses of this
        // version.
        .http09_responses()
}
