//! Requests that succeeded, remembered by their `Idempotency-Key`.
//!
//! Neither the key nor the body is stored: the key's hash names the item, and the body's fingerprint is an HMAC under
//! the key.

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

/// A request that succeeded.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedRequest {
    /// The integration that it created or changed.
    #[serde(alias = "created")]
    pub subject: IntegrationId,
    /// The version of the integration that it wrote.
    #[serde(default = "first_version")]
    pub version: u64,
    fingerprint: ByteBuf,
    pub secret_origin: SecretOrigin,
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    expires_at: Timestamp,
}

/// The origin of the signing secret that a request set, if it set one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretOrigin {
    Customer,
    Generated,
}

/// For items that were written when only creations were remembered.
const fn first_version() -> u64 {
    Integration::FIRST_VERSION
}

/// The remembered requests of all organizations.
#[derive(Clone, Debug)]
pub struct RememberedRequests {
    client: Client,
    table: String,
}

impl RememberedRequests {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    /// Finds the same request, if it succeeded within the last 24 hours.
    ///
    /// # Errors
    /// [`Problem::Invalid`] when the key was used for a different request, or a fault.
    pub async fn find(
        &self,
        organization: OrganizationId,
        request: Option<&IdempotentRequest>,
    ) -> Result<Option<RememberedRequest>, Problem> {
        let Some(request) = request else { return Ok(None) };
        let item = get(&self.client, &self.table, organization, &request.key.sort_key()).await?;
        let remembered: Option<RememberedRequest> = item.map(from_item).transpose().map_err(|_| UNREADABLE)?;
        // TTL deletes items with a delay.
        let remembered = remembered.filter(|earlier| now() < earlier.expires_at);
        if remembered.as_ref().is_some_and(|earlier| earlier.fingerprint.as_slice() != request.fingerprint) {
            let message = "This Idempotency-Key was used for a different request: use a new key for each request.";
            return Err(Problem::field(IDEMPOTENCY_KEY, message));
        }
        Ok(remembered)
    }

    /// The write that remembers the request which wrote this version of the integration. DynamoDB refuses it when the
    /// key is remembered already.
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
