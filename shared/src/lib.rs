//! The domain of Roboticks Custom Webhooks, in reading order.
//!
//! An *alert event* arrives, becomes one *delivery* per matching *integration*, and each delivery is *attempted* on a
//! *schedule* until it ends. Everything at this level is pure: no AWS, no clock, no dice. What touches the world is in
//! [`io`], and [`delivering`] drives the two together.

pub mod ids;

pub mod alert_event;
pub mod filter;
pub mod integration;

pub mod address;
pub mod customer_headers;
pub mod endpoint_url;
pub mod sealed;
pub mod signature;

pub mod request;

pub mod excerpt;
pub mod health;
pub mod outcome;
pub mod retry_after;

pub mod next_step;
pub mod schedule;

pub mod backoff;
pub mod deadline;
pub mod delivery;
pub mod ledger;
pub mod payload;
pub mod retry_message;
pub mod wait;

#[allow(clippy::disallowed_methods, reason = "the world: it has a clock, dice and an environment")]
pub mod io;

#[allow(clippy::disallowed_methods, reason = "drives the world, and reads the clock for the decisions")]
pub mod delivering;
