//! The timeline: a line for each attempt and each dead letter, printed as it happens.

use std::collections::HashMap;
use std::time::Duration;

use console::{Style, style};
use domain::attempt::Attempt;
use domain::delivery::wait::{Wait, wait_until};
use domain::delivery::{Record, Status};
use domain::ids::DeliveryId;
use jiff::Timestamp;

use harness::dead_letters::DeadLetter;
use harness::local_cloud::WAIT_SCALE;

use crate::observations::{Arrival, Delivery, Observations};

/// The name of the invalid alert, in the column of the integrations' names.
pub const INVALID_ALERT: &str = "invalid alert";

/// How wide a line may be.
const WIDTH: usize = 100;

/// The column after the time and the name.
const INDENT: usize = 27;

/// Writes a line for everything that is observed, once. Times are counted from `start`.
#[derive(Debug)]
pub struct Timeline {
    start: Timestamp,
    attempts_written: HashMap<DeliveryId, usize>,
    dead_letters_written: usize,
}

impl Timeline {
    pub fn new(start: Timestamp) -> Self {
        Self { start, attempts_written: HashMap::new(), dead_letters_written: 0 }
    }

    /// The lines for what has happened since the last call, in order of time.
    pub fn new_lines(&mut self, observations: &Observations) -> Vec<String> {
        let mut lines = Vec::new();
        for delivery in &observations.deliveries {
            let record = &delivery.record;
            let written = self.attempts_written.entry(record.identity.delivery_id).or_default();
            for attempt in record.attempts.iter().skip(*written) {
                lines.push((ended_at(attempt), attempt_line(delivery, attempt, &observations.arrivals)));
            }
            *written = record.attempts.len();
        }
        for (seen_at, letter) in observations.dead_letters.iter().skip(self.dead_letters_written) {
            lines.push((*seen_at, dead_letter_line(letter)));
        }
        self.dead_letters_written = observations.dead_letters.len();
        lines.sort_by_key(|(at, _)| *at);
        lines.into_iter().map(|(at, line)| format!("{:>8}  {line}", self.since_start(at))).collect()
    }

    fn since_start(&self, at: Timestamp) -> String {
        let millis = at.as_millisecond().saturating_sub(self.start.as_millisecond()).max(0);
        format!("+{}.{}s", millis / 1_000, millis % 1_000 / 100)
    }
}

/// The retries that are waited for now, for the status line; `None` when there is none.
pub fn describe_waits(deliveries: &[Delivery], now: Timestamp) -> Option<String> {
    let waits: Vec<_> = deliveries.iter().filter_map(|delivery| describe_wait(delivery, now)).collect();
    (!waits.is_empty()).then(|| waits.join(" · "))
}

fn describe_wait(Delivery { scenario, record }: &Delivery, now: Timestamp) -> Option<String> {
    let (delay, wait) = retry_delay(record)?;
    let (delay, place) = match wait {
        Wait::OnQueue { .. } => (delay, "queue"),
        Wait::InExecution => (scale(delay), "state machine"),
    };
    let since = now.duration_since(ended_at(record.attempts.last()?));
    let left = delay.saturating_sub(since.try_into().unwrap_or_default()).as_secs_f64().ceil();
    Some(format!("{}: attempt {} in {left}s ({place})", scenario.name(), record.attempt))
}

/// How long the local cloud's state machine takes for a wait.
pub fn scale(wait: Duration) -> Duration {
    wait.mul_f64(WAIT_SCALE.parse().unwrap_or(1.0))
}

/// The delay of a waiting delivery's next attempt, counted from the end of the last one, and where it waits.
fn retry_delay(record: &Record) -> Option<(Duration, Wait)> {
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
    let (result, result_style) = describe_result(record.identity.delivery_id, attempt, arrivals);
    let is_last = record.attempts.last() == Some(attempt);
    let (next, next_style) = if is_last { describe_next_step(record) } else { (String::new(), Style::new()) };
    format!(
        "{}  {event:<12}  attempt {}  {}  {}",
        style(format!("{:<15}", delivery.scenario.name())).bold(),
        attempt.number,
        result_style.apply_to(format!("{result:<17}")),
        next_style.apply_to(next),
    )
}

fn describe_result(delivery: DeliveryId, attempt: &Attempt, arrivals: &[Arrival]) -> (String, Style) {
    let arrival = arrivals.iter().find(|it| it.delivery == Some(delivery) && it.attempt == attempt.number);
    match (attempt.status_code, arrival) {
        (Some(status @ 200..=299), Some(arrival)) if arrival.is_verified() => {
            (format!("{status}, verified"), Style::new().green())
        }
        (Some(status), Some(arrival)) if arrival.is_verified() => {
            (format!("{status}, verified"), Style::new().yellow())
        }
        (Some(status), Some(_)) => (format!("{status}, NOT VERIFIED"), Style::new().red()),
        (Some(status), None) => (format!("{status}, NOT ARRIVED"), Style::new().red()),
        (None, _) if attempt.outcome == "blocked" => ("blocked, not sent".to_owned(), Style::new().yellow()),
        (None, _) => (attempt.outcome.replace('_', " "), Style::new().yellow()),
    }
}

fn describe_next_step(record: &Record) -> (String, Style) {
    match (record.status, retry_delay(record)) {
        (Status::Delivered, _) => ("delivered".to_owned(), Style::new().green().bold()),
        (Status::Failed, _) => ("failed, no attempt left".to_owned(), Style::new().red().bold()),
        (Status::Cancelled, _) => ("cancelled".to_owned(), Style::new().red()),
        (Status::Waiting, Some((delay, Wait::OnQueue { .. }))) => {
            (format!("retry in {} (queue)", format_delay(delay)), Style::new().dim())
        }
        (Status::Waiting, Some((delay, Wait::InExecution))) => {
            (format!("retry in {} (state machine)", format_delay(delay)), Style::new().cyan())
        }
        (Status::Waiting | Status::Sending, _) => (String::new(), Style::new()),
    }
}

fn dead_letter_line(letter: &DeadLetter) -> String {
    let attribute = |name: &str| letter.attributes.get(name).map_or("(missing)", String::as_str);
    let name = style(format!("{INVALID_ALERT:<15}")).bold();
    let place = format!("sent to the dead-letter queue, because of its field {}:", attribute("field"));
    let indent = " ".repeat(INDENT);
    let sentence = textwrap::wrap(attribute("error"), WIDTH - INDENT).join(&format!("\n{indent}"));
    format!("{name}  {}\n{indent}{}", style(place).yellow(), style(sentence).yellow())
}

/// A delay as the schedule writes it: `30m`, `2h`. Rounded to seconds.
fn format_delay(delay: Duration) -> String {
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
        assert_eq!(format_delay(Duration::from_millis(millis)), expected);
    }

    #[test]
    fn delays_are_formatted_as_in_the_schedule() {
        check(0, "0s");
        check(999, "1s");
        check(3_004, "3s");
        check(90_000, "90s");
        check(1_800_003, "30m");
        check(7_199_990, "2h");
    }
}
