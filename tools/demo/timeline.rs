//! What happened, told line by line while it happens.

use std::collections::HashMap;
use std::time::Duration;

use console::{Style, style};
use domain::attempt::Attempt;
use domain::delivery::wait::{Wait, wait_until};
use domain::delivery::{Record, Status};
use domain::ids::DeliveryId;
use jiff::Timestamp;

use crate::seen::{Arrival, Delivery, Seen};
use harness::local_cloud::WAIT_SCALE;
use harness::stack::DeadLetter;

/// What an alert that is not valid is called, where deliveries have their integration's name.
pub const NOT_AN_ALERT: &str = "not an alert";

/// How wide a line may be.
const WIDTH: usize = 100;

/// Where what happened begins, behind the time and the name.
const INDENT: usize = 27;

/// Tells what was seen, each thing once. Times are counted from `start`.
#[derive(Debug)]
pub struct Timeline {
    start: Timestamp,
    attempts_told: HashMap<DeliveryId, usize>,
    dead_letters_told: usize,
}

impl Timeline {
    pub fn new(start: Timestamp) -> Self {
        Self { start, attempts_told: HashMap::new(), dead_letters_told: 0 }
    }

    /// What has happened since the last call, in the order in which it happened.
    pub fn news(&mut self, seen: &Seen) -> Vec<String> {
        let mut lines = Vec::new();
        for delivery in &seen.deliveries {
            let record = &delivery.record;
            let told = self.attempts_told.entry(record.identity.delivery_id).or_default();
            for attempt in record.attempts.iter().skip(*told) {
                let ended_at = ended_at(attempt);
                lines.push((ended_at, attempt_line(delivery, attempt, &seen.arrivals)));
            }
            *told = record.attempts.len();
        }
        for (seen_at, letter) in seen.dead_letters.iter().skip(self.dead_letters_told) {
            lines.push((*seen_at, dead_letter_line(letter)));
        }
        self.dead_letters_told = seen.dead_letters.len();
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().map(|(at, line)| format!("{:>8}  {line}", self.since_start(at))).collect()
    }

    fn since_start(&self, at: Timestamp) -> String {
        let millis = at.as_millisecond().saturating_sub(self.start.as_millisecond()).max(0);
        format!("+{}.{}s", millis / 1_000, millis % 1_000 / 100)
    }
}

/// What is being waited for now, in a line that changes with every second; `None` when nothing is.
pub fn waits(deliveries: &[Delivery], now: Timestamp) -> Option<String> {
    let waits: Vec<_> =
        deliveries.iter().filter_map(|delivery| Some((delivery, real_wait(&delivery.record, now)?))).collect();
    if waits.is_empty() {
        return None;
    }
    let words = waits.iter().map(|(Delivery { scenario, record }, left)| {
        let place = match how_it_waits(record) {
            Some((_, Wait::InExecution)) => "state machine",
            _ => "queue",
        };
        format!("{} attempt {} in {}s ({place})", scenario.name(), record.attempt, left.as_secs_f64().ceil())
    });
    Some(words.collect::<Vec<_>>().join(" · "))
}

/// How long a waiting delivery has yet to wait here, where the state machine's time is scaled.
fn real_wait(record: &Record, now: Timestamp) -> Option<Duration> {
    let (delay, wait) = how_it_waits(record)?;
    let here = match wait {
        Wait::OnQueue { .. } => delay,
        Wait::InExecution => scaled(delay),
    };
    let since = now.duration_since(ended_at(record.attempts.last()?));
    Some(here.saturating_sub(since.try_into().unwrap_or_default()))
}

/// How long the local cloud's state machine takes for a wait.
pub fn scaled(wait: Duration) -> Duration {
    wait.mul_f64(WAIT_SCALE.parse().unwrap_or(1.0))
}

/// The delay that a waiting delivery was given after its last attempt, and where it waits.
fn how_it_waits(record: &Record) -> Option<(Duration, Wait)> {
    let (due_at, last) = (record.due_at?, record.attempts.last()?);
    let delay = due_at.duration_since(ended_at(last)).try_into().unwrap_or_default();
    Some((delay, wait_until(due_at, ended_at(last))))
}

