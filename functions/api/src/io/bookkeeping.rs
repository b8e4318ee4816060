//! What the API keeps beside an organization's integrations, in the same table: what makes its requests safe to repeat,
//! bounds the number of integrations, and paces tests and recoveries.
//!
//! None of these items' sort keys begins like an integration's, so that delivering never reads them.

use std::collections::HashMap;
use std::time::Duration;

use aws::dynamodb::conditional::{Conditional, conditional, with_backoff};
use aws::fault::Fault;
use aws::kms::vault::random;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use domain::ids::{IntegrationId, OrganizationId};
use domain::integration::Integration;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::allowance::{self, TooManyTests};
use crate::idempotency::{KeyedRequest, REMEMBERED_FOR, RequestKey};
use crate::integrations::{FIRST_VERSION, SecretOrigin};
use crate::pace::{self, FullyBooked, Slots};

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

/// A request that was carried out, remembered by its `Idempotency-Key`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedRequest {
    /// The integration that it created or changed.
    #[serde(alias = "created")]
    pub subject: IntegrationId,
    /// The version that it made of it.
    #[serde(default = "first_version")]
    pub version: u64,
    pub fingerprint: ByteBuf,
    pub secret_origin: SecretOrigin,
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub expires_at: Timestamp,
}

/// What is remembered from when nothing but creating was.
const fn first_version() -> u64 {
    FIRST_VERSION
}

