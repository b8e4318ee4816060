//! Reads and changes integrations on behalf of their owners.
//!
//! Every change is made to the current version, on the condition that it is still current, and otherwise repeated on
//! the new one. So two people who change different fields do not undo each other's changes, and a caller who names an
//! outdated version is told so.

use std::time::Duration;

use aws::dynamodb::conditional::{Conditional, conditional, with_backoff};
use aws::dynamodb::integrations_table::IntegrationsTable;
use aws::dynamodb::tombstones::tombstone;
use aws::fault::Fault;
use aws::log;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem, Update};
use domain::ids::{IntegrationId, OrganizationId};
use domain::integration::{Integration, Standing};
use jiff::Timestamp;
use serde_dynamo::aws_sdk_dynamodb_1::to_item;

use crate::http::caller::Caller;
use crate::http::clock::now;
use crate::http::idempotency_key::IdempotentRequest;
use crate::http::precondition::Precondition;
use crate::http::problem::{Conflict, Problem};
use crate::store::item::{UNCHANGED, UNREADABLE, generation, get, item_key, number};
use crate::store::remembered_requests::{RememberedRequests, SecretOrigin};

/// The sort key of the item that counts creations. Every creation writes it, so that two concurrent ones conflict.
const CREATIONS: &str = "creations";

/// The integrations of all organizations.
#[derive(Clone, Debug)]
pub struct Integrations {
    table: IntegrationsTable,
    client: Client,
    table_name: String,
    requests: RememberedRequests,
    /// The most integrations of an organization.
    max: usize,
}

/// How many integrations an organization has created so far. A creation is conditional on this count not having changed
/// since it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

/// The result of a change.
pub enum Change {
    /// The integration already was as wanted, so nothing is written.
    Nothing(Integration),
    /// The next version of the integration.
    Version(Integration),
}

/// A request to remember together with its writes, and the origin of the signing secret that it sets.
pub type Remembered<'a> = Option<(&'a IdempotentRequest, SecretOrigin)>;

impl Integrations {
    pub fn new(client: Client, table_name: String, max: usize) -> Self {
        Self {
            table: IntegrationsTable::new(client.clone(), table_name.clone()),
            requests: RememberedRequests::new(client.clone(), table_name.clone()),
            client,
            table_name,
            max,
        }
    }

    /// The remembered requests.
    pub fn requests(&self) -> &RememberedRequests {
        &self.requests
    }

    /// Finds one of the caller's integrations, unless it is deleted.
    ///
    /// # Errors
    /// [`Problem::NotFound`] when the caller has none with this id, or a fault.
    pub async fn find(&self, caller: Caller, id: &str) -> Result<Integration, Problem> {
        let id = id.parse().map_err(|_| Problem::NotFound)?;
        self.find_by_id(caller.organization, id).await?.ok_or(Problem::NotFound)
    }

    /// Finds an organization's integration, unless it is deleted.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or the item is unreadable.
    pub async fn find_by_id(
        &self,
        organization: OrganizationId,
        id: IntegrationId,
    ) -> Result<Option<Integration>, Fault> {
        Ok(self.table.find(organization, id).await?.filter(is_active))
    }

    /// The caller's integrations, without deleted ones. Unreadable items are logged and skipped: one must not hide the
    /// others.
    pub async fn all(&self, caller: Caller) -> Result<Vec<Integration>, Problem> {
        let found = self.table.of_organization(caller.organization).await?;
        log::unreadable_integrations(caller.organization, found.unreadable);
        Ok(found.readable.into_iter().filter(is_active).collect())
    }

    /// Checks that an organization may have one more integration.
    ///
    /// # Errors
    /// [`Problem::Conflict`] when it may not, or a fault.
    pub async fn check_room(&self, organization: OrganizationId) -> Result<(), Problem> {
        let found = self.table.of_organization(organization).await?;
        let active = found.readable.iter().filter(|integration| is_active(integration)).count() + found.unreadable;
        if active >= self.max {
            return Err(Problem::Conflict(Conflict::TooManyIntegrations { max: self.max }));
        }
        Ok(())
    }

    /// How many integrations were created. Must be read *before* anything that a creation depends on.
    pub async fn generation(&self, organization: OrganizationId) -> Result<Generation, Fault> {
        let item = get(&self.client, &self.table_name, organization, CREATIONS).await?;
        Ok(Generation(generation(item.as_ref())))
    }

    /// Creates an integration and remembers its request. Refused when another integration was created since `seen`, or
    /// the request is remembered already: another request was faster, perhaps a repetition of this one.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails; whether the integration was created is then unknown.
    pub async fn create(
        &self,
        integration: &Integration,
        seen: Generation,
        request: Remembered<'_>,
    ) -> Result<Conditional, Fault> {
        let counted = Update::builder()
            .table_name(&self.table_name)
            .set_key(Some(item_key(integration.organization_id, CREATIONS)))
            .update_expression("SET generation = :next")
            .condition_expression(UNCHANGED)
            .expression_attribute_values(":next", number(seen.0 + 1))
            .expression_attribute_values(":seen", number(seen.0))
            .build()
            .expect("an update has a table, a key and an expression");
        let counted = TransactWriteItem::builder().update(counted).build();
        let mut writes = vec![put(self.put(integration)?), counted];
        if let Some((request, origin)) = request {
            writes.push(self.requests.write(request, integration, origin)?);
        }
        self.write_together(writes).await
    }

