//! A JSON merge patch (RFC 7396) for an integration, and how it is applied.

use std::collections::BTreeMap;

use aws::kms::vault::OpenSecrets;
use domain::alert::event::EventType;
use domain::alert::filter::Filter;
use domain::endpoint::headers::CustomerHeaders;
use domain::endpoint::url::{EndpointUrl, InvalidUrl};
use domain::integration::secrets::Owner;
use domain::integration::{Integration, Method};
use domain::json::{BOOLEAN, Fields, InvalidField, Object, Others, STRING, Value, WHOLE_NUMBER};
use domain::request::signature::{SigningSecret, SigningSecrets};
use jiff::Timestamp;
use utoipa::ToSchema;

use crate::http::body::FromBody;
use crate::http::openapi::{EventTypeName, MethodName, WholeNumber};
use crate::integrations::fields::{self, ENABLED_BY_DEFAULT, Errors};

/// What a merge patch does to a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Patch<T> {
    /// It is absent from the patch: the field stays as it is.
    #[default]
    Keep,
    /// It is `null`: the field is reset to its default.
    Reset,
    Set(T),
}

impl<T> Patch<T> {
    fn read<'a>(
        object: &Object<'a>,
        field: &'static str,
        read: impl FnOnce(&Value<'a, '_>) -> Result<T, InvalidField>,
    ) -> Result<Self, InvalidField> {
        match object.value(field) {
            None => Ok(Self::Keep),
            Some(value) if value.is_null() => Ok(Self::Reset),
            Some(value) => read(&value).map(Self::Set),
        }
    }
}

impl<T: Clone + Default> Patch<T> {
    fn or(&self, current: &T) -> T {
        match self {
            Self::Keep => current.clone(),
            Self::Reset => T::default(),
            Self::Set(value) => value.clone(),
        }
    }
}

/// Changes to an integration. Absent fields stay as they are, `null` resets a field to its default.
#[derive(ToSchema)]
pub struct IntegrationPatch {
    #[schema(required = false, value_type = String, min_length = 1, max_length = 100)]
    name: Patch<String>,
    /// Stored header values are sent only to the scheme, host and port that they were given for: a change of any of
    /// these must provide each custom header's value again, or remove the header.
    #[schema(required = false, value_type = String, max_length = 2048)]
    url: Patch<String>,
    #[schema(required = false, value_type = Option<MethodName>)]
    method: Patch<Method>,
    #[schema(required = false, value_type = Option<bool>)]
    enabled: Patch<bool>,
    /// Replaces the current signing secret immediately, and ends a previous one that still signs; to have the old and
    /// the new one sign for a while, rotate it instead. `null` removes it.
    #[schema(required = false, value_type = Option<String>, min_length = 16, max_length = 256, pattern = "^[!-~]+$")]
    signing_secret: Patch<String>,
    /// Custom headers by name: a string sets a header, `null` removes it, others stay as they are.
    #[schema(required = false, value_type = Option<BTreeMap<String, Option<String>>>)]
    headers: Patch<Vec<(String, Option<String>)>>,
    #[schema(required = false, value_type = Option<Vec<EventTypeName>>)]
    event_types: Patch<Vec<EventType>>,
    #[schema(required = false, value_type = Option<Vec<String>>, max_items = 20)]
    severities: Patch<Vec<String>>,
    #[schema(required = false, value_type = Option<Vec<WholeNumber>>, max_items = 100)]
    project_ids: Patch<Vec<u64>>,
}

impl FromBody for IntegrationPatch {
    const FIELDS: Fields = Fields {
        names: &[
            "name",
            "url",
            "method",
            "enabled",
            "signing_secret",
            "headers",
            "event_types",
            "severities",
            "project_ids",
        ],
        others: Others::Refused,
    };

