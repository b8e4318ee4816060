//! `/integrations/{id}/deliveries`: the integration log. One file for each endpoint; the views are shared.

pub mod list;
pub mod query;
pub mod read;
pub mod redeliver;
pub mod view;
