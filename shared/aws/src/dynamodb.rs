//! The two tables. Every write that depends on what is stored is made on that condition.

pub mod conditional;
pub mod deliveries_table;
pub mod integrations_table;