    fn read(object: &Object<'_>) -> Result<Self, InvalidField> {
        Ok(Self {
            name: Patch::read(object, "name", |name| name.read(&STRING))?,
            url: Patch::read(object, "url", |url| url.read(&STRING))?,
            method: Patch::read(object, "method", |method| method.read(&Method::EXPECTED))?,
            enabled: Patch::read(object, "enabled", |enabled| enabled.read(&BOOLEAN))?,
            signing_secret: Patch::read(object, "signing_secret", |secret| secret.read(&STRING))?,
            headers: Patch::read(object, "headers", |headers| headers.members(|value| value.read_nullable(&STRING)))?,
            event_types: Patch::read(object, "event_types", |types| types.list(&EventType::EXPECTED))?,
            severities: Patch::read(object, "severities", |severities| severities.list(&STRING))?,
            project_ids: Patch::read(object, "project_ids", |projects| projects.list(&WHOLE_NUMBER))?,
        })
    }
}

/// An integration to which a patch was applied.
pub struct Patched {
    pub integration: Integration,
    /// The secrets to seal; `None` when they stay as they are.
    pub secrets: Option<OpenSecrets>,
}

/// Why a patch is refused.
pub enum PatchError {
    /// Fields are invalid.
    Invalid(Vec<InvalidField>),
    /// It would send these stored header values to another origin than they were given for. For another version of the
    /// integration, with other headers, the patch may be fine.
    MovesHeaderValues(Vec<InvalidField>),
}

impl IntegrationPatch {
    /// Whether it contains the URL, even unchanged.
    pub fn changes_url(&self) -> bool {
        self.url != Patch::Keep
    }

    /// Applies the patch at `now`. `secrets` are the integration's current ones.
    ///
    /// # Errors
    /// [`PatchError`] with all invalid fields.
    pub fn apply(
        &self,
        current: &Integration,
        secrets: &OpenSecrets,
        now: Timestamp,
        read_url: impl Fn(&str) -> Result<EndpointUrl, InvalidUrl>,
    ) -> Result<Patched, PatchError> {
        let mut errors = Errors::default();
        let mut integration = self.patched_settings(current, now, &read_url, &mut errors);
        integration.filter = self.patched_filter(&current.filter, &mut errors);
        let patched_secrets = self.patched_secrets(secrets, &mut errors);
        let moved = self.moved_header_values(current, &secrets.headers, read_url);
        errors.into_result().map_err(|invalid| PatchError::Invalid([invalid, moved.clone()].concat()))?;
        if !moved.is_empty() {
            return Err(PatchError::MovesHeaderValues(moved));
        }
        // Header values are sealed for one origin, so even the same ones are sealed again for another.
        let is_sealed_already = are_same(&patched_secrets, secrets)
            && (secrets.headers.is_empty() || have_one_origin(current, &integration));
        let secrets = (!is_sealed_already).then_some(patched_secrets);
        Ok(Patched { integration, secrets })
    }

    fn patched_settings(
        &self,
        current: &Integration,
        now: Timestamp,
        read_url: impl Fn(&str) -> Result<EndpointUrl, InvalidUrl>,
        errors: &mut Errors,
    ) -> Integration {
        let mut next = current.clone();
        match &self.name {
            Patch::Keep => {}
            Patch::Reset => next.name = errors.record(fields::name("")),
            // What is stored may have been set under older rules.
            Patch::Set(text) if text.trim() == current.name => {}
            Patch::Set(text) => next.name = errors.record(fields::name(text)),
        }
        match &self.url {
            Patch::Keep => {}
            Patch::Reset => next.url = errors.record(fields::url("", read_url)),
            Patch::Set(text) if *text == current.url => {
                errors.record(read_url(text).map(drop).map_err(fields::url_error));
            }
            Patch::Set(text) => next.url = errors.record(fields::url(text, read_url)),
        }
        next.method = self.method.or(&current.method);
        next.enabled = match self.enabled {
            Patch::Keep => current.enabled,
            Patch::Reset => ENABLED_BY_DEFAULT,
            Patch::Set(enabled) => enabled,
        };
        if next.enabled {
            (next.disabled_reason, next.disabled_at) = (None, None);
        } else if current.enabled {
            next.disabled_at = Some(now);
        }
        if next.url != current.url {
            // The known health is another endpoint's.
            next.health = None;
        }
        next
    }

