//! Recovering: every failed delivery of a time range again, once, at a pace that an endpoint can bear.
//!
//! A request recovers a part and says where to go on. Whenever that breaks off, going on from the last cursor sends
//! nothing twice: what was sent again is no longer failed, and what has failed again since this recovery began is left
//! alone.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use shared::delivery::{Record, Status};
use shared::ids::{DeliveryId, IntegrationId};
use shared::integration::Integration;
use shared::io::deliveries_table::{Failed, FailedPlace, FailedRange, MOST_READ_AT_ONCE, More, Order};
use shared::io::log;
use shared::io::queues::BATCH;
use utoipa::ToSchema;

use crate::caller::Caller;
use crate::cursor;
use crate::input::OptionalJsonBody;
use crate::problem::{Conflict, FieldError, Problem};
use crate::redelivery::check_enabled;
use crate::{Api, now};

/// How long one request counts. Far less than API Gateway's patience.
const COUNTS_FOR: Duration = Duration::from_secs(10);

/// How many index entries are counted at a time.
const COUNTED_AT_ONCE: i32 = 1_000;

/// Which failed deliveries to send again.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Recover {
    /// Only what was received from this time on. Everything if absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Only what was received up to this time. Until now if absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// Only counts them.
    #[serde(default)]
    #[schema(default = false)]
    dry_run: bool,
    /// Where to go on: the `next_cursor` of the answer before. Holds the time range, which must not be given again.
    cursor: Option<String>,
}

/// What was recovered by one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Recovered {
    pub dry_run: bool,
    /// How many deliveries are sent again, or would be.
    pub count: usize,
    /// How many were left alone: sent again or expired meanwhile, or sent five times over already.
    pub skipped: usize,
    /// Where to go on; `null` when there are no more.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
    /// When the last of them is sent: ten a second.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    pub paced_until: Option<Timestamp>,
}

/// How far a recovery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    from: Timestamp,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    to: Timestamp,
    /// When this recovery began: what was sent again since then is done.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    began_at: Timestamp,
    behind: Option<(DeliveryId, i64)>,
}

impl Progress {
    fn range(&self) -> FailedRange {
        FailedRange { from: self.from, to: self.to }
    }

    fn behind(&self) -> Option<FailedPlace> {
        let (delivery_id, millis) = self.behind?;
        Some(FailedPlace { delivery_id, created_at: Timestamp::from_millisecond(millis).ok()? })
    }

    fn at(self, last: &Failed) -> Self {
        Self { behind: Some((last.delivery_id, last.created_at.as_millisecond())), ..self }
    }
}

