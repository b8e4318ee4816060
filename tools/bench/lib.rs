//! `make bench`: what a delivery costs in work, money and time, each figure beside its budget and a floor of the same
//! run.
//!
//! The built functions run as on Lambda: a Runtime API server ([`worker`]) hands them batches, one at a time or as an
//! event source does ([`event_source`]), with AWS ([`aws`]) and a customer's endpoint ([`endpoint`]) on loopback that
//! count. A delivery that does not arrive, a wrong signature or an unexpected AWS call fails the run.
//! `docs/measurements.md` is what comes of it.

use std::fmt::Debug;

use anyhow::{Result, ensure};

pub mod alerts;
pub mod aws;
pub mod baselines;
pub mod budgets;
pub mod cost;
pub mod document;
pub mod endpoint;
pub mod event_source;
pub mod floor_process;
pub mod measure;
pub mod prices;
pub mod process;
pub mod report;
mod server;
pub mod statistics;
pub mod table;
pub mod testbed;
pub mod worker;

/// Checks that a measurement went as expected: what did not is never a figure.
///
/// # Errors
/// Naming what differs, and how.
pub fn ensure_eq<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Result<()> {
    ensure!(found == expected, "{what}: {found:?} instead of {expected:?}");
    Ok(())
}
