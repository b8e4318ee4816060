//! The two tables. Every write that depends on what is stored is conditional on it.

pub mod conditional;
pub mod deliveries_table;
pub mod integrations_table;
pub mod tombstones;
