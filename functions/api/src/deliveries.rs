//! The integration log: what was sent to an integration, and what became of it.

mod query;
mod view;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use serde::{Deserialize, Serialize};
use shared::delivery::{DeliveryKey, Record, Status};
use shared::ids::{DeliveryId, IntegrationId};
use shared::integration::Integration;
use shared::io::deliveries_table::{FailedPlace, FailedRange, MOST_READ_AT_ONCE, More, Order};
use shared::io::fault::Fault;

pub use query::{LogFilter, LogParameters, LogQuery};
pub use view::{AttemptView, DeliveryDetail, DeliveryList, DeliveryView, ErrorView};

use crate::Api;
use crate::caller::Caller;
use crate::cursor;
use crate::problem::Problem;

/// How many items are read at a time where most may be filtered out.
const READ_AHEAD: usize = MOST_READ_AT_ONCE;

/// How many reads one page may take; a page may stay short, and its cursor leads on. Twenty take well below a second.
const MOST_READS: usize = 20;

/// Where a page of the log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "snake_case", deny_unknown_fields)]
enum Place {
    /// Among all deliveries.
    All { behind: DeliveryId },
    /// Among those that failed.
    Failed {
        behind: DeliveryId,
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        created_at: jiff::Timestamp,
    },
}

/// Lists an integration's deliveries, newest first, tests included.
///
/// A page may be short, even empty, while `next_cursor` leads on: what the filters leave out was looked through.
#[utoipa::path(
    get, path = "/integrations/{id}/deliveries", tag = "Deliveries", operation_id = "listDeliveries",
    params(crate::openapi::IntegrationPath, LogParameters),
    responses(
        (status = OK, description = "A page of the log.", body = DeliveryList),
        crate::openapi::Refusals, crate::openapi::NotThere, crate::openapi::Malformed,
    )
)]
pub(crate) async fn log(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<DeliveryList>, Problem> {
    let query = LogQuery::parse(query.as_deref().unwrap_or_default())?;
    let integration = api.integration(caller, &id).await?;
    let place = query.cursor.as_deref().map(cursor::decode).transpose()?;
    let (records, next) = match (query.filter.status, place) {
        (Some(Status::Failed), None) => api.failed_page(integration.id, &query, None).await?,
        (Some(Status::Failed), Some(Place::Failed { behind, created_at })) => {
            let behind = FailedPlace { delivery_id: behind, created_at };
            api.failed_page(integration.id, &query, Some(behind)).await?
        }
        (status, None) if status != Some(Status::Failed) => api.log_page(integration.id, &query, None).await?,
        (status, Some(Place::All { behind })) if status != Some(Status::Failed) => {
            api.log_page(integration.id, &query, Some(behind)).await?
        }
        _ => return Err(Problem::malformed("cursor", "The cursor is one of a list with another `status`.")),
    };
    Ok(Json(DeliveryList {
        items: records.iter().map(DeliveryView::of).collect(),
        next_cursor: next.map(|place| cursor::encode(&place)),
    }))
}

/// Reads one delivery: its payload, its state, and every attempt.
#[utoipa::path(
    get, path = "/integrations/{id}/deliveries/{delivery_id}", tag = "Deliveries", operation_id = "readDelivery",
    params(crate::openapi::DeliveryPath),
    responses(
        (status = OK, description = "The delivery.", body = DeliveryDetail),
        crate::openapi::Refusals, crate::openapi::NotThere,
    )
)]
pub(crate) async fn read(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path((id, delivery_id)): Path<(String, String)>,
) -> Result<Json<DeliveryDetail>, Problem> {
    let integration = api.integration(caller, &id).await?;
    let record = api.delivery(&integration, &delivery_id).await?;
    let payload = match api.deliveries.payload(&record).await {
        Ok(payload) => Some(payload),
        Err(Fault::PayloadMissing) => None,
        Err(fault) => return Err(fault.into()),
    };
    Ok(Json(DeliveryDetail::of(&record, payload)))
}

impl Api {
    /// A delivery of an integration.
    ///
    /// # Errors
    /// [`Problem::NotFound`], or a fault.
    pub(crate) async fn delivery(&self, integration: &Integration, id: &str) -> Result<Box<Record>, Problem> {
        let delivery_id = id.parse().map_err(|_| Problem::NotFound)?;
        let key = DeliveryKey { integration_id: integration.id, delivery_id };
        self.deliveries.find(key).await?.ok_or(Problem::NotFound)
    }

    async fn log_page(
        &self,
        integration: IntegrationId,
        query: &LogQuery,
        mut behind: Option<DeliveryId>,
    ) -> Result<(Vec<Record>, Option<Place>), Problem> {
        let mut found = Vec::new();
        for _ in 0..MOST_READS {
            let page = self.deliveries.log(integration, behind, query.read_ahead(READ_AHEAD)).await?;
            for record in page.items {
                if found.len() == query.limit {
                    return Ok((found, behind.map(|behind| Place::All { behind })));
                }
                behind = Some(record.identity.delivery_id);
                if query.filter.admits(&record) {
                    found.push(record);
                }
            }
            if page.more == More::None {
                return Ok((found, None));
            }
        }
        Ok((found, behind.map(|behind| Place::All { behind })))
    }

    async fn failed_page(
        &self,
        integration: IntegrationId,
        query: &LogQuery,
        mut behind: Option<FailedPlace>,
    ) -> Result<(Vec<Record>, Option<Place>), Problem> {
        let next = |behind: Option<FailedPlace>| {
            behind.map(|FailedPlace { delivery_id, created_at }| Place::Failed { behind: delivery_id, created_at })
        };
        let range = FailedRange { from: query.filter.from, to: query.filter.to };
        let mut found = Vec::new();
        for _ in 0..MOST_READS {
            let limit = query.read_ahead(READ_AHEAD);
            let page = self.deliveries.failed(integration, range, Order::NewestFirst, behind, limit).await?;
            let ids: Vec<_> = page.items.iter().map(|failed| failed.delivery_id).collect();
            let mut records = self.deliveries.find_all(integration, &ids).await?.into_iter().peekable();
            for failed in page.items {
                if found.len() == query.limit {
                    return Ok((found, next(behind)));
                }
                behind = Some(failed.place());
                // Sent again since the index was written, or expired.
                let Some(record) = records.next_if(|record| record.identity.delivery_id == failed.delivery_id) else {
                    continue;
                };
                if query.filter.admits(&record) {
                    found.push(record);
                }
            }
            if page.more == More::None {
                return Ok((found, None));
            }
        }
        Ok((found, next(behind)))
    }
}
