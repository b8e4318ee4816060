//! What producers send, and whom it concerns.

pub mod event;
pub mod filter;
