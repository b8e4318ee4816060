//! Reads deliveries on behalf of their owner.

use aws::dynamodb::deliveries_table::DeliveriesTable;
use domain::delivery::{DeliveryKey, Record};
use domain::integration::Integration;

use crate::http::problem::Problem;

/// A request that has used so many read units of the log reads no further, and says where to go on: a megabyte. One more
/// page is at most as much again (a query ends at a megabyte), so a request costs at most 512 units, or $0.00006.
pub const ENOUGH_READ_UNITS: f64 = 256.0;

/// How many failed deliveries are read at a time. One with five rounds of five attempts is 34 kB at most, nine units, so
/// these are a page as above too.
pub const FAILED_READ_AHEAD: usize = 25;

/// Finds a delivery of an integration.
///
/// # Errors
/// [`Problem::NotFound`] when there is none with this id, or a fault.
pub async fn find(table: &DeliveriesTable, integration: &Integration, id: &str) -> Result<Box<Record>, Problem> {
    let delivery_id = id.parse().map_err(|_| Problem::NotFound)?;
    let key = DeliveryKey { integration_id: integration.id, delivery_id };
    table.find(key).await?.ok_or(Problem::NotFound)
}
