//! The demo's last table: what was expected at each endpoint, and what happened.

use std::collections::BTreeMap;

use console::style;
use domain::alert::event::AlertEvent;
use domain::attempt::Attempt;
use domain::delivery::Status;
use domain::ids::DeliveryId;

use crate::alerts::Alerts;
use crate::observations::Observations;
use crate::scenario::{Endpoint, Scenario};
use crate::timeline::INVALID_ALERT;
use harness::dead_letters::{DeadLetter, DeadLetterQueue};

/// How wide a line may be.
const WIDTH: usize = 100;

/// How an attempt is expected to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AttemptEnd {
    /// The receiver answers with that status.
    Answered(u16),
    /// No request is sent.
    Blocked,
}

/// What is expected of each delivery of an integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ExpectedDelivery {
    attempts: &'static [AttemptEnd],
    /// How many of the waits between attempts are the state machine's.
    long_waits: usize,
    end: Status,
}

/// What is expected of an integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Nothing,
    Deliveries { count: usize, each: ExpectedDelivery },
}

fn expected(scenario: Scenario) -> Expected {
    use AttemptEnd::{Answered, Blocked};
    let deliveries = |count, attempts, long_waits, end| Expected::Deliveries {
        count,
        each: ExpectedDelivery { attempts, long_waits, end },
    };
    match scenario {
        Scenario::AlwaysWorks => deliveries(3, &[Answered(200)], 0, Status::Delivered),
        Scenario::Recovers => deliveries(1, &[Answered(500), Answered(503), Answered(200)], 0, Status::Delivered),
        Scenario::AlwaysFails => deliveries(1, &[Answered(500); 5], 2, Status::Failed),
        Scenario::BlockedAddress => deliveries(1, &[Blocked; 5], 2, Status::Failed),
        Scenario::SwitchedOff => Expected::Nothing,
    }
}

fn describe_expected(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::AlwaysWorks => "3 alerts, 1 attempt each",
        Scenario::Recovers => "delivered in attempt 3",
        Scenario::AlwaysFails => "failed after 5 attempts",
        Scenario::BlockedAddress => "failed, no request sent",
        Scenario::SwitchedOff => "nothing",
    }
}

/// An execution of the state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LongWait {
    pub name: String,
    pub end: LongWaitEnd,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongWaitEnd {
    Succeeded,
    /// It failed, or has not ended.
    Otherwise,
}

/// What the verdict is based on.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    pub alerts: &'a Alerts,
    pub observations: &'a Observations,
    pub long_waits: &'a [LongWait],
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: &'static str,
    expected: &'static str,
    arrived: String,
    ledger: String,
    /// What is not as expected, each in a sentence.
    differences: Vec<String>,
}

/// Whether everything happened as expected.
#[derive(Clone, Debug)]
pub struct Verdict {
    rows: Vec<Row>,
    requests: usize,
    verified: usize,
}

impl Verdict {
    pub fn new(evidence: &Evidence<'_>) -> Self {
        let endpoints = Scenario::ALL.into_iter().map(|scenario| compare(scenario, evidence));
        let arrivals = &evidence.observations.arrivals;
        Self {
            rows: endpoints.chain([compare_invalid(evidence)]).collect(),
            requests: arrivals.len(),
            verified: arrivals.iter().filter(|arrival| arrival.is_verified()).count(),
        }
    }

    pub fn is_as_expected(&self) -> bool {
        self.rows.iter().all(|row| row.differences.is_empty())
    }

    /// The table, line by line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            style(columns(["integration", "expected", "answered", "in the ledger", ""]).trim_end()).dim().to_string(),
            style(format!("  {}", "─".repeat(WIDTH - 2))).dim().to_string(),
        ];
        for row in &self.rows {
            let mark = if row.differences.is_empty() { style("✓").green() } else { style("✗").red().bold() };
            lines.push(columns([row.name, row.expected, &row.arrived, &row.ledger, &mark.to_string()]));
            lines.extend(row.differences.iter().map(|text| format!("{:17}  {}", "", style(text).red())));
        }
        let Self { requests, verified, .. } = self;
        lines.extend([
            String::new(),
            format!(
                "  {requests} requests arrived, {verified} of them with two valid signatures: X-Roboticks-Signature,"
            ),
            "  and the Standard Webhooks headers, verified by that project's own library.".to_owned(),
        ]);
        lines
    }
}

fn columns([name, expected, arrived, ledger, mark]: [&str; 5]) -> String {
    format!("  {name:<15}  {expected:<25}  {arrived:<15}  {ledger:<34} {mark}")
}

