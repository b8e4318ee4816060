//! An integration, as the API returns it: everything but its secrets.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{AppendHeaders, IntoResponse};
use domain::integration::Integration;
use domain::integration::health::{Health, SLOW};
use domain::request::signature::{SecretFormat, SigningSecret};
use http::header::ETAG;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error_view::ErrorView;
use crate::http::clock;
use crate::http::precondition::entity_tag;
use crate::integrations::warnings::{Warning, warnings};

/// A custom header; only the end of its value is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HeaderView {
    /// The last four characters of the value; `null` if it is shorter than 24 characters.
    #[schema(required = true, example = "4f2a")]
    pub last4: Option<String>,
}

/// How an integration is doing: `unknown` (no outcome of an alert at its URL is known), `healthy` (the last attempt was
/// accepted), `failing` (the last attempt failed), `slow` (its attempts take long, so its alerts are sent separately
/// until it accepts one quickly) or `disabled` (it is switched off).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// No outcome of an alert at its URL is known.
    Unknown,
    /// The last attempt was accepted.
    Healthy,
    /// The last attempt failed.
    Failing,
    /// Its attempts take long: its alerts go to the slow lane until it accepts one quickly.
    Slow,
    /// It is switched off.
    Disabled,
}

/// How an integration is doing, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Health)]
pub struct HealthView {
    pub state: HealthState,
    /// Since when; `null` for `unknown`, or if it was switched off before the time was recorded.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// For `failing`, the error of the first failed attempt; for `slow`, the error of an attempt, or the code `slow`;
    /// for `disabled`, the code `by_hand` or `gone`; for `unknown`, the code `slow` while an alert is unanswered.
    /// Otherwise `null`.
    #[schema(required = true)]
    pub reason: Option<ErrorView>,
}

/// An integration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Integration)]
pub struct IntegrationView {
    #[schema(example = "int_01JH7Z5A8M0000000000000001")]
    pub id: String,
    pub name: String,
    /// Where alerts are sent.
    #[schema(example = "https://example.com/webhook")]
    pub url: String,
    #[schema(value_type = crate::http::openapi::MethodName)]
    pub method: &'static str,
    /// Whether alerts are sent; while it is off, they are neither sent nor stored.
    pub enabled: bool,
    /// The custom headers by name, in lower case. Their values are never returned.
    pub headers: BTreeMap<String, HeaderView>,
    /// Whether requests are signed. The secret itself is never returned.
    pub has_signing_secret: bool,
    /// The last four characters of the signing secret; `null` if there is none, or it is shorter than 24 characters.
    #[schema(required = true)]
    pub signing_secret_last4: Option<String>,
    /// How receivers derive the key of Standard Webhooks from the signing secret: `whsec` when it is the decoded base64
    /// after `whsec_`, `raw` when it is the secret's own bytes. `null` without a secret, or if it was set before this
    /// was recorded.
    #[schema(required = true, value_type = Option<crate::http::openapi::SecretFormatName>)]
    pub signing_secret_format: Option<&'static str>,
    /// Until when the secret before the last rotation still signs too; `null` when it no longer does.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    pub previous_secret_valid_until: Option<Timestamp>,
    /// The types of events that are sent; empty means all.
    #[schema(value_type = Vec<crate::http::openapi::EventTypeName>)]
    pub event_types: Vec<&'static str>,
    /// The severities of alerts that are sent; empty means all.
    pub severities: Vec<String>,
    /// The ids of the projects whose alerts are sent; empty means all.
    #[schema(value_type = Vec<crate::http::openapi::WholeNumber>)]
    pub project_ids: Vec<u64>,
    pub health: HealthView,
    /// What the owner should look at; empty if there is nothing. An `http://` URL is warned of when there are custom
    /// headers or a signing secret, and a severity when it is probably misspelled.
    pub warnings: Vec<Warning>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// An integration, with the signing secret if one was just generated.
#[derive(Clone, Serialize, ToSchema)]
pub struct IntegrationWithSecret {
    #[serde(flatten)]
    pub integration: IntegrationView,
    /// The generated signing secret, absent if none was generated. It is not returned again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub signing_secret: Option<String>,
}

/// The integrations of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct IntegrationList {
    pub items: Vec<IntegrationView>,
    /// Always `null`: all integrations are on one page.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
}

