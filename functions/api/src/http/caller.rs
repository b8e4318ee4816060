//! The caller of a request: its organization comes from the token alone, and decides whose integrations are touched.
//!
//! API Gateway has verified the token's signature, issuer, audience and lifetime, and passes its claims on with the
//! request. No header, path or body can name another organization.

use axum::extract::{FromRef, FromRequestParts};
use domain::ids::OrganizationId;
use http::request::Parts;
use lambda_http::request::RequestContext;

use crate::http::problem::Problem;

/// The caller of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub organization: OrganizationId,
}

/// The name of the claim that holds the caller's organization.
#[derive(Clone, Debug)]
pub struct OrganizationClaim(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Caller
where
    OrganizationClaim: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let OrganizationClaim(name) = OrganizationClaim::from_ref(state);
        let claim = parts.extensions.get().and_then(|context| claim(context, &name));
        let organization = claim.and_then(organization).ok_or(Problem::NoOrganization)?;
        Ok(Self { organization })
    }
}

fn claim<'a>(context: &'a RequestContext, name: &str) -> Option<&'a str> {
    let RequestContext::ApiGatewayV2(context) = context else { return None };
    let jwt = context.authorizer.as_ref()?.jwt.as_ref()?;
    jwt.claims.get(name).map(String::as_str)
}

/// Parses the claim, which API Gateway passes as text whether it was a string or a number. Only the canonical spelling
/// is accepted: decimal digits without sign or leading zeros.
fn organization(claim: &str) -> Option<OrganizationId> {
    let number: u64 = claim.parse().ok()?;
    if number.to_string() == claim { OrganizationId::new(number) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(claim: &str, expected: Option<u64>) {
        assert_eq!(organization(claim).map(OrganizationId::get), expected, "{claim:?}");
    }

    #[test]
    fn an_organization_has_one_spelling() {
        check("1", Some(1));
        check("18446744073709551615", Some(u64::MAX));
        for claim in
            ["", "0", "01", "+1", "-1", "1.0", "1e3", " 1", "1 ", "1,2", "[1]", "18446744073709551616", "１", "acme"]
        {
            check(claim, None);
        }
    }
}