impl Bookkeeping {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// How many integrations were created. To be read *before* anything that creating one depends on.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails.
    pub async fn generation(&self, organization: OrganizationId) -> Result<Generation, Fault> {
        let item = self.get(organization, CREATIONS).await?;
        Ok(Generation(item.as_ref().and_then(generation).unwrap_or(0)))
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

    /// Creates an integration, if none was created since `seen`, and remembers the request that asked for it, unless that is
    /// remembered already. Refused when somebody else did either meanwhile, perhaps for the same request.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails; whether it was created is then unknown.
    pub async fn create(
        &self,
        integration: &Integration,
        seen: Generation,
        request: Option<&KeyedRequest>,
        secret_origin: SecretOrigin,
    ) -> Result<Conditional, Fault> {
        let created = self.put_item(to_item(integration).map_err(|_| UNREADABLE)?);
        let created = TransactWriteItem::builder().put(put(created)).build();
        let counted = self.next_generation(integration.organization_id, seen);
        let mut writes = vec![created, TransactWriteItem::builder().update(counted).build()];
        if let Some(request) = request {
            writes.push(self.remember(request, integration, secret_origin)?);
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
        request: &KeyedRequest,
        secret_origin: SecretOrigin,
    ) -> Result<Conditional, Fault> {
        let replaced = self
            .put_item(to_item(integration).map_err(|_| UNREADABLE)?)
            .condition_expression("version = :used")
            .expression_attribute_values(":used", number(used_version));
        let replaced = TransactWriteItem::builder().put(put(replaced)).build();
        self.write_together(vec![replaced, self.remember(request, integration, secret_origin)?]).await
    }

    /// Remembers the request that made an integration what it is.
    fn remember(
        &self,
        request: &KeyedRequest,
        integration: &Integration,
        secret_origin: SecretOrigin,
    ) -> Result<TransactWriteItem, Fault> {
        let now = integration.updated_at;
        let remembered = RememberedRequest {
            subject: integration.id,
            version: integration.version,
            fingerprint: ByteBuf::from(request.fingerprint),
            secret_origin,
            expires_at: now.saturating_add(REMEMBERED_FOR).unwrap_or(Timestamp::MAX),
        };
        let mut item: Item = to_item(remembered).map_err(|_| UNREADABLE)?;
        item.extend(item_key(integration.organization_id, &request.key.sort_key()));
        let remembered = self
            .put_item(item)
            .condition_expression("attribute_not_exists(fingerprint) OR expires_at <= :now")
            .expression_attribute_values(":now", number(now.as_second()));
        Ok(TransactWriteItem::builder().put(put(remembered)).build())
    }

    /// The SDK names the transaction, so that DynamoDB takes a repetition whose first answer was lost for what it is.
    async fn write_together(&self, writes: Vec<TransactWriteItem>) -> Result<Conditional, Fault> {
        let answer = self.client.transact_write_items().set_transact_items(Some(writes)).send().await;
        Ok(conditional(answer)?.map(drop).map_refused(drop))
    }

    fn put_item(&self, item: Item) -> PutBuilder {
        Put::builder().table_name(&self.table).set_item(Some(item))
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
    /// [`Fault`] when DynamoDB fails, [`Fault::Contended`] when others never let up.
    pub async fn admit_test(
        &self,
        organization: OrganizationId,
        now: Timestamp,
    ) -> Result<Result<(), TooManyTests>, Fault> {
        let expires_at = now.saturating_add(allowance::PER).unwrap_or(Timestamp::MAX);
        let place = Place { organization, name: TESTS, expires_at: outlived(expires_at) };
        self.keep(&place, |recent: Option<Vec<i64>>| Ok((allowance::admit(&recent.unwrap_or_default(), now)?, ())))
            .await
    }

    /// Reserves the instants at which that many deliveries of an integration are sent again, behind all those reserved
    /// before.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails, [`Fault::Contended`] when others never let up.
    pub async fn reserve(
        &self,
        integration: &Integration,
        count: u32,
        now: Timestamp,
    ) -> Result<Result<Slots, FullyBooked>, Fault> {
        let name = format!("pace_{}", integration.id);
        let expires_at = now.saturating_add(pace::MOST_AHEAD).unwrap_or(Timestamp::MAX);
        let organization = integration.organization_id;
        let place = Place { organization, name: &name, expires_at: outlived(expires_at) };
        self.keep(&place, |booked_until: Option<i64>| {
            let booked_until = booked_until.and_then(|at| Timestamp::from_millisecond(at).ok());
            let slots = pace::reserve(booked_until, count, now)?;
            Ok((slots.until().as_millisecond(), slots))
        })
        .await
    }

    /// Changes a value that is kept at a place to what `change` makes of it, unless `change` refuses. Whoever changed it
    /// meanwhile goes first.
    async fn keep<T, R, E>(
        &self,
        place: &Place<'_>,
        change: impl Fn(Option<T>) -> Result<(T, R), E>,
    ) -> Result<Result<R, E>, Fault>
    where
        T: Serialize + for<'de> Deserialize<'de>,
    {
        let found = self.get(place.organization, place.name).await?;
        let change = &change;
        with_backoff(found, |found: Option<Item>| async move {
            let seen = found.as_ref().and_then(generation).unwrap_or(0);
            let kept: Option<Kept<T>> = found.map(from_item).transpose().map_err(|_| UNREADABLE)?;
            let (value, answer) = match change(kept.map(|kept| kept.value)) {
                Ok(changed) => changed,
                // Nothing is to be written, so nothing is attempted again.
                Err(refusal) => return Ok(Conditional::Applied(Err(refusal))),
            };
            let value = serde_dynamo::to_attribute_value(value).map_err(|_| UNREADABLE)?;
            let written = self.write_kept(place, seen, value, Writer(random())).await?;
            Ok(written.map(|()| Ok(answer)))
        })
        .await
    }

    /// Writes a kept value's next generation, if `seen` is still the present one. The SDK repeats a write whose answer was
    /// lost; the repetition is refused, and what is found then is known again by its writer.
    async fn write_kept(
        &self,
        place: &Place<'_>,
        seen: u64,
        value: AttributeValue,
        writer: Writer,
    ) -> Result<Conditional<(), Option<Item>>, Fault> {
        let written_by = AttributeValue::B(writer.0.to_vec().into());
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(place.organization, place.name)))
            .update_expression(
                "SET #value = :value, generation = :next, written_by = :writer, expires_at = :expires_at",
            )
            .condition_expression(UNCHANGED)
            .expression_attribute_names("#value", "value")
            .expression_attribute_values(":value", value)
            .expression_attribute_values(":next", number(seen + 1))
            .expression_attribute_values(":seen", number(seen))
            .expression_attribute_values(":writer", written_by.clone())
            .expression_attribute_values(":expires_at", number(place.expires_at.as_second()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match conditional(answer)? {
            Conditional::Applied(_) => Ok(Conditional::Applied(())),
            Conditional::Refused(found) => {
                let is_ours = found.as_ref().and_then(|item| item.get("written_by")) == Some(&written_by);
                Ok(if is_ours { Conditional::Applied(()) } else { Conditional::Refused(found) })
            }
        }
    }

    async fn get(&self, organization: OrganizationId, sort_key: &str) -> Result<Option<Item>, Fault> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(item_key(organization, sort_key)));
        let answer = get.consistent_read(true).send().await.map_err(Fault::of("GetItem"))?;
        Ok(answer.item)
    }
}

/// The sort key of the item that counts creations. Creating one writes it, so that two at once conflict.
const CREATIONS: &str = "creations";
const TESTS: &str = "tests";

/// Nobody has written since it was read.
const UNCHANGED: &str = "attribute_not_exists(generation) OR generation = :seen";

const UNREADABLE: Fault = Fault::UnreadableItem { table: "integrations" };

/// Where a value is kept, and until when.
struct Place<'a> {
    organization: OrganizationId,
    name: &'a str,
    expires_at: Timestamp,
}

/// Names one try of a write. Random, so that nobody takes another's write for it.
struct Writer([u8; 16]);

#[derive(Deserialize)]
struct Kept<T> {
    value: T,
}

fn put(builder: PutBuilder) -> Put {
    builder.build().expect("a put has a table and an item")
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

fn generation(item: &Item) -> Option<u64> {
    item.get("generation")?.as_n().ok()?.parse().ok()
}

fn outlived(needed_until: Timestamp) -> Timestamp {
    needed_until.saturating_add(OUTLIVES).unwrap_or(needed_until)
}
