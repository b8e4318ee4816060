//! What the endpoints share: reading requests and writing responses.

pub mod body;
pub mod caller;
pub(crate) mod clock;
pub(crate) mod compression;
pub mod cursor;
pub mod deadline;
pub mod idempotency_key;
pub mod media_type;
pub mod openapi;
pub mod precondition;
pub mod problem;
