//! The integrations of organizations, as their owners read and change them.
//!
//! Every change is made to the version that there is, on condition that it still is, else to what somebody else has made of
//! it. So two people who change different things do not undo each other, and who names a version is told that it is gone.

use aws::dynamodb::conditional::{Conditional, conditional, with_backoff};
use aws::dynamodb::integrations_table::IntegrationsTable;
use aws::fault::Fault;
use aws::log;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
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

/// The most integrations and tombstones of an organization together. Delivering reads them all for every alert, so
/// creating and deleting in a loop must not make that dear.
const MAX_REMEMBERED: usize = 1_000;

/// The sort key of the item that counts creations. Creating one writes it, so that two at once conflict.
const CREATIONS: &str = "creations";

/// The integrations of all organizations.
#[derive(Clone, Debug)]
pub struct Integrations {
    table: IntegrationsTable,
    client: Client,
    table_name: String,
    requests: RememberedRequests,
    /// How many an organization may have.
    most: usize,
}

/// How many integrations an organization has created so far: creating one is conditional on nobody else having done so
/// since they were counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(u64);

/// What a change makes of an integration.
pub enum Change {
    /// Nothing that it is not already.
    Nothing(Integration),
    /// Its next version.
    Version(Integration),
}

/// A request that is remembered with what it writes, and where the secret comes from that it sets.
pub type Remembered<'a> = Option<(&'a IdempotentRequest, SecretOrigin)>;

impl Integrations {
    pub fn new(client: Client, table_name: String, most: usize) -> Self {
        Self {
            table: IntegrationsTable::new(client.clone(), table_name.clone()),
            requests: RememberedRequests::new(client.clone(), table_name.clone()),
            client,
            table_name,
            most,
        }
    }

    /// The requests that were carried out on them.
    pub fn requests(&self) -> &RememberedRequests {
        &self.requests
    }

    /// One of the caller's integrations. Those of others, and deleted ones, are not there.
    ///
    /// # Errors
    /// [`Problem::NotFound`], or a fault.
    pub async fn find(&self, caller: Caller, id: &str) -> Result<Integration, Problem> {
        let id = id.parse().map_err(|_| Problem::NotFound)?;
        self.find_by_id(caller.organization, id).await?.ok_or(Problem::NotFound)
    }

    /// An organization's integration of that id, unless it is deleted.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or the item is broken.
    pub async fn find_by_id(
        &self,
        organization: OrganizationId,
        id: IntegrationId,
    ) -> Result<Option<Integration>, Fault> {
        Ok(self.table.find(organization, id).await?.filter(is_active))
    }

    /// The caller's integrations, but for deleted ones, and for those that cannot be read: one broken item must not hide the
    /// others.
    ///
    /// # Errors
    /// A fault.
    pub async fn all(&self, caller: Caller) -> Result<Vec<Integration>, Problem> {
        let found = self.table.of_organization(caller.organization).await?;
        log::unreadable_integrations(caller.organization, found.unreadable);
        Ok(found.readable.into_iter().filter(is_active).collect())
    }

    /// Looks whether an organization may have one more.
    ///
    /// # Errors
    /// [`Problem::Conflict`] when it may not, or a fault.
    pub async fn check_room(&self, organization: OrganizationId) -> Result<(), Problem> {
        let found = self.table.of_organization(organization).await?;
        let active = found.readable.iter().filter(|integration| is_active(integration)).count() + found.unreadable;
        if active >= self.most {
            return Err(Problem::Conflict(Conflict::TooManyIntegrations { most: self.most }));
        }
        if found.readable.len() >= MAX_REMEMBERED.max(2 * self.most) {
            return Err(Problem::Conflict(Conflict::TooManyDeleted));
        }
        Ok(())
    }

    /// How many integrations were created. To be read *before* anything that creating one depends on.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails.
    pub async fn generation(&self, organization: OrganizationId) -> Result<Generation, Fault> {
        let item = get(&self.client, &self.table_name, organization, CREATIONS).await?;
        Ok(Generation(generation(item.as_ref())))
    }

    /// Creates an integration, if none was created since `seen`, and remembers the request that asked for it, unless that is
    /// remembered already. Refused when somebody else did either meanwhile, perhaps for the same request.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails; whether it was created is then unknown.
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

    /// Writes an integration whole in place of the version that was used, if that is still the one, and remembers the request
    /// that asked for it, unless that is remembered already. Refused when somebody else did either meanwhile, perhaps for the
    /// same request.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails; whether it was written is then unknown.
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

    /// Changes an integration to what `wanted` makes of the version that there is, now.
    ///
    /// # Errors
    /// What is wrong with the change, [`Problem::PreconditionFailed`] when another version is meant, or a fault.
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
            let change = changed(&current, wanted(current.clone(), now).await?, precondition, now)?;
            let Change::Version(next) = &change else { return Ok(Conditional::Applied(change)) };
            let written = self.replace(next, current.version, None).await?;
            Ok(written.map(|()| change))
        })
        .await
    }

    fn put(&self, integration: &Integration) -> Result<PutBuilder, Fault> {
        let item = to_item(integration).map_err(|_| UNREADABLE)?;
        Ok(Put::builder().table_name(&self.table_name).set_item(Some(item)))
    }

    /// The SDK names the transaction, so that DynamoDB takes a repetition whose first answer was lost for what it is.
    async fn write_together(&self, writes: Vec<TransactWriteItem>) -> Result<Conditional, Fault> {
        let answer = self.client.transact_write_items().set_transact_items(Some(writes)).send().await;
        Ok(conditional(answer)?.map(drop).map_refused(drop))
    }
}

/// The next version of an integration that is to become `wanted`.
///
/// # Errors
/// [`Problem::PreconditionFailed`] when another version is meant.
pub fn changed(
    current: &Integration,
    wanted: Integration,
    precondition: &Precondition,
    now: Timestamp,
) -> Result<Change, Problem> {
    // Only what would be carried out otherwise depends on a condition (RFC 9110, section 13.2.1).
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
