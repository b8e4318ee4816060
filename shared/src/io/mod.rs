//! The world: each file wraps one service in one concrete struct. Failures here are *ours* ([`fault::Fault`]), never
//! the endpoint's; what an endpoint did is a value ([`crate::outcome::Outcome`]).

pub mod aws;
pub mod batch;
pub mod environment;
pub mod fault;

mod connections;

mod conditional;
pub mod deliveries_table;
pub mod integrations_table;
pub mod long_wait;
pub mod queues;
pub mod received;
pub mod scheduler;
pub mod sender;
pub mod vault;

pub mod log;
