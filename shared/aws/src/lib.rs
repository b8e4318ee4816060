//! Roboticks Custom Webhooks on AWS, in reading order: what a function is configured with, the services that it talks
//! to, and how a message is carried out with them.
//!
//! Failures here are *ours* ([`fault::Fault`]), never the endpoint's; what an endpoint did is a value
//! ([`domain::attempt::outcome::Outcome`]).

pub mod config;
pub mod environment;
pub mod fault;
pub mod log;

pub mod dynamodb;
pub mod kms;
pub mod sqs;

pub mod long_wait;
pub mod scheduler;

pub mod delivering;
