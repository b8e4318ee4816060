//! Property tests of everything that parses input from outside: producers' messages, customers' settings, endpoints'
//! responses.
//!
//! `oracles.rs` has the properties that must hold for any input. The other files generate inputs: valid ones of every
//! shape, which must be accepted; the same with one error, which must be refused with the name of the wrong field; and
//! arbitrary ones. The fuzz targets in `fuzz/` use the same oracles, and their corpus is checked here.
//!
//! Inputs are random, so each run tries others. A failure prints the smallest input that fails; add it to a table of
//! cases.

use proptest::test_runner::Config;

mod alert_events;
mod corpus;
mod headers;
mod oracles;
mod payloads;
mod responses;
mod retry_messages;
mod secrets;
mod settings;
mod urls;

/// Without files of failed cases beside the tests. `PROPTEST_CASES` sets how many inputs of each kind are tried; the
/// default is 256.
fn config() -> Config {
    Config { failure_persistence: None, ..Config::default() }
}
