//! Receiving, processing and sending messages.

pub mod batch;
pub mod queues;
pub mod received;
