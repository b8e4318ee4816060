//! The fuzz targets' corpus, which includes inputs that once failed, checked by the same oracles.

use std::fs;
use std::path::Path;

use crate::oracles;

/// Checks every file of a target's corpus.
#[track_caller]
fn check(target: &str, oracle: impl Fn(&str)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files: Vec<_> =
        fs::read_dir(folder).expect("each target has a corpus").flatten().map(|file| file.path()).collect();
    assert!(files.len() >= 5, "{target} has a corpus of {} files", files.len());
    for file in files {
        oracle(&String::from_utf8_lossy(&fs::read(&file).expect("a file")));
    }
}

#[test]
fn alert_events() {
    check("alert_event", oracles::alert_event);
}

#[test]
fn retry_messages() {
    check("retry_message", oracles::retry_message);
}

#[test]
fn endpoint_urls() {
    check("endpoint_url", |text| drop(oracles::endpoint_url(text)));
}

#[test]
fn customer_headers() {
    check("customer_headers", |text| oracles::customer_headers(&oracles::header_lines(text)));
}

#[test]
fn filters() {
    check("filter", oracles::filter);
}
