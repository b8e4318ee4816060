//! What every endpoint reads of a request and says in an answer.

pub mod body;
pub mod caller;
pub(crate) mod clock;
pub(crate) mod compression;
pub mod cursor;
pub mod idempotency_key;
pub mod media_type;
pub mod openapi;
pub mod precondition;
pub mod problem;
