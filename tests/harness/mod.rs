//! What the journeys, the demo and the benchmark stand on: a local cloud with the real template deployed to it, and
//! endpoints that fail on cue.
//!
//! Nothing of our own is replaced here. The far ends are: the cloud is a local one, the customer's endpoint is a
//! listener of this process.

pub mod api;
pub mod containers;
pub mod dice;
pub mod faults;
pub mod http_client;
pub mod leaks;
pub mod local_cloud;
pub mod local_variables;
pub mod proxy;
pub mod receiver;
pub mod stack;
