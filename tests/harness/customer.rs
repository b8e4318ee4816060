//! What a customer does: creating, changing and deleting integrations.

use anyhow::Context;
use domain::alert::filter::Filter;
use domain::ids::{IntegrationId, OrganizationId};
use domain::integration::{Integration, Method};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::stack::Stack;

/// An integration to be created.
#[derive(Clone, Debug)]
pub struct NewIntegration {
    pub name: String,
    pub url: String,
    pub method: Method,
    pub enabled: bool,
    pub filter: Filter,
    pub signing_secret: Option<String>,
    pub headers: Vec<(String, String)>,
}

impl NewIntegration {
    /// An enabled integration without filters or a signing secret, called with POST.
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            name: "Test".to_owned(),
            url: url.into(),
            method: Method::Post,
            enabled: true,
            filter: Filter::default(),
            signing_secret: None,
            headers: Vec::new(),
        }
    }

    fn into_json(self) -> Value {
        let headers: Map<_, _> = self.headers.into_iter().map(|(name, value)| (name, value.into())).collect();
        let Filter { event_types, severities, project_ids } = self.filter;
        let mut integration = json!({
            "name": self.name, "url": self.url, "method": self.method, "enabled": self.enabled, "headers": headers,
            "event_types": event_types, "severities": severities, "project_ids": project_ids,
        });
        if let Some(secret) = self.signing_secret {
            integration["signing_secret"] = secret.into();
        }
        integration
    }
}

impl Stack {
    /// Creates an integration through the API.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn create(&self, organization: OrganizationId, new: NewIntegration) -> anyhow::Result<Integration> {
        let created = self.api(organization).await?.create(&new.into_json()).await?;
        self.find_integration(organization, created["id"].as_str().unwrap_or_default()).await
    }

    /// Writes a copy of an integration without secrets into the table, past the API, which creates only so many at once.
    pub async fn copy(&self, integration: &Integration, url: String) -> anyhow::Result<Integration> {
        let id = IntegrationId::new(Timestamp::now(), std::array::from_fn(|_| fastrand::u8(..)));
        let copy = Integration { id, url, ..integration.clone() };
        self.integrations.put(&copy).await?;
        Ok(copy)
    }

    /// Writes an integration into the table as its next version, past the API: for states that the API would refuse.
    pub async fn overwrite(
        &self,
        integration: &Integration,
        edit: impl FnOnce(&mut Integration),
    ) -> anyhow::Result<Integration> {
        let mut changed = integration.clone();
        edit(&mut changed);
        changed.version = integration.version + 1;
        self.integrations.put(&changed).await?;
        Ok(changed)
    }

    /// Changes an integration by a merge patch, through the API.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn change(&self, integration: &Integration, patch: &Value) -> anyhow::Result<Integration> {
        self.api(integration.organization_id).await?.change(&integration.id.to_string(), patch).await?;
        self.integration(integration).await
    }

    /// Deletes an integration through the API, which leaves its tombstone.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn delete(&self, integration: &Integration) -> anyhow::Result<()> {
        self.api(integration.organization_id).await?.delete(&integration.id.to_string()).await
    }

    /// An integration as it is in the table now.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn integration(&self, integration: &Integration) -> anyhow::Result<Integration> {
        self.find_integration(integration.organization_id, &integration.id.to_string()).await
    }

    /// The integration with that id.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn find_integration(&self, organization: OrganizationId, id: &str) -> anyhow::Result<Integration> {
        let absent = || format!("organization {organization} has no integration {id:?}");
        let found = self.integrations.find(organization, id.parse().ok().with_context(absent)?).await?;
        found.with_context(absent)
    }
}
