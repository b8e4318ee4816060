//! Changing an integration that others may be changing too.
//!
//! Every change is made to the version that there is, on condition that it still is, else to what somebody else has made of
//! it. So two people who change different things do not undo each other, and who names a version is told that it is gone.

use aws::dynamodb::conditional::{Conditional, with_backoff};
use aws::kms::vault::OpenSecrets;
use domain::alert::filter::Filter;
use domain::integration::Integration;
use domain::integration::secrets::{Owner, SealedSecrets};
use jiff::Timestamp;

use crate::caller::Caller;
use crate::fields;
use crate::input::Precondition;
use crate::integrations::{IntegrationPatch, PatchRefused};
use crate::problem::Problem;
use crate::rotation::{Rotation, rotated};
use crate::{Api, now};

/// What is to change about an integration.
pub(crate) enum Revision<'a> {
    Patch(&'a IntegrationPatch),
    Rotation(&'a Rotation),
    /// A tombstone takes its place.
    Deletion,
}

/// What a revision makes of an integration.
pub(crate) enum Revised {
    /// Nothing that it is not already.
    Unchanged(Integration),
    /// Its next version.
    Next(Integration),
}

impl Api {
    /// Makes an integration's next version of the present one, and writes it.
    ///
    /// # Errors
    /// What is wrong with the revision, [`Problem::Outdated`] when another version is meant, or a fault.
    pub(crate) async fn revise(
        &self,
        caller: Caller,
        id: &str,
        precondition: &Precondition,
        revision: &Revision<'_>,
    ) -> Result<Revised, Problem> {
        with_backoff((), |()| async {
            let current = self.integration(caller, id).await?;
            let revised = self.revised(&current, precondition, revision).await?;
            let Revised::Next(next) = &revised else { return Ok(Conditional::Applied(revised)) };
            let written = self.integrations.replace(next, current.version).await?;
            Ok(written.map(|()| revised))
        })
        .await
    }

    /// Makes an integration's next version of the present one. Nothing is written.
    ///
    /// # Errors
    /// As of [`Api::revise`].
    pub(crate) async fn revised(
        &self,
        current: &Integration,
        precondition: &Precondition,
        revision: &Revision<'_>,
    ) -> Result<Revised, Problem> {
        let now = now();
        let wanted = match revision {
            Revision::Patch(patch) => self.patched(current, precondition, patch, now).await?,
            Revision::Rotation(rotation) => {
                let secrets = self.dispatch.secrets(current).await?;
                let sealed = self.seal(current, &rotated(&secrets, rotation, now)?).await?;
                Integration { secrets: sealed, ..current.clone() }
            }
            Revision::Deletion => self.tombstone(current, now),
        };
        // Only what would be carried out otherwise depends on a condition (RFC 9110, section 13.2.1).
        precondition.check(current.version)?;
        if wanted == *current {
            return Ok(Revised::Unchanged(wanted));
        }
        Ok(Revised::Next(Integration { version: current.version + 1, updated_at: now, ..wanted }))
    }

    fn tombstone(&self, of: &Integration, now: Timestamp) -> Integration {
        Integration {
            name: String::new(),
            url: String::new(),
            enabled: false,
            disabled_reason: None,
            disabled_at: None,
            filter: Filter::default(),
            secrets: None,
            health: None,
            deleted_at: Some(now),
            expires_at: Some(now.saturating_add(self.retention).unwrap_or(Timestamp::MAX)),
            ..of.clone()
        }
    }

    async fn patched(
        &self,
        current: &Integration,
        precondition: &Precondition,
        patch: &IntegrationPatch,
        now: Timestamp,
    ) -> Result<Integration, Problem> {
        let secrets = self.dispatch.secrets(current).await?;
        let secrets = fields::still_valid(&secrets, now);
        let patched = match patch.apply(current, &secrets, now, |url| self.dispatch.read_url(url)) {
            Ok(patched) => patched,
            Err(PatchRefused::Invalid(errors)) => return Err(Problem::Invalid(errors)),
            Err(PatchRefused::MovesHeaderValues(errors)) => {
                // Whoever means another version may know nothing of these headers.
                precondition.check(current.version)?;
                return Err(Problem::Invalid(errors));
            }
        };
        // The address behind a name may be another by now, even where the name stays.
        if patch.names_url() || (patched.integration.enabled && !current.enabled) {
            self.vet(&patched.integration.url).await?;
        }
        let sealed = match patched.secrets {
            Some(secrets) => self.seal(current, &secrets).await?,
            None => current.secrets.clone(),
        };
        Ok(Integration { secrets: sealed, ..patched.integration })
    }

    async fn seal(&self, integration: &Integration, secrets: &OpenSecrets) -> Result<Option<SealedSecrets>, Problem> {
        let owner = Owner { organization: integration.organization_id, integration: integration.id };
        Ok(self.dispatch.vault().seal(&self.secrets_key_arn, &owner, secrets).await?)
    }
}
