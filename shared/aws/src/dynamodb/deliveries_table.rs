//! The ledger: the DynamoDB table of deliveries.
//!
//! Every write is conditional on the state that it leaves. A refused write returns the item that it found, so that no
//! read is needed before a write.

mod expression;

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity, ReturnValue,
    ReturnValuesOnConditionCheckFailure,
};
use domain::delivery::payload::{self, InflateError};
use domain::delivery::transitions::Write;
use domain::delivery::{DeliveryKey, Identity, Record};
use domain::ids::{DeliveryId, IntegrationId, OrganizationId};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::dynamodb::conditional::{Conditional, conditional};
use crate::fault::Fault;
use expression::{Expression, expression};

/// The name of the sparse index of waiting deliveries. Its keys are `due_shard` and `due_at`.
pub const WAITING_INDEX: &str = "waiting";

/// How much longer than its delivery a payload's own item is kept, because TTL deletes in no particular order.
const EXTRA_PAYLOAD_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

type Item = HashMap<String, AttributeValue>;

/// The deliveries table.
#[derive(Clone, Debug)]
pub struct DeliveriesTable {
    client: Client,
    table: String,
}

/// The result of a conditional write of a delivery: the new item, or the one that was found instead, if any.
pub type Written = Conditional<Box<Record>, Option<Box<Record>>>;

/// An entry of the index of waiting deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Overdue {
    pub organization_id: OrganizationId,
    pub integration_id: IntegrationId,
    pub delivery_id: DeliveryId,
    pub attempt: u32,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub due_at: Timestamp,
}

/// The name of the sparse index of failed deliveries. Its keys are `integration_id` and `failed_created_at`.
pub const FAILED_INDEX: &str = "failed";

/// A position among an integration's failed deliveries: just after the one with this id and time of receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedPosition {
    pub delivery_id: DeliveryId,
    pub created_at: Timestamp,
}

/// A range of times of receipt, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiptRange {
    pub from: Timestamp,
    pub to: Timestamp,
}

/// The order in which failed deliveries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    NewestFirst,
    OldestFirst,
}

/// An entry of the index of failed deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Failed {
    pub delivery_id: DeliveryId,
    #[serde(rename = "failed_created_at", with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub created_at: Timestamp,
    /// Whether it was made with the Test button.
    #[serde(default)]
    pub test: bool,
}

impl Failed {
    pub fn position(&self) -> FailedPosition {
        FailedPosition { delivery_id: self.delivery_id, created_at: self.created_at }
    }
}

/// The item of a [misdated](domain::delivery::misdated) delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Misdated {
    #[serde(rename = "misdated")]
    pub delivery_id: DeliveryId,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    pub created_at: Timestamp,
}

/// A page of a list, in order.
#[derive(Debug)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub more: More,
    /// What reading it cost, in DynamoDB's read units.
    pub read_units: f64,
}

/// The deliveries that were found of those asked for, in order.
#[derive(Debug)]
pub struct FoundAll {
    pub items: Vec<Record>,
    /// What reading them cost, in DynamoDB's read units.
    pub read_units: f64,
}

/// Whether there may be more items after a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    Perhaps,
    None,
}

/// The most deliveries that one [`DeliveriesTable::find_all`] can read: BatchGetItem's limit.
pub const MAX_BATCH_READ: usize = 100;

/// How many overdue deliveries one page has.
const OVERDUE_PAGE: i32 = 100;

/// A page of a shard's overdue deliveries.
#[derive(Debug)]
pub struct OverduePage {
    pub deliveries: Vec<Overdue>,
    /// How many entries could not be read. They are skipped, so that one bad entry does not hide the others.
    pub unreadable: usize,
    /// Where the next page begins; `None` after the last one.
    pub next: Option<Cursor>,
}

/// A position in the index of waiting deliveries.
#[derive(Clone, Debug)]
pub struct Cursor(Item);

impl DeliveriesTable {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Creates a delivery, unless it exists.
    ///
    /// # Errors
    /// On a [`Fault`] it is unknown whether the delivery was created.
    pub async fn create(&self, record: Box<Record>) -> Result<Written, Fault> {
        let item = to_item(&*record).map_err(|_| UNREADABLE)?;
        let response = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(delivery_id)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match conditional(response)? {
            Conditional::Applied(_) => Ok(Written::Applied(record)),
            Conditional::Refused(found) => refused_with(found),
        }
    }

