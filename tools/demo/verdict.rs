//! What must have happened, and whether it did: the demo's last table.

use std::collections::BTreeMap;

use console::style;
use domain::alert::event::AlertEvent;
use domain::attempt::Attempt;
use domain::delivery::Status;
use domain::ids::DeliveryId;

use crate::alerts::Alerts;
use crate::scenario::{Endpoint, Scenario};
use crate::seen::Seen;
use crate::timeline::NOT_AN_ALERT;
use harness::stack::{DeadLetter, Graveyard};

/// How wide a line may be.
const WIDTH: usize = 100;

/// What must become of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Try {
    /// The receiver answers with that status.
    Answered(u16),
    /// No request leaves.
    Blocked,
}

/// What must become of each delivery of an integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Action {
    attempts: &'static [Try],
    /// How many of the waits between them go through the state machine.
    long_waits: usize,
    end: Status,
}

/// What must happen at an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Nothing,
    Deliveries { count: usize, each: Action },
}

fn expected(scenario: Scenario) -> Expected {
    use Try::{Answered, Blocked};
    let deliveries =
        |count, attempts, long_waits, end| Expected::Deliveries { count, each: Action { attempts, long_waits, end } };
    match scenario {
        Scenario::AlwaysWorks => deliveries(3, &[Answered(200)], 0, Status::Delivered),
        Scenario::Recovers => deliveries(1, &[Answered(500), Answered(503), Answered(200)], 0, Status::Delivered),
        Scenario::AlwaysFails => deliveries(1, &[Answered(500); 5], 2, Status::Failed),
        Scenario::BlockedAddress => deliveries(1, &[Blocked; 5], 2, Status::Failed),
        Scenario::SwitchedOff => Expected::Nothing,
    }
}

fn in_words(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::AlwaysWorks => "3 alerts, each at once",
        Scenario::Recovers => "delivered by attempt 3",
        Scenario::AlwaysFails => "failed after 5 attempts",
        Scenario::BlockedAddress => "never called, then failed",
        Scenario::SwitchedOff => "nothing at all",
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
    /// Or it has not ended.
    Otherwise,
}

/// All that the verdict is made from.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    pub alerts: &'a Alerts,
    pub seen: &'a Seen,
    pub long_waits: &'a [LongWait],
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: &'static str,
    must: &'static str,
    arrived: String,
    ledger: String,
    /// What is not as it must be, a sentence each.
    faults: Vec<String>,
}

/// What became of everything.
#[derive(Clone, Debug)]
pub struct Verdict {
    rows: Vec<Row>,
    requests: usize,
    verified: usize,
}

impl Verdict {
    pub fn of(evidence: &Evidence<'_>) -> Self {
        let endpoints = Scenario::ALL.into_iter().map(|scenario| judge(scenario, evidence));
        let arrivals = &evidence.seen.arrivals;
        Self {
            rows: endpoints.chain([judge_invalid(evidence)]).collect(),
            requests: arrivals.len(),
            verified: arrivals.iter().filter(|arrival| arrival.is_verified()).count(),
        }
    }

    pub fn is_as_it_must_be(&self) -> bool {
        self.rows.iter().all(|row| row.faults.is_empty())
    }

    /// The table, line by line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            style(columns(["endpoint", "must be", "arrived", "the ledger says", ""]).trim_end()).dim().to_string(),
            style(format!("  {}", "─".repeat(WIDTH - 2))).dim().to_string(),
        ];
        for row in &self.rows {
            let mark = if row.faults.is_empty() { style("✓").green() } else { style("✗").red().bold() };
            lines.push(columns([row.name, row.must, &row.arrived, &row.ledger, &mark.to_string()]));
            lines.extend(row.faults.iter().map(|fault| format!("{:17}  {}", "", style(fault).red())));
        }
        let signatures = format!(
            "{} requests arrived; in {} of them both signatures were right: X-Roboticks-Signature, and the",
            self.requests, self.verified
        );
        lines.extend([
            String::new(),
            format!("  {signatures}"),
            "  Standard Webhooks headers by that project's own library.".to_owned(),
        ]);
        lines
    }
}

fn columns([name, must, arrived, ledger, mark]: [&str; 5]) -> String {
    format!("  {name:<15}  {must:<25}  {arrived:<15}  {ledger:<34} {mark}")
}