    /// Replaces an integration as a whole and remembers the request. Refused when `used_version` is no longer current,
    /// or the request is remembered already: another request was faster, perhaps a repetition of this one.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails; whether the integration was written is then unknown.
    pub async fn replace(
        &self,
        integration: &Integration,
        used_version: u64,
        request: Remembered<'_>,
    ) -> Result<Conditional, Fault> {
        let Some((request, origin)) = request else {
            return self.table.replace(integration, used_version).await;
        };
        let replaced = self
            .put(integration)?
            .condition_expression("version = :used")
            .expression_attribute_values(":used", number(used_version));
        self.write_together(vec![put(replaced), self.requests.write(request, integration, origin)?]).await
    }

    /// Changes an integration: `wanted` is given its current version and the time, and returns what it is to become. It
    /// is called again when the integration was changed concurrently.
    ///
    /// # Errors
    /// The error of `wanted`, [`Problem::PreconditionFailed`] when another version is meant, or a fault.
    pub async fn change<W>(
        &self,
        caller: Caller,
        id: &str,
        precondition: &Precondition,
        wanted: impl Fn(Integration, Timestamp) -> W,
    ) -> Result<Change, Problem>
    where
        W: Future<Output = Result<Integration, Problem>>,
    {
        let wanted = &wanted;
        with_backoff((), |()| async move {
            let (current, now) = (self.find(caller, id).await?, now());
            let change = next_version(&current, wanted(current.clone(), now).await?, precondition, now)?;
            let Change::Version(next) = &change else { return Ok(Conditional::Applied(change)) };
            let written = self.replace(next, current.version, None).await?;
            Ok(written.map(|()| change))
        })
        .await
    }

    /// Deletes an integration, and leaves a tombstone for the retention time. Returns what was deleted.
    ///
    /// # Errors
    /// [`Problem::NotFound`] when the caller has none with this id, [`Problem::PreconditionFailed`] when another
    /// version is meant, or a fault.
    pub async fn delete(
        &self,
        caller: Caller,
        id: &str,
        precondition: &Precondition,
        retention: Duration,
    ) -> Result<Integration, Problem> {
        with_backoff((), |()| async move {
            let (current, now) = (self.find(caller, id).await?, now());
            precondition.check(current.version)?;
            let deletion = Delete::builder()
                .table_name(&self.table_name)
                .set_key(Some(item_key(current.organization_id, &current.id.to_string())))
                .condition_expression("version = :used")
                .expression_attribute_values(":used", number(current.version))
                .build()
                .expect("a deletion has a table and a key");
            let expires_at = now.saturating_add(retention).unwrap_or(Timestamp::MAX);
            let tombstone = tombstone(current.organization_id, current.id, now, expires_at);
            let writes = vec![
                TransactWriteItem::builder().delete(deletion).build(),
                put(Put::builder().table_name(&self.table_name).set_item(Some(tombstone))),
            ];
            Ok(self.write_together(writes).await?.map(|()| current))
        })
        .await
    }

    fn put(&self, integration: &Integration) -> Result<PutBuilder, Fault> {
        let item = to_item(integration).map_err(|_| UNREADABLE)?;
        Ok(Put::builder().table_name(&self.table_name).set_item(Some(item)))
    }

    /// The SDK sends an idempotency token, so that DynamoDB recognizes a repetition whose first response was lost.
    async fn write_together(&self, writes: Vec<TransactWriteItem>) -> Result<Conditional, Fault> {
        let answer = self.client.transact_write_items().set_transact_items(Some(writes)).send().await;
        Ok(conditional(answer)?.map(drop).map_refused(drop))
    }
}

/// The next version of an integration that is to become `wanted`.
///
/// # Errors
/// [`Problem::PreconditionFailed`] when another version is meant.
pub fn next_version(
    current: &Integration,
    wanted: Integration,
    precondition: &Precondition,
    now: Timestamp,
) -> Result<Change, Problem> {
    // Checked last: a precondition counts only for a request that would otherwise succeed (RFC 9110, section 13.2.1).
    precondition.check(current.version)?;
    if wanted == *current {
        return Ok(Change::Nothing(wanted));
    }
    Ok(Change::Version(Integration { version: current.version + 1, updated_at: now, ..wanted }))
}

fn is_active(integration: &Integration) -> bool {
    integration.standing() != Standing::Deleted
}

fn put(builder: PutBuilder) -> TransactWriteItem {
    let put = builder.build().expect("a put has a table and an item");
    TransactWriteItem::builder().put(put).build()
}
