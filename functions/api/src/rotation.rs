//! Rotating a signing secret: a new one at once, and the old one beside it for a while.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{AppendHeaders, IntoResponse};
use http::HeaderMap;
use http::header::ETAG;
use jiff::Timestamp;
use serde::Deserialize;
use shared::io::log::{self, Changed};
use shared::io::vault::{OpenSecrets, random};
use shared::signature::{PreviousSecret, SigningSecret, SigningSecrets};
use utoipa::ToSchema;

use crate::caller::Caller;
use crate::fields;
use crate::input::{OptionalJsonBody, Precondition, entity_tag};
use crate::integrations::IntegrationWithSecret;
use crate::problem::Problem;
use crate::revision::Revision;
use crate::{Api, now};

/// How long the old secret signs too, unless told otherwise: a day.
pub const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest that the old secret can sign too: a week.
pub const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How to rotate.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// The new secret. Generated, and shown once, if absent.
    #[schema(min_length = 8, max_length = 256)]
    signing_secret: Option<String>,
    /// For how many seconds the old secret signs too: from 0 to 604800 (a week). A day if absent.
    #[schema(minimum = 0, maximum = 604800, default = 86400)]
    overlap_seconds: Option<u64>,
}

/// Gives an integration a new signing secret. The old one signs beside it for a day, or as long as you say.
#[utoipa::path(
    post, path = "/integrations/{id}/rotate-secret", tag = "Integrations", operation_id = "rotateSecret",
    params(crate::openapi::IntegrationPath, crate::openapi::IfMatch),
    request_body = Option<RotateSecret>,
    responses(
        (status = OK, description = "The integration; with a generated secret, which is shown this once.",
         body = IntegrationWithSecret, headers(("ETag" = String, description = "Its version, for If-Match."))),
        crate::openapi::Refusals, crate::openapi::NotThere, crate::openapi::BodyRefusals, crate::openapi::Outdated,
    )
)]
pub(crate) async fn rotate_secret(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    OptionalJsonBody(body): OptionalJsonBody<RotateSecret>,
) -> Result<impl IntoResponse, Problem> {
    let given = body.signing_secret.as_deref().map(fields::signing_secret).transpose();
    let given = given.map_err(|error| Problem::Invalid(vec![error]))?;
    let overlap = overlap(body.overlap_seconds)?;
    let (new, generated) = match given {
        Some(given) => (given, None),
        None => {
            let generated = SigningSecret::generate(random());
            (generated.clone(), Some(generated))
        }
    };
    let rotation = Revision::Rotation { new: &new, overlap };
    let next = api.revise(caller, &id, &Precondition::read(&headers), &rotation).await?;
    log::changed(Changed::SecretRotated, &next);
    let headers = AppendHeaders([(ETAG, entity_tag(next.version))]);
    Ok((headers, Json(IntegrationWithSecret::of(&next, generated.as_ref(), now()))))
}

fn overlap(seconds: Option<u64>) -> Result<Duration, Problem> {
    let overlap = seconds.map_or(DEFAULT_OVERLAP, Duration::from_secs);
    if overlap > MAX_OVERLAP {
        let most = MAX_OVERLAP.as_secs();
        return Err(Problem::field("overlap_seconds", format!("The overlap must be 0 to {most} seconds (a week).")));
    }
    Ok(overlap)
}

/// An integration's secrets with a new signing secret, and the old one beside it for the overlap.
///
/// # Errors
/// [`Problem::Invalid`] when the new one is the old one.
pub(crate) fn rotated(
    secrets: &OpenSecrets,
    new: &SigningSecret,
    overlap: Duration,
    now: Timestamp,
) -> Result<OpenSecrets, Problem> {
    let old = secrets.signing.as_ref().map(|signing| &signing.current);
    if old == Some(new) {
        let message = "This is the present signing secret: give another one, or none to have one generated.";
        return Err(Problem::field("signing_secret", message));
    }
    let valid_until = now.saturating_add(overlap).unwrap_or(Timestamp::MAX);
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
        SigningSecret::parse(text).unwrap()
    }

    fn with(current: &str) -> OpenSecrets {
        let signing = SigningSecrets { current: secret(current), previous: None };
        OpenSecrets { signing: Some(signing), ..OpenSecrets::default() }
    }

    fn rotate(secrets: &OpenSecrets, new: &str, overlap_seconds: u64) -> Option<SigningSecrets> {
        let overlap = Duration::from_secs(overlap_seconds);
        rotated(secrets, &secret(new), overlap, Timestamp::UNIX_EPOCH).ok()?.signing
    }

    #[test]
    fn the_old_secret_stays_for_the_overlap() {
        let signing = rotate(&with("the-old-secret"), "the-new-secret", 60).unwrap();
        assert_eq!(signing.current, secret("the-new-secret"));
        let previous = signing.previous.unwrap();
        assert_eq!((previous.secret, previous.valid_until.as_second()), (secret("the-old-secret"), 60));
    }

    #[test]
    fn without_overlap_or_old_secret_there_is_no_previous_one() {
        assert_eq!(rotate(&with("the-old-secret"), "the-new-secret", 0).unwrap().previous, None);
        assert_eq!(rotate(&OpenSecrets::default(), "the-new-secret", 60).unwrap().previous, None);
        assert_eq!(rotate(&with("the-old-secret"), "the-old-secret", 60), None);
    }

    #[test]
    fn an_overlap_is_a_week_at_most() {
        assert_eq!(overlap(None).unwrap(), DEFAULT_OVERLAP);
        assert_eq!(overlap(Some(604_800)).unwrap(), MAX_OVERLAP);
        assert!(overlap(Some(604_801)).is_err());
    }
}
