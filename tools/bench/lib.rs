//! `make bench`: what a delivery costs in work, money and time, each figure beside its floor in the same run.
//!
//! The built functions run as on Lambda: under a Runtime API server ([`worker`]) that hands them batches, one at a
//! time or as an event source does ([`event_source`]), with AWS ([`aws`]) and a customer's endpoint ([`endpoint`]) on
//! loopback that answer at once or as told, and count. What did not arrive, was not signed, or called AWS otherwise than the protocol says is a failure, never a figure.

pub mod alerts;
pub mod aws;
pub mod baselines;
pub mod cost;
pub mod endpoint;
pub mod event_source;
pub mod floor_process;
pub mod ground;
pub mod measure;
pub mod prices;
pub mod process;
pub mod report;
mod server;
pub mod statistics;
pub mod trouble;
pub mod worker;
