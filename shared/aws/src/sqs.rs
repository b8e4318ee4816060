//! Messages: what a function receives, what becomes of each, and what is sent.

pub mod batch;
pub mod queues;
pub mod received;
