//! `/integrations`: how customers see, change and test their webhooks. One file for each endpoint, and what several of
//! them share.

pub mod create;
pub mod delete;
pub mod list;
pub mod read;
pub mod recover;
pub mod rotate_secret;
pub mod test;
pub mod update;

pub(crate) mod endpoint;
pub mod fields;
pub mod patch;
mod sample;
pub(crate) mod secrets;
pub mod view;
pub mod warnings;
