//! What remains of deleted integrations for the retention time: a tombstone each, so that a delivery whose message
//! comes back after its integration was deleted ends `cancelled`.
//!
//! They are stored beside the integrations under sort keys of their own, which begin with the time of deletion. So an
//! alert's first receipt, which reads an organization's integrations, does not read them however many there are, and
//! the newest ones can be found without reading the others.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use domain::ids::{IntegrationId, OrganizationId};
use jiff::Timestamp;

use crate::fault::Fault;

const PREFIX: &str = "deleted_";

/// How many tombstones are read: an organization's newest ones, 30 read units at most. A delivery of an integration
/// that was deleted before them is not found, and if its worker died during the request it stays `sending` until it
/// expires, in a log that nobody can read any more.
pub const MAX_READ: i32 = 1_000;

/// A tombstone's item, which DynamoDB deletes after `expires_at`.
pub fn tombstone(
    organization: OrganizationId,
    id: IntegrationId,
    deleted_at: Timestamp,
    expires_at: Timestamp,
) -> HashMap<String, AttributeValue> {
    HashMap::from([
        ("organization_id".to_owned(), AttributeValue::N(organization.to_string())),
        ("integration_id".to_owned(), AttributeValue::S(sort_key(deleted_at, id))),
        ("expires_at".to_owned(), AttributeValue::N(expires_at.as_second().to_string())),
    ])
}

/// Which integrations an organization has deleted, by their newest [`MAX_READ`] tombstones.
///
/// # Errors
/// [`Fault`] when DynamoDB fails or a tombstone cannot be read.
pub async fn newest_deleted(
    client: &Client,
    table: &str,
    organization: OrganizationId,
) -> Result<Vec<IntegrationId>, Fault> {
    // One page: they take far less than a megabyte.
    let query = client
        .query()
        .table_name(table)
        .key_condition_expression("organization_id = :organization AND begins_with(integration_id, :prefix)")
        .expression_attribute_values(":organization", AttributeValue::N(organization.to_string()))
        .expression_attribute_values(":prefix", AttributeValue::S(PREFIX.to_owned()))
        .scan_index_forward(false)
        .limit(MAX_READ)
        .consistent_read(true);
    let page = query.send().await.map_err(Fault::of("Query"))?;
    let deleted =
        |item: &HashMap<String, AttributeValue>| item.get("integration_id")?.as_s().ok().and_then(|key| id_in(key));
    page.items().iter().map(|item| deleted(item).ok_or(Fault::UnreadableItem { table: "integrations" })).collect()
}

/// Sorts by the time of deletion: its milliseconds have thirteen digits until the year 2286.
fn sort_key(deleted_at: Timestamp, id: IntegrationId) -> String {
    format!("{PREFIX}{:013}_{id}", deleted_at.as_millisecond())
}

fn id_in(sort_key: &str) -> Option<IntegrationId> {
    let (_, id) = sort_key.strip_prefix(PREFIX)?.split_once('_')?;
    id.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_sort_by_time_and_name_their_integration() {
        let id: IntegrationId = "int_01JH7Z5A8M0000000000000001".parse().unwrap();
        let key = |millisecond| sort_key(Timestamp::from_millisecond(millisecond).unwrap(), id);
        let keys = [key(0), key(999), key(1_736_500_000_000), key(1_736_500_000_001)];
        assert!(keys.is_sorted() && keys.iter().all(|key| id_in(key) == Some(id)), "{keys:?}");
        assert!(keys.iter().all(|key| !key.starts_with(IntegrationId::PREFIX)), "alerts do not read them");
        assert_eq!(id_in("deleted_01JH7Z5A8M0000000000000001"), None);
    }
}
