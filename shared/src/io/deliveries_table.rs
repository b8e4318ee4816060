//! The ledger: the DynamoDB table of deliveries.
//!
//! Every write is conditional on the state that it moves away from. A write that is refused answers with the item it
//! found, so that nobody reads before writing.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use jiff::Timestamp;
use serde::Deserialize;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_attribute_value, to_item};
use std::collections::HashMap;
use std::time::Duration;

use crate::delivery::{Attempt, CancelReason, DeliveryKey, Record, Status};
use crate::ids::{DeliveryId, IntegrationId, OrganizationId};
use crate::io::fault::Fault;
use crate::ledger::{ClaimId, End, Freshness, State};
use crate::payload::{self, DoesNotInflate};

/// The name of the sparse index of what is waiting: `due_shard`, `due_at`.
pub const WAITING_INDEX: &str = "waiting";

/// How much longer than its delivery a payload's own item is kept: TTL deletes in no particular order.
const PAYLOAD_OUTLIVES: Duration = Duration::from_secs(24 * 60 * 60);

type Item = HashMap<String, AttributeValue>;

/// The deliveries table.
#[derive(Clone, Debug)]
pub struct DeliveriesTable {
    client: Client,
    table: String,
}

/// What became of a conditional write.
#[derive(Debug)]
pub enum Written {
    /// It was made; this is the item now.
    Applied(Box<Record>),
    /// The state was not the one that the write moves away from; this is the item that was found, if there is one.
    Refused(Option<Box<Record>>),
}

/// The state that a write moves away from, as far as it has to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prior {
    Waiting { attempt: u32 },
    Sending { attempt: u32, claim_id: ClaimId },
}

impl Prior {
    /// The condition that a state is still the one seen. `None` for final states, which nothing here moves away from.
    pub fn seen(state: &State) -> Option<Self> {
        match *state {
            State::Waiting { attempt, .. } => Some(Self::Waiting { attempt }),
            State::Sending { attempt, claim_id, .. } => Some(Self::Sending { attempt, claim_id }),
            State::Ended { .. } => None,
        }
    }
}

/// A move of a delivery. None of them changes `round_start`.
#[derive(Clone, Debug)]
pub enum Move<'a> {
    /// A worker takes the attempt.
    Claim { claim_id: ClaimId, lease_until: Timestamp, freshness: Freshness },
    /// The attempt failed, the next one is to be made.
    Await { attempt: u32, due_at: Timestamp, due_shard: u8, attempts: &'a [Attempt] },
    /// The attempt was the last.
    End { end: End, attempts: &'a [Attempt] },
    /// The delivery is not wanted any more.
    Cancel { reason: CancelReason },
}

/// A delivery that waits, as the index of what is waiting knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Overdue {
    pub organization_id: OrganizationId,
    pub integration_id: IntegrationId,
    pub delivery_id: DeliveryId,
    pub attempt: u32,
}

/// How many overdue deliveries are read at a time.
const OVERDUE_PAGE: i32 = 100;

/// Some of a shard's overdue deliveries.
#[derive(Debug)]
pub struct OverduePage {
    pub deliveries: Vec<Overdue>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<Cursor>,
}

/// A place in the index of what is waiting.
#[derive(Clone, Debug)]
pub struct Cursor(Item);

