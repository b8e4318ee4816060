//! A short run of `make chaos`, as one of the tests.

use std::process::Command;

/// About 150 deliveries. Every run draws a new seed, and prints it.
#[test]
fn every_guarantee_holds() {
    let status = Command::new(env!("CARGO_BIN_EXE_chaos")).env("DELIVERIES", "150").status().unwrap();
    assert!(status.success(), "the violations and the seed are printed above");
}
