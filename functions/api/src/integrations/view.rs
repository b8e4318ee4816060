//! An integration as its owner sees it: everything but its secrets.

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

/// A custom header, of whose value only its end is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct HeaderView {
    /// The last four characters of its value; `null` of a value shorter than 24.
    #[schema(required = true, example = "4f2a")]
    pub last4: Option<String>,
}

/// How an integration is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// No outcome of an alert at its URL is known.
    Unknown,
    /// The last attempt was accepted.
    Healthy,
    /// The last attempt failed.
    Failing,
    /// Its attempts take long: its alerts take a slower lane until it accepts one quickly.
    Slow,
    /// It is switched off.
    Disabled,
}

/// How an integration is doing, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Health)]
pub struct HealthView {
    pub state: HealthState,
    /// `null` of `unknown`, and of one that was switched off before its time was kept.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Of `failing`, why the first attempt since then failed; of `slow`, why one did, or the code `slow`; of `disabled`, `by_hand` or
    /// `gone`; of `unknown`, `slow` while an alert goes unanswered. `null` when there is nothing to explain.
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
    #[schema(example = "https://example.com/webhook")]
    pub url: String,
    #[schema(value_type = crate::http::openapi::MethodName)]
    pub method: &'static str,
    pub enabled: bool,
    /// The custom headers by name, in lower case. Their values are never returned.
    pub headers: BTreeMap<String, HeaderView>,
    pub has_signing_secret: bool,
    /// The last four characters of the signing secret; `null` of one shorter than 24.
    #[schema(required = true)]
    pub signing_secret_last4: Option<String>,
    /// How receivers read the signing secret as a key of Standard Webhooks: `whsec` when the key is the decoded base64 after
    /// `whsec_`, `raw` when it is the secret's own bytes. `null` without a secret, or when it was set before this was noted.
    #[schema(required = true, value_type = Option<crate::http::openapi::SecretFormatName>)]
    pub signing_secret_format: Option<&'static str>,
    /// Until when the secret before the last rotation signs too.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    pub previous_secret_valid_until: Option<Timestamp>,
    /// Which events it wants; empty means all.
    #[schema(value_type = Vec<crate::http::openapi::EventTypeName>)]
    pub event_types: Vec<&'static str>,
    /// Which severities it wants; empty means all.
    pub severities: Vec<String>,
    /// Which projects it wants; empty means all.
    #[schema(value_type = Vec<crate::http::openapi::WholeNumber>)]
    pub project_ids: Vec<u64>,
    pub health: HealthView,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// An integration, and the signing secret that was just generated for it.
#[derive(Clone, Serialize, ToSchema)]
pub struct IntegrationWithSecret {
    #[serde(flatten)]
    pub integration: IntegrationView,
    /// There if it was generated. It is not shown again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub signing_secret: Option<String>,
}

/// Integrations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct IntegrationList {
    pub items: Vec<IntegrationView>,
    /// Always `null`: they are all on one page.
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

/// An integration, and which version of it that is.
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
            let message = "An alert was sent, and is not answered so far.";
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
            let message = format!("{message} Its alerts take a slower lane until it accepts one quickly.");
            HealthView { state: HealthState::Slow, since: Some(*since), reason: Some(ErrorView { code, message }) }
        }
    }
}
