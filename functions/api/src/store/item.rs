//! The API's own items, stored beside an organization's integrations in the same table. None of their sort keys begins
//! like an integration's (`int_`), so `deliver` never reads them.

use std::collections::HashMap;

use aws::fault::Fault;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::ids::OrganizationId;

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) const UNREADABLE: Fault = Fault::UnreadableItem { table: "integrations" };

/// The condition that an item has not been written since it was read with generation `:seen`.
pub(super) const UNCHANGED: &str = "attribute_not_exists(generation) OR generation = :seen";

/// How many times an item was written; 0 if it does not exist.
pub(super) fn generation(item: Option<&Item>) -> u64 {
    let number = item.and_then(|item| item.get("generation")?.as_n().ok()?.parse().ok());
    number.unwrap_or(0)
}

pub(super) fn item_key(organization: OrganizationId, sort_key: &str) -> Item {
    HashMap::from([
        ("organization_id".to_owned(), number(organization)),
        ("integration_id".to_owned(), AttributeValue::S(sort_key.to_owned())),
    ])
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// Reads one of the API's own items, consistently.
pub(super) async fn get(
    client: &aws_sdk_dynamodb::Client,
    table: &str,
    organization: OrganizationId,
    sort_key: &str,
) -> Result<Option<Item>, Fault> {
    let get = client.get_item().table_name(table).set_key(Some(item_key(organization, sort_key)));
    let answer = get.consistent_read(true).send().await.map_err(Fault::of("GetItem"))?;
    Ok(answer.item)
}
