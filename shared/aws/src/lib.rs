#![doc = include_str!("../README.md")]

pub mod config;
pub mod environment;
pub mod fault;
pub mod log;

pub mod dynamodb;
pub mod kms;
pub mod sqs;

pub mod long_wait;
pub mod scheduler;

pub mod runner;