fn judge(scenario: Scenario, evidence: &Evidence<'_>) -> Row {
    let arrived = arrived(scenario, evidence.seen);
    let ledger = ledger(scenario, evidence);
    let (must_arrive, must_be_written) = match expected(scenario) {
        Expected::Nothing => (Vec::new(), Vec::new()),
        Expected::Deliveries { count, each } => (vec![each.answers(); count], vec![each.history(); count]),
    };
    let must_arrive = tally(must_arrive.into_iter().filter(|answers| !answers.is_empty()));
    let must_be_written = tally(must_be_written);

    let mut faults = Vec::new();
    if arrived != must_arrive {
        faults.push(format!("what arrived must be: {must_arrive}"));
    }
    if ledger != must_be_written {
        faults.push(format!("the ledger must say: {must_be_written}"));
    }
    faults.extend(flaws(scenario, evidence));
    Row { name: scenario.name(), must: in_words(scenario), arrived, ledger, faults }
}

/// What is wrong with single requests, however many there are.
fn flaws(scenario: Scenario, evidence: &Evidence<'_>) -> Vec<String> {
    let mut flaws = Vec::new();
    for arrival in evidence.seen.arrivals.iter().filter(|arrival| is_at(scenario, &arrival.path)) {
        if !arrival.is_verified() {
            flaws.push(format!("attempt {} did not verify", arrival.attempt));
        }
        if !evidence.alerts.valid.contains(&arrival.body) {
            flaws.push(format!("attempt {} brought a body that was not sent like this", arrival.attempt));
        }
    }
    flaws
}

fn is_at(scenario: Scenario, path: &str) -> bool {
    matches!(scenario.endpoint(), Endpoint::Receiver(its) if its == path)
}

/// What the receiver answered at an endpoint, delivery by delivery in the order of their attempts.
fn arrived(scenario: Scenario, seen: &Seen) -> String {
    let mut answers: BTreeMap<Option<DeliveryId>, Vec<(u32, u16)>> = BTreeMap::new();
    for arrival in seen.arrivals.iter().filter(|arrival| is_at(scenario, &arrival.path)) {
        answers.entry(arrival.delivery).or_default().push((arrival.attempt, arrival.answered));
    }
    tally(answers.into_values().map(|mut answers| {
        answers.sort_unstable();
        runs(answers.into_iter().map(|(_, status)| status.to_string()))
    }))
}

/// What the ledger says of an integration's deliveries.
fn ledger(scenario: Scenario, evidence: &Evidence<'_>) -> String {
    let records = evidence.seen.deliveries.iter().filter(|delivery| delivery.scenario == scenario);
    tally(records.map(|delivery| {
        let record = &delivery.record;
        let prefix = format!("{}-", record.identity.delivery_id);
        let succeeded = |wait: &&LongWait| wait.name.starts_with(&prefix) && wait.end == LongWaitEnd::Succeeded;
        let long_waits = evidence.long_waits.iter().filter(succeeded).count();
        history(record.status, runs(record.attempts.iter().map(result)), long_waits)
    }))
}

/// The status, or what kept a request from having one.
fn result(attempt: &Attempt) -> String {
    let code = attempt.error.as_ref().map(|error| error.code.as_str());
    match (attempt.status_code, code) {
        (Some(status), _) => status.to_string(),
        (None, Some("blocked_address")) => "blocked".to_owned(),
        (None, code) => code.unwrap_or(&attempt.outcome).to_owned(),
    }
}

impl Action {
    fn answers(&self) -> String {
        runs(self.attempts.iter().filter_map(|attempt| match attempt {
            Try::Answered(status) => Some(status.to_string()),
            Try::Blocked => None,
        }))
    }

    fn history(&self) -> String {
        let attempts = self.attempts.iter().map(|attempt| match attempt {
            Try::Answered(status) => status.to_string(),
            Try::Blocked => "blocked".to_owned(),
        });
        history(self.end, runs(attempts), self.long_waits)
    }
}

fn history(status: Status, attempts: String, long_waits: usize) -> String {
    match long_waits {
        0 => format!("{status}: {attempts}"),
        _ => format!("{status}: {attempts}, {long_waits} long waits"),
    }
}

