//! The rules of Roboticks Custom Webhooks, in reading order.
//!
//! An [`alert`] event matches [`integration`]s. For each of them it becomes a [`delivery`]: a signed [`request`] to an
//! [`endpoint`], made in one [`attempt`] or several until it ends. When to try again after a fault of ours, or
//! after a conflict, is [`backoff`]'s, and what still fits into an invocation [`deadline`]'s.
//!
//! Everything here is pure: the time, random bytes and settings are arguments. The crate's `Cargo.toml` holds it to
//! that, and `clippy.toml` for what the standard library has.

pub mod ids;

pub mod alert;
pub mod integration;

pub mod endpoint;
pub mod request;

pub mod attempt;
pub mod delivery;

pub mod backoff;
pub mod deadline;
