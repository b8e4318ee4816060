//! Retry messages, as in messages on the retry queues.

#![no_main]

#[allow(dead_code, reason = "each target uses one of them")]
#[path = "../../shared/domain/tests/hostile_input/oracles.rs"]
mod oracles;

libfuzzer_sys::fuzz_target!(|text: &str| oracles::retry_message(text));