fn ended_at(attempt: &Attempt) -> Timestamp {
    let duration = Duration::from_millis(attempt.duration_ms.unwrap_or(0));
    attempt.started_at.saturating_add(duration).unwrap_or(attempt.started_at)
}

fn attempt_line(delivery: &Delivery, attempt: &Attempt, arrivals: &[Arrival]) -> String {
    let record = &delivery.record;
    let event = record.identity.event_type.as_str().trim_start_matches("alert.");
    let (result, result_style) = result(record.identity.delivery_id, attempt, arrivals);
    let is_last = record.attempts.last() == Some(attempt);
    let (next, next_style) = if is_last { next(record) } else { (String::new(), Style::new()) };
    format!(
        "{}  {event:<12}  attempt {}  {}  {}",
        style(format!("{:<15}", delivery.scenario.name())).bold(),
        attempt.number,
        result_style.apply_to(format!("{result:<17}")),
        next_style.apply_to(next),
    )
}

fn result(delivery: DeliveryId, attempt: &Attempt, arrivals: &[Arrival]) -> (String, Style) {
    let arrival = arrivals.iter().find(|it| it.delivery == Some(delivery) && it.attempt == attempt.number);
    match (attempt.status_code, arrival) {
        (Some(status @ 200..=299), Some(arrival)) if arrival.is_verified() => {
            (format!("{status}, verified"), Style::new().green())
        }
        (Some(status), Some(arrival)) if arrival.is_verified() => {
            (format!("{status}, verified"), Style::new().yellow())
        }
        (Some(status), Some(_)) => (format!("{status}, NOT VERIFIED"), Style::new().red()),
        (Some(status), None) => (format!("{status}, not seen"), Style::new().red()),
        (None, _) if attempt.outcome == "blocked" => ("blocked, not sent".to_owned(), Style::new().yellow()),
        (None, _) => (attempt.outcome.replace('_', " "), Style::new().yellow()),
    }
}

fn next(record: &Record) -> (String, Style) {
    match (record.status, how_it_waits(record)) {
        (Status::Delivered, _) => ("delivered".to_owned(), Style::new().green().bold()),
        (Status::Failed, _) => ("failed, no attempt left".to_owned(), Style::new().red().bold()),
        (Status::Cancelled, _) => ("cancelled".to_owned(), Style::new().red()),
        (Status::Waiting, Some((delay, Wait::OnQueue { .. }))) => {
            (format!("next in {}, on the queue", in_words(delay)), Style::new().dim())
        }
        (Status::Waiting, Some((delay, Wait::InExecution))) => {
            (format!("next in {}, state machine", in_words(delay)), Style::new().cyan())
        }
        (Status::Waiting | Status::Sending, _) => (String::new(), Style::new()),
    }
}

fn dead_letter_line(letter: &DeadLetter) -> String {
    let said = |name: &str| letter.attributes.get(name).map_or("(not said)", String::as_str);
    let name = style(format!("{NOT_AN_ALERT:<15}")).bold();
    let place = format!("to the dead-letter queue, field {}:", said("field"));
    let indent = " ".repeat(INDENT);
    let sentence = textwrap::wrap(said("error"), WIDTH - INDENT).join(&format!("\n{indent}"));
    format!("{name}  {}\n{indent}{}", style(place).yellow(), style(sentence).yellow())
}

/// A delay as the schedule writes it: `30m`, `2h`. Rounded to seconds.
fn in_words(delay: Duration) -> String {
    let seconds = (delay.as_millis() + 500) / 1_000;
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(millis: u64, expected: &str) {
        assert_eq!(in_words(Duration::from_millis(millis)), expected);
    }

    #[test]
    fn delays_read_as_the_schedule_writes_them() {
        check(0, "0s");
        check(999, "1s");
        check(3_004, "3s");
        check(90_000, "90s");
        check(1_800_003, "30m");
        check(7_199_990, "2h");
    }
}