fn compare(scenario: Scenario, evidence: &Evidence<'_>) -> Row {
    let arrived = summarize_arrivals(scenario, evidence.observations);
    let ledger = summarize_ledger(scenario, evidence);
    let (expected_arrivals, expected_ledger) = match expected(scenario) {
        Expected::Nothing => (Vec::new(), Vec::new()),
        Expected::Deliveries { count, each } => (vec![each.answers(); count], vec![each.history(); count]),
    };
    let expected_arrivals = count_equal(expected_arrivals.into_iter().filter(|answers| !answers.is_empty()));
    let expected_ledger = count_equal(expected_ledger);

    let mut differences = Vec::new();
    if arrived != expected_arrivals {
        differences.push(format!("expected answers: {expected_arrivals}"));
    }
    if ledger != expected_ledger {
        differences.push(format!("expected in the ledger: {expected_ledger}"));
    }
    differences.extend(find_bad_requests(scenario, evidence));
    Row { name: scenario.name(), expected: describe_expected(scenario), arrived, ledger, differences }
}

/// What is wrong with single requests.
fn find_bad_requests(scenario: Scenario, evidence: &Evidence<'_>) -> Vec<String> {
    let mut bad = Vec::new();
    for arrival in evidence.observations.arrivals.iter().filter(|arrival| is_at(scenario, &arrival.path)) {
        if !arrival.is_verified() {
            bad.push(format!("attempt {} had an invalid signature", arrival.attempt));
        }
        if !evidence.alerts.valid.contains(&arrival.body) {
            bad.push(format!("attempt {} had a body that is not one of the alerts sent", arrival.attempt));
        }
    }
    bad
}

fn is_at(scenario: Scenario, path: &str) -> bool {
    matches!(scenario.endpoint(), Endpoint::Receiver(its) if its == path)
}

/// The receiver's answers at an endpoint, by delivery and in the order of the attempts.
fn summarize_arrivals(scenario: Scenario, observations: &Observations) -> String {
    let mut answers: BTreeMap<Option<DeliveryId>, Vec<(u32, u16)>> = BTreeMap::new();
    for arrival in observations.arrivals.iter().filter(|arrival| is_at(scenario, &arrival.path)) {
        answers.entry(arrival.delivery).or_default().push((arrival.attempt, arrival.answered));
    }
    count_equal(answers.into_values().map(|mut answers| {
        answers.sort_unstable();
        count_runs(answers.into_iter().map(|(_, status)| status.to_string()))
    }))
}

/// An integration's deliveries in the ledger.
fn summarize_ledger(scenario: Scenario, evidence: &Evidence<'_>) -> String {
    let deliveries = evidence.observations.deliveries.iter().filter(|delivery| delivery.scenario == scenario);
    count_equal(deliveries.map(|delivery| {
        let record = &delivery.record;
        let prefix = format!("{}-", record.identity.delivery_id);
        let succeeded = |wait: &&LongWait| wait.name.starts_with(&prefix) && wait.end == LongWaitEnd::Succeeded;
        let long_waits = evidence.long_waits.iter().filter(succeeded).count();
        format_history(record.status, count_runs(record.attempts.iter().map(format_result)), long_waits)
    }))
}

/// An attempt's status, or why it has none.
fn format_result(attempt: &Attempt) -> String {
    let code = attempt.error.as_ref().map(|error| error.code.as_str());
    match (attempt.status_code, code) {
        (Some(status), _) => status.to_string(),
        (None, Some("blocked_address")) => "blocked".to_owned(),
        (None, code) => code.unwrap_or(&attempt.outcome).to_owned(),
    }
}

impl ExpectedDelivery {
    fn answers(&self) -> String {
        count_runs(self.attempts.iter().filter_map(|attempt| match attempt {
            AttemptEnd::Answered(status) => Some(status.to_string()),
            AttemptEnd::Blocked => None,
        }))
    }

    fn history(&self) -> String {
        let attempts = self.attempts.iter().map(|attempt| match attempt {
            AttemptEnd::Answered(status) => status.to_string(),
            AttemptEnd::Blocked => "blocked".to_owned(),
        });
        format_history(self.end, count_runs(attempts), self.long_waits)
    }
}

fn format_history(status: Status, attempts: String, long_waits: usize) -> String {
    match long_waits {
        0 => format!("{status}: {attempts}"),
        _ => format!("{status}: {attempts}, {long_waits} long waits"),
    }
}

