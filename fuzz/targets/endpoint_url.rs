//! Endpoints' URLs, read by two parsers: ours, and Ada, which follows the same standard and is made by others.

#![no_main]

#[allow(dead_code, reason = "each target uses one of them")]
#[path = "../../shared/domain/tests/hostile_input/oracles.rs"]
mod oracles;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Some(ours) = oracles::endpoint_url(text) else { return };
    // It may refuse a name with characters that are younger than its tables.
    let Ok(theirs) = ada_url::Url::parse(text, None) else { return };
    // Of paths, an older version of the standard escapes less.
    assert_eq!(theirs.hostname(), ours.host);
    let port = match theirs.port() {
        "" if theirs.protocol() == "http:" => 80,
        "" => 443,
        port => port.parse().expect("a number"),
    };
    assert_eq!(port, ours.port);
});
