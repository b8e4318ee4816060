//! What the project's own programs and tests have in common: where its files are, what template and README say, the terminal,
//! what of a run was asked for, and how it ends.
//!
//! A crate of its own, so that the benchmark has it without the local cloud's clients.

pub mod function;
pub mod interrupt;
pub mod parts;
pub mod project;
pub mod readme;
pub mod screen;
pub mod template;
