//! What the parts of the project expect of each other, checked without running any of them: the template and the code,
//! the sample events and the parser, the documented names and the real ones.
//!
//! The local cloud does not enforce everything that AWS enforces. What it cannot show is checked here.

mod access;
mod concurrency;
mod environment;
mod events;
mod functions;
mod names;
mod permissions;
mod queues;
mod readme;
mod state_machine;
mod tables;