impl DeliveriesTable {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Creates a delivery, unless it exists.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails; whether the delivery was created is then unknown.
    pub async fn create(&self, record: Box<Record>) -> Result<Written, Fault> {
        let item = to_item(&*record).map_err(|_| UNREADABLE)?;
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(delivery_id)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Written::Applied(record)),
            Err(SdkError::ServiceError(context)) => match context.into_err() {
                PutItemError::ConditionalCheckFailedException(refused) => refused_with(refused.item),
                other => Err(Fault::of::<_, ()>("PutItem")(SdkError::service_error(other, ()))),
            },
            Err(error) => Err(Fault::of("PutItem")(error)),
        }
    }

    /// Moves a delivery on, if it is still where it is presumed to be.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails; whether the move was made is then unknown.
    pub async fn advance(&self, key: DeliveryKey, from: Prior, to: &Move<'_>) -> Result<Written, Fault> {
        let Expression { update, condition, names, values } = expression(from, to)?;
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(key, key.delivery_id.to_string())))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(output) => Ok(Written::Applied(read(output.attributes.unwrap_or_default())?)),
            Err(SdkError::ServiceError(context)) => match context.into_err() {
                UpdateItemError::ConditionalCheckFailedException(refused) => refused_with(refused.item),
                other => Err(Fault::of::<_, ()>("UpdateItem")(SdkError::service_error(other, ()))),
            },
            Err(error) => Err(Fault::of("UpdateItem")(error)),
        }
    }

    /// Reads a delivery, for the cases in which it must not be created by asking.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or the item is broken.
    pub async fn find(&self, key: DeliveryKey) -> Result<Option<Box<Record>>, Fault> {
        let item = self.get(key, key.delivery_id.to_string()).await?;
        item.map(read).transpose()
    }

    /// Keeps a payload in an item of its own. Doing so again changes nothing.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails.
    pub async fn keep_payload(&self, key: DeliveryKey, deflated: Vec<u8>, expires_at: Timestamp) -> Result<(), Fault> {
        let outlives = expires_at.saturating_add(PAYLOAD_OUTLIVES).unwrap_or(expires_at);
        let mut item = item_key(key, payload_sort_key(key));
        item.insert("payload".to_owned(), AttributeValue::B(deflated.into()));
        item.insert("expires_at".to_owned(), number(outlives.as_second()));
        item.insert("format".to_owned(), number(Record::FORMAT));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(drop).map_err(Fault::of("PutItem"))
    }

    /// The payload of a delivery, inflated, from wherever it is kept.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails, the payload is not there, or it is damaged.
    pub async fn payload(&self, record: &Record) -> Result<Vec<u8>, Fault> {
        if let Some(inline) = &record.payload {
            return Ok(payload::inflate(inline)?);
        }
        let key = record.identity.key();
        let item = self.get(key, payload_sort_key(key)).await?.ok_or(Fault::PayloadMissing)?;
        match item.get("payload") {
            Some(AttributeValue::B(deflated)) => Ok(payload::inflate(deflated.as_ref())?),
            _ => Err(DoesNotInflate.into()),
        }
    }

    /// The deliveries of a shard that were due before an instant, oldest first, a page of them.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails or an item is broken.
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
        let items = page.items.unwrap_or_default().into_iter();
        let deliveries = items.map(|item| from_item(item).map_err(|_| UNREADABLE)).collect::<Result<_, _>>()?;
        Ok(OverduePage { deliveries, next: page.last_evaluated_key.map(Cursor) })
    }

    async fn get(&self, key: DeliveryKey, sort_key: String) -> Result<Option<Item>, Fault> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(item_key(key, sort_key)));
        let answer = get.consistent_read(true).send().await.map_err(Fault::of("GetItem"))?;
        Ok(answer.item)
    }
}

const UNREADABLE: Fault = Fault::UnreadableItem { table: "deliveries" };

fn item_key(key: DeliveryKey, sort_key: String) -> Item {
    HashMap::from([
        ("integration_id".to_owned(), AttributeValue::S(key.integration_id.to_string())),
        ("delivery_id".to_owned(), AttributeValue::S(sort_key)),
    ])
}

/// Sorts behind every delivery of the integration, so that reading the log does not read payloads.
fn payload_sort_key(key: DeliveryKey) -> String {
    format!("payload_{}", key.delivery_id)
}

fn read(item: Item) -> Result<Box<Record>, Fault> {
    from_item(item).map(Box::new).map_err(|_| UNREADABLE)
}

fn refused_with(item: Option<Item>) -> Result<Written, Fault> {
    item.map(read).transpose().map(Written::Refused)
}

fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

struct Expression {
    update: String,
    condition: &'static str,
    names: HashMap<String, String>,
    values: Item,
}

