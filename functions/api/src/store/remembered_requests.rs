//! Requests that were carried out, remembered by their `Idempotency-Key`.
//!
//! Neither key nor body is kept: the key's hash names the item, and the body's fingerprint is keyed by the key.

use std::time::Duration;

use aws::fault::Fault;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use domain::ids::{IntegrationId, OrganizationId};
use domain::integration::Integration;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use serde_dynamo::aws_sdk_dynamodb_1::{from_item, to_item};

use crate::http::clock::now;
use crate::http::idempotency_key::{IDEMPOTENCY_KEY, IdempotentRequest};
use crate::http::problem::Problem;
use crate::store::item::{Item, UNREADABLE, get, item_key, number};

/// How long a request is remembered.
const REMEMBERED_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A request that was carried out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedRequest {
    /// The integration that it created or changed.
    #[serde(alias = "created")]
    pub subject: IntegrationId,
    /// The version that it made of it.
    #[serde(default = "first_version")]
    pub version: u64,
    fingerprint: ByteBuf,
    pub secret_origin: SecretOrigin,
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    expires_at: Timestamp,
}

/// Where the signing secret that a request set comes from, if it set one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretOrigin {
    Customer,
    Generated,
}

/// What is remembered from when nothing but creating was.
const fn first_version() -> u64 {
    Integration::FIRST_VERSION
}

/// The requests that were carried out.
#[derive(Clone, Debug)]
pub struct RememberedRequests {
    client: Client,
    table: String,
}

impl RememberedRequests {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// What the same request came to, if it was carried out within the last 24 hours.
    ///
    /// # Errors
    /// [`Problem::Invalid`] when its key was used for another request, or a fault.
    pub async fn find(
        &self,
        organization: OrganizationId,
        request: Option<&IdempotentRequest>,
    ) -> Result<Option<RememberedRequest>, Problem> {
        let Some(request) = request else { return Ok(None) };
        let item = get(&self.client, &self.table, organization, &request.key.sort_key()).await?;
        let remembered: Option<RememberedRequest> = item.map(from_item).transpose().map_err(|_| UNREADABLE)?;
        // TTL takes its time.
        let remembered = remembered.filter(|earlier| now() < earlier.expires_at);
        if remembered.as_ref().is_some_and(|earlier| earlier.fingerprint.as_slice() != request.fingerprint) {
            let message = "This Idempotency-Key was used for another request: use a new key for each.";
            return Err(Problem::field(IDEMPOTENCY_KEY, message));
        }
        Ok(remembered)
    }

    /// The write that remembers the request which made an integration what it is. Refused when it is remembered already.
    ///
    /// # Errors
    /// [`Fault`] when the item cannot be made.
    pub(super) fn write(
        &self,
        request: &IdempotentRequest,
        integration: &Integration,
        secret_origin: SecretOrigin,
    ) -> Result<TransactWriteItem, Fault> {
        let now = integration.updated_at;
        let remembered = RememberedRequest {
            subject: integration.id,
            version: integration.version,
            fingerprint: ByteBuf::from(request.fingerprint),
            secret_origin,
            expires_at: now.saturating_add(REMEMBERED_FOR).unwrap_or(Timestamp::MAX),
        };
        let mut item: Item = to_item(remembered).map_err(|_| UNREADABLE)?;
        item.extend(item_key(integration.organization_id, &request.key.sort_key()));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(fingerprint) OR expires_at <= :now")
            .expression_attribute_values(":now", number(now.as_second()))
            .build()
            .expect("a put has a table and an item");
        Ok(TransactWriteItem::builder().put(put).build())
    }
}
