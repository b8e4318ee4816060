//! Secrets at rest: a data key for each integration, guarded by KMS.

pub mod seal;
pub mod vault;