    /// The stored header values that would be sent to another origin than they were given for. A current URL that is no
    /// longer valid has no origin.
    fn moved_header_values(
        &self,
        current: &Integration,
        headers: &CustomerHeaders,
        read_url: impl Fn(&str) -> Result<EndpointUrl, InvalidUrl>,
    ) -> Vec<InvalidField> {
        let Patch::Set(text) = &self.url else { return Vec::new() };
        let Ok(next) = read_url(text) else { return Vec::new() };
        if read_url(&current.url).is_ok_and(|current| current.has_origin_of(&next)) {
            return Vec::new();
        }
        let kept = headers.names().filter(|name| self.keeps_header(name));
        kept.map(|name| fields::belongs_to_other_origin(name, &next)).collect()
    }

    fn patched_filter(&self, current: &Filter, errors: &mut Errors) -> Filter {
        if let Patch::Set(severities) = &self.severities {
            let new = severities.iter().filter(|severity| !current.severities.contains(severity));
            errors.record(fields::visible_severities(new.map(String::as_str)));
        }
        fields::filter(
            self.event_types.or(&current.event_types),
            self.severities.or(&current.severities),
            self.project_ids.or(&current.project_ids),
            errors,
        )
    }

    fn patched_secrets(&self, current: &OpenSecrets, errors: &mut Errors) -> OpenSecrets {
        let signing = match &self.signing_secret {
            Patch::Keep => current.signing.clone(),
            Patch::Reset => None,
            Patch::Set(text) => errors
                .record(set_secret(text, current).map(Some))
                .map(|current| SigningSecrets { current, previous: None }),
        };
        OpenSecrets { signing, headers: errors.record(self.patched_headers(&current.headers)) }
    }

    fn patched_headers(&self, current: &CustomerHeaders) -> Result<CustomerHeaders, InvalidField> {
        let patch = match &self.headers {
            Patch::Keep => return Ok(current.clone()),
            Patch::Reset => return Ok(CustomerHeaders::default()),
            Patch::Set(patch) => patch,
        };
        fields::each_header_once(patch.iter().map(|(name, _)| name.as_str()))?;
        let kept = current.iter().filter(|(name, _)| self.keeps_header(name));
        let set = patch.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)));
        fields::headers(&kept.chain(set).collect::<Vec<_>>())
    }

    /// Whether a stored header stays as it is.
    fn keeps_header(&self, name: &str) -> bool {
        match &self.headers {
            Patch::Keep => true,
            Patch::Reset => false,
            Patch::Set(patch) => !patch.iter().any(|(written, _)| written.eq_ignore_ascii_case(name)),
        }
    }
}

/// Whether the secrets are equal, regardless of the order of the headers.
fn are_same(some: &OpenSecrets, others: &OpenSecrets) -> bool {
    let some_headers: BTreeMap<_, _> = some.headers.iter().collect();
    some.signing == others.signing && some_headers == others.headers.iter().collect()
}

fn have_one_origin(some: &Integration, other: &Integration) -> bool {
    Owner::of(some) == Owner::of(other)
}

