//! Where requests may go and which headers customers may add: URLs, addresses, headers.

pub mod address;
pub mod headers;
pub mod url;