/// `500, 500, 200` as `2 × 500, 200`.
fn count_runs(texts: impl IntoIterator<Item = String>) -> String {
    let mut runs: Vec<(usize, String)> = Vec::new();
    for text in texts {
        match runs.last_mut() {
            Some((count, last)) if *last == text => *count += 1,
            _ => runs.push((1, text)),
        }
    }
    let texts = runs.into_iter().map(|(count, text)| if count == 1 { text } else { format!("{count} × {text}") });
    texts.collect::<Vec<_>>().join(", ")
}

/// The table's word where there is none.
const NOTHING: &str = "nothing";

/// The same for texts whose order does not matter.
fn count_equal(texts: impl IntoIterator<Item = String>) -> String {
    let mut texts: Vec<_> = texts.into_iter().collect();
    texts.sort_unstable();
    if texts.is_empty() { NOTHING.to_owned() } else { count_runs(texts) }
}

/// The invalid alert: no request, no delivery (the other rows count those), and a dead letter that says why.
fn compare_invalid(evidence: &Evidence<'_>) -> Row {
    let Evidence { alerts, observations, .. } = evidence;
    let arrived = observations.arrivals.iter().filter(|arrival| arrival.body == alerts.invalid);
    let arrived = count_equal(arrived.map(|arrival| arrival.answered.to_string()));
    let mut differences = Vec::new();
    if arrived != NOTHING {
        differences.push("it was sent to an endpoint".to_owned());
    }
    let ledger = match observations.dead_letters.as_slice() {
        [(_, letter)] => {
            differences.extend(compare_dead_letter(letter, alerts));
            "1 dead letter, with the error".to_owned()
        }
        letters => {
            differences.push("expected one dead letter".to_owned());
            format!("{} dead letters", letters.len())
        }
    };
    Row { name: INVALID_ALERT, expected: "sent to dead-letter queue", arrived, ledger, differences }
}

fn compare_dead_letter(letter: &DeadLetter, alerts: &Alerts) -> Vec<String> {
    let mut differences = Vec::new();
    if letter.queue != DeadLetterQueue::Alerts {
        differences.push("it is in the other dead-letter queue".to_owned());
    }
    if letter.body != alerts.invalid {
        differences.push("its body is not the one that was sent".to_owned());
    }
    let attribute = |name: &str| letter.attributes.get(name).map(String::as_str);
    let attributes = (attribute("field"), attribute("error"));
    match AlertEvent::parse(&alerts.invalid) {
        Err(invalid) if attributes == (Some(invalid.field.as_str()), Some(invalid.message.as_str())) => {}
        _ => differences.push("its attributes do not say what is wrong".to_owned()),
    }
    differences
}

#[cfg(test)]
mod tests {
    use domain::attempt::AttemptError;
    use domain::delivery::ledger::{End, State};
    use domain::delivery::{Identity, Record};
    use domain::fixtures::identity;
    use jiff::Timestamp;

    use super::*;
    use crate::observations::{Arrival, Delivery};

    const BODY: &str = "{}";
    const INVALID: &str = "[]";

    struct Example {
        observations: Observations,
        long_waits: Vec<LongWait>,
    }