    /// Makes a write, if its condition holds and the delivery belongs to that organization. Returns the item as it is
    /// after the write.
    ///
    /// # Errors
    /// On a [`Fault`] it is unknown whether the write was made.
    pub async fn advance(&self, key: DeliveryKey, owner: OrganizationId, write: &Write<'_>) -> Result<Written, Fault> {
        match self.update(key, owner, write, ReturnValue::AllNew).await? {
            Conditional::Applied(output) => Ok(Written::Applied(read(output.attributes.unwrap_or_default())?)),
            Conditional::Refused(found) => refused_with(found),
        }
    }

    /// Makes a write, given the record that it changes. The new record is computed here, because having DynamoDB return
    /// the item takes as long as writing it.
    ///
    /// # Errors
    /// On a [`Fault`] it is unknown whether the write was made.
    pub async fn record_attempt(&self, record: &Record, write: &Write<'_>) -> Result<Written, Fault> {
        let Identity { organization_id: owner, .. } = record.identity;
        match self.update(record.identity.key(), owner, write, ReturnValue::None).await? {
            Conditional::Applied(_) => {
                let mut concluded = Box::new(record.clone());
                write.apply(&mut concluded)?;
                Ok(Written::Applied(concluded))
            }
            Conditional::Refused(found) => refused_with(found),
        }
    }

