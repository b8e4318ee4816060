//! Reads deliveries on behalf of their owner.

use aws::dynamodb::deliveries_table::DeliveriesTable;
use domain::delivery::{DeliveryKey, Record};
use domain::integration::Integration;

use crate::http::problem::Problem;

/// Finds a delivery of an integration.
///
/// # Errors
/// [`Problem::NotFound`] when there is none with this id, or a fault.
pub async fn find(table: &DeliveriesTable, integration: &Integration, id: &str) -> Result<Box<Record>, Problem> {
    let delivery_id = id.parse().map_err(|_| Problem::NotFound)?;
    let key = DeliveryKey { integration_id: integration.id, delivery_id };
    table.find(key).await?.ok_or(Problem::NotFound)
}
