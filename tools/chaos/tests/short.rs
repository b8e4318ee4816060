//! A short run of `make chaos`, as one of the tests.

use std::process::Command;

/// About a hundred and fifty deliveries. The seed is drawn: each run of the tests looks elsewhere, and a failed one says
/// where it looked.
#[test]
fn every_promise_is_kept() {
    let status = Command::new(env!("CARGO_BIN_EXE_chaos")).env("DELIVERIES", "150").status().unwrap();
    assert!(status.success(), "what was broken is said above, and with which seed");
}
