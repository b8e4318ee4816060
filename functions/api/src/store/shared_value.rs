//! Values that concurrent requests change: each write is conditional on the value not having changed since it was read.

use std::time::Duration;

use aws::dynamodb::conditional::{Conditional, conditional, with_backoff};
use aws::fault::Fault;
use aws::kms::vault::random;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use domain::ids::OrganizationId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_dynamo::aws_sdk_dynamodb_1::from_item;

use crate::store::item::{Item, UNCHANGED, UNREADABLE, generation, get, item_key, number};

/// How long a value is stored after it is no longer needed.
const OUTLIVES: Duration = Duration::from_secs(60 * 60);

/// The values of all organizations.
#[derive(Clone, Debug)]
pub struct SharedValues {
    client: Client,
    table: String,
}

/// The key of a value.
pub(super) struct ValueKey {
    organization: OrganizationId,
    name: String,
}

impl ValueKey {
    pub(super) fn new(organization: OrganizationId, name: String) -> Self {
        Self { organization, name }
    }
}

#[derive(Deserialize)]
struct Stored<T> {
    value: T,
}

impl SharedValues {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Replaces a value by what `change` returns for it, with an answer for the caller, unless `change` refuses.
    /// `change` is called again when the value was changed concurrently.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails, [`Fault::Contended`] when other requests keep changing the value.
    pub(super) async fn change<T, R, E>(
        &self,
        key: &ValueKey,
        needed_until: Timestamp,
        change: impl Fn(Option<T>) -> Result<(T, R), E>,
    ) -> Result<Result<R, E>, Fault>
    where
        T: Serialize + for<'de> Deserialize<'de>,
    {
        let expires_at = needed_until.saturating_add(OUTLIVES).unwrap_or(needed_until);
        let found = get(&self.client, &self.table, key.organization, &key.name).await?;
        let change = &change;
        with_backoff(found, |found: Option<Item>| async move {
            let seen = generation(found.as_ref());
            let stored: Option<Stored<T>> = found.map(from_item).transpose().map_err(|_| UNREADABLE)?;
            let (value, answer) = match change(stored.map(|stored| stored.value)) {
                Ok(changed) => changed,
                // Nothing to write, so no conflict and no retry.
                Err(refusal) => return Ok(Conditional::Applied(Err(refusal))),
            };
            let value = serde_dynamo::to_attribute_value(value).map_err(|_| UNREADABLE)?;
            let written = self.write(key, seen, value, expires_at).await?;
            Ok(written.map(|()| Ok(answer)))
        })
        .await
    }

    /// Writes a value's next generation, if `seen` is still the current one. The SDK repeats a write whose response was
    /// lost; the repetition is refused, but the stored value is then recognized as our own by `written_by`.
    async fn write(
        &self,
        key: &ValueKey,
        seen: u64,
        value: AttributeValue,
        expires_at: Timestamp,
    ) -> Result<Conditional<(), Option<Item>>, Fault> {
        // Random, so that another request's write is never mistaken for this one.
        let writer: [u8; 16] = random();
        let written_by = AttributeValue::B(writer.to_vec().into());
        let answer = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item_key(key.organization, &key.name)))
            .update_expression(
                "SET #value = :value, generation = :next, written_by = :writer, expires_at = :expires_at",
            )
            .condition_expression(UNCHANGED)
            .expression_attribute_names("#value", "value")
            .expression_attribute_values(":value", value)
            .expression_attribute_values(":next", number(seen + 1))
            .expression_attribute_values(":seen", number(seen))
            .expression_attribute_values(":writer", written_by.clone())
            .expression_attribute_values(":expires_at", number(expires_at.as_second()))
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
}
