//! Alert events, as in messages on the alerts queue.

#![no_main]

#[allow(dead_code, reason = "each target uses one of them")]
#[path = "../../shared/domain/tests/hostile_input/oracles.rs"]
mod oracles;

libfuzzer_sys::fuzz_target!(|text: &str| oracles::alert_event(text));
