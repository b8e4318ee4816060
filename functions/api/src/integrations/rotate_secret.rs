//! `POST /integrations/{id}/rotate-secret`: sets a new signing secret, while the old one still signs for a while.

use std::sync::Arc;
use std::time::Duration;

use aws::dynamodb::conditional::{Conditional, with_backoff};
use aws::kms::vault::{OpenSecrets, random};
use aws::log::{self, Changed};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{AppendHeaders, IntoResponse};
use domain::integration::Integration;
use domain::integration::secrets::Owner;
use domain::json::{BOOLEAN, Fields, InvalidField, Object, Others, STRING, WHOLE_NUMBER};
use domain::request::signature::{PreviousSecret, SigningSecret, SigningSecrets};
use http::HeaderMap;
use http::header::ETAG;
use jiff::Timestamp;
use utoipa::ToSchema;

use crate::http::body::{FromBody, OptionalJsonBody};
use crate::http::caller::Caller;
use crate::http::clock::now;
use crate::http::idempotency_key::{IdempotentRequest, Operation};
use crate::http::openapi::{
    BodyErrors, ClientErrors, IdempotencyKey, IfMatch, IntegrationPath, NotFoundResponse, PreconditionFailed,
    TooManyRequestsResponse,
};
use crate::http::precondition::{Precondition, entity_tag};
use crate::http::problem::{Conflict, Problem, ProblemDocument};
use crate::integrations::view::IntegrationWithSecret;
use crate::integrations::{fields, secrets};
use crate::state::Api;
use crate::store::integrations::{Change, next_version};
use crate::store::rate_limit::CostlyRequest;
use crate::store::remembered_requests::SecretOrigin;

/// How long the old secret still signs if `overlap_seconds` is not given: a day.
pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest time for which the old secret can still sign: a week.
pub const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The options of a rotation.
#[derive(Default, ToSchema)]
pub struct RotateSecret {
    /// The new secret: `whsec_` and the base64 of 24 to 64 bytes, or 16 to 256 visible ASCII characters. If absent, one
    /// is generated, which only this response shows.
    #[schema(min_length = 16, max_length = 256, pattern = "^[!-~]+$")]
    signing_secret: Option<String>,
    /// For how many seconds the old secret still signs too: 0 to 604800 (a week). A day if absent.
    #[schema(minimum = 0, maximum = 604800, default = 86400)]
    overlap_seconds: Option<u64>,
    /// Rotate even while the secret before the last rotation still signs. That one then stops signing immediately,
    /// since at most two secrets sign.
    #[schema(required = false, default = false)]
    replace_previous: bool,
}

impl FromBody for RotateSecret {
    const FIELDS: Fields =
        Fields { names: &["signing_secret", "overlap_seconds", "replace_previous"], others: Others::Refused };

    fn read(object: &Object<'_>) -> Result<Self, InvalidField> {
        Ok(Self {
            signing_secret: object.given("signing_secret", |secret| secret.read_nullable(&STRING))?.flatten(),
            overlap_seconds: object.given("overlap_seconds", |seconds| seconds.read_nullable(&WHOLE_NUMBER))?.flatten(),
            replace_previous: object.optional("replace_previous", &BOOLEAN)?.unwrap_or_default(),
        })
    }
}

/// A rotation whose options are valid.
struct Rotation {
    new: SigningSecret,
    origin: SecretOrigin,
    overlap: Duration,
    previous: Previous,
}

/// What to do with the secret before the last rotation, if it still signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Previous {
    /// Its overlap was promised, so the rotation is refused.
    Keep,
    /// It stops signing: the secret that is rotated out takes its place.
    Replace,
}

impl RotateSecret {
    fn check(self, generated: SigningSecret) -> Result<Rotation, Problem> {
        let given = self.signing_secret.as_deref().map(fields::signing_secret).transpose();
        let (new, origin) = match given.map_err(|error| Problem::Invalid(vec![error]))? {
            Some(given) => (given, SecretOrigin::Customer),
            None => (generated, SecretOrigin::Generated),
        };
        let previous = if self.replace_previous { Previous::Replace } else { Previous::Keep };
        Ok(Rotation { new, origin, overlap: overlap(self.overlap_seconds)?, previous })
    }
}