    /// Everything as expected.
    fn as_expected() -> Example {
        let mut example = Example { observations: Observations::default(), long_waits: Vec::new() };
        for (index, scenario) in (0u8..).zip(Scenario::ALL) {
            let Expected::Deliveries { count, each } = expected(scenario) else { continue };
            for number in 0..count as u8 {
                example.add(scenario, each, DeliveryId::new(Timestamp::UNIX_EPOCH, [index * 10 + number; 10]));
            }
        }
        let invalid = AlertEvent::parse(INVALID).unwrap_err();
        let attributes = [("field", invalid.field), ("error", invalid.message)];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value)).into();
        let letter = DeadLetter {
            message_id: "1".to_owned(),
            queue: DeadLetterQueue::Alerts,
            body: INVALID.to_owned(),
            group: None,
            attributes,
        };
        example.observations.dead_letters.push((Timestamp::UNIX_EPOCH, letter));
        example
    }

    impl Example {
        fn add(&mut self, scenario: Scenario, each: ExpectedDelivery, delivery_id: DeliveryId) {
            let identity = Identity { delivery_id, ..identity() };
            let end = if each.end == Status::Failed { End::Failed } else { End::Delivered };
            let state = State::Ended { attempt: each.attempts.len() as u32, round_start: 1, end };
            let mut record = Record::new(identity, &state, Timestamp::UNIX_EPOCH);
            for (number, attempt) in (1..).zip(each.attempts) {
                record.add_attempt(build_attempt(number, *attempt));
                if let (Endpoint::Receiver(path), AttemptEnd::Answered(answered)) = (scenario.endpoint(), *attempt) {
                    self.observations.arrivals.push(arrival(path, delivery_id, number, answered));
                }
            }
            self.observations.deliveries.push(Delivery { scenario, record });
            for number in 0..each.long_waits {
                let name = format!("{delivery_id}-{number}-0");
                self.long_waits.push(LongWait { name, end: LongWaitEnd::Succeeded });
            }
        }
    }

    fn build_attempt(number: u32, attempt: AttemptEnd) -> Attempt {
        let (status_code, code) = match attempt {
            AttemptEnd::Answered(status) => (Some(status), "server_error"),
            AttemptEnd::Blocked => (None, "blocked_address"),
        };
        Attempt {
            number,
            started_at: Timestamp::UNIX_EPOCH,
            duration_ms: None,
            outcome: "rejected".to_owned(),
            status_code,
            error: Some(AttemptError { code: code.to_owned(), message: String::new() }),
            response_excerpt: None,
            possible_duplicate: false,
        }
    }

    fn arrival(path: &str, delivery: DeliveryId, attempt: u32, answered: u16) -> Arrival {
        Arrival {
            path: path.to_owned(),
            delivery: Some(delivery),
            attempt,
            roboticks_signature: true,
            standard_webhooks: true,
            answered,
            body: BODY.to_owned(),
        }
    }

    impl Example {
        /// The first request that arrived there.
        fn first_at(&mut self, path: &str) -> &mut Arrival {
            self.observations.arrivals.iter_mut().find(|arrival| arrival.path == path).unwrap()
        }

        fn letter(&mut self) -> &mut DeadLetter {
            &mut self.observations.dead_letters[0].1
        }
    }

    /// After the change, these rows have differences.
    #[track_caller]
    fn check(change: impl FnOnce(&mut Example), expected: &[&str]) {
        let mut example = as_expected();
        change(&mut example);
        let alerts = Alerts { valid: vec![BODY.to_owned()], invalid: INVALID.to_owned() };
        let verdict = Verdict::new(&Evidence {
            alerts: &alerts,
            observations: &example.observations,
            long_waits: &example.long_waits,
        });
        let differing: Vec<_> =
            verdict.rows.iter().filter(|row| !row.differences.is_empty()).map(|row| row.name).collect();
        assert_eq!(differing, expected);
        assert_eq!(verdict.is_as_expected(), differing.is_empty());
    }

    #[test]
    fn a_difference_is_shown_in_its_row() {
        let works: &[&str] = &["always works"];
        let fails: &[&str] = &["always fails"];
        let invalid: &[&str] = &[INVALID_ALERT];
        let duplicate = |example: &mut Example| {
            let again = example.first_at("/always-works").clone();
            example.observations.arrivals.push(again);
        };
        let sent_though_off = |example: &mut Example| {
            let there = Arrival { path: "/switched-off".to_owned(), ..example.first_at("/always-works").clone() };
            example.observations.arrivals.push(there);
        };
        check(|_| (), &[]);
        check(|example| drop(example.observations.arrivals.remove(0)), works);
        check(duplicate, works);
        check(|example| example.first_at("/always-works").roboticks_signature = false, works);
        check(|example| example.first_at("/always-works").standard_webhooks = false, works);
        check(|example| example.first_at("/always-works").body.push(' '), works);
        check(|example| drop(example.observations.deliveries.remove(0)), works);
        check(|example| example.first_at("/always-fails").answered = 200, fails);
        check(|example| example.observations.deliveries[4].record.status = Status::Waiting, fails);
        check(|example| drop(example.long_waits.remove(0)), fails);
        check(|example| example.long_waits[0].end = LongWaitEnd::Otherwise, fails);
        check(sent_though_off, &["switched off"]);
        check(|example| example.observations.dead_letters.clear(), invalid);
        check(|example| example.letter().body.clear(), invalid);
        check(|example| example.letter().attributes.clear(), invalid);
        check(|example| example.letter().queue = DeadLetterQueue::Retries, invalid);
    }

    #[test]
    fn no_line_is_too_wide() {
        let example = as_expected();
        let alerts = Alerts { valid: vec![BODY.to_owned()], invalid: INVALID.to_owned() };
        let verdict = Verdict::new(&Evidence {
            alerts: &alerts,
            observations: &example.observations,
            long_waits: &example.long_waits,
        });
        for line in verdict.lines() {
            assert!(console::measure_text_width(&line) <= WIDTH, "{line}");
        }
    }
}
