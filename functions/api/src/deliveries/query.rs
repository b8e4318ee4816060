//! The query parameters of the integration log: filters, cursor and page size.

use std::collections::BTreeMap;

use domain::alert::event::EventType;
use domain::delivery::misdated::IdRange;
use domain::delivery::{Record, Status};
use domain::ids::{DeliveryId, IntegrationId};
use domain::json::{TIME, WHOLE_NUMBER, parse_time};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

use crate::http::problem::Problem;

/// The page size without a `limit`.
const DEFAULT_LIMIT: usize = 25;

/// The largest page size.
const MAX_LIMIT: usize = 100;

/// The query parameters, as the OpenAPI document describes them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes what `LogQuery::parse` reads")]
pub struct LogParameters {
    /// Only deliveries with this status.
    #[param(inline, required = false)]
    status: crate::http::openapi::StatusName,
    /// Only deliveries of events of this type.
    #[param(inline, required = false)]
    event_type: crate::http::openapi::EventTypeName,
    /// Only deliveries of this alert.
    #[param(required = false, inline)]
    alert_id: crate::http::openapi::WholeNumber,
    /// Only deliveries whose event was received at this time or later.
    #[param(required = false, value_type = String, format = DateTime)]
    from: Timestamp,
    /// Only deliveries whose event was received at this time or earlier.
    #[param(required = false, value_type = String, format = DateTime)]
    to: Timestamp,
    /// Where to continue: the `next_cursor` of the previous page.
    #[param(required = false)]
    cursor: String,
    /// The page size.
    #[param(required = false, minimum = 1, maximum = 100, default = 25)]
    limit: usize,
}

/// Which deliveries a caller wants to see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    pub status: Option<Status>,
    pub event_type: Option<EventType>,
    pub alert_id: Option<u64>,
    /// The earliest time of receipt.
    pub from: Timestamp,
    /// The latest time of receipt.
    pub to: Timestamp,
}

impl LogFilter {
    pub fn admits(&self, record: &Record) -> bool {
        let created_at = record.identity.created_at;
        self.status.is_none_or(|status| status == record.status)
            && self.event_type.is_none_or(|event_type| event_type == record.identity.event_type)
            && self.alert_id.is_none_or(|alert_id| alert_id == record.identity.alert_id)
            && self.is_in_time(created_at)
    }

    /// Whether the filter includes this time of receipt, to the millisecond.
    pub fn is_in_time(&self, received_at: Timestamp) -> bool {
        (self.from.as_millisecond()..=self.to.as_millisecond()).contains(&received_at.as_millisecond())
    }

    /// Whether only a part of all times of receipt is wanted.
    pub fn has_time_range(&self) -> bool {
        self.from > EARLIEST || self.to < LATEST
    }

    /// The ids among which a list of all deliveries finds those that were received in time.
    pub fn ids(&self) -> IdRange {
        IdRange::received_between(self.from, self.to)
    }

    /// The delivery after which a list of all deliveries, newest event first, may begin; `None` for the very beginning.
    pub fn begins_behind(&self) -> Option<DeliveryId> {
        (self.to < LATEST).then(|| self.ids().last)
    }

    /// Whether in a list of all deliveries, newest event first, nothing matches from this delivery on.
    pub fn ends_before(&self, delivery: DeliveryId) -> bool {
        delivery < self.ids().first
    }

    /// Identifies the filtered list that a cursor belongs to: 64 bits of a hash, enough to notice every mix-up.
    pub fn digest(&self, integration: IntegrationId) -> String {
        let Self { status, event_type, alert_id, from, to } = self;
        let status = status.map_or("", Status::as_str);
        let event_type = event_type.map_or("", EventType::as_str);
        let alert_id = alert_id.map(|alert_id| alert_id.to_string()).unwrap_or_default();
        let list = format!("{integration} {status} {event_type} {alert_id} {from} {to}");
        hex::encode(&Sha256::digest(list.as_bytes())[..8])
    }

    /// Whether it filters nothing.
    pub fn admits_all(&self) -> bool {
        let Self { status, event_type, alert_id, from, to } = self;
        status.is_none() && event_type.is_none() && alert_id.is_none() && (*from, *to) == (EARLIEST, LATEST)
    }
}

/// The bounds of all times of receipt.
const EARLIEST: Timestamp = Timestamp::UNIX_EPOCH;
const LATEST: Timestamp = Timestamp::MAX;

/// A request for a page of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    pub filter: LogFilter,
    pub cursor: Option<String>,
    pub limit: usize,
}

impl LogQuery {
    /// Reads a query string.
    ///
    /// # Errors
    /// [`Problem::Malformed`] for the first unknown, duplicate or invalid parameter.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = Parameters::parse(query)?;
        let filter = LogFilter {
            status: parameters.take("status", status)?,
            event_type: parameters.take("event_type", event_type)?,
            alert_id: parameters.take("alert_id", whole_number)?,
            from: parameters.take("from", time)?.unwrap_or(EARLIEST),
            to: parameters.take("to", time)?.unwrap_or(LATEST),
        };
        let cursor = parameters.take("cursor", |text| Ok(text.to_owned()))?;
        let limit = parameters.take("limit", limit)?.unwrap_or(DEFAULT_LIMIT);
        parameters.none_left()?;
        if filter.from > filter.to {
            return Err(Problem::malformed("from", "`from` is later than `to`: swap them."));
        }
        Ok(Self { filter, cursor, limit })
    }

    /// How many items to read at a time: one more than the page, to know whether it is the last, or `max` when many of
    /// them may be filtered out.
    pub(crate) fn read_ahead(&self, max: usize) -> i32 {
        let items = if self.filter.admits_all() { (self.limit + 1).min(max) } else { max };
        i32::try_from(items).unwrap_or(i32::MAX)
    }
}

