//! What works as it is configured, but perhaps not as its owner expects.

use domain::alert::filter::is_same_severity;
use domain::endpoint::url::is_plain_http;
use domain::integration::Integration;
use serde::Serialize;
use utoipa::ToSchema;

/// Words that alerts are usually rated with. The documentation of alert events shows `critical` only and lists none, so
/// that no severity is wrong; but one that is almost one of these is probably misspelled.
const USUAL_SEVERITIES: [&str; 7] = ["critical", "error", "warning", "info", "high", "medium", "low"];

/// Something about an integration that its owner should look at. Nothing is refused because of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Warning {
    /// The field that it is about.
    #[schema(example = "url")]
    pub field: &'static str,
    /// What may happen, and what to do about it.
    pub message: String,
}

/// The warnings about an integration, in the order of its fields.
pub fn warnings(integration: &Integration) -> Vec<Warning> {
    let url = plain_http(integration).map(|message| Warning { field: "url", message: message.to_owned() });
    let severities = integration.filter.severities.iter().filter_map(|severity| misspelled(severity));
    url.into_iter().chain(severities.map(|message| Warning { field: "severities", message })).collect()
}

fn plain_http(integration: &Integration) -> Option<&'static str> {
    let secrets = integration.secrets.as_ref()?;
    if !is_plain_http(&integration.url) {
        return None;
    }
    Some(match secrets.headers.is_empty() {
        true => {
            "http:// is not encrypted: whoever is on the way can read the alerts, and forge responses; a forged 410 \
             would switch this webhook off. Use https:// if you can."
        }
        false => {
            "http:// is not encrypted: whoever is on the way can read the alerts and the values of the custom headers, \
             and forge responses; a forged 410 would switch this webhook off. Use https:// if you can."
        }
    })
}

fn misspelled(severity: &str) -> Option<String> {
    if USUAL_SEVERITIES.iter().any(|usual| is_same_severity(usual, severity)) {
        return None;
    }
    let letters = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    let meant = USUAL_SEVERITIES.iter().find(|usual| is_one_slip(&letters(usual), &letters(severity)))?;
    Some(format!(
        "`{severity}` is almost `{meant}`, but only alerts whose severity is exactly `{severity}` match: correct it if \
         `{meant}` is meant."
    ))
}

/// Whether one text becomes the other by one character more, less or different, or by swapping two neighbours.
fn is_one_slip(one: &[char], other: &[char]) -> bool {
    let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one, other) = (&one[same..], &other[same..]);
    let same = one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
    match (&one[..one.len() - same], &other[..other.len() - same]) {
        ([], [_]) | ([_], []) | ([_], [_]) => true,
        ([a, b], [c, d]) => a == d && b == c,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use domain::fixtures::integration;
    use domain::integration::secrets::SealedSecrets;

    use super::*;

    fn sealed(header: Option<&str>) -> Option<SealedSecrets> {
        Some(SealedSecrets {
            data_key: Default::default(),
            signing_secret: Some(Default::default()),
            signing_secret_last4: None,
            signing_secret_format: None,
            previous_signing_secret: None,
            previous_valid_until: None,
            headers: header.map(|name| (name.to_owned(), Default::default())).into_iter().collect(),
            header_last4: Default::default(),
        })
    }

    #[track_caller]
    fn check_url(url: &str, secrets: Option<SealedSecrets>, expected: Option<&str>) {
        let integration = Integration { url: url.to_owned(), secrets, ..integration() };
        match (warnings(&integration).as_slice(), expected) {
            ([], None) => {}
            ([Warning { field: "url", message }], Some(part)) => assert!(message.contains(part), "{message}"),
            (found, _) => panic!("{url}: {found:?}"),
        }
    }

    #[test]
    fn secrets_over_plain_http() {
        check_url("https://example.com/", sealed(Some("x-key")), None);
        check_url("http://example.com/", None, None);
        check_url("http://example.com/", sealed(None), Some("read the alerts, and forge"));
        check_url("HTTP://example.com/", sealed(Some("x-key")), Some("values of the custom headers"));
    }

    #[track_caller]
    fn check_severity(severity: &str, expected: Option<&str>) {
        let mut integration = integration();
        integration.filter.severities = vec!["critical".to_owned(), severity.to_owned()];
        let found = warnings(&integration);
        assert!(found.iter().all(|warning| warning.field == "severities"));
        let messages: Vec<_> = found.into_iter().map(|warning| warning.message).collect();
        match expected {
            None => assert!(messages.is_empty(), "{messages:?}"),
            Some(meant) => assert!(messages.len() == 1 && messages[0].contains(&format!("`{meant}`")), "{messages:?}"),
        }
    }

    #[test]
    fn misspelled_severities() {
        for known in ["CRITICAL", "Warning", "low"] {
            check_severity(known, None);
        }
        for unknown in ["sev-1", "p1", "blocker", "notice", "hide", "крит"] {
            check_severity(unknown, None);
        }
        for slip in ["Critcal", "critical ", "crtiical", "criticel"] {
            check_severity(slip, Some("critical"));
        }
        check_severity("Hihg", Some("high"));
    }
}
