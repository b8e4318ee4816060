//! Customers' headers, one a line.

#![no_main]

#[allow(dead_code, reason = "each target uses one of them")]
#[path = "../../shared/domain/tests/hostile_input/oracles.rs"]
mod oracles;

libfuzzer_sys::fuzz_target!(|text: &str| oracles::customer_headers(&oracles::header_lines(text)));