    async fn update(
        &self,
        key: DeliveryKey,
        owner: OrganizationId,
        write: &Write<'_>,
        return_values: ReturnValue,
    ) -> Result<Conditional<UpdateItemOutput, Option<Item>>, Fault> {
        let Expression { update, condition, names, values } = expression(key, owner, write)?;
        let response = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(key, key.delivery_id.to_string())))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .return_values(return_values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        conditional(response)
    }

    /// Reads a delivery with strong consistency, for when [`DeliveriesTable::create`] must not be tried instead.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or the item cannot be read.
    pub async fn find(&self, key: DeliveryKey) -> Result<Option<Box<Record>>, Fault> {
        let item = self.get(key, key.delivery_id.to_string()).await?;
        item.map(read).transpose()
    }

    /// Stores a payload in an item of its own. Doing so again changes nothing.
    pub async fn put_payload(&self, key: DeliveryKey, deflated: Vec<u8>, expires_at: Timestamp) -> Result<(), Fault> {
        let payload_expires_at = expires_at.saturating_add(EXTRA_PAYLOAD_RETENTION).unwrap_or(expires_at);
        let mut item = item_key(key, payload_sort_key(key));
        item.insert("payload".to_owned(), AttributeValue::B(deflated.into()));
        item.insert("expires_at".to_owned(), number(payload_expires_at.as_second()));
        item.insert("format".to_owned(), number(Record::FORMAT));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(drop).map_err(Fault::of("PutItem"))
    }

    /// Stores where a misdated delivery is found by its time of receipt. Doing so again changes nothing. The delivery may
    /// not exist.
    pub async fn put_misdated(&self, identity: &Identity, expires_at: Timestamp) -> Result<(), Fault> {
        let Identity { delivery_id, created_at, .. } = *identity;
        let mut item = item_key(identity.key(), misdated_sort_key(delivery_id, created_at));
        item.insert("misdated".to_owned(), AttributeValue::S(delivery_id.to_string()));
        item.insert("created_at".to_owned(), number(created_at.as_millisecond()));
        item.insert("expires_at".to_owned(), number(expires_at.as_second()));
        item.insert("format".to_owned(), number(Record::FORMAT));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(drop).map_err(Fault::of("PutItem"))
    }

    /// A page of an integration's misdated deliveries that were received in a range of time, newest first, from the one
    /// after `after` on.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or an item cannot be read.
    pub async fn misdated(
        &self,
        integration_id: IntegrationId,
        range: ReceiptRange,
        after: Option<Misdated>,
        limit: i32,
    ) -> Result<Page<Misdated>, Fault> {
        let sort_key = |random, at| AttributeValue::S(misdated_sort_key(DeliveryId::new(at, random), at));
        let after = after.map(|Misdated { delivery_id, created_at }| {
            let key = DeliveryKey { integration_id, delivery_id };
            item_key(key, misdated_sort_key(delivery_id, created_at))
        });
        let page = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("integration_id = :integration AND delivery_id BETWEEN :from AND :to")
            .expression_attribute_values(":integration", AttributeValue::S(integration_id.to_string()))
            .expression_attribute_values(":from", sort_key([0; 10], range.from))
            .expression_attribute_values(":to", sort_key([0xff; 10], range.to))
            .set_exclusive_start_key(after)
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(limit)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(Fault::of("Query"))?;
        page_of(page)
    }

    /// The decompressed payload of a delivery, from its own item or the delivery's.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails, or the payload is missing or damaged.
    pub async fn payload(&self, record: &Record) -> Result<Vec<u8>, Fault> {
        if let Some(inline) = &record.payload {
            return Ok(payload::inflate(inline)?);
        }
        let key = record.identity.key();
        let item = self.get(key, payload_sort_key(key)).await?.ok_or(Fault::PayloadMissing)?;
        match item.get("payload") {
            Some(AttributeValue::B(deflated)) => Ok(payload::inflate(deflated.as_ref())?),
            _ => Err(InflateError.into()),
        }
    }

    /// A page of a shard's deliveries that were due before an instant, oldest first.
    pub async fn overdue(&self, due_shard: u8, before: Timestamp, from: Option<Cursor>) -> Result<OverduePage, Fault> {
        let page = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(WAITING_INDEX)
            .key_condition_expression("due_shard = :shard AND due_at < :before")
            .expression_attribute_values(":shard", number(due_shard))
            .expression_attribute_values(":before", number(before.as_millisecond()))
            .set_exclusive_start_key(from.map(|Cursor(key)| key))
            .limit(OVERDUE_PAGE)
            .send()
            .await
            .map_err(Fault::of("Query"))?;
        let items = page.items.unwrap_or_default();
        let found = items.len();
        let deliveries: Vec<Overdue> = items.into_iter().filter_map(|item| from_item(item).ok()).collect();
        let unreadable = found - deliveries.len();
        Ok(OverduePage { deliveries, unreadable, next: page.last_evaluated_key.map(Cursor) })
    }

    /// A page of an integration's deliveries, newest event first, from the one after `after` on.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or an item cannot be read.
    pub async fn log(
        &self,
        integration_id: IntegrationId,
        after: Option<DeliveryId>,
        limit: i32,
    ) -> Result<Page<Record>, Fault> {
        let after = after.map(|delivery_id| {
            let key = DeliveryKey { integration_id, delivery_id };
            item_key(key, delivery_id.to_string())
        });
        let page = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("integration_id = :integration AND begins_with(delivery_id, :prefix)")
            .expression_attribute_values(":integration", AttributeValue::S(integration_id.to_string()))
            .expression_attribute_values(":prefix", AttributeValue::S(DeliveryId::PREFIX.to_owned()))
            .set_exclusive_start_key(after)
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(limit)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(Fault::of("Query"))?;
        page_of(page)
    }

    /// A page of an integration's failed deliveries by their time of receipt, from the one after `after` on. What
    /// failed a moment ago may not be in the index yet.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or an entry cannot be read.
    pub async fn failed(
        &self,
        integration_id: IntegrationId,
        range: ReceiptRange,
        order: Order,
        after: Option<FailedPosition>,
        limit: i32,
    ) -> Result<Page<Failed>, Fault> {
        let after = after.map(|FailedPosition { delivery_id, created_at }| {
            let mut key = item_key(DeliveryKey { integration_id, delivery_id }, delivery_id.to_string());
            key.insert("failed_created_at".to_owned(), number(created_at.as_millisecond()));
            key
        });
        let page = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(FAILED_INDEX)
            .key_condition_expression("integration_id = :integration AND failed_created_at BETWEEN :from AND :to")
            .expression_attribute_values(":integration", AttributeValue::S(integration_id.to_string()))
            .expression_attribute_values(":from", number(range.from.as_millisecond()))
            .expression_attribute_values(":to", number(range.to.as_millisecond()))
            .set_exclusive_start_key(after)
            .scan_index_forward(order == Order::OldestFirst)
            .limit(limit)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(Fault::of("Query"))?;
        page_of(page)
    }

    /// The deliveries with these ids, at most [`MAX_BATCH_READ`], in the order given. Those that no longer exist are
    /// skipped.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or leaves some unread, or an item cannot be read.
    pub async fn find_all(&self, integration_id: IntegrationId, deliveries: &[DeliveryId]) -> Result<FoundAll, Fault> {
        if deliveries.is_empty() {
            return Ok(FoundAll { items: Vec::new(), read_units: 0.0 });
        }
        let keys = deliveries.iter().map(|&delivery_id| {
            let key = DeliveryKey { integration_id, delivery_id };
            item_key(key, delivery_id.to_string())
        });
        let wanted = KeysAndAttributes::builder().set_keys(Some(keys.collect())).consistent_read(true);
        let wanted = wanted.build().expect("the keys are given");
        let get = self.client.batch_get_item().request_items(&self.table, wanted);
        let get = get.return_consumed_capacity(ReturnConsumedCapacity::Total);
        let mut response = get.send().await.map_err(Fault::of("BatchGetItem"))?;
        if response.unprocessed_keys.as_ref().is_some_and(|unprocessed| !unprocessed.is_empty()) {
            return Err(Fault::Aws { operation: "BatchGetItem", code: "UnprocessedKeys".to_owned() });
        }
        let read_units = read_units(response.consumed_capacity(), deliveries.len());
        let items = response.responses.as_mut().and_then(|tables| tables.remove(&self.table)).unwrap_or_default();
        let mut found: HashMap<DeliveryId, Record> = HashMap::with_capacity(items.len());
        for item in items {
            let record: Record = from_item(item).map_err(|_| UNREADABLE)?;
            found.insert(record.identity.delivery_id, record);
        }
        Ok(FoundAll { items: deliveries.iter().filter_map(|delivery| found.remove(delivery)).collect(), read_units })
    }

    /// Extends the retention of a payload that has an item of its own. Does nothing for one that is in its delivery's
    /// item.
    ///
    /// # Errors
    /// [`Fault::PayloadMissing`] when the payload no longer exists; another [`Fault`] when DynamoDB fails.
    pub async fn extend_payload(&self, record: &Record, expires_at: Timestamp) -> Result<(), Fault> {
        if record.payload.is_some() {
            return Ok(());
        }
        let key = record.identity.key();
        let payload_expires_at = expires_at.saturating_add(EXTRA_PAYLOAD_RETENTION).unwrap_or(expires_at);
        let response = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(key, payload_sort_key(key))))
            .update_expression("SET expires_at = :expires_at")
            .condition_expression("attribute_exists(payload)")
            .expression_attribute_values(":expires_at", number(payload_expires_at.as_second()))
            .send()
            .await;
        match conditional(response)? {
            Conditional::Applied(_) => Ok(()),
            Conditional::Refused(_) => Err(Fault::PayloadMissing),
        }
    }

    async fn get(&self, key: DeliveryKey, sort_key: String) -> Result<Option<Item>, Fault> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(item_key(key, sort_key)));
        let response = get.consistent_read(true).send().await.map_err(Fault::of("GetItem"))?;
        Ok(response.item)
    }
}