/// `500, 500, 200` as `2 × 500, 200`.
fn runs(texts: impl IntoIterator<Item = String>) -> String {
    let mut runs: Vec<(usize, String)> = Vec::new();
    for text in texts {
        match runs.last_mut() {
            Some((count, last)) if *last == text => *count += 1,
            _ => runs.push((1, text)),
        }
    }
    let in_words = runs.into_iter().map(|(count, text)| if count == 1 { text } else { format!("{count} × {text}") });
    in_words.collect::<Vec<_>>().join(", ")
}

/// How the table says that there is none.
const NOTHING: &str = "nothing";

/// The same for things that have no order.
fn tally(texts: impl IntoIterator<Item = String>) -> String {
    let mut texts: Vec<_> = texts.into_iter().collect();
    texts.sort_unstable();
    if texts.is_empty() { NOTHING.to_owned() } else { runs(texts) }
}

/// The alert that is not valid: no request, no delivery (the other rows count those), and a dead letter that says why.
fn judge_invalid(evidence: &Evidence<'_>) -> Row {
    let Evidence { alerts, seen, .. } = evidence;
    let arrived = seen.arrivals.iter().filter(|arrival| arrival.body == alerts.invalid);
    let arrived = tally(arrived.map(|arrival| arrival.answered.to_string()));
    let mut faults = Vec::new();
    if arrived != NOTHING {
        faults.push("it must not arrive anywhere".to_owned());
    }
    let ledger = match seen.dead_letters.as_slice() {
        [(_, letter)] => {
            faults.extend(dead_letter_faults(letter, alerts));
            "1 dead letter, with its error".to_owned()
        }
        letters => {
            faults.push("there must be one dead letter".to_owned());
            format!("{} dead letters", letters.len())
        }
    };
    Row { name: NOT_AN_ALERT, must: "to the dead-letter queue", arrived, ledger, faults }
}

fn dead_letter_faults(letter: &DeadLetter, alerts: &Alerts) -> Vec<String> {
    let mut faults = Vec::new();
    if letter.queue != Graveyard::Alerts {
        faults.push("it is in the other dead-letter queue".to_owned());
    }
    if letter.body != alerts.invalid {
        faults.push("its body is not the one that was sent".to_owned());
    }
    let said = |name: &str| letter.attributes.get(name).map(String::as_str);
    match AlertEvent::parse(&alerts.invalid) {
        Err(bad) if (said("field"), said("error")) == (Some(bad.field.as_str()), Some(bad.message.as_str())) => {}
        _ => faults.push("its attributes do not say what is wrong".to_owned()),
    }
    faults
}

#[cfg(test)]
mod tests {
    use domain::alert::event::EventType;
    use domain::attempt::AttemptError;
    use domain::delivery::ledger::{End, State};
    use domain::delivery::{Identity, Record};
    use domain::ids::{IntegrationId, OrganizationId};
    use jiff::Timestamp;

    use super::*;
    use crate::seen::{Arrival, Delivery};

    const BODY: &str = "{}";
    const INVALID: &str = "[]";

    struct World {
        seen: Seen,
        long_waits: Vec<LongWait>,
    }

