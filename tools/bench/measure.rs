//! What is measured, one file each.

pub mod costs;
pub mod drive;
pub mod fault;
pub mod growth;
pub mod latency;
pub mod neighbours;
pub mod starts;
pub mod work;
