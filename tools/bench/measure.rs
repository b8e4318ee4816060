//! What is measured, one file each.

pub mod api;
pub mod comparison;
pub mod costs;
pub mod deployment;
pub mod fault;
pub mod flood;
pub mod growth;
pub mod hanging;
pub mod latency;
pub mod neighbours;
pub mod starts;
pub mod work;
pub mod workload;