impl IntegrationView {
    pub fn of(integration: &Integration, now: Timestamp) -> Self {
        let secrets = integration.secrets.as_ref();
        let header = |name: &String| {
            let last4 = secrets.and_then(|secrets| secrets.header_last4.get(name).cloned());
            (name.clone(), HeaderView { last4 })
        };
        Self {
            id: integration.id.to_string(),
            name: integration.name.clone(),
            url: integration.url.clone(),
            method: integration.method.as_str(),
            enabled: integration.enabled,
            headers: secrets.map(|secrets| secrets.headers.keys().map(header).collect()).unwrap_or_default(),
            has_signing_secret: secrets.is_some_and(|secrets| secrets.signing_secret.is_some()),
            signing_secret_last4: secrets.and_then(|secrets| secrets.signing_secret_last4.clone()),
            signing_secret_format: secrets.and_then(|secrets| secrets.signing_secret_format).map(SecretFormat::as_str),
            previous_secret_valid_until: secrets
                .and_then(|secrets| secrets.previous_valid_until)
                .filter(|&valid_until| now < valid_until),
            event_types: integration.filter.event_types.iter().map(|event_type| event_type.as_str()).collect(),
            severities: integration.filter.severities.clone(),
            project_ids: integration.filter.project_ids.clone(),
            health: health(integration),
            warnings: warnings(integration),
            created_at: integration.created_at,
            updated_at: integration.updated_at,
        }
    }
}

impl IntegrationWithSecret {
    pub fn of(integration: &Integration, generated: Option<&SigningSecret>, now: Timestamp) -> Self {
        let signing_secret = generated.map(|secret| secret.reveal().to_owned());
        Self { integration: IntegrationView::of(integration, now), signing_secret }
    }
}

impl IntegrationList {
    pub fn of(integrations: &[Integration], now: Timestamp) -> Self {
        let items = integrations.iter().map(|integration| IntegrationView::of(integration, now)).collect();
        Self { items, next_cursor: None }
    }
}

/// The response with an integration and, as its ETag, its version.
pub(crate) fn with_version(integration: &Integration) -> impl IntoResponse + use<> {
    let headers = AppendHeaders([(ETAG, entity_tag(integration.version))]);
    (headers, Json(IntegrationView::of(integration, clock::now())))
}

fn health(integration: &Integration) -> HealthView {
    if !integration.enabled {
        return HealthView {
            state: HealthState::Disabled,
            since: integration.disabled_at,
            reason: Some(integration.disabled_reason.into()),
        };
    }
    match &integration.health {
        None => HealthView { state: HealthState::Unknown, since: None, reason: None },
        Some(Health::Unknown { .. }) => {
            let message = "An alert was sent and has not been answered yet.";
            HealthView { state: HealthState::Unknown, since: None, reason: Some(ErrorView::new(SLOW, message)) }
        }
        Some(Health::Healthy { since, .. }) => {
            HealthView { state: HealthState::Healthy, since: Some(*since), reason: None }
        }
        Some(Health::Failing { since, reason, .. }) => {
            HealthView { state: HealthState::Failing, since: Some(*since), reason: Some(reason.into()) }
        }
        Some(Health::Slow { since, reason }) => {
            let ErrorView { code, message } = reason.into();
            let message = format!("{message} Its alerts are sent separately until it accepts one quickly.");
            HealthView { state: HealthState::Slow, since: Some(*since), reason: Some(ErrorView { code, message }) }
        }
    }
}
