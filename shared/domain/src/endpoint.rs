//! Where requests go, and what customers add to them: which URLs, addresses and headers are allowed.

pub mod address;
pub mod headers;
pub mod url;