    /// Everything as it must be.
    fn good() -> World {
        let mut world = World { seen: Seen::default(), long_waits: Vec::new() };
        for (index, scenario) in (0u8..).zip(Scenario::ALL) {
            let Expected::Deliveries { count, each } = expected(scenario) else { continue };
            for number in 0..count as u8 {
                world.add(scenario, each, DeliveryId::new(Timestamp::UNIX_EPOCH, [index * 10 + number; 10]));
            }
        }
        let bad = AlertEvent::parse(INVALID).unwrap_err();
        let attributes = [("field", bad.field), ("error", bad.message)];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value)).into();
        let letter = DeadLetter { queue: Graveyard::Alerts, body: INVALID.to_owned(), group: None, attributes };
        world.seen.dead_letters.push((Timestamp::UNIX_EPOCH, letter));
        world
    }

    impl World {
        fn add(&mut self, scenario: Scenario, each: Action, delivery_id: DeliveryId) {
            let identity = Identity {
                integration_id: IntegrationId::new(Timestamp::UNIX_EPOCH, [1; 10]),
                delivery_id,
                organization_id: OrganizationId::new(1).unwrap(),
                event_type: EventType::Triggered,
                alert_id: 123,
                created_at: Timestamp::UNIX_EPOCH,
            };
            let end = if each.end == Status::Failed { End::Failed } else { End::Delivered };
            let state = State::Ended { attempt: each.attempts.len() as u32, round_start: 1, end };
            let mut record = Record::new(identity, &state, Timestamp::UNIX_EPOCH);
            for (number, attempt) in (1..).zip(each.attempts) {
                record.add_attempt(made(number, *attempt));
                if let (Endpoint::Receiver(path), Try::Answered(answered)) = (scenario.endpoint(), *attempt) {
                    self.seen.arrivals.push(arrival(path, delivery_id, number, answered));
                }
            }
            self.seen.deliveries.push(Delivery { scenario, record });
            for number in 0..each.long_waits {
                let name = format!("{delivery_id}-{number}-0");
                self.long_waits.push(LongWait { name, end: LongWaitEnd::Succeeded });
            }
        }
    }

    fn made(number: u32, attempt: Try) -> Attempt {
        let (status_code, code) = match attempt {
            Try::Answered(status) => (Some(status), "server_error"),
            Try::Blocked => (None, "blocked_address"),
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

    impl World {
        /// The first request that arrived there.
        fn at(&mut self, path: &str) -> &mut Arrival {
            self.seen.arrivals.iter_mut().find(|arrival| arrival.path == path).unwrap()
        }

        fn letter(&mut self) -> &mut DeadLetter {
            &mut self.seen.dead_letters[0].1
        }
    }

    /// After the change, these rows must have faults.
    #[track_caller]
    fn check(change: impl FnOnce(&mut World), expected: &[&str]) {
        let mut world = good();
        change(&mut world);
        let alerts = Alerts { valid: vec![BODY.to_owned()], invalid: INVALID.to_owned() };
        let verdict = Verdict::of(&Evidence { alerts: &alerts, seen: &world.seen, long_waits: &world.long_waits });
        let faulty: Vec<_> = verdict.rows.iter().filter(|row| !row.faults.is_empty()).map(|row| row.name).collect();
        assert_eq!(faulty, expected);
        assert_eq!(verdict.is_as_it_must_be(), faulty.is_empty());
    }

    #[test]
    fn whatever_differs_is_a_fault_of_its_row() {
        let works: &[&str] = &["always works"];
        let fails: &[&str] = &["always fails"];
        let invalid: &[&str] = &[NOT_AN_ALERT];
        let duplicate = |world: &mut World| {
            let again = world.at("/always-works").clone();
            world.seen.arrivals.push(again);
        };
        let let_through = |world: &mut World| {
            let there = Arrival { path: "/switched-off".to_owned(), ..world.at("/always-works").clone() };
            world.seen.arrivals.push(there);
        };
        check(|_| (), &[]);
        check(|world| drop(world.seen.arrivals.remove(0)), works);
        check(duplicate, works);
        check(|world| world.at("/always-works").roboticks_signature = false, works);
        check(|world| world.at("/always-works").standard_webhooks = false, works);
        check(|world| world.at("/always-works").body.push(' '), works);
        check(|world| drop(world.seen.deliveries.remove(0)), works);
        check(|world| world.at("/always-fails").answered = 200, fails);
        check(|world| world.seen.deliveries[4].record.status = Status::Waiting, fails);
        check(|world| drop(world.long_waits.remove(0)), fails);
        check(|world| world.long_waits[0].end = LongWaitEnd::Otherwise, fails);
        check(let_through, &["switched off"]);
        check(|world| world.seen.dead_letters.clear(), invalid);
        check(|world| world.letter().body.clear(), invalid);
        check(|world| world.letter().attributes.clear(), invalid);
        check(|world| world.letter().queue = Graveyard::Retries, invalid);
    }

    #[test]
    fn no_line_is_too_wide() {
        let world = good();
        let alerts = Alerts { valid: vec![BODY.to_owned()], invalid: INVALID.to_owned() };
        let verdict = Verdict::of(&Evidence { alerts: &alerts, seen: &world.seen, long_waits: &world.long_waits });
        for line in verdict.lines() {
            assert!(console::measure_text_width(&line) <= WIDTH, "{line}");
        }
    }
}
