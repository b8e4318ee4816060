//! What the endpoints read from and write to DynamoDB and SQS.

pub mod deliveries;
pub mod integrations;
mod item;
pub mod rate_limit;
pub mod recovery_rate;
pub mod redelivery;
pub mod remembered_requests;
pub mod token_bucket;