impl Rotation {
    fn generated(&self) -> Option<&SigningSecret> {
        (self.origin == SecretOrigin::Generated).then_some(&self.new)
    }
}

/// Gives an integration a new signing secret, while the old one still signs for a day or as long as you set.
///
/// While the old secret of an earlier rotation still signs, another rotation is refused unless `replace_previous` is
/// set. With an `Idempotency-Key`, repeating the request within 24 hours has the same result and does not rotate
/// again. A rotation counts as a change of the integration: an organization can make 60 at once, and then one every 2
/// seconds.
#[utoipa::path(
    post, path = "/integrations/{id}/rotate-secret", tag = "Integrations", operation_id = "rotateSecret",
    params(IntegrationPath, IfMatch, IdempotencyKey),
    request_body = Option<RotateSecret>,
    responses(
        (status = OK, description = "The integration. A generated signing secret is shown only here.",
         body = IntegrationWithSecret, headers(("ETag" = String, description = "Its version, for If-Match."))),
        ClientErrors, NotFoundResponse, BodyErrors, PreconditionFailed, TooManyRequestsResponse,
        (status = CONFLICT, description = "The secret before the last rotation still signs; or another request is \
                                           changing the integration: try again after the time in Retry-After.",
         body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn rotate_secret(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: OptionalJsonBody<RotateSecret>,
) -> Result<impl IntoResponse, Problem> {
    let operation = Operation::RotateSecretOf(id.parse().map_err(|_| Problem::NotFound)?);
    let request = IdempotentRequest::read(&headers, operation, &body.bytes)?;
    let request = request.as_ref();
    let precondition = Precondition::read(&headers);
    let rotation = body.value.check(SigningSecret::generate(random()))?;
    api.rate_limit.admit(caller.organization, CostlyRequest::Change, now()).await?;
    with_backoff((), |()| async {
        // Read first: any change from here on, also by the same request carried out concurrently, is then a conflict.
        let current = api.integrations.find(caller, &id).await?;
        if let Some(earlier) = api.integrations.requests().find(caller.organization, request).await? {
            let current = api.integrations.find(caller, &id).await?;
            let generated = secrets::generated_by(&api, &earlier, &current).await?;
            return Ok(Conditional::Applied(rotated_response(&current, generated.as_ref())));
        }
        let next = build(&api, &current, &precondition, &rotation).await?;
        let remembered = request.map(|request| (request, rotation.origin));
        let written = api.integrations.replace(&next, current.version, remembered).await?;
        Ok(written.map(|()| {
            log::changed(Changed::SecretRotated, &next);
            rotated_response(&next, rotation.generated())
        }))
    })
    .await
}

/// Builds the integration's next version. Nothing is written.
async fn build(
    api: &Api,
    current: &Integration,
    precondition: &Precondition,
    rotation: &Rotation,
) -> Result<Integration, Problem> {
    let now = now();
    let open = apply_rotation(&*api.dispatch.secrets(current).await?, rotation, now)?;
    let sealed = secrets::seal(api, &Owner::of(current), &open).await?;
    let wanted = Integration { secrets: sealed, ..current.clone() };
    match next_version(current, wanted, precondition, now)? {
        Change::Version(next) | Change::Nothing(next) => Ok(next),
    }
}

fn rotated_response(integration: &Integration, generated: Option<&SigningSecret>) -> impl IntoResponse + use<> {
    let headers = AppendHeaders([(ETAG, entity_tag(integration.version))]);
    (headers, Json(IntegrationWithSecret::of(integration, generated, now())))
}

fn overlap(seconds: Option<u64>) -> Result<Duration, Problem> {
    let overlap = seconds.map_or(DEFAULT_OVERLAP, Duration::from_secs);
    if overlap > MAX_OVERLAP {
        let max = MAX_OVERLAP.as_secs();
        return Err(Problem::field("overlap_seconds", format!("The overlap must be 0 to {max} seconds (a week).")));
    }
    Ok(overlap)
}

/// Replaces the signing secret, and keeps the old one as the previous one for the overlap.
///
/// # Errors
/// [`Problem::Invalid`] when the new secret equals the old one, [`Conflict::OverlapRunning`] when a previous one still
/// signs and is to be kept.
fn apply_rotation(secrets: &OpenSecrets, rotation: &Rotation, now: Timestamp) -> Result<OpenSecrets, Problem> {
    let Rotation { new, overlap, previous, .. } = rotation;
    let old = secrets.signing.as_ref().map(|signing| &signing.current);
    if old == Some(new) {
        let message = "This is the current signing secret: provide another one, or none to have one generated.";
        return Err(Problem::field("signing_secret", message));
    }
    let older = secrets.signing.as_ref().and_then(|signing| signing.previous.as_ref());
    let still_signs = older.filter(|older| now < older.valid_until);
    if let (Some(older), Previous::Keep) = (still_signs, previous) {
        return Err(Problem::Conflict(Conflict::OverlapRunning { until: older.valid_until }));
    }
    let valid_until = now.saturating_add(*overlap).unwrap_or(Timestamp::MAX);
    let previous = old.filter(|_| !overlap.is_zero()).map(|old| PreviousSecret { secret: old.clone(), valid_until });
    Ok(OpenSecrets {
        signing: Some(SigningSecrets { current: new.clone(), previous }),
        headers: secrets.headers.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SigningSecret {
        SigningSecret::parse_new(text).unwrap()
    }

    fn with(current: &str) -> OpenSecrets {
        let signing = SigningSecrets { current: secret(current), previous: None };
        OpenSecrets { signing: Some(signing), ..OpenSecrets::default() }
    }

    fn rotation(new: &str, overlap_seconds: u64, previous: Previous) -> Rotation {
        let overlap = Duration::from_secs(overlap_seconds);
        Rotation { new: secret(new), origin: SecretOrigin::Customer, overlap, previous }
    }

    fn rotate(secrets: &OpenSecrets, new: &str, overlap_seconds: u64) -> Option<SigningSecrets> {
        apply_rotation(secrets, &rotation(new, overlap_seconds, Previous::Keep), Timestamp::UNIX_EPOCH).ok()?.signing
    }

    #[test]
    fn the_old_secret_stays_for_the_overlap() {
        let signing = rotate(&with("the-old-signing-secret"), "the-new-signing-secret", 60).unwrap();
        assert_eq!(signing.current, secret("the-new-signing-secret"));
        let previous = signing.previous.unwrap();
        assert_eq!((previous.secret, previous.valid_until.as_second()), (secret("the-old-signing-secret"), 60));
    }

    #[test]
    fn a_promised_overlap_ends_early_only_on_request() {
        let now = |second| Timestamp::from_second(second).unwrap();
        let first = rotation("the-new-signing-secret", 60, Previous::Keep);
        let rotating = apply_rotation(&with("the-old-signing-secret"), &first, now(0)).unwrap();
        for overlap in [0, 60] {
            let second = rotation("the-newest-signing-secret", overlap, Previous::Keep);
            let refused = apply_rotation(&rotating, &second, now(59));
            let until = now(60);
            assert!(matches!(refused, Err(Problem::Conflict(Conflict::OverlapRunning { until: end })) if end == until));
        }
        let replacing = rotation("the-newest-signing-secret", 60, Previous::Replace);
        let signing = apply_rotation(&rotating, &replacing, now(59)).unwrap().signing.unwrap();
        assert_eq!(signing.current, secret("the-newest-signing-secret"));
        assert_eq!(signing.previous.map(|previous| previous.secret), Some(secret("the-new-signing-secret")));
        let afterwards = rotation("the-newest-signing-secret", 60, Previous::Keep);
        assert!(apply_rotation(&rotating, &afterwards, now(60)).is_ok());
    }

    #[test]
    fn without_overlap_or_old_secret_there_is_no_previous_one() {
        assert_eq!(rotate(&with("the-old-signing-secret"), "the-new-signing-secret", 0).unwrap().previous, None);
        assert_eq!(rotate(&OpenSecrets::default(), "the-new-signing-secret", 60).unwrap().previous, None);
        assert_eq!(rotate(&with("the-old-signing-secret"), "the-old-signing-secret", 60), None);
    }

    #[test]
    fn an_overlap_is_a_week_at_most() {
        assert_eq!(overlap(None).unwrap(), DEFAULT_OVERLAP);
        assert_eq!(overlap(Some(604_800)).unwrap(), MAX_OVERLAP);
        assert!(overlap(Some(604_801)).is_err());
    }
}