const UNREADABLE: Fault = Fault::UnreadableItem { table: "deliveries" };

fn item_key(key: DeliveryKey, sort_key: String) -> Item {
    HashMap::from([
        ("integration_id".to_owned(), AttributeValue::S(key.integration_id.to_string())),
        ("delivery_id".to_owned(), AttributeValue::S(sort_key)),
    ])
}

/// A sort key after those of all deliveries, so that reading an integration's log does not read payloads.
fn payload_sort_key(key: DeliveryKey) -> String {
    format!("payload_{}", key.delivery_id)
}

/// After those of all deliveries too.
fn misdated_sort_key(delivery: DeliveryId, received_at: Timestamp) -> String {
    format!("received_{}", delivery.sorted_by(received_at))
}

fn read(item: Item) -> Result<Box<Record>, Fault> {
    from_item(item).map(Box::new).map_err(|_| UNREADABLE)
}

fn refused_with(item: Option<Item>) -> Result<Written, Fault> {
    item.map(read).transpose().map(Written::Refused)
}

fn page_of<T: DeserializeOwned>(page: QueryOutput) -> Result<Page<T>, Fault> {
    let read_units = read_units(page.consumed_capacity.as_slice(), page.items().len());
    let more = if page.last_evaluated_key.is_some() { More::Perhaps } else { More::None };
    let items = page.items.unwrap_or_default().into_iter();
    let items = items.map(|item| from_item(item).map_err(|_| UNREADABLE)).collect::<Result<_, _>>()?;
    Ok(Page { items, more, read_units })
}

/// The read units that were used. Should DynamoDB not say, each item counts as one, so that a limit still holds.
fn read_units(consumed: &[ConsumedCapacity], items: usize) -> f64 {
    let units: Option<f64> = consumed.iter().map(ConsumedCapacity::capacity_units).sum();
    units.filter(|units| *units > 0.0).unwrap_or(items as f64)
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
