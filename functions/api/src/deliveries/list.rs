//! `GET /integrations/{id}/deliveries`: the integration log, a page at a time.

use std::sync::Arc;

use aws::dynamodb::deliveries_table::{DeliveriesTable, FailedPosition, Misdated, More, Order, ReceiptRange};
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use domain::delivery::{Record, Status};
use domain::ids::{DeliveryId, IntegrationId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::deliveries::query::{LogFilter, LogParameters, LogQuery};
use crate::deliveries::view::{DeliveryList, DeliveryView};
use crate::http::caller::Caller;
use crate::http::clock::now;
use crate::http::cursor;
use crate::http::openapi::{ClientErrors, IntegrationPath, Malformed, NotFoundResponse, TooManyRequestsResponse};
use crate::http::problem::Problem;
use crate::state::Api;
use crate::store::deliveries::{ENOUGH_READ_UNITS, FAILED_READ_AHEAD};
use crate::store::rate_limit::CostlyRequest;

/// How many items are read at a time when most of them may be filtered out.
const READ_AHEAD: usize = 100;

/// A position in the log, with a digest of the list it belongs to: under other filters the position would be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bookmark {
    list: String,
    place: Position,
}

/// Where a page of the log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "snake_case", deny_unknown_fields)]
enum Position {
    /// In the list of all deliveries.
    All { behind: DeliveryId },
    /// Among the misdated deliveries, which follow all others in a time range.
    Misdated {
        behind: Option<DeliveryId>,
        /// When that one was received.
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::optional")]
        created_at: Option<Timestamp>,
    },
    /// In the list of failed deliveries.
    Failed {
        behind: DeliveryId,
        #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
        created_at: Timestamp,
    },
}

impl Position {
    fn among_misdated(behind: Option<Misdated>) -> Self {
        let (delivery, created_at) = behind.map(|behind| (behind.delivery_id, behind.created_at)).unzip();
        Self::Misdated { behind: delivery, created_at }
    }
}

/// What to read for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// All deliveries, after that one.
    All { behind: Option<DeliveryId> },
    /// Misdated deliveries, after that one.
    Misdated { behind: Option<Misdated> },
    /// Failed deliveries, after that position.
    Failed { behind: Option<FailedPosition> },
}

/// Lists an integration's deliveries, newest first, tests included.
///
/// Deliveries are sorted by the timestamp of their event. With `status=failed` they are sorted by the time of receipt,
/// and those that failed a moment ago may be missing.
///
/// `from` and `to` filter by the time of receipt, whatever the events' timestamps say. Deliveries whose event was
/// received more than 15 days after its timestamp or more than a day before it may come last then, by the time of receipt.
///
/// A page may be short or even empty although `next_cursor` is not `null`: some hundred deliveries are examined for a
/// page, about a megabyte of the log. Use a cursor with the same filters as the page that it came from; only `limit` may change.
///
/// With a filter this is a search. An organization can make 120 searches at once, and then one every half second.
#[utoipa::path(
    get, path = "/integrations/{id}/deliveries", tag = "Deliveries", operation_id = "listDeliveries",
    params(IntegrationPath, LogParameters),
    responses(
        (status = OK, description = "A page of the log.", body = DeliveryList),
        ClientErrors, NotFoundResponse, Malformed, TooManyRequestsResponse,
    )
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Json<DeliveryList>, Problem> {
    let query = LogQuery::parse(query.as_deref().unwrap_or_default())?;
    let integration = api.integrations.find(caller, &id).await?;
    let list = query.filter.digest(integration.id);
    let place = query.cursor.as_deref().map(|cursor| read_bookmark(cursor, &list)).transpose()?;
    let reading = reading(&query.filter, place)?;
    if !query.filter.admits_all() {
        api.rate_limit.admit(caller.organization, CostlyRequest::Search, now()).await?;
    }
    let (records, next) = match reading {
        Reading::All { behind } => log_page(&api.deliveries, integration.id, &query, behind).await?,
        Reading::Misdated { behind } => {
            misdated_page(&api.deliveries, integration.id, &query, behind, Vec::new(), 0.0).await?
        }
        Reading::Failed { behind } => failed_page(&api.deliveries, integration.id, &query, behind).await?,
    };
    Ok(Json(DeliveryList {
        items: records.iter().map(DeliveryView::of).collect(),
        next_cursor: next.map(|place| cursor::encode(&Bookmark { list, place })),
    }))
}

