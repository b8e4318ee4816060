//! Customers' headers: valid ones, and the same with one error.

use domain::endpoint::headers::{CustomerHeaders, InvalidHeader, MAX_HEADERS};
use proptest::prelude::*;
use proptest::sample::select;

use crate::oracles;

const CANARY: &str = "canary-7f3a";

type Pairs = Vec<(String, String)>;

/// Valid headers with distinct names.
fn valid() -> impl Strategy<Value = Pairs> {
    let name = "[a-zA-Z][a-zA-Z0-9!#$%&'*+.^_`|~-]{0,10}";
    let value = prop_oneof!["", "[!-~]", "[!-~][ -~\t]{0,60}[!-~]", Just(format!("Bearer {CANARY}"))];
    // The number makes them distinct, and the prefix keeps them from being forbidden.
    proptest::collection::vec((name, value), 0..=MAX_HEADERS).prop_map(|pairs| {
        pairs.into_iter().enumerate().map(|(n, (name, value))| (format!("z{name}-{n}"), value)).collect()
    })
}

/// Headers of which one has an error, and its index.
fn broken(wrong: impl Strategy<Value = (String, String)>) -> impl Strategy<Value = (usize, Pairs)> {
    (valid(), any::<prop::sample::Index>(), wrong).prop_map(|(mut pairs, at, wrong)| {
        pairs.truncate(MAX_HEADERS - 1);
        let at = at.index(pairs.len() + 1);
        pairs.insert(at, wrong);
        (at, pairs)
    })
}

fn refused(pairs: &Pairs) -> InvalidHeader {
    oracles::customer_headers(pairs);
    let given = pairs.iter().map(|(name, value)| (name, value.as_str()));
    let refused = CustomerHeaders::parse_new(given).expect_err("one is broken");
    assert!(!format!("{refused:?} {}", refused.message()).contains(CANARY), "{refused:?}");
    refused
}

/// A name with a character that is not allowed.
const NO_TOKEN: &str = "[a-z]{0,3}[ \t\r\n:()<>@,;/\\[\\]?={}\"\\\\\u{0}-\u{1f}\u{7f}\u{80}-\u{ff}€][a-z]{0,3}";

/// Text that a value must not contain: line breaks, other control characters, and anything outside ASCII.
fn no_texts() -> impl Strategy<Value = String> {
    let worst = select(vec!["\r", "\n", "\r\n", "\u{0}", "\u{10a}", "\u{10d}"]).prop_map(str::to_owned);
    prop_oneof![worst, "[\u{0}-\u{8}\u{a}-\u{1f}\u{7f}\u{80}-\u{ff}€]"]
}

/// A value that contains such text, or white space at one end.
fn no_values() -> impl Strategy<Value = String> {
    let blank = || "[ \t]";
    prop_oneof![
        3 => ("[!-~]{0,3}", no_texts(), "[!-~]{0,3}").prop_map(|(before, wrong, after)| format!("{before}{CANARY}{wrong}{after}")),
        1 => no_texts().prop_map(|wrong| format!("{wrong}{CANARY}")),
        1 => blank().prop_map(|blank| format!("{CANARY}{blank}")),
        1 => blank().prop_map(|blank| format!("{blank}{CANARY}")),
    ]
}

const FORBIDDEN: [&str; 24] = [
    "Host",
    "Connection",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "HTTP2-Settings",
    "Proxy-Authorization",
    "Proxy-",
    "Content-Length",
    "CONTENT-TYPE",
    "content-",
    "Accept-Encoding",
    "Expect",
    "Forwarded",
    "X-Forwarded-For",
    "User-Agent",
    "X-Roboticks-Event",
    "x-roboticks-",
    "Webhook-Id",
    "webhook-timestamp",
    "WEBHOOK-SIGNATURE",
    "webhook-",
];

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn valid_headers_are_accepted(pairs in valid()) {
        let given = pairs.iter().map(|(name, value)| (name, value.as_str()));
        prop_assert!(CustomerHeaders::parse_new(given).is_ok());
        oracles::customer_headers(&pairs);
    }

    #[test]
    fn an_invalid_name_is_reported_by_position((at, pairs) in broken((NO_TOKEN, Just(CANARY.to_owned())))) {
        prop_assert_eq!(refused(&pairs), InvalidHeader::Name { position: at + 1 });
    }

    #[test]
    fn a_header_with_an_invalid_value_is_named((_, pairs) in broken((Just("X-Broken".to_owned()), no_values()))) {
        let refused = refused(&pairs);
        prop_assert!(matches!(&refused, InvalidHeader::Value { name } if name == "x-broken"), "{:?}", refused);
        prop_assert!(refused.message().contains("x-broken"));
    }

    #[test]
    fn a_forbidden_name_is_named((at, pairs) in broken((select(FORBIDDEN.to_vec()).prop_map(str::to_owned), Just(CANARY.to_owned())))) {
        let refused = refused(&pairs);
        let given = pairs[at].0.to_ascii_lowercase();
        prop_assert!(matches!(&refused, InvalidHeader::Forbidden { name, .. } if name.as_str() == given), "{:?}", refused);
        prop_assert!(refused.message().contains(&given));
    }

    #[test]
    fn arbitrary_headers(pairs in proptest::collection::vec((any::<String>(), any::<String>()), 0..25)) {
        oracles::customer_headers(&pairs);
    }

    #[test]
    fn arbitrary_ascii_headers(pairs in proptest::collection::vec(("[ -~]{0,12}", "[ -~]{0,400}\r?\n?[ -~]{0,9}"), 0..22)) {
        oracles::customer_headers(&pairs);
    }
}
