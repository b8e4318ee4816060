//! Endpoints' URLs, parsed by two parsers: ours, and Ada, an independent implementation of the same standard.

#![no_main]

#[allow(dead_code, reason = "each target uses one of them")]
#[path = "../../shared/domain/tests/hostile_input/oracles.rs"]
mod oracles;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Some(ours) = oracles::endpoint_url(text) else { return };
    // Ada may refuse names with characters that are newer than its tables.
    let Ok(theirs) = ada_url::Url::parse(text, None) else { return };
    // Paths are not compared: Ada follows another version of the standard, which escapes other characters.
    assert_eq!(theirs.hostname(), ours.host);
    let port = match theirs.port() {
        "" if theirs.protocol() == "http:" => 80,
        "" => 443,
        port => port.parse().expect("a number"),
    };
    assert_eq!(port, ours.port);
});
