//! `POST /integrations/{id}/recover`: sends every failed delivery of a time range again, once, at a pace that an
//! endpoint can bear.
//!
//! Each request recovers a part and returns a cursor for the next. After an interruption, continuing from the last
//! cursor sends nothing twice: what was sent again is no longer failed, and what has failed again since this recovery
//! began is skipped.
//!
//! A dry run selects the same deliveries by the same rules, but sends nothing.

use std::sync::Arc;

use aws::dynamodb::deliveries_table::{Failed, FailedPosition, MAX_BATCH_READ, More, Order, ReceiptRange};
use aws::log;
use aws::sqs::queues::BATCH;
use axum::Json;
use axum::extract::{Path, State};
use domain::delivery::ledger::MAX_ROUNDS;
use domain::delivery::{Record, Status};
use domain::ids::DeliveryId;
use domain::integration::Integration;
use domain::json::{BOOLEAN, Fields, InvalidField, Object, Others, STRING, TIME};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::body::{FromBody, OptionalJsonBody};
use crate::http::caller::Caller;
use crate::http::clock;
use crate::http::cursor;
use crate::http::openapi::{BodyErrors, ClientErrors, IntegrationPath, NotFoundResponse, TooManyRequestsResponse};
use crate::http::problem::{Conflict, Problem, ProblemDocument};
use crate::state::Api;
use crate::store::deliveries::{ENOUGH_READ_UNITS, FAILED_READ_AHEAD};
use crate::store::rate_limit::CostlyRequest;
use crate::store::redelivery::check_enabled;

/// Which failed deliveries to send again.
#[derive(Default, ToSchema)]
pub struct Recover {
    /// Only deliveries whose event was received at this time or later. If absent, from the beginning.
    #[schema(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Only deliveries whose event was received at this time or earlier. If absent, until now.
    #[schema(value_type = Option<String>, format = DateTime)]
    to: Option<Timestamp>,
    /// Only count the deliveries, send nothing.
    #[schema(required = false, default = false)]
    dry_run: bool,
    /// Where to continue: the `next_cursor` of the previous response. It contains the time range, so `from` and `to`
    /// must be absent; `dry_run` must be the same as before.
    cursor: Option<String>,
}

impl FromBody for Recover {
    const FIELDS: Fields = Fields { names: &["from", "to", "dry_run", "cursor"], others: Others::Refused };

    fn read(object: &Object<'_>) -> Result<Self, InvalidField> {
        Ok(Self {
            from: object.given("from", |from| from.read_nullable(&TIME))?.flatten(),
            to: object.given("to", |to| to.read_nullable(&TIME))?.flatten(),
            dry_run: object.optional("dry_run", &BOOLEAN)?.unwrap_or_default(),
            cursor: object.given("cursor", |cursor| cursor.read_nullable(&STRING))?.flatten(),
        })
    }
}

/// What one request recovered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Recovered {
    /// Whether this was a dry run, which sends nothing.
    pub dry_run: bool,
    /// How many deliveries are sent again, or in a dry run would be.
    pub count: usize,
    /// How many deliveries are skipped: sent again or expired in the meantime, or already sent 5 times, the maximum.
    pub skipped: usize,
    /// The `cursor` of the next request; `null` when there are no more.
    #[schema(required = true)]
    pub next_cursor: Option<String>,
    /// When the last of these deliveries is sent, at ten a second; `null` if none is, or in a dry run.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    pub paced_until: Option<Timestamp>,
}

/// Whether anything is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Execute,
    DryRun,
}

/// How far a recovery has come, as its cursor stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progress {
    mode: Mode,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    from: Timestamp,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    to: Timestamp,
    /// When this recovery began: what was sent again since then is skipped.
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    began_at: Timestamp,
    behind: Option<Behind>,
}

/// The last delivery that was examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Behind {
    delivery_id: DeliveryId,
    #[serde(with = "jiff::fmt::serde::timestamp::millisecond::required")]
    created_at: Timestamp,
}

impl Progress {
    fn range(&self) -> ReceiptRange {
        ReceiptRange { from: self.from, to: self.to }
    }

