//! Changing an integration that others may be changing too.
//!
//! Every change is made to the version that there is, on condition that it still is, else to what somebody else has made of
//! it. So two people who change different things do not undo each other, and who names a version is told that it is gone.

use std::time::Duration;

use jiff::Timestamp;
use shared::filter::Filter;
use shared::integration::Integration;
use shared::io::fault::Fault;
use shared::io::integrations_table::Change;
use shared::io::vault::OpenSecrets;
use shared::sealed::{Owner, SealedSecrets};
use shared::signature::SigningSecret;

use crate::caller::Caller;
use crate::fields;
use crate::input::Precondition;
use crate::integrations::IntegrationPatch;
use crate::problem::Problem;
use crate::rotation::rotated;
use crate::{Api, now};

/// How often a change is made anew to what somebody else has made of the integration meanwhile.
const MAX_COLLISIONS: usize = 8;

/// What is to change about an integration.
pub(crate) enum Revision<'a> {
    Patch(&'a IntegrationPatch),
    /// A new signing secret; the old one signs too for so long.
    Rotation {
        new: &'a SigningSecret,
        overlap: Duration,
    },
    /// A tombstone takes its place.
    Deletion,
}

impl Api {
    /// Makes an integration's next version of the present one.
    ///
    /// # Errors
    /// What is wrong with the revision, [`Problem::Outdated`] when another version is meant, or a fault.
    pub(crate) async fn revise(
        &self,
        caller: Caller,
        id: &str,
        precondition: &Precondition,
        revision: &Revision<'_>,
    ) -> Result<Integration, Problem> {
        for _ in 0..MAX_COLLISIONS {
            let current = self.integration(caller, id).await?;
            let now = now();
            let revised = self.revised(&current, revision, now).await?;
            // Only what would be carried out otherwise depends on a condition (RFC 9110, section 13.2.1).
            precondition.check(current.version)?;
            let next = Integration { version: current.version + 1, updated_at: now, ..revised };
            if self.integrations.replace(&next, current.version).await? == Change::Done {
                return Ok(next);
            }
        }
        Err(Fault::Contended.into())
    }

    async fn revised(
        &self,
        current: &Integration,
        revision: &Revision<'_>,
        now: Timestamp,
    ) -> Result<Integration, Problem> {
        match revision {
            Revision::Patch(patch) => self.patched(current, patch, now).await,
            Revision::Rotation { new, overlap } => {
                let secrets = self.dispatch.secrets(current).await?;
                let sealed = self.seal(current, &rotated(&secrets, new, *overlap, now)?).await?;
                Ok(Integration { secrets: sealed, ..current.clone() })
            }
            Revision::Deletion => Ok(Integration {
                name: String::new(),
                url: String::new(),
                enabled: false,
                disabled_reason: None,
                filter: Filter::default(),
                secrets: None,
                health: None,
                deleted_at: Some(now),
                expires_at: Some(now.saturating_add(self.retention).unwrap_or(Timestamp::MAX)),
                ..current.clone()
            }),
        }
    }

    async fn patched(
        &self,
        current: &Integration,
        patch: &IntegrationPatch,
        now: Timestamp,
    ) -> Result<Integration, Problem> {
        let secrets = self.dispatch.secrets(current).await?;
        let patched = patch
            .apply(current, &fields::still_valid(&secrets, now), |url| self.dispatch.read_url(url))
            .map_err(Problem::Invalid)?;
        if patched.integration.url != current.url {
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