/// Sends all failed deliveries of a time range again, a part with each request: go on with `next_cursor` until it is
/// `null`. Tests are left out.
///
/// They are sent ten a second. When ten minutes' worth is on its way the answer is 429, and `Retry-After` says when to
/// go on.
#[utoipa::path(
    post, path = "/integrations/{id}/recover", tag = "Deliveries", operation_id = "recover",
    params(crate::openapi::IntegrationPath),
    request_body = Option<Recover>,
    responses(
        (status = OK, description = "What was recovered by this request.", body = Recovered),
        crate::openapi::Refusals, crate::openapi::NotThere, crate::openapi::BodyRefusals, crate::openapi::TooMany,
        (status = CONFLICT, description = "The integration is switched off.",
         body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn recover(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    OptionalJsonBody(body): OptionalJsonBody<Recover>,
) -> Result<Json<Recovered>, Problem> {
    let now = now();
    let progress = progress(&body, now)?;
    let integration = api.integration(caller, &id).await?;
    if body.dry_run {
        return Ok(Json(api.count_failed(integration.id, progress, now).await?));
    }
    check_enabled(&integration)?;
    Ok(Json(api.recover_some(&integration, progress, now).await?))
}

fn progress(body: &Recover, now: Timestamp) -> Result<Progress, Problem> {
    if let Some(cursor) = &body.cursor {
        if body.from.is_some() || body.to.is_some() {
            let field = if body.from.is_some() { "from" } else { "to" };
            return Err(Problem::field(field, "The cursor holds the time range: leave `from` and `to` out with it."));
        }
        return cursor::decode(cursor);
    }
    let from = time("from", body.from.as_deref())?.unwrap_or(Timestamp::UNIX_EPOCH);
    let to = time("to", body.to.as_deref())?.unwrap_or(now);
    if from > to {
        return Err(Problem::field("from", "`from` lies after `to`: exchange them."));
    }
    Ok(Progress { from, to, began_at: now, behind: None })
}

fn time(field: &'static str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let wanted = || {
        let message = format!("`{field}` must be an RFC 3339 time with its offset, such as 2025-01-10T10:23:45Z.");
        Problem::Invalid(vec![FieldError::new(field, message)])
    };
    text.map(|text| text.parse().map_err(|_| wanted())).transpose()
}

impl Api {
    async fn count_failed(
        &self,
        integration: IntegrationId,
        mut progress: Progress,
        now: Timestamp,
    ) -> Result<Recovered, Problem> {
        let mut count = 0;
        loop {
            let (range, behind) = (progress.range(), progress.behind());
            let page = self.deliveries.failed(integration, range, Order::OldestFirst, behind, COUNTED_AT_ONCE).await?;
            count += page.items.iter().filter(|failed| !failed.test).count();
            let last = page.items.last().filter(|_| page.more == More::Perhaps);
            let Some(last) = last else {
                return Ok(Recovered { dry_run: true, count, skipped: 0, next_cursor: None, paced_until: None });
            };
            progress = progress.at(last);
            if crate::now().duration_since(now).unsigned_abs() > COUNTS_FOR {
                let next_cursor = Some(cursor::encode(&progress));
                return Ok(Recovered { dry_run: true, count, skipped: 0, next_cursor, paced_until: None });
            }
        }
    }

    async fn recover_some(
        &self,
        integration: &Integration,
        progress: Progress,
        now: Timestamp,
    ) -> Result<Recovered, Problem> {
        let (range, behind) = (progress.range(), progress.behind());
        let limit = i32::try_from(MOST_READ_AT_ONCE).unwrap_or(i32::MAX);
        let page = self.deliveries.failed(integration.id, range, Order::OldestFirst, behind, limit).await?;
        let wanted: Vec<_> = page.items.iter().filter(|failed| !failed.test).map(|failed| failed.delivery_id).collect();
        let found = self.deliveries.find_all(integration.id, &wanted).await?;
        let failed: Vec<_> = found.into_iter().filter(|record| is_to_recover(record, progress.began_at)).collect();
        let next_cursor =
            page.items.last().filter(|_| page.more == More::Perhaps).map(|last| cursor::encode(&progress.at(last)));
        let mut recovered = Recovered {
            dry_run: false,
            count: 0,
            skipped: wanted.len() - failed.len(),
            next_cursor,
            paced_until: None,
        };
        if failed.is_empty() {
            return Ok(recovered);
        }

        let count = u32::try_from(failed.len()).unwrap_or(u32::MAX);
        let slots = self.bookkeeping.reserve(integration, count, now).await?;
        let slots = slots.map_err(|full| Problem::TooMany {
            sentence: "Ten minutes' worth of deliveries is on its way to this endpoint already: go on when Retry-After says.",
            until: full.until,
        })?;
        recovered.paced_until = Some(slots.until());
        let mut due: Vec<(Record, Timestamp)> = failed.into_iter().zip(slots.instants()).collect();
        while !due.is_empty() {
            let batch: Vec<_> = due.drain(..due.len().min(BATCH)).collect();
            let size = batch.len();
            let begun = self.begin_all(batch, now).await?;
            recovered.count += begun;
            recovered.skipped += size - begun;
        }
        Ok(recovered)
    }

    /// Begins a batch's rounds and sends their messages. Says how many; what somebody else was faster with is not counted.
    async fn begin_all(&self, batch: Vec<(Record, Timestamp)>, now: Timestamp) -> Result<usize, Problem> {
        let begin = |(record, due_at)| self.redelivery.begin(Box::new(record), due_at, now);
        let mut begun = Vec::with_capacity(batch.len());
        let mut failure = None;
        for result in join_all(batch.into_iter().map(begin)).await {
            match result {
                Ok(record) => begun.push(record),
                Err(Problem::Conflict(Conflict::InFlight | Conflict::TooManyRounds | Conflict::PayloadGone))
                | Err(Problem::NotFound) => {}
                Err(problem) => failure = Some(problem),
            }
        }
        // What the ledger has is announced, whatever went wrong with the others.
        if let Err(fault) = self.redelivery.send_later(&begun, crate::now()).await {
            log::unanswered(&fault);
        }
        failure.map_or(Ok(begun.len()), Err)
    }
}

/// What has failed, unless it was sent again since this recovery began.
fn is_to_recover(record: &Record, began_at: Timestamp) -> bool {
    record.status == Status::Failed && record.redelivered_at.is_none_or(|redelivered_at| redelivered_at < began_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_736_500_000 + second).unwrap()
    }

    fn fields(body: Recover) -> String {
        match progress(&body, at(0)) {
            Err(Problem::Invalid(errors)) => errors[0].field.clone(),
            Err(Problem::Malformed(error)) => error.field,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_recovery_goes_from_the_beginning_until_now_unless_told_otherwise() {
        let everything = progress(&Recover::default(), at(0)).unwrap();
        assert_eq!((everything.from, everything.to, everything.began_at), (Timestamp::UNIX_EPOCH, at(0), at(0)));
    }

    #[test]
    fn a_cursor_brings_its_range_and_its_beginning_back() {
        let begun = progress(&Recover::default(), at(0)).unwrap();
        let last =
            Failed { delivery_id: "dlv_01JH7VVHV81KJMEKY94GFHBBTY".parse().unwrap(), created_at: at(-60), test: false };
        let cursor = Some(cursor::encode(&begun.at(&last)));
        let gone_on = progress(&Recover { cursor, ..Recover::default() }, at(30)).unwrap();
        assert_eq!(gone_on, begun.at(&last));
        assert_eq!(gone_on.behind(), Some(last.place()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(fields(Recover { from: some("yesterday"), ..Recover::default() }), "from");
        assert_eq!(fields(Recover { to: some("2025-01-10"), ..Recover::default() }), "to");
        let reversed =
            Recover { from: some("2025-01-10T10:00:00Z"), to: some("2025-01-10T09:00:00Z"), ..Recover::default() };
        assert_eq!(fields(reversed), "from");
        assert_eq!(fields(Recover { cursor: some("x"), ..Recover::default() }), "cursor");
        assert_eq!(fields(Recover { cursor: some("x"), to: some("2025-01-10T09:00:00Z"), ..Recover::default() }), "to");
    }
}
