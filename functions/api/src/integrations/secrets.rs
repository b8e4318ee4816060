//! Opening and sealing the secrets of integrations.

use aws::fault::Fault;
use aws::kms::vault::OpenSecrets;
use domain::integration::Integration;
use domain::integration::secrets::{Owner, SealedSecrets};
use domain::request::signature::{SigningSecret, SigningSecrets};
use jiff::Timestamp;

use crate::state::Api;
use crate::store::remembered_requests::{RememberedRequest, SecretOrigin};

/// Seals an integration's secrets, if it has any.
pub(crate) async fn seal(api: &Api, owner: &Owner, secrets: &OpenSecrets) -> Result<Option<SealedSecrets>, Fault> {
    api.dispatch.vault().seal(&api.secrets_key_arn, owner, secrets).await
}

/// The secret that an earlier request generated; `None` if it generated none, or the integration has changed since.
pub(crate) async fn generated_by(
    api: &Api,
    earlier: &RememberedRequest,
    integration: &Integration,
) -> Result<Option<SigningSecret>, Fault> {
    if earlier.secret_origin != SecretOrigin::Generated || integration.version != earlier.version {
        return Ok(None);
    }
    let secrets = api.dispatch.secrets(integration).await?;
    Ok(secrets.signing.as_ref().map(|signing| signing.current.clone()))
}

/// The same secrets without an expired previous one.
pub(crate) fn still_valid(secrets: &OpenSecrets, now: Timestamp) -> OpenSecrets {
    let signing = secrets.signing.as_ref().map(|signing| SigningSecrets {
        current: signing.current.clone(),
        previous: signing.previous.clone().filter(|previous| now < previous.valid_until),
    });
    OpenSecrets { signing, headers: secrets.headers.clone() }
}
