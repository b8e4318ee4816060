//! Customers' signing secrets: valid ones of both formats, and the same with one error.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::request::signature::{InvalidSecret, SecretFormat, SigningSecret};
use proptest::prelude::*;

fn standard() -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<u8>(), 24..=64).prop_map(|key| format!("whsec_{}", STANDARD.encode(key)))
}

fn valid() -> impl Strategy<Value = String> {
    // Begins with a capital letter, and so neither with `whsec_` nor with `v1,whsec_`.
    prop_oneof![standard(), "[A-Z][!-~]{15,255}"]
}

/// Characters that are invisible or look like another one.
const HIDDEN: &str = "[ \u{0}-\u{1f}\u{7f}\u{80}-\u{a0}\u{ad}\u{200b}\u{202e}\u{2060}\u{3000}\u{feff}äа]";

/// Any text as a new secret. An accepted secret is exactly the visible text, and is accepted when stored.
fn new_secret(text: &str) -> Result<(), InvalidSecret> {
    let secret = SigningSecret::parse_new(text)?;
    assert_eq!(secret.reveal(), text);
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    let (key_bytes, bounds) = match secret.format() {
        SecretFormat::Whsec => (STANDARD.decode(&text["whsec_".len()..]).expect("it is base64").len(), 24..=64),
        SecretFormat::Raw => (text.len(), 16..=256),
    };
    assert!(bounds.contains(&key_bytes), "{text:?}");
    assert!(SigningSecret::parse_stored(text) == Some(secret), "{text:?}");
    Ok(())
}

proptest! {
    #![proptest_config(crate::config())]

    #[test]
    fn valid_secrets_are_accepted_unchanged(text in valid()) {
        prop_assert_eq!(new_secret(&text), Ok(()));
    }

    #[test]
    fn hidden_characters_are_refused(text in valid(), hidden in HIDDEN, at in any::<prop::sample::Index>()) {
        let at = at.index(text.len() + 1);
        let refused = new_secret(&[&text[..at], &hidden, &text[at..]].concat());
        prop_assert!(matches!(refused, Err(InvalidSecret::BlankAtEnd | InvalidSecret::Character)), "{:?}", refused);
    }

    #[test]
    fn a_key_of_another_length_is_refused(key in prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..24), proptest::collection::vec(any::<u8>(), 65..200),
    ]) {
        prop_assert_eq!(new_secret(&format!("whsec_{}", STANDARD.encode(key))), Err(InvalidSecret::KeyLength));
    }

    #[test]
    fn a_version_before_the_prefix_is_refused(text in standard()) {
        prop_assert_eq!(new_secret(&format!("v1,{text}")), Err(InvalidSecret::VersionBefore));
    }

    #[test]
    fn arbitrary_texts(text in any::<String>(), ascii in "[ -~]{0,300}") {
        for text in [&text, &ascii, &format!("whsec_{ascii}")] {
            let _ = new_secret(text);
            // The older rule accepted anything of this length.
            if (8..=256).contains(&text.len()) && !text.starts_with("whsec_") {
                prop_assert!(SigningSecret::parse_stored(text).is_some_and(|secret| secret.reveal() == text));
            }
        }
    }
}
