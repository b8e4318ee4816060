//! The sender against malicious endpoints: real listeners, and a real name server.
//!
//! `sending.rs` tests that each behaviour of an endpoint has the right outcome. Here, in addition, each hostile
//! endpoint must be given up in time, have its connection closed, cost little memory, and not affect concurrent
//! requests to a healthy endpoint by the same sender on the same thread.

mod certificate;
#[cfg(target_os = "linux")]
mod costs;
mod endpoint;
mod exchange;
mod names;
mod tls;
mod written;
