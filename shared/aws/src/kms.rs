//! Secrets at rest: each integration has a data key of its own, which KMS encrypts.

pub mod seal;
pub mod vault;
