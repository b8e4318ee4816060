//! What the API keeps beside an organization's integrations, in the same table: what makes creating one safe to repeat
//! and bounded in number, and what paces tests and recoveries.
//!
//! None of these items' sort keys begins like an integration's, so that delivering never reads them.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason, Put, TransactWriteItem, Update};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};
use shared::ids::{IntegrationId, OrganizationId};
use shared::integration::Integration;
use shared::io::fault::Fault;

use crate::allowance::{self, TooManyTests};
use crate::idempotency::{FINGERPRINT_BYTES, REMEMBERED_FOR, RequestKey};
use crate::integrations::SecretOrigin;
use crate::pace::{self, FullyBooked, Slots};

/// How often a write that others got in the way of is tried again.
const MAX_COLLISIONS: usize = 8;

/// How much longer than it is needed an item is kept.
const OUTLIVES: Duration = Duration::from_secs(60 * 60);

type Item = HashMap<String, AttributeValue>;

/// The API's own items.
#[derive(Clone, Debug)]
pub struct Bookkeeping {
    client: Client,
    table: String,
}

/// How many integrations an organization has created so far: creating one is conditional on nobody else having done so
/// since they were counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(u64);

/// A request that created an integration, remembered by its `Idempotency-Key`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedRequest {
    pub created: IntegrationId,
    pub fingerprint: ByteBuf,
    pub secret_origin: SecretOrigin,
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub expires_at: Timestamp,
}

/// What came of creating an integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    Done,
    /// Somebody else created one meanwhile, or the same request was carried out twice at once: look again.
    Contended,
}

impl Bookkeeping {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// How many integrations were created. To be read *before* they are counted.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails.
    pub async fn generation(&self, organization: OrganizationId) -> Result<Generation, Fault> {
        let item = self.get(organization, CREATIONS).await?;
        Ok(Generation(item.as_ref().and_then(|item| whole_number(item, "generation")).unwrap_or(0)))
    }

    /// The request of that key, if it was carried out within the last 24 hours.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or the item is broken.
    pub async fn remembered(
        &self,
        organization: OrganizationId,
        key: &RequestKey,
        now: Timestamp,
    ) -> Result<Option<RememberedRequest>, Fault> {
        let item = self.get(organization, &key.sort_key()).await?;
        let request: Option<RememberedRequest> = item.map(from_item).transpose().map_err(|_| UNREADABLE)?;
        // TTL takes its time.
        Ok(request.filter(|request| now < request.expires_at))
    }

    /// Creates an integration, if none was created since `seen`, and remembers the request that asked for it.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails; whether it was created is then unknown.
    pub async fn create(
        &self,
        integration: &Integration,
        seen: Generation,
        request: Option<(&RequestKey, [u8; FINGERPRINT_BYTES])>,
        secret_origin: SecretOrigin,
    ) -> Result<Creation, Fault> {
        let organization = integration.organization_id;
        let created = self.put(to_item(integration).map_err(|_| UNREADABLE)?);
        let mut writes = self
            .client
            .transact_write_items()
            .transact_items(TransactWriteItem::builder().put(created).build())
            .transact_items(TransactWriteItem::builder().update(self.next_generation(organization, seen)).build());
        if let Some((key, fingerprint)) = request {
            let remembered = RememberedRequest {
                created: integration.id,
                fingerprint: ByteBuf::from(fingerprint),
                secret_origin,
                expires_at: integration.created_at.saturating_add(REMEMBERED_FOR).unwrap_or(Timestamp::MAX),
            };
            let mut item: Item = to_item(remembered).map_err(|_| UNREADABLE)?;
            item.extend(item_key(organization, &key.sort_key()));
            writes = writes.transact_items(TransactWriteItem::builder().put(self.put(item)).build());
        }
        match writes.send().await {
            Ok(_) => Ok(Creation::Done),
            Err(SdkError::ServiceError(context)) if is_contention(context.err()) => Ok(Creation::Contended),
            Err(error) => Err(Fault::of("TransactWriteItems")(error)),
        }
    }

    fn put(&self, item: Item) -> Put {
        Put::builder().table_name(&self.table).set_item(Some(item)).build().expect("a put has a table and an item")
    }

    fn next_generation(&self, organization: OrganizationId, seen: Generation) -> Update {
        Update::builder()
            .table_name(&self.table)
            .set_key(Some(item_key(organization, CREATIONS)))
            .update_expression("SET generation = :next")
            .condition_expression(UNCHANGED)
            .expression_attribute_values(":next", number(seen.0 + 1))
            .expression_attribute_values(":seen", number(seen.0))
            .build()
            .expect("an update has a table, a key and an expression")
    }

