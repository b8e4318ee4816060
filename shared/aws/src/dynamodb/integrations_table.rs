//! The DynamoDB table of integrations.
//!
//! Integrations are not cached, so that one that was created or disabled a moment ago is seen.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use domain::ids::{IntegrationId, OrganizationId};
use domain::integration::health::{Health, Observation};
use domain::integration::{DisabledReason, Integration};
use jiff::Timestamp;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_attribute_value, to_item};

use crate::dynamodb::conditional::{Conditional, conditional};
use crate::dynamodb::tombstones;
use crate::fault::Fault;

type Item = HashMap<String, AttributeValue>;

/// The integrations table.
#[derive(Clone, Debug)]
pub struct IntegrationsTable {
    client: Client,
    table: String,
}

/// How many times an update of an endpoint's health is attempted: once, and once more on top of what another worker
/// wrote meanwhile. After losing the race twice it is given up, since no delivery depends on it.
const MAX_HEALTH_WRITES: usize = 2;

/// The result of updating an endpoint's health with an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthUpdate {
    /// The observation was recorded, or changed nothing. This is the health now.
    Recorded(Option<Health>),
    /// Lost the race against other workers. This is the health that they wrote.
    Conflict(Option<Health>),
    /// The integration was changed since the attempt began, so the observation may be about another endpoint.
    Superseded,
}

/// All integrations of an organization.
#[derive(Debug)]
pub struct Integrations {
    pub readable: Vec<Integration>,
    /// How many could not be read. They must neither prevent deliveries to the others nor go unnoticed.
    pub unreadable: usize,
}