/// Checks a secret that is given, unless it is the current one, which may have been set under older rules.
fn set_secret(text: &str, current: &OpenSecrets) -> Result<SigningSecret, InvalidField> {
    match &current.signing {
        Some(signing) if signing.current.reveal() == text => Ok(signing.current.clone()),
        Some(_) | None => fields::signing_secret(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrations::create::NewIntegration;
    use domain::endpoint::address::AllowedNetworks;
    use domain::integration::DisabledReason;
    use domain::integration::health::Health;
    use serde_json::json;

    fn read_url(text: &str) -> Result<EndpointUrl, InvalidUrl> {
        EndpointUrl::parse(text, &AllowedNetworks::default())
    }

    fn read<T: FromBody>(body: &str) -> T {
        crate::http::body::read(body.as_bytes()).unwrap_or_else(|problem| panic!("{problem:?}"))
    }

    fn current() -> (Integration, OpenSecrets) {
        let new: NewIntegration = read(
            &json!({
                "name": "n", "url": "https://example.com/", "method": "PUT", "enabled": false,
                "signing_secret": "the-old-signing-secret", "headers": {"X-A": "a", "X-B": "b"}, "project_ids": [7],
            })
            .to_string(),
        );
        let draft = new.check(read_url).unwrap_or_else(|errors| panic!("{errors:?}"));
        let organization = domain::ids::OrganizationId::new(1).unwrap();
        let owner = Owner::new(organization, "int_01JH7Z5A8M0000000000000001".parse().unwrap(), &draft.url);
        (draft.integration(&owner, None, Timestamp::UNIX_EPOCH), draft.secrets(None))
    }

    /// When the patches are applied; the integration was created at the epoch.
    const LATER: Timestamp = Timestamp::constant(1_736_500_000, 0);

    fn patched(patch: serde_json::Value) -> Result<Patched, Vec<String>> {
        let patch: IntegrationPatch = read(&patch.to_string());
        let (integration, secrets) = current();
        let patched = patch.apply(&integration, &secrets, LATER, read_url);
        patched.map_err(|refused| at_fault(&refused))
    }

    fn at_fault(refused: &PatchError) -> Vec<String> {
        let (PatchError::Invalid(errors) | PatchError::MovesHeaderValues(errors)) = refused;
        errors.iter().map(|error| error.field.clone()).collect()
    }

    fn header_names(patch: serde_json::Value) -> Vec<String> {
        let patched = patched(patch).unwrap_or_else(|fields| panic!("{fields:?}"));
        let (_, secrets) = current();
        let headers = patched.secrets.map_or(secrets.headers, |secrets| secrets.headers);
        headers.names().map(str::to_owned).collect()
    }

    #[test]
    fn an_empty_patch_changes_nothing() {
        let (integration, _) = current();
        let patched = patched(json!({})).unwrap_or_else(|fields| panic!("{fields:?}"));
        assert_eq!(patched.integration, integration);
        assert!(patched.secrets.is_none());
    }

    #[test]
    fn a_patch_with_the_current_values_changes_nothing() {
        let (integration, _) = current();
        let patch = json!({
            "name": " n ", "url": "https://example.com/", "method": "PUT", "enabled": false, "project_ids": [7, 7],
            "signing_secret": "the-old-signing-secret", "headers": {"X-B": "b", "x-a": "a", "x-c": null},
        });
        let patched = patched(patch).unwrap_or_else(|fields| panic!("{fields:?}"));
        assert_eq!(patched.integration, integration);
        assert!(patched.secrets.is_none());
    }

    #[test]
    fn what_was_set_under_older_rules_may_be_given_again() {
        let (mut integration, secrets) = current();
        integration.name = "Pager\u{200b}".to_owned();
        integration.url = "https://example.com/\u{200b}".to_owned();
        integration.filter.severities = vec!["critical\u{ad}".to_owned()];
        let apply = |patch: serde_json::Value| {
            let patch: IntegrationPatch = read(&patch.to_string());
            patch.apply(&integration, &secrets, LATER, read_url).map_err(|refused| at_fault(&refused))
        };
        let same = json!({"name": "Pager\u{200b}", "url": integration.url, "severities": ["critical\u{ad}"]});
        assert_eq!(apply(same).map(|patched| patched.integration).as_ref(), Ok(&integration));
        let others = json!({"name": "\u{200b}", "url": "https://example.com/\u{ad}", "severities": ["\u{200b}"]});
        assert_eq!(apply(others).err().unwrap_or_default(), ["name", "url", "severities"]);
    }

    #[test]
    fn null_resets_a_field_to_its_default() {
        let patch =
            json!({"method": null, "enabled": null, "project_ids": null, "signing_secret": null, "headers": null});
        let patched = patched(patch).unwrap_or_else(|fields| panic!("{fields:?}"));
        assert_eq!((patched.integration.method, patched.integration.enabled), (Method::Post, true));
        assert_eq!(patched.integration.filter, Filter::default());
        let secrets = patched.secrets.unwrap();
        assert!(secrets.signing.is_none() && secrets.headers.is_empty());
    }

    /// Checks since when an integration is off, and whether a reason is recorded, after these patches, one a second.
    #[track_caller]
    fn check_off(mut integration: Integration, patches: &[serde_json::Value], expected: (Option<i64>, bool)) {
        let (_, secrets) = current();
        for (second, patch) in (1..).zip(patches) {
            let patch: IntegrationPatch = read(&patch.to_string());
            let now = Timestamp::from_second(second).unwrap();
            integration = patch.apply(&integration, &secrets, now, read_url).unwrap_or_else(|_| panic!()).integration;
        }
        let since = integration.disabled_at.map(Timestamp::as_second);
        assert_eq!((since, integration.disabled_reason.is_some()), expected, "{patches:?}");
    }

    #[test]
    fn time_and_reason_of_switching_off_stay_until_it_is_switched_on() {
        let (by_hand, _) = current();
        let [off, on, renamed] = [json!({"enabled": false}), json!({"enabled": true}), json!({"name": "other"})];
        check_off(by_hand.clone(), &[], (Some(0), false));
        check_off(by_hand.clone(), &[renamed.clone(), off.clone()], (Some(0), false));
        check_off(by_hand.clone(), std::slice::from_ref(&on), (None, false));
        check_off(by_hand.clone(), &[on.clone(), renamed.clone(), off.clone(), renamed.clone()], (Some(3), false));
        let gone = Integration { disabled_reason: Some(DisabledReason::Gone), ..by_hand };
        check_off(gone.clone(), &[renamed, off.clone()], (Some(0), true));
        check_off(gone.clone(), &[on.clone(), off], (Some(2), false));
        // Switched off before the time was recorded.
        check_off(
            Integration { disabled_at: None, ..gone },
            &[json!({"url": "https://example.com/other"})],
            (None, true),
        );
    }

    #[test]
    fn health_is_kept_until_the_url_changes() {
        let (integration, secrets) = current();
        let health = Some(Health::Healthy { since: Timestamp::UNIX_EPOCH, slow: 0 });
        let integration = Integration { health: health.clone(), ..integration };
        for (patch, expected) in [
            (json!({"enabled": true, "url": "https://example.com/"}), &health),
            (json!({"url": "https://example.com/other"}), &None),
        ] {
            let patch: IntegrationPatch = read(&patch.to_string());
            let patched = patch.apply(&integration, &secrets, LATER, read_url).unwrap_or_else(|_| panic!());
            assert_eq!(&patched.integration.health, expected);
        }
    }

    /// Names with underscores that count as forbidden ones, or as each other, could once be set.
    #[test]
    fn stored_headers_under_older_rules_block_no_other_change() {
        let (integration, mut secrets) = current();
        let stored = [("content_length", "1"), ("x-key", "2"), ("x_key", "3")];
        secrets.headers = CustomerHeaders::parse_stored(stored).unwrap();
        let apply = |patch: serde_json::Value| {
            let patch: IntegrationPatch = read(&patch.to_string());
            patch.apply(&integration, &secrets, LATER, read_url).map(drop).map_err(|refused| at_fault(&refused))
        };
        assert_eq!(apply(json!({"name": "renamed", "signing_secret": "another-signing-secret"})), Ok(()));
        assert_eq!(apply(json!({"headers": {"x-a": "a"}})), Err(vec!["headers.content_length".to_owned()]));
        let patch = json!({"headers": {"content_length": null, "x_key": null, "X-Key": "new"}});
        assert_eq!(apply(patch), Ok(()));
    }

    #[test]
    fn required_fields_cannot_be_removed() {
        assert_eq!(patched(json!({"name": null, "url": null})).err(), Some(vec!["name".to_owned(), "url".to_owned()]));
    }

    #[test]
    fn headers_are_patched_one_by_one() {
        assert_eq!(header_names(json!({"headers": {}})), ["x-a", "x-b"]);
        assert_eq!(header_names(json!({"headers": {"x-a": null}})), ["x-b"]);
        assert_eq!(header_names(json!({"headers": {"X-B": "new", "X-C": "c"}})), ["x-a", "x-b", "x-c"]);
        assert_eq!(header_names(json!({"headers": {"X-Unknown": null}})), ["x-a", "x-b"]);
    }

    #[test]
    fn no_header_may_be_named_twice() {
        let check = |headers: &str, field: &str| {
            // A `Value` would lose duplicate members.
            let patch: IntegrationPatch = read(&format!(r#"{{"headers": {headers}}}"#));
            let (integration, secrets) = current();
            let refused = patch.apply(&integration, &secrets, LATER, read_url).err();
            assert_eq!(refused.as_ref().map(at_fault), Some(vec![field.to_owned()]), "{headers}");
        };
        check(r#"{"X-C": "1", "X-C": "1"}"#, "headers.X-C");
        check(r#"{"X-C": "1", "x-c": "2"}"#, "headers.x-c");
        check(r#"{"X-A": "new", "x-a": null}"#, "headers.x-a");
    }

    #[track_caller]
    fn moved(patch: serde_json::Value, fields: &[&str]) {
        assert_eq!(patched(patch.clone()).err().unwrap_or_default(), fields, "{patch}");
    }

    #[test]
    fn stored_header_values_go_to_no_other_origin() {
        for url in ["http://example.com/", "https://example.com:8443/", "https://example.com.evil.example/"] {
            moved(json!({"url": url}), &["headers.x-a", "headers.x-b"]);
            moved(json!({"url": url, "headers": {}}), &["headers.x-a", "headers.x-b"]);
            moved(json!({"url": url, "headers": {"X-A": "again", "X-C": "new"}}), &["headers.x-b"]);
            moved(json!({"url": url, "headers": {"X-A": "again", "x-b": "b"}}), &[]);
            moved(json!({"url": url, "headers": {"X-A": "again", "x-b": null}}), &[]);
            moved(json!({"url": url, "headers": null}), &[]);
        }
        for url in ["https://example.com/elsewhere?token=1", "HTTPS://EXAMPLE.com:443/"] {
            moved(json!({"url": url}), &[]);
            moved(json!({"url": url, "headers": {"X-A": "new"}}), &[]);
        }
        // Its origin is unknown, since it is invalid.
        moved(json!({"url": "https://10.0.0.1/"}), &["url"]);
        // Together with other errors.
        moved(json!({"url": "http://example.com/", "headers": {"X-A": "a\n"}}), &["headers.X-A", "headers.x-b"]);
    }

    #[test]
    fn the_same_header_values_are_sealed_again_for_another_origin() {
        let is_sealed = |url: &str| {
            let patched = patched(json!({"url": url, "headers": {"X-A": "a", "X-B": "b"}}));
            patched.unwrap_or_else(|fields| panic!("{fields:?}")).secrets.is_some()
        };
        assert!(!is_sealed("HTTPS://example.com/elsewhere"));
        assert!(is_sealed("https://example.com:8443/"));
    }

    /// For example because its network is no longer allowed.
    #[test]
    fn a_url_that_is_no_longer_valid_has_no_origin() {
        let (mut integration, secrets) = current();
        integration.url = "https://10.0.0.1/".to_owned();
        let apply = |patch: serde_json::Value| {
            let patch: IntegrationPatch = read(&patch.to_string());
            patch.apply(&integration, &secrets, LATER, read_url).map(drop).map_err(|refused| at_fault(&refused).len())
        };
        assert_eq!(apply(json!({"url": "https://example.com/"})), Err(2));
        assert_eq!(apply(json!({"url": "https://example.com/", "headers": null})), Ok(()));
        assert_eq!(apply(json!({"name": "renamed"})), Ok(()));
    }

    #[test]
    fn a_secret_that_is_set_replaces_the_old_one_immediately() {
        let patched =
            patched(json!({"signing_secret": "the-new-signing-secret"})).unwrap_or_else(|fields| panic!("{fields:?}"));
        let signing = patched.secrets.unwrap().signing.unwrap();
        assert_eq!((signing.current.reveal(), signing.previous), ("the-new-signing-secret", None));
    }

    #[test]
    fn the_current_secret_may_be_given_again_under_older_rules() {
        let (integration, mut secrets) = current();
        let stored = SigningSecret::parse_stored("12345678").unwrap();
        secrets.signing = Some(SigningSecrets { current: stored, previous: None });
        let set = |secret: &str| {
            let patch: IntegrationPatch = read(&json!({ "signing_secret": secret }).to_string());
            patch.apply(&integration, &secrets, LATER, read_url).map(|patched| patched.secrets.is_some()).map_err(drop)
        };
        assert_eq!(set("12345678"), Ok(false));
        assert_eq!(set("12345679"), Err(()));
    }
}