    /// Admits a test of an organization's integration, or says how long to wait for it.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails.
    pub async fn admit_test(
        &self,
        organization: OrganizationId,
        now: Timestamp,
    ) -> Result<Result<(), TooManyTests>, Fault> {
        let expires_at = now.saturating_add(allowance::PER).unwrap_or(Timestamp::MAX);
        self.keep(organization, TESTS, expires_at, |recent: Option<Vec<i64>>| {
            Ok((allowance::admit(&recent.unwrap_or_default(), now)?, ()))
        })
        .await
    }

    /// Reserves the instants at which that many deliveries of an integration are sent again, behind all those reserved
    /// before.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails.
    pub async fn reserve(
        &self,
        integration: &Integration,
        count: u32,
        now: Timestamp,
    ) -> Result<Result<Slots, FullyBooked>, Fault> {
        let name = format!("pace_{}", integration.id);
        let expires_at = now.saturating_add(pace::MOST_AHEAD).unwrap_or(Timestamp::MAX);
        self.keep(integration.organization_id, &name, expires_at, |booked_until: Option<i64>| {
            let booked_until = booked_until.and_then(|at| Timestamp::from_millisecond(at).ok());
            let slots = pace::reserve(booked_until, count, now)?;
            Ok((slots.until().as_millisecond(), slots))
        })
        .await
    }

    /// Changes a value that is kept under a name to what `change` makes of it, unless `change` refuses. Whoever changed it
    /// meanwhile goes first.
    async fn keep<T, R, E>(
        &self,
        organization: OrganizationId,
        name: &str,
        expires_at: Timestamp,
        change: impl Fn(Option<T>) -> Result<(T, R), E>,
    ) -> Result<Result<R, E>, Fault>
    where
        T: Serialize + for<'de> Deserialize<'de>,
    {
        for _ in 0..MAX_COLLISIONS {
            let item = self.get(organization, name).await?;
            let seen = item.as_ref().and_then(|item| whole_number(item, "generation")).unwrap_or(0);
            let kept: Option<Kept<T>> = item.map(from_item).transpose().map_err(|_| UNREADABLE)?;
            let (value, answer) = match change(kept.map(|kept| kept.value)) {
                Ok(changed) => changed,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let value = serde_dynamo::to_attribute_value(value).map_err(|_| UNREADABLE)?;
            let written = self
                .client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(item_key(organization, name)))
                .update_expression("SET #value = :value, generation = :next, expires_at = :expires_at")
                .condition_expression(UNCHANGED)
                .expression_attribute_names("#value", "value")
                .expression_attribute_values(":value", value)
                .expression_attribute_values(":next", number(seen + 1))
                .expression_attribute_values(":seen", number(seen))
                .expression_attribute_values(":expires_at", number(outlived(expires_at).as_second()))
                .send()
                .await;
            match written {
                Ok(_) => return Ok(Ok(answer)),
                Err(SdkError::ServiceError(context))
                    if matches!(context.err(), UpdateItemError::ConditionalCheckFailedException(_)) => {}
                Err(error) => return Err(Fault::of("UpdateItem")(error)),
            }
        }
        Err(Fault::Contended)
    }

    async fn get(&self, organization: OrganizationId, sort_key: &str) -> Result<Option<Item>, Fault> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(item_key(organization, sort_key)));
        let answer = get.consistent_read(true).send().await.map_err(Fault::of("GetItem"))?;
        Ok(answer.item)
    }
}

/// The sort key of the item that counts creations. Creating one writes it, so that two at once collide.
const CREATIONS: &str = "creations";
const TESTS: &str = "tests";

/// Nobody has written since it was read.
const UNCHANGED: &str = "attribute_not_exists(generation) OR generation = :seen";

const UNREADABLE: Fault = Fault::UnreadableItem { table: "integrations" };

#[derive(Deserialize)]
struct Kept<T> {
    value: T,
}

fn is_contention(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else { return false };
    let lost_a_race = |code| matches!(code, "ConditionalCheckFailed" | "TransactionConflict");
    cancelled.cancellation_reasons().iter().filter_map(CancellationReason::code).any(lost_a_race)
}

fn item_key(organization: OrganizationId, sort_key: &str) -> Item {
    HashMap::from([
        ("organization_id".to_owned(), AttributeValue::N(organization.to_string())),
        ("integration_id".to_owned(), AttributeValue::S(sort_key.to_owned())),
    ])
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn whole_number(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn outlived(needed_until: Timestamp) -> Timestamp {
    needed_until.saturating_add(OUTLIVES).unwrap_or(needed_until)
}