/// Collects the assignments of an update, each attribute under a placeholder of its own name: `status` and others are
/// reserved words.
#[derive(Default)]
struct Assignments {
    set: Vec<String>,
    remove: Vec<String>,
    names: HashMap<String, String>,
    values: Item,
}

impl Assignments {
    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn set(&mut self, attribute: &str, value: AttributeValue) -> &mut Self {
        let name = self.name(attribute);
        self.set.push(format!("{name} = :{attribute}"));
        self.values.insert(format!(":{attribute}"), value);
        self
    }

    fn copy(&mut self, attribute: &str, source: &str) -> &mut Self {
        let (name, source) = (self.name(attribute), self.name(source));
        self.set.push(format!("{name} = {source}"));
        self
    }

    fn remove(&mut self, attributes: &[&str]) -> &mut Self {
        for attribute in attributes {
            let name = self.name(attribute);
            self.remove.push(name);
        }
        self
    }

    fn status(&mut self, status: Status) -> &mut Self {
        self.set("status", AttributeValue::S(status.as_str().to_owned()))
    }
}

const CLAIM_ATTRIBUTES: [&str; 3] = ["lease_until", "claim_id", "possible_duplicate"];
const WAIT_ATTRIBUTES: [&str; 2] = ["due_at", "due_shard"];

fn expression(from: Prior, to: &Move<'_>) -> Result<Expression, Fault> {
    let mut update = Assignments::default();
    match to {
        Move::Claim { claim_id, lease_until, freshness } => {
            update
                .status(Status::Sending)
                .set("lease_until", number(lease_until.as_millisecond()))
                .set("claim_id", binary(claim_id))
                .remove(&WAIT_ATTRIBUTES);
            if *freshness == Freshness::PossibleDuplicate {
                update.set("possible_duplicate", AttributeValue::Bool(true));
            }
        }
        Move::Await { attempt, due_at, due_shard, attempts } => {
            update
                .status(Status::Waiting)
                .set("attempt", number(attempt))
                .set("due_at", number(due_at.as_millisecond()))
                .set("due_shard", number(due_shard))
                .set("attempts", list(attempts)?)
                .remove(&CLAIM_ATTRIBUTES);
        }
        Move::End { end, attempts } => {
            update.status((*end).into()).set("attempts", list(attempts)?).remove(&CLAIM_ATTRIBUTES);
            if *end == End::Failed {
                update.copy("failed_created_at", "created_at");
            }
        }
        Move::Cancel { reason } => {
            let reason = to_attribute_value(reason).map_err(|_| UNREADABLE)?;
            update
                .status(Status::Cancelled)
                .set("cancel_reason", reason)
                .remove(&WAIT_ATTRIBUTES)
                .remove(&CLAIM_ATTRIBUTES);
        }
    }
    let Assignments { set, remove, mut names, mut values } = update;
    names.insert("#attempt".to_owned(), "attempt".to_owned());
    let condition = match from {
        Prior::Waiting { attempt } => {
            values.insert(":from_status".to_owned(), AttributeValue::S(Status::Waiting.as_str().to_owned()));
            values.insert(":from_attempt".to_owned(), number(attempt));
            "#status = :from_status AND #attempt = :from_attempt"
        }
        Prior::Sending { attempt, claim_id } => {
            names.insert("#claim_id".to_owned(), "claim_id".to_owned());
            values.insert(":from_status".to_owned(), AttributeValue::S(Status::Sending.as_str().to_owned()));
            values.insert(":from_attempt".to_owned(), number(attempt));
            values.insert(":from_claim".to_owned(), binary(&claim_id));
            "#status = :from_status AND #attempt = :from_attempt AND #claim_id = :from_claim"
        }
    };
    let update = format!("SET {} REMOVE {}", set.join(", "), remove.join(", "));
    Ok(Expression { update, condition, names, values })
}

fn binary(claim_id: &ClaimId) -> AttributeValue {
    AttributeValue::B(claim_id.as_bytes().to_vec().into())
}

fn list(attempts: &[Attempt]) -> Result<AttributeValue, Fault> {
    to_attribute_value(attempts).map_err(|_| UNREADABLE)
}
