//! One customer's configured webhook.

pub mod health;
pub mod secrets;

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::alert::filter::Filter;
use crate::ids::{IntegrationId, OrganizationId};
use crate::integration::health::Health;
use crate::integration::secrets::SealedSecrets;
use crate::json::{self, Expected, Kind};

/// The HTTP method of the requests to an endpoint; POST by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    #[default]
    Post,
    Put,
    Patch,
}

impl Method {
    /// What a method must be in JSON.
    pub const EXPECTED: Expected<Self> =
        Expected { kind: Kind::String, words: "`POST`, `PUT` or `PATCH`", read: json::parse_string };

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a method that webhooks can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be POST, PUT or PATCH")]
pub struct UnknownMethod;

impl FromStr for Method {
    type Err = UnknownMethod;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Post, Self::Put, Self::Patch].into_iter().find(|known| known.as_str() == text).ok_or(UnknownMethod)
    }
}

impl From<Method> for http::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Post => Self::POST,
            Method::Put => Self::PUT,
            Method::Patch => Self::PATCH,
        }
    }
}

/// Whether an integration gets deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Enabled,
    Disabled,
    /// Deleted before tombstones were items of their own: its item stays until it expires.
    Deleted,
}

/// Why an integration was switched off automatically, not by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// The endpoint answered 410: it asks for no more webhooks.
    Gone,
}

/// An integration's item in the integrations table. Signing secrets and header values are in `secrets`, encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integration {
    pub organization_id: OrganizationId,
    #[serde(rename = "integration_id")]
    pub id: IntegrationId,
    pub name: String,
    /// As the customer gave it; checked by [`crate::endpoint::url::EndpointUrl`] when it is set and again at every
    /// attempt.
    pub url: String,
    pub method: Method,
    pub enabled: bool,
    /// Why it is off; absent if it is on or its owner switched it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled_reason: Option<DisabledReason>,
    /// Since when it is off; absent if it is on, or was switched off before this was stored.
    #[serde(
        default,
        with = "jiff::fmt::serde::timestamp::millisecond::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub disabled_at: Option<Timestamp>,
    #[serde(flatten)]
    pub filter: Filter,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SealedSecrets>,
    /// How its endpoint is doing. Changes of it do not change `version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Incremented with every change of what is sent or where. Cached secrets are valid for one version only.
    pub version: u64,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub created_at: Timestamp,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub updated_at: Timestamp,
    /// Only in older items of deleted integrations; new ones are deleted and leave a tombstone of another kind.
    #[serde(
        default,
        with = "jiff::fmt::serde::timestamp::millisecond::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub deleted_at: Option<Timestamp>,
    /// When DynamoDB may delete the item of a deleted integration, in epoch seconds (the table's TTL attribute).
    #[serde(default, with = "jiff::fmt::serde::timestamp::second::optional", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The format of this item; this code writes [`Integration::FORMAT`] and reads it and everything older.
    pub format: u8,
}

impl Integration {
    /// The item format that this code writes.
    pub const FORMAT: u8 = 1;

    /// The version that an integration is created with.
    pub const FIRST_VERSION: u64 = 1;

    pub fn standing(&self) -> Standing {
        match (self.deleted_at, self.enabled) {
            (Some(_), _) => Standing::Deleted,
            (None, true) => Standing::Enabled,
            (None, false) => Standing::Disabled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_documented_methods_are_accepted() {
        for method in [Method::Post, Method::Put, Method::Patch] {
            assert_eq!(method.as_str().parse(), Ok(method));
            assert_eq!(http::Method::from(method).as_str(), method.as_str());
        }
        for text in ["GET", "post", "DELETE", ""] {
            assert_eq!(text.parse::<Method>(), Err(UnknownMethod));
        }
        assert_eq!(Method::default(), Method::Post);
    }
}
