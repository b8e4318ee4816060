//! `/integrations/{id}/deliveries`: the integration log. One file for each endpoint, and the query
//! and views that they share.

pub mod list;
pub mod query;
pub mod read;
pub mod redeliver;
pub mod view;
