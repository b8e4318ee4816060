//! Whether requests may be sent to the host of an integration's URL.

use aws::runner::Dispatch;
use domain::endpoint::url::InvalidUrl;
use sender::HostVetting;

use crate::http::problem::Problem;
use crate::integrations::fields;

/// Checks whether requests may be sent to a URL's host. A name that does not resolve is let through: it may be created
/// later, and every attempt checks again.
///
/// # Errors
/// [`Problem::Invalid`] when they may not.
pub(crate) async fn vet(dispatch: &Dispatch, url: &str) -> Result<(), Problem> {
    let refused = |refused| Problem::Invalid(vec![fields::url_error(refused)]);
    let url = dispatch.read_url(url).map_err(refused)?;
    match dispatch.vet_host(&url).await {
        HostVetting::Forbidden => Err(refused(InvalidUrl::ForbiddenAddress)),
        HostVetting::Public | HostVetting::Unresolved => Ok(()),
    }
}