impl IntegrationsTable {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Every integration of an organization, including disabled ones, by a strongly consistent query: one read unit for
    /// each 4 KB. Deleted ones are among them only if they were deleted before tombstones had keys of their own.
    pub async fn of_organization(&self, organization: OrganizationId) -> Result<Integrations, Fault> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            // The settings API stores a few items of its own under the same partition key.
            .key_condition_expression("organization_id = :organization AND begins_with(integration_id, :prefix)")
            .expression_attribute_values(":organization", AttributeValue::N(organization.to_string()))
            .expression_attribute_values(":prefix", AttributeValue::S(IntegrationId::PREFIX.to_owned()))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut integrations = Integrations { readable: Vec::new(), unreadable: 0 };
        while let Some(item) = pages.next().await {
            match from_item(item.map_err(Fault::of("Query"))?) {
                Ok(integration) => integrations.readable.push(integration),
                Err(_) => integrations.unreadable += 1,
            }
        }
        Ok(integrations)
    }

    /// Which integrations an organization has deleted lately; see [`tombstones::newest_deleted`].
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or a tombstone cannot be read.
    pub async fn newest_deleted(&self, organization: OrganizationId) -> Result<Vec<IntegrationId>, Fault> {
        tombstones::newest_deleted(&self.client, &self.table, organization).await
    }

    /// One integration; `None` when it never existed or was deleted.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or the item cannot be read.
    pub async fn find(&self, organization: OrganizationId, id: IntegrationId) -> Result<Option<Integration>, Fault> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(item_key(organization, id)));
        let response = get.consistent_read(true).send().await.map_err(Fault::of("GetItem"))?;
        response.item.map(|item| from_item(item).map_err(|_| UNREADABLE)).transpose()
    }

    /// Writes a whole integration, unconditionally.
    pub async fn put(&self, integration: &Integration) -> Result<(), Fault> {
        let item = to_item(integration).map_err(|_| UNREADABLE)?;
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(drop).map_err(Fault::of("PutItem"))
    }

    /// Updates an endpoint's health with an observation, if that changes it. When another worker updates it at the same
    /// time, the observation is applied to what that worker wrote. `seen` is the health as last read. Makes at most two
    /// calls.
    pub async fn update_health(
        &self,
        used: &Integration,
        mut seen: Option<Health>,
        observation: Observation<'_>,
        now: Timestamp,
    ) -> Result<HealthUpdate, Fault> {
        // Not `with_backoff`: losing the race is a result here, not a fault, and the two attempts need no pause between
        // them.
        for _ in 0..MAX_HEALTH_WRITES {
            let Some(next) = Health::after(seen.as_ref(), observation, now) else {
                return Ok(HealthUpdate::Recorded(seen));
            };
            match self.write_health(used, seen.as_ref(), &next).await? {
                Conditional::Applied(()) => return Ok(HealthUpdate::Recorded(Some(next))),
                Conditional::Refused(Some(found)) if found.version == used.version => seen = found.health,
                Conditional::Refused(_) => return Ok(HealthUpdate::Superseded),
            }
        }
        Ok(HealthUpdate::Conflict(seen))
    }

    /// Replaces the health, if it is still the one that was seen and the version the one that was used.
    async fn write_health(
        &self,
        used: &Integration,
        seen: Option<&Health>,
        next: &Health,
    ) -> Result<Conditional<(), Option<Integration>>, Fault> {
        let value = |health: &Health| to_attribute_value(health).map_err(|_| UNREADABLE);
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(used.organization_id, used.id)))
            .update_expression("SET health = :next")
            .expression_attribute_values(":next", value(next)?)
            .expression_attribute_values(":used", AttributeValue::N(used.version.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        update = match seen {
            Some(seen) => update
                .condition_expression("version = :used AND health = :seen")
                .expression_attribute_values(":seen", value(seen)?),
            None => update.condition_expression("version = :used AND attribute_not_exists(health)"),
        };
        match conditional(update.send().await)? {
            Conditional::Applied(_) => Ok(Conditional::Applied(())),
            Conditional::Refused(found) => {
                Ok(Conditional::Refused(found.map(from_item).transpose().map_err(|_| UNREADABLE)?))
            }
        }
    }

    /// Writes a whole integration, if the stored version is still `used_version`. An update of its health that was made
    /// meanwhile is lost; the next attempt records it again.
    ///
    /// The SDK repeats a write whose response was lost. If the first try had succeeded, the repetition is refused, but
    /// finds the very item that was to be written. That counts as applied.
    ///
    /// # Errors
    /// On a [`Fault`] it is unknown whether the integration was written.
    pub async fn replace(&self, integration: &Integration, used_version: u64) -> Result<Conditional, Fault> {
        let item = to_item(integration).map_err(|_| UNREADABLE)?;
        let response = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .condition_expression("version = :used")
            .expression_attribute_values(":used", AttributeValue::N(used_version.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match conditional(response)? {
            Conditional::Applied(_) => Ok(Conditional::Applied(())),
            Conditional::Refused(found) => {
                let is_ours = found.is_some_and(|found| is_same_version(found, item));
                Ok(if is_ours { Conditional::Applied(()) } else { Conditional::Refused(()) })
            }
        }
    }

    /// Disables an integration, if it still has the version that was used. `health` is the health after its endpoint's
    /// last response, if that changed it; it is where the health starts from once the integration is enabled again.
    pub async fn disable(
        &self,
        used: &Integration,
        reason: DisabledReason,
        health: Option<&Health>,
        now: Timestamp,
    ) -> Result<Conditional, Fault> {
        let set_health = if health.is_some() { ", health = :health" } else { "" };
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(used.organization_id, used.id)))
            .update_expression(format!(
                "SET enabled = :false, disabled_reason = :reason, disabled_at = :now, updated_at = :now, \
                 version = version + :one{set_health}"
            ))
            .condition_expression("version = :used")
            .expression_attribute_values(":false", AttributeValue::Bool(false))
            .expression_attribute_values(":reason", to_attribute_value(reason).map_err(|_| UNREADABLE)?)
            .expression_attribute_values(":now", AttributeValue::N(now.as_millisecond().to_string()))
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .expression_attribute_values(":used", AttributeValue::N(used.version.to_string()));
        if let Some(health) = health {
            let health = to_attribute_value(health).map_err(|_| UNREADABLE)?;
            update = update.expression_attribute_values(":health", health);
        }
        Ok(conditional(update.send().await)?.map(drop).map_refused(drop))
    }
}

/// Whether two items are the same version of an integration, made by the same change. Concurrent changes differ in what
/// they change, in their sealed values, or in time. Health is not part of a version.
fn is_same_version(mut found: Item, mut written: Item) -> bool {
    found.remove("health");
    written.remove("health");
    found == written
}

const UNREADABLE: Fault = Fault::UnreadableItem { table: "integrations" };

fn item_key(organization: OrganizationId, id: IntegrationId) -> Item {
    HashMap::from([
        ("organization_id".to_owned(), AttributeValue::N(organization.to_string())),
        ("integration_id".to_owned(), AttributeValue::S(id.to_string())),
    ])
}

#[cfg(test)]
mod tests {
    use domain::fixtures::integration;

    use super::*;

    fn item(edit: impl FnOnce(&mut Integration)) -> Item {
        let mut integration = integration();
        edit(&mut integration);
        to_item(integration).unwrap()
    }

    #[track_caller]
    fn check(expected: bool, edit: impl FnOnce(&mut Integration)) {
        assert_eq!(is_same_version(item(edit), item(|_| {})), expected);
    }

    #[test]
    fn a_version_is_recognized_whatever_its_health() {
        check(true, |_| {});
        check(true, |found| found.health = Some(Health::Healthy { since: Timestamp::UNIX_EPOCH, slow: 0 }));
        check(false, |found| found.version += 1);
        check(false, |found| found.name = "Another".to_owned());
        check(false, |found| found.updated_at = Timestamp::from_millisecond(1).unwrap());
    }
}