/// The parameters of a query string, without duplicates.
struct Parameters(BTreeMap<String, String>);

impl Parameters {
    fn parse(query: &str) -> Result<Self, Problem> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Problem::malformed(name.to_string(), format!("`{name}` is given twice: keep one.")));
            }
        }
        Ok(Self(parameters))
    }

    /// Removes and reads a parameter. The error of `read` is what the parameter must be.
    fn take<T>(
        &mut self,
        name: &'static str,
        read: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<Option<T>, Problem> {
        let invalid = |expected| Problem::malformed(name, format!("`{name}` must be {expected}."));
        let read = |text: String| read(&text).map_err(invalid);
        self.0.remove(name).map(read).transpose()
    }

    fn none_left(self) -> Result<(), Problem> {
        let Some((name, _)) = self.0.into_iter().next() else { return Ok(()) };
        let known = "`status`, `event_type`, `alert_id`, `from`, `to`, `cursor` or `limit`";
        Err(Problem::malformed(name, format!("This parameter is unknown: use {known}.")))
    }
}

fn status(text: &str) -> Result<Status, &'static str> {
    let word = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text);
    Status::deserialize(word).map_err(|_| "`sending`, `waiting`, `delivered`, `failed` or `cancelled`")
}

fn event_type(text: &str) -> Result<EventType, &'static str> {
    text.parse().map_err(|_| EventType::EXPECTED.words)
}

fn whole_number(text: &str) -> Result<u64, &'static str> {
    text.parse().map_err(|_| WHOLE_NUMBER.words)
}

fn time(text: &str) -> Result<Timestamp, &'static str> {
    // A `+` in a query string means a space unless it is percent-encoded, which callers forget.
    parse_time(&text.replace(' ', "+")).ok_or(TIME.words)
}

fn limit(text: &str) -> Result<usize, &'static str> {
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or("a whole number from 1 to 100")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(query: &str, field: &str) {
        match LogQuery::parse(query) {
            Err(Problem::Malformed(error)) => assert_eq!(error.field, field, "{query}"),
            other => panic!("{query}: {other:?}"),
        }
    }

    #[test]
    fn a_query_is_read() {
        let query = LogQuery::parse(
            "status=failed&event_type=alert.resolved&alert_id=5&from=2025-01-10T10:00:00%2B01:00&limit=100",
        );
        let query = query.unwrap();
        assert_eq!(query.filter.status, Some(Status::Failed));
        assert_eq!(query.filter.event_type, Some(EventType::Resolved));
        assert_eq!(query.filter.alert_id, Some(5));
        assert_eq!(query.filter.from, "2025-01-10T09:00:00Z".parse().unwrap());
        assert_eq!(query.limit, 100);
        assert_eq!(LogQuery::parse("from=2025-01-10T10:00:00+01:00").unwrap().filter.from, query.filter.from);
    }

    #[test]
    fn only_a_whole_log_is_read_without_reading_ahead() {
        assert_eq!(LogQuery::parse("").unwrap().read_ahead(100), 26);
        assert_eq!(LogQuery::parse("limit=100").unwrap().read_ahead(100), 100);
        assert_eq!(LogQuery::parse("alert_id=5").unwrap().read_ahead(100), 100);
    }

    #[test]
    fn a_time_range_bounds_what_is_read() {
        let event_at = |text: &str| DeliveryId::new(text.parse().unwrap(), [7; 10]);
        let filter = |query| LogQuery::parse(query).unwrap().filter;
        assert_eq!(filter("").begins_behind(), None);
        assert!(!filter("").ends_before(event_at("1970-01-01T00:00:00Z")));

        let since = filter("from=2025-01-16T00:00:00Z");
        assert!(!since.ends_before(event_at("2025-01-01T00:00:00Z")), "15 days late");
        assert!(since.ends_before(event_at("2024-12-31T23:59:59.999Z")));

        let until = filter("to=2025-01-16T00:00:00Z").begins_behind().unwrap();
        assert!(event_at("2025-01-17T00:00:00Z") < until, "a day ahead");
        assert!(event_at("2025-01-17T00:00:00.001Z") > until);
    }

    #[test]
    fn the_described_parameters_are_those_that_are_read() {
        for parameter in LogParameters::into_params(|| None) {
            let query = format!("{}=%00", parameter.name);
            let Err(Problem::Malformed(error)) = LogQuery::parse(&query) else {
                // Decoded later.
                assert_eq!(parameter.name, "cursor");
                continue;
            };
            assert!(!error.message.contains("unknown"), "{}: {}", parameter.name, error.message);
        }
        let Err(Problem::Malformed(error)) = LogQuery::parse("strange=1") else { panic!("it is refused") };
        for parameter in LogParameters::into_params(|| None) {
            assert!(error.message.contains(&format!("`{}`", parameter.name)), "{}", error.message);
        }
        assert_eq!(error.message.matches('`').count(), 2 * LogParameters::into_params(|| None).len());
    }

    #[test]
    fn an_invalid_parameter_is_named() {
        refused("status=broken", "status");
        refused("status=Failed", "status");
        refused("event_type=triggered", "event_type");
        refused("alert_id=-1", "alert_id");
        refused("from=yesterday", "from");
        refused("to=2025-01-10", "to");
        refused("from=2025-01-10T10:00:00Z&to=2025-01-10T09:00:00Z", "from");
        refused("limit=0", "limit");
        refused("limit=101", "limit");
        refused("state=failed", "state");
        refused("limit=5&limit=6", "limit");
    }
}
