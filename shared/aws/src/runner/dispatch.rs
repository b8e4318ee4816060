//! Builds, signs and sends one attempt's request, in the same way for deliveries and for the Test button.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::attempt::outcome::Outcome;
use domain::attempt::{Attempt, AttemptError};
use domain::delivery::ledger::Freshness;
use domain::endpoint::url::EndpointUrl;
use domain::integration::Integration;
use domain::request::signature::SigningSecrets;
use domain::request::{self, Subject};
use jiff::Timestamp;
use sender::{Exchange, HostVetting, OutgoingRequest, Probe, Sender};
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::kms::vault::{OpenSecrets, Vault};

/// Signs and sends requests.
pub struct Dispatch {
    vault: Vault,
    sender: Sender,
}

impl Dispatch {
    pub fn new(vault: Vault, sender: Sender) -> Self {
        Self { vault, sender }
    }

    /// Seals and opens the secrets that requests are signed with.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// An integration's signing secrets and headers.
    ///
    /// # Errors
    /// As [`Vault::open`].
    pub async fn secrets(&self, integration: &Integration) -> Result<Arc<OpenSecrets>, Fault> {
        self.vault.open(integration).await
    }

    /// The URL of an integration. Only its text is checked; its host's addresses are checked when a request is sent.
    ///
    /// # Errors
    /// The [`Outcome`] of an attempt to a URL that is not allowed.
    pub fn url(&self, integration: &Integration) -> Result<EndpointUrl, Outcome> {
        EndpointUrl::parse(&integration.url, self.sender.allowed_networks()).map_err(Outcome::from)
    }

    /// Checks, without sending a request, whether requests may be sent to a URL's host.
    pub async fn vet_host(&self, url: &EndpointUrl) -> HostVetting {
        self.sender.vet_host(url).await
    }

    /// Parses the URL of a new or changed integration.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn read_url(&self, text: &str) -> Result<EndpointUrl, domain::endpoint::url::InvalidUrl> {
        EndpointUrl::parse(text, self.sender.allowed_networks())
    }

    /// Builds and signs the request.
    pub fn request(
        integration: &Integration,
        secrets: &OpenSecrets,
        subject: &Subject,
        body: impl Into<Bytes>,
    ) -> OutgoingRequest {
        let body = body.into();
        let headers = request::headers(subject, &body, &secrets.headers, secrets.signing.as_ref());
        let signing = secrets.signing.iter().flat_map(SigningSecrets::all);
        let secrets = signing.map(|secret| Zeroizing::new(secret.reveal().to_owned())).collect();
        OutgoingRequest { method: integration.method.into(), headers, body, secrets }
    }

    /// Makes one attempt.
    ///
    /// # Errors
    /// [`Fault::CannotSend`] when this machine could not open a connection.
    pub async fn send(
        &self,
        integration: &Integration,
        secrets: &OpenSecrets,
        subject: &Subject,
        body: Bytes,
    ) -> Result<Exchange, Fault> {
        match self.url(integration) {
            Ok(url) => Ok(self.sender.send(&url, Self::request(integration, secrets, subject, body)).await?),
            Err(outcome) => Ok(not_sent(outcome)),
        }
    }

    /// Makes one attempt over a new connection, and measures how long each phase took.
    ///
    /// # Errors
    /// As [`Dispatch::send`].
    pub async fn probe(&self, integration: &Integration, request: OutgoingRequest) -> Result<Probe, Fault> {
        match self.url(integration) {
            Ok(url) => Ok(self.sender.probe(&url, request).await?),
            Err(outcome) => Ok(Probe { exchange: not_sent(outcome), timings: None }),
        }
    }
}

fn not_sent(outcome: Outcome) -> Exchange {
    Exchange { outcome, duration: Duration::ZERO, retry_after: None, excerpt: None }
}

/// Describes an exchange as an attempt, in the form that the ledger stores.
pub fn build_attempt(exchange: &Exchange, number: u32, started_at: Timestamp, freshness: Freshness) -> Attempt {
    let outcome = &exchange.outcome;
    Attempt {
        number,
        started_at,
        duration_ms: exchange.shown_duration().map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        outcome: outcome.kind().to_owned(),
        status_code: outcome.status(),
        error: outcome
            .code()
            .zip(outcome.message())
            .map(|(code, message)| AttemptError { code: code.to_owned(), message }),
        response_excerpt: if outcome.is_success() { None } else { exchange.excerpt.clone() },
        possible_duplicate: freshness == Freshness::PossibleDuplicate,
    }
}
