//! What producers send, and which integrations want it.

pub mod event;
pub mod filter;
