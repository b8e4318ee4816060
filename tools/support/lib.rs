//! What the project's programs and tests share: the paths of its files, template and README as data, the terminal, the
//! choice of what to run, and interruption.
//!
//! It is a crate of its own so that the benchmark need not compile the harness with its AWS clients.

pub mod function;
pub mod interrupt;
pub mod parts;
pub mod project;
pub mod readme;
pub mod screen;
pub mod template;
