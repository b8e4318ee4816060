//! What the parts of the project promise each other, checked without running any of them: the template and the code,
//! the sample events and the parser, the documented names and what there is.
//!
//! The local cloud ignores or lets through some of what AWS would not; what it cannot show is checked here.

mod access;
mod environment;
mod events;
mod functions;
mod names;
mod permissions;
mod queues;
mod readme;
mod state_machine;
mod tables;
