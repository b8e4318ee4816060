//! Values that several requests change at once: each is written on condition that nobody has written it since it was read.

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

/// How much longer than it is needed a value is kept.
const OUTLIVES: Duration = Duration::from_secs(60 * 60);

/// The values.
#[derive(Clone, Debug)]
pub struct SharedValues {
    client: Client,
    table: String,
}

/// Which value.
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

    /// Changes a value to what `change` makes of it, unless `change` refuses. Whoever changed it meanwhile goes first.
    ///
    /// # Errors
    /// [`Fault`] when DynamoDB fails, [`Fault::Contended`] when others never let up.
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
                // Nothing is to be written, so nothing is attempted again.
                Err(refusal) => return Ok(Conditional::Applied(Err(refusal))),
            };
            let value = serde_dynamo::to_attribute_value(value).map_err(|_| UNREADABLE)?;
            let written = self.write(key, seen, value, expires_at).await?;
            Ok(written.map(|()| Ok(answer)))
        })
        .await
    }

    /// Writes a value's next generation, if `seen` is still the present one. The SDK repeats a write whose answer was lost;
    /// the repetition is refused, and what is found then is known again by its writer.
    async fn write(
        &self,
        key: &ValueKey,
        seen: u64,
        value: AttributeValue,
        expires_at: Timestamp,
    ) -> Result<Conditional<(), Option<Item>>, Fault> {
        // Random, so that nobody takes another's write for it.
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