fn read_bookmark(cursor: &str, list: &str) -> Result<Position, Problem> {
    let bookmark: Bookmark = cursor::decode(cursor)?;
    if bookmark.list == list {
        return Ok(bookmark.place);
    }
    let message = "The cursor belongs to other filters or another integration: use those of the previous page, or omit \
                   the cursor to start over.";
    Err(Problem::malformed("cursor", message))
}

/// What to read for a page that begins at that position.
///
/// # Errors
/// [`Problem::Malformed`] when no page of this list can end there.
fn reading(filter: &LogFilter, place: Option<Position>) -> Result<Reading, Problem> {
    let lists_failed = filter.status == Some(Status::Failed);
    match place {
        None if lists_failed => Ok(Reading::Failed { behind: None }),
        None => Ok(Reading::All { behind: filter.begins_behind() }),
        Some(Position::Failed { behind, created_at }) if lists_failed && filter.is_in_time(created_at) => {
            Ok(Reading::Failed { behind: Some(FailedPosition { delivery_id: behind, created_at }) })
        }
        Some(Position::All { behind }) if !lists_failed => Ok(Reading::All { behind: Some(behind) }),
        Some(Position::Misdated { behind: None, created_at: None }) if filter.has_time_range() && !lists_failed => {
            Ok(Reading::Misdated { behind: None })
        }
        Some(Position::Misdated { behind: Some(delivery_id), created_at: Some(created_at) })
            if filter.has_time_range() && !lists_failed && filter.is_in_time(created_at) =>
        {
            Ok(Reading::Misdated { behind: Some(Misdated { delivery_id, created_at }) })
        }
        Some(_) => Err(cursor::invalid_cursor()),
    }
}

/// Reads a page of all deliveries.
async fn log_page(
    deliveries: &DeliveriesTable,
    integration: IntegrationId,
    query: &LogQuery,
    mut behind: Option<DeliveryId>,
) -> Result<(Vec<Record>, Option<Position>), Problem> {
    let (mut found, mut read_units) = (Vec::new(), 0.0);
    while read_units < ENOUGH_READ_UNITS {
        let page = deliveries.log(integration, behind, query.read_ahead(READ_AHEAD)).await?;
        read_units += page.read_units;
        for record in page.items {
            if query.filter.ends_before(record.identity.delivery_id) {
                return misdated_page(deliveries, integration, query, None, found, read_units).await;
            }
            if found.len() == query.limit {
                return Ok((found, behind.map(|behind| Position::All { behind })));
            }
            behind = Some(record.identity.delivery_id);
            if query.filter.admits(&record) {
                found.push(record);
            }
        }
        if page.more == More::None {
            return misdated_page(deliveries, integration, query, None, found, read_units).await;
        }
    }
    Ok((found, behind.map(|behind| Position::All { behind })))
}

/// Completes a page with misdated deliveries, which the list of all does not contain.
async fn misdated_page(
    deliveries: &DeliveriesTable,
    integration: IntegrationId,
    query: &LogQuery,
    mut behind: Option<Misdated>,
    mut found: Vec<Record>,
    mut read_units: f64,
) -> Result<(Vec<Record>, Option<Position>), Problem> {
    if !query.filter.has_time_range() {
        return Ok((found, None));
    }
    let range = ReceiptRange { from: query.filter.from, to: query.filter.to };
    while read_units < ENOUGH_READ_UNITS {
        let page = deliveries.misdated(integration, range, behind, query.read_ahead(FAILED_READ_AHEAD)).await?;
        let ids: Vec<_> = page.items.iter().map(|misdated| misdated.delivery_id).collect();
        let records = deliveries.find_all(integration, &ids).await?;
        read_units += page.read_units + records.read_units;
        let mut records = records.items.into_iter().peekable();
        for misdated in page.items {
            if found.len() == query.limit {
                return Ok((found, Some(Position::among_misdated(behind))));
            }
            behind = Some(misdated);
            // Missing: its worker died before it was created.
            let Some(record) = records.next_if(|record| record.identity.delivery_id == misdated.delivery_id) else {
                continue;
            };
            if query.filter.admits(&record) && !query.filter.ids().contains(misdated.delivery_id) {
                found.push(record);
            }
        }
        if page.more == More::None {
            return Ok((found, None));
        }
    }
    Ok((found, Some(Position::among_misdated(behind))))
}

