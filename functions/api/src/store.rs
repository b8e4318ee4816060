//! What the endpoints read from and write to DynamoDB and SQS.

pub mod deliveries;
pub mod integrations;
mod item;
pub mod recovery_rate;
pub mod redelivery;
pub mod remembered_requests;
pub mod shared_value;
pub mod test_limit;
