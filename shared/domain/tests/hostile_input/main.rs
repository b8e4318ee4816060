//! What others write, however wrong: producers' messages, customers' settings, endpoints' answers.
//!
//! `oracles.rs` says what must hold for any input at all. The other files make inputs: valid ones of every shape, which
//! must be read; the same with one thing broken, which must be refused by the name of that thing; and nonsense. The
//! fuzz targets in `fuzz/` put theirs to the same oracles, and their corpus is put to them here.
//!
//! Inputs are random: each run tries others, and a failure prints the smallest that fails. Those belong into a table.

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

/// Writes no files beside the tests. `PROPTEST_CASES` says how many inputs of each kind are tried, 256 unless set.
fn config() -> Config {
    Config { failure_persistence: None, ..Config::default() }
}