/// Reads a page of failed deliveries.
async fn failed_page(
    deliveries: &DeliveriesTable,
    integration: IntegrationId,
    query: &LogQuery,
    mut behind: Option<FailedPosition>,
) -> Result<(Vec<Record>, Option<Position>), Problem> {
    let next = |behind: Option<FailedPosition>| {
        behind.map(|FailedPosition { delivery_id, created_at }| Position::Failed { behind: delivery_id, created_at })
    };
    let range = ReceiptRange { from: query.filter.from, to: query.filter.to };
    let (mut found, mut read_units) = (Vec::new(), 0.0);
    while read_units < ENOUGH_READ_UNITS {
        let limit = query.read_ahead(FAILED_READ_AHEAD);
        let page = deliveries.failed(integration, range, Order::NewestFirst, behind, limit).await?;
        let ids: Vec<_> = page.items.iter().map(|failed| failed.delivery_id).collect();
        let records = deliveries.find_all(integration, &ids).await?;
        read_units += page.read_units + records.read_units;
        let mut records = records.items.into_iter().peekable();
        for failed in page.items {
            if found.len() == query.limit {
                return Ok((found, next(behind)));
            }
            behind = Some(failed.position());
            // Missing: sent again or expired since the index was written.
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

#[cfg(test)]
mod tests {
    use super::*;

    const DELIVERY: &str = "dlv_01JH7VVHV81KJMEKY94GFHBBTY";
    const INTEGRATION: &str = "int_01JH7Z5A8M0000000000000001";

    fn filter(query: &str) -> LogFilter {
        LogQuery::parse(query).unwrap().filter
    }

    fn bookmark(query: &str) -> String {
        let place = Position::All { behind: DELIVERY.parse().unwrap() };
        cursor::encode(&Bookmark { list: filter(query).digest(INTEGRATION.parse().unwrap()), place })
    }

    #[track_caller]
    fn check_bookmark(made_for: &str, used_with: &str, fits: bool) {
        let list = filter(used_with).digest(INTEGRATION.parse().unwrap());
        assert_eq!(read_bookmark(&bookmark(made_for), &list).is_ok(), fits, "{made_for} {used_with}");
    }

    #[test]
    fn a_cursor_continues_only_with_its_own_filters() {
        check_bookmark("alert_id=5&status=delivered", "status=delivered&alert_id=5&limit=7", true);
        check_bookmark("from=2025-01-10T10:00:00Z", "from=2025-01-10T11:00:00%2B01:00", true);
        check_bookmark("", "status=delivered", false);
        check_bookmark("status=delivered", "status=failed", false);
        check_bookmark("alert_id=5", "alert_id=6", false);
        check_bookmark("event_type=alert.resolved", "", false);
        check_bookmark("from=2025-01-10T10:00:00Z", "to=2025-01-10T10:00:00Z", false);
        let elsewhere = filter("").digest("int_01JH7Z5A8M0000000000000002".parse().unwrap());
        assert!(read_bookmark(&bookmark(""), &elsewhere).is_err());
    }

    #[test]
    fn a_position_belongs_to_its_list() {
        let delivery: DeliveryId = DELIVERY.parse().unwrap();
        let at = |text: &str| text.parse().unwrap();
        let all = Position::All { behind: delivery };
        let failed = |created_at: &str| Position::Failed { behind: delivery, created_at: at(created_at) };
        let since = "status=failed&from=2025-01-10T10:00:00Z";
        assert!(reading(&filter(""), Some(all)).is_ok());
        assert!(reading(&filter("status=failed"), Some(all)).is_err());
        assert!(reading(&filter(since), Some(failed("2025-01-10T10:00:00Z"))).is_ok());
        assert!(reading(&filter(since), Some(failed("2025-01-10T09:59:59Z"))).is_err(), "DynamoDB would refuse it");
        assert!(reading(&filter(""), Some(failed("2025-01-10T10:00:00Z"))).is_err());
        let range = "from=2025-01-10T10:00:00Z";
        let misdated = |created_at: &str| {
            Position::among_misdated(Some(Misdated { delivery_id: delivery, created_at: at(created_at) }))
        };
        assert!(reading(&filter(range), Some(Position::among_misdated(None))).is_ok());
        assert!(reading(&filter(range), Some(misdated("2025-01-10T10:00:00Z"))).is_ok());
        assert!(reading(&filter(range), Some(misdated("2025-01-10T09:59:59Z"))).is_err());
        assert!(reading(&filter(""), Some(Position::among_misdated(None))).is_err());
        assert!(reading(&filter(since), Some(Position::among_misdated(None))).is_err());
    }
}
