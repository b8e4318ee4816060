//! What journeys and programs run on: a local cloud with the real template deployed to it, the clients of whoever uses
//! it, and endpoints that fail on request.
//!
//! None of our own code is replaced. What surrounds it is: the cloud is a local one, and a customer's endpoint is a
//! listener of this process.

pub mod api;
pub mod aws_json;
pub mod cloudformation;
pub mod containers;
pub mod customer;
pub mod dead_letters;
pub mod faults;
pub mod http_client;
pub mod leaks;
pub mod ledger;
pub mod local_cloud;
pub mod local_variables;
pub mod operator;
pub mod producer;
pub mod proxy;
pub mod receiver;
pub mod seeded_rng;
pub mod stack;
pub mod testbed;
