//! The DynamoDB table of integrations.
//!
//! Not cached: an integration created or switched off a moment ago counts.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use domain::ids::{IntegrationId, OrganizationId};
use domain::integration::health::{Health, Observation};
use domain::integration::{DisabledReason, Integration};
use jiff::Timestamp;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_attribute_value, to_item};

use crate::dynamodb::conditional::{Conditional, conditional};
use crate::fault::Fault;

type Item = HashMap<String, AttributeValue>;

/// The integrations table.
#[derive(Clone, Debug)]
pub struct IntegrationsTable {
    client: Client,
    table: String,
}

/// How often a sign is noted: once, and once more on top of what others have noted meanwhile. What gives up then has seen
/// somebody else's news written twice, and nothing depends on its own.
const MAX_HEALTH_WRITES: usize = 2;

/// Whether a sign is in an endpoint's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthUpdate {
    /// It is, or is no news. This is the health now.
    Recorded(Option<Health>),
    /// Others kept noting theirs. This is what they made of it.
    Conflict(Option<Health>),
    /// The integration was changed since the attempt began: what it learned is about an endpoint that is gone.
    Superseded,
}

/// All integrations of an organization: the readable ones, and how many could not be read.
#[derive(Debug)]
pub struct Integrations {
    pub readable: Vec<Integration>,
    /// One broken item must not keep the others from being delivered to, nor be forgotten.
    pub unreadable: usize,
}

impl IntegrationsTable {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Every integration of an organization, disabled ones and tombstones included. One strongly consistent query:
    /// one read unit for each 4 KB.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails.
    pub async fn of_organization(&self, organization: OrganizationId) -> Result<Integrations, Fault> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            // The settings API keeps a few items of its own beside them, which are nobody's integration.
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

    /// One integration; `None` when it was never there or its tombstone has expired.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or the item is broken.
    pub async fn find(&self, organization: OrganizationId, id: IntegrationId) -> Result<Option<Integration>, Fault> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(item_key(organization, id)));
        let answer = get.consistent_read(true).send().await.map_err(Fault::of("GetItem"))?;
        answer.item.map(|item| from_item(item).map_err(|_| UNREADABLE)).transpose()
    }

    /// Writes an integration whole.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails.
    pub async fn put(&self, integration: &Integration) -> Result<(), Fault> {
        let item = to_item(integration).map_err(|_| UNREADABLE)?;
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(drop).map_err(Fault::of("PutItem"))
    }

    /// Notes what a sign makes of an endpoint's health, if it makes anything of it. Other workers note theirs at the same
    /// time: each is applied to what the ones before it made. `seen` is the health as it was seen last. At most two calls.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails.
    pub async fn update_health(
        &self,
        used: &Integration,
        mut seen: Option<Health>,
        observation: Observation<'_>,
        now: Timestamp,
    ) -> Result<HealthUpdate, Fault> {
        // Not `with_backoff`: being outpaced is an answer here and no fault, after two attempts that nothing pauses between.
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

    /// Writes a health in place of the one that was seen, if that and the version are still the ones.
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

    /// Writes an integration whole in place of the version that was used, if that is still the one. What is noted of its
    /// health meanwhile is lost, and noted again by the next attempt.
    ///
    /// The SDK repeats a write whose answer was lost. The repetition is refused, because the write was made: what is found
    /// then is what was to be written.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails; whether it was written is then unknown.
    pub async fn replace(&self, integration: &Integration, used_version: u64) -> Result<Conditional, Fault> {
        let item = to_item(integration).map_err(|_| UNREADABLE)?;
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item.clone()))
            .condition_expression("version = :used")
            .expression_attribute_values(":used", AttributeValue::N(used_version.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match conditional(answer)? {
            Conditional::Applied(_) => Ok(Conditional::Applied(())),
            Conditional::Refused(found) => {
                let is_ours = found.is_some_and(|found| is_same_version(found, item));
                Ok(if is_ours { Conditional::Applied(()) } else { Conditional::Refused(()) })
            }
        }
    }

    /// Switches an integration off, if it is still the version that was used. `health` is what its endpoint's last answer
    /// makes of its health, if that is news: what is known of the endpoint once the integration is switched on again.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails.
    pub async fn disable(
        &self,
        used: &Integration,
        reason: DisabledReason,
        health: Option<&Health>,
        now: Timestamp,
    ) -> Result<Conditional, Fault> {
        let news = if health.is_some() { ", health = :health" } else { "" };
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(used.organization_id, used.id)))
            .update_expression(format!(
                "SET enabled = :false, disabled_reason = :reason, disabled_at = :now, updated_at = :now, \
                 version = version + :one{news}"
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

/// Whether two items are the same version of an integration, made by the same change: changes that are made at once differ in
/// what they change, in their sealed values, or in time. Health is no part of a version.
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
    use domain::alert::filter::Filter;
    use domain::integration::Method;

    use super::*;

    fn item(edit: impl FnOnce(&mut Integration)) -> Item {
        let mut integration = Integration {
            organization_id: OrganizationId::new(1).unwrap(),
            id: "int_01JH7Z5A8M0000000000000001".parse().unwrap(),
            name: "Pager".to_owned(),
            url: "https://example.com/".to_owned(),
            method: Method::Post,
            enabled: true,
            disabled_reason: None,
            disabled_at: None,
            filter: Filter::default(),
            secrets: None,
            health: None,
            version: 2,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            deleted_at: None,
            expires_at: None,
            format: Integration::FORMAT,
        };
        edit(&mut integration);
        to_item(integration).unwrap()
    }

    #[track_caller]
    fn check(expected: bool, edit: impl FnOnce(&mut Integration)) {
        assert_eq!(is_same_version(item(edit), item(|_| {})), expected);
    }

    #[test]
    fn a_version_is_known_again_whatever_was_noted_of_its_health() {
        check(true, |_| {});
        check(true, |found| found.health = Some(Health::Healthy { since: Timestamp::UNIX_EPOCH, slow: 0 }));
        check(false, |found| found.version = 3);
        check(false, |found| found.name = "On-call".to_owned());
        check(false, |found| found.updated_at = Timestamp::from_millisecond(1).unwrap());
    }
}
