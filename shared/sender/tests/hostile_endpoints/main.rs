//! The sender against endpoints that mean harm: real listeners, and a real name server.
//!
//! `sending.rs` shows that every behaviour of an endpoint becomes the right outcome. Here each hostile one must besides
//! be given up in time, be let go, cost little memory, and leave a neighbour alone: requests to a healthy endpoint, by
//! the same sender on the same thread, meanwhile.

mod certificate;
#[cfg(target_os = "linux")]
mod costs;
mod endpoint;
mod exchange;
mod names;
mod tls;
mod written;