    fn behind(&self) -> Option<FailedPosition> {
        self.behind.map(|Behind { delivery_id, created_at }| FailedPosition { delivery_id, created_at })
    }

    fn at(self, last: &Failed) -> Self {
        Self { behind: Some(Behind { delivery_id: last.delivery_id, created_at: last.created_at }), ..self }
    }

    /// Whether a recovery can have reached this point.
    fn is_possible(&self) -> bool {
        let range = self.from..=self.to;
        !range.is_empty() && self.behind.is_none_or(|behind| range.contains(&behind.created_at))
    }
}

/// A part of the failed deliveries.
struct Part {
    to_recover: Vec<Record>,
    /// How many deliveries of the part are skipped.
    skipped: usize,
    /// Where the next part begins; `None` after the last.
    next: Option<Progress>,
    /// What reading it cost.
    read_units: f64,
}

/// Sends all failed deliveries of a time range again.
///
/// Each request recovers a part of them: repeat it with `next_cursor` until that is `null`. Tests are not sent again.
///
/// Deliveries are sent at ten a second. Once the next ten minutes are full, the answer is 429: continue after the time
/// in `Retry-After`.
///
/// A dry run counts the deliveries that would be sent again now. It works while the integration is switched off, too.
/// Each request examines some hundred deliveries, about a megabyte of the log.
///
/// An organization can redeliver and recover 60 times at once, and then once every second. Dry runs count as searches of
/// the log instead: 120 at once, and then one every half second.
#[utoipa::path(
    post, path = "/integrations/{id}/recover", tag = "Deliveries", operation_id = "recover",
    params(IntegrationPath),
    request_body = Option<Recover>,
    responses(
        (status = OK, description = "What this request recovered.", body = Recovered),
        ClientErrors, NotFoundResponse, BodyErrors, TooManyRequestsResponse,
        (status = CONFLICT, description = "The integration is switched off; or another request is recovering at the \
                                           same time: try again after the time in Retry-After.",
         body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn recover(
    State(api): State<Arc<Api>>,
    caller: Caller,
    Path(id): Path<String>,
    body: OptionalJsonBody<Recover>,
) -> Result<Json<Recovered>, Problem> {
    let now = clock::now();
    let progress = progress(&body.value, now)?;
    let integration = api.integrations.find(caller, &id).await?;
    match progress.mode {
        Mode::DryRun => {
            api.rate_limit.admit(caller.organization, CostlyRequest::Search, now).await?;
            Ok(Json(count_failed(&api, &integration, progress).await?))
        }
        Mode::Execute => {
            check_enabled(&integration)?;
            api.rate_limit.admit(caller.organization, CostlyRequest::Send, now).await?;
            Ok(Json(recover_part(&api, &integration, progress, now).await?))
        }
    }
}

fn progress(body: &Recover, now: Timestamp) -> Result<Progress, Problem> {
    let mode = if body.dry_run { Mode::DryRun } else { Mode::Execute };
    if let Some(cursor) = &body.cursor {
        if body.from.is_some() || body.to.is_some() {
            let field = if body.from.is_some() { "from" } else { "to" };
            return Err(Problem::field(field, "The cursor contains the time range: omit `from` and `to`."));
        }
        return resume(cursor::decode(cursor)?, mode);
    }
    let from = body.from.unwrap_or(Timestamp::UNIX_EPOCH);
    let to = body.to.unwrap_or(now);
    if from > to {
        return Err(Problem::field("from", "`from` is later than `to`: swap them."));
    }
    Ok(Progress { mode, from, to, began_at: now, behind: None })
}

fn resume(progress: Progress, mode: Mode) -> Result<Progress, Problem> {
    if progress.mode != mode {
        let message = match progress.mode {
            Mode::DryRun => "The cursor belongs to a dry run: start sending without a cursor.",
            Mode::Execute => "The cursor does not belong to a dry run: start a dry run without a cursor.",
        };
        return Err(Problem::malformed("cursor", message));
    }
    if progress.is_possible() { Ok(progress) } else { Err(cursor::invalid_cursor()) }
}

/// Reads the next part of the failed deliveries, of at most `limit`. Nothing is written.
async fn read_part(api: &Api, integration: &Integration, progress: Progress, limit: usize) -> Result<Part, Problem> {
    let (range, behind) = (progress.range(), progress.behind());
    let limit = i32::try_from(limit).unwrap_or(i32::MAX);
    let page = api.deliveries.failed(integration.id, range, Order::OldestFirst, behind, limit).await?;
    let examined: Vec<_> = page.items.iter().filter(|failed| !failed.test).map(|failed| failed.delivery_id).collect();
    let found = api.deliveries.find_all(integration.id, &examined).await?;
    let read_units = page.read_units + found.read_units;
    let to_recover = found.items.into_iter().filter(|record| is_to_recover(record, progress.began_at));
    let to_recover: Vec<_> = to_recover.collect();
    let last = page.items.last().filter(|_| page.more == More::Perhaps);
    let next = last.map(|last| progress.at(last));
    Ok(Part { skipped: examined.len() - to_recover.len(), to_recover, next, read_units })
}

/// Counts what would be sent again, part after part, until [`ENOUGH_READ_UNITS`] are used up.
async fn count_failed(api: &Api, integration: &Integration, mut progress: Progress) -> Result<Recovered, Problem> {
    let (mut count, mut skipped, mut read_units) = (0, 0, 0.0);
    loop {
        let part = read_part(api, integration, progress, FAILED_READ_AHEAD).await?;
        count += part.to_recover.len();
        skipped += part.skipped;
        read_units += part.read_units;
        match part.next {
            Some(next) if read_units < ENOUGH_READ_UNITS => progress = next,
            next => {
                let next_cursor = next.map(|next| cursor::encode(&next));
                return Ok(Recovered { dry_run: true, count, skipped, next_cursor, paced_until: None });
            }
        }
    }
}

/// Sends a part of the failed deliveries again.
async fn recover_part(
    api: &Api,
    integration: &Integration,
    progress: Progress,
    now: Timestamp,
) -> Result<Recovered, Problem> {
    let Part { to_recover, skipped, next, .. } = read_part(api, integration, progress, MAX_BATCH_READ).await?;
    let next_cursor = next.map(|next| cursor::encode(&next));
    let mut recovered = Recovered { dry_run: false, count: 0, skipped, next_cursor, paced_until: None };
    if to_recover.is_empty() {
        return Ok(recovered);
    }
    let count = u32::try_from(to_recover.len()).unwrap_or(u32::MAX);
    let slots = api.recovery_rate.reserve(integration, count, now).await?;
    let slots = slots.map_err(|full| Problem::TooManyRequests {
        message: "Deliveries to this endpoint are already scheduled for the next ten minutes.".to_owned(),
        until: full.until,
    })?;
    recovered.paced_until = Some(slots.until());
    let mut due: Vec<(Record, Timestamp)> = to_recover.into_iter().zip(slots.times()).collect();
    while !due.is_empty() {
        let batch: Vec<_> = due.drain(..due.len().min(BATCH)).collect();
        let size = batch.len();
        let begun = begin_all(api, batch, now).await?;
        recovered.count += begun;
        recovered.skipped += size - begun;
    }
    Ok(recovered)
}

/// Begins the rounds of a batch and sends their messages. Returns how many were begun, without those that another
/// request changed first.
async fn begin_all(api: &Api, batch: Vec<(Record, Timestamp)>, now: Timestamp) -> Result<usize, Problem> {
    let begin = |(record, due_at)| api.redelivery.begin(Box::new(record), due_at, now);
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
    // Rounds that are in the ledger get their messages, even if others failed.
    if let Err(fault) = api.redelivery.send_later(&begun, clock::now()).await {
        log::request_failed(&fault);
    }
    failure.map_or(Ok(begun.len()), Err)
}

/// Whether a delivery has failed, can be sent again, and was not sent again since this recovery began. Its payload
/// exists: a payload with an item of its own outlives its delivery.
fn is_to_recover(record: &Record, began_at: Timestamp) -> bool {
    record.status == Status::Failed
        && record.rounds < MAX_ROUNDS
        && record.redelivered_at.is_none_or(|redelivered_at| redelivered_at < began_at)
}

#[cfg(test)]
mod tests {
    use domain::delivery::Identity;
    use domain::delivery::ledger::{End, State as LedgerState};
    use domain::fixtures::identity;

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
    fn by_default_a_recovery_goes_from_the_beginning_until_now() {
        let everything = progress(&Recover::default(), at(0)).unwrap();
        assert_eq!((everything.from, everything.to, everything.began_at), (Timestamp::UNIX_EPOCH, at(0), at(0)));
    }

    fn failed(created_at: Timestamp) -> Failed {
        Failed { delivery_id: "dlv_01JH7VVHV81KJMEKY94GFHBBTY".parse().unwrap(), created_at, test: false }
    }

    fn resume_with(cursor: &impl Serialize, dry_run: bool) -> Result<Progress, Problem> {
        progress(&Recover { cursor: Some(cursor::encode(cursor)), dry_run, ..Recover::default() }, at(30))
    }

    #[test]
    fn a_cursor_restores_the_range_and_the_start_of_its_recovery() {
        let begun = progress(&Recover::default(), at(0)).unwrap();
        let last = failed(at(-60));
        let resumed = resume_with(&begun.at(&last), false).unwrap();
        assert_eq!(resumed, begun.at(&last));
        assert_eq!(resumed.behind(), Some(last.position()));
    }

    #[test]
    fn a_dry_run_and_a_real_one_do_not_accept_each_others_cursors() {
        for dry_run in [true, false] {
            let begun = progress(&Recover { dry_run, ..Recover::default() }, at(0)).unwrap();
            assert!(resume_with(&begun, dry_run).is_ok());
            assert!(matches!(resume_with(&begun, !dry_run), Err(Problem::Malformed(error)) if error.field == "cursor"));
        }
    }

    #[test]
    fn a_cursor_outside_its_range_is_refused() {
        let begun = progress(&Recover { from: Some(at(-60)), ..Recover::default() }, at(0)).unwrap();
        let refused = |cursor: &serde_json::Value| matches!(resume_with(cursor, false), Err(Problem::Malformed(_)));
        let written = |progress: Progress| serde_json::to_value(progress).unwrap();
        assert!(!refused(&written(begun.at(&failed(at(-60))))));
        assert!(refused(&written(begun.at(&failed(at(-61))))));
        assert!(refused(&written(begun.at(&failed(at(1))))));
        assert!(refused(&written(Progress { from: at(1), ..begun })));
        let mut unreadable = written(begun.at(&failed(at(-1))));
        unreadable["behind"]["created_at"] = i64::MAX.into();
        assert!(refused(&unreadable));
    }

    #[test]
    fn failed_deliveries_are_recovered_once_and_within_the_limit() {
        let identity = Identity { created_at: at(-60), ..identity() };
        let state = LedgerState::Ended { attempt: 5, round_start: 1, end: End::Failed };
        let record = Record::new(identity, &state, at(3_600));
        let check = |record: Record, expected| assert_eq!(is_to_recover(&record, at(0)), expected, "{record:?}");
        check(record.clone(), true);
        check(Record { redelivered_at: Some(at(-1)), ..record.clone() }, true);
        check(Record { redelivered_at: Some(at(0)), ..record.clone() }, false);
        check(Record { rounds: MAX_ROUNDS, ..record.clone() }, false);
        check(Record { status: Status::Delivered, ..record }, false);
    }

    #[test]
    fn invalid_fields_are_named() {
        let cursor = || Some("x".to_owned());
        assert_eq!(fields(Recover { from: Some(at(1)), to: Some(at(0)), ..Recover::default() }), "from");
        assert_eq!(fields(Recover { cursor: cursor(), ..Recover::default() }), "cursor");
        assert_eq!(fields(Recover { cursor: cursor(), to: Some(at(0)), ..Recover::default() }), "to");
    }
}
