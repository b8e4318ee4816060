#![doc = include_str!("../README.md")]

pub mod ids;
pub mod json;
pub mod text;

pub mod alert;
pub mod integration;

pub mod endpoint;
pub mod request;

pub mod attempt;
pub mod delivery;

pub mod backoff;
pub mod deadline;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
