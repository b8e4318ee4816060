//! Compares the expected deliveries, the ledger, and what the endpoints received: delivery by delivery, request by
//! request.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use domain::attempt::Attempt;
use domain::delivery::{DeliveryKey, Record, Status};
use harness::proxy::ItemUse;
use jiff::Timestamp;

use crate::endpoints::Arrival;
use crate::plan::{Behaviour, MAX_ATTEMPTS, REQUEST_TIMEOUT_SECONDS};
use crate::testbed::{ExpectedDelivery, FUNCTION_TIMEOUT_SECONDS};

/// An answer as late as this may have come when the sender, whose clock starts before the endpoint's, had just given
/// up.
const JUST_TOO_LATE: Duration = Duration::from_millis(REQUEST_TIMEOUT_SECONDS * 1_000 - 300);

/// How long an invocation that read an integration before it was switched off may go on sending, and some time for a
/// busy machine to end it.
const INVOCATION_ENDS_WITHIN: Duration = Duration::from_secs(FUNCTION_TIMEOUT_SECONDS + 2);

/// When an integration stopped wanting alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SwitchedOff {
    /// Before this time it certainly wanted them.
    pub(crate) from: Timestamp,
    /// From this time on it certainly did not; unknown for a 410, which counts from when it is recorded.
    pub(crate) surely_from: Option<Timestamp>,
}

/// What is compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) expected: Vec<ExpectedDelivery>,
    pub(crate) records: HashMap<DeliveryKey, Record>,
    pub(crate) arrivals: Vec<Arrival>,
    /// When functions used a delivery's item, by the delivery's id.
    pub(crate) item_uses: HashMap<String, ItemUse>,
    /// The integrations that were switched off by their owner, by number.
    pub(crate) switched_off: HashMap<usize, SwitchedOff>,
}

/// A guarantee that was violated, for one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// It is not in the ledger.
    Lost,
    /// It has not ended.
    NotEnded(Status),
    /// It was not expected.
    Unexpected,
    /// There was an attempt more than the schedule allows.
    TooManyAttempts { attempt: u32 },
    /// An endpoint received an attempt that is not in the ledger.
    NotInLedger { attempt: u32 },
    /// An endpoint received an attempt more than once, and the ledger does not mark it as a possible duplicate.
    UnmarkedDuplicate { attempt: u32, times: usize },
    /// The ledger has an answer that no endpoint gave.
    AnswerNotGiven { attempt: u32, status: u16 },
    /// Attempts are missing or repeated in the ledger.
    AttemptsOutOfOrder(Vec<u32>),
    /// It is recorded as delivered, but its last attempt was not accepted.
    NotAccepted,
    /// It failed before the end of the schedule.
    FailedEarly { attempts: usize },
    /// It was cancelled while its integration wanted it.
    CancelledWithoutReason,
    /// An endpoint gave another answer than the one in the ledger.
    OtherAnswer { attempt: u32, status: u16, ledger: String },
    /// It was sent long after its integration had been switched off.
    SentAfterSwitchOff { attempt: u32 },
    /// An attempt's error is not the one that its endpoint causes.
    UnexpectedError { attempt: u32, code: String },
    /// An endpoint received other bytes than those of the alert event.
    BodyChanged { attempt: u32 },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => write!(f, "lost: it is not in the ledger"),
            Self::NotEnded(status) => write!(f, "not ended: it is still {status}"),
            Self::Unexpected => write!(f, "not expected"),
            Self::TooManyAttempts { attempt } => write!(f, "attempt {attempt} exceeds the schedule"),
            Self::NotInLedger { attempt } => write!(f, "attempt {attempt} was received but is not in the ledger"),
            Self::UnmarkedDuplicate { attempt, times } => {
                write!(f, "attempt {attempt} was received {times} times but is not marked as a possible duplicate")
            }
            Self::AnswerNotGiven { attempt, status } => {
                write!(f, "attempt {attempt} has a {status} in the ledger that no endpoint answered")
            }
            Self::AttemptsOutOfOrder(numbers) => write!(f, "the attempts in the ledger are {numbers:?}"),
            Self::NotAccepted => write!(f, "recorded as delivered, but no endpoint accepted it"),
            Self::FailedEarly { attempts } => write!(f, "failed after only {attempts} attempts"),
            Self::CancelledWithoutReason => write!(f, "cancelled while its integration wanted it"),
            Self::OtherAnswer { attempt, status, ledger } => {
                write!(f, "attempt {attempt} was answered {status}, but the ledger says {ledger}")
            }
            Self::SentAfterSwitchOff { attempt } => {
                write!(f, "attempt {attempt} was sent after its integration had been switched off")
            }
            Self::UnexpectedError { attempt, code } => {
                write!(f, "attempt {attempt} has the error {code}, which its endpoint does not cause")
            }
            Self::BodyChanged { attempt } => write!(f, "attempt {attempt} did not have the bytes of the alert event"),
        }
    }
}

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reconciliation {
    /// Deliveries that would have been created if no integration had been switched off.
    pub(crate) planned: usize,
    /// Deliveries in the ledger.
    pub(crate) created: usize,
    pub(crate) delivered: usize,
    pub(crate) failed: usize,
    pub(crate) cancelled: usize,
    /// Deliveries not created, because the integration was off before their alert was last handled.
    pub(crate) no_longer_wanted: usize,
    /// Requests that arrived at endpoints.
    pub(crate) requests: usize,
    /// Requests of an attempt that the endpoint had received before.
    pub(crate) duplicates: usize,
    /// How many of those the ledger marks as possible duplicates.
    pub(crate) duplicates_marked: usize,
    /// Attempts that are marked as possible duplicates, and were received once at most.
    pub(crate) marked_without_duplicate: usize,
    /// Attempts whose outcome is unknown, because a worker died and the integration was off before they could be
    /// repeated.
    pub(crate) outcomes_unknown: usize,
    /// Requests in the middle of which a worker died: interrupted before the timeout, their attempt marked or unknown.
    pub(crate) interrupted: usize,
    /// Answers that came just after the sender had given up.
    pub(crate) answered_too_late: usize,
    pub(crate) violations: Vec<(String, Violation)>,
}

impl Reconciliation {
    /// How many violations fulfil a condition.
    pub(crate) fn count(&self, is_so: impl Fn(&Violation) -> bool) -> usize {
        self.violations.iter().filter(|(_, violation)| is_so(violation)).count()
    }
}

/// Compares the expected deliveries, the ledger and the requests.
pub(crate) fn reconcile(evidence: Evidence) -> Reconciliation {
    let Evidence { expected, records, arrivals, item_uses, mut switched_off } = evidence;
    let mut reconciliation = Reconciliation {
        planned: expected.len(),
        created: records.len(),
        requests: arrivals.len(),
        ..Reconciliation::default()
    };
    let last_handled = find_last_handled(&expected, &item_uses);
    let mut received: HashMap<String, BTreeMap<u32, Vec<Arrival>>> = HashMap::new();
    for arrival in arrivals {
        if arrival.answered.is_some_and(|answered| answered.status == GONE) {
            // The integration is switched off when the answer is recorded, some time later.
            let off =
                switched_off.entry(arrival.integration).or_insert(SwitchedOff { from: arrival.at, surely_from: None });
            off.from = off.from.min(arrival.at);
        }
        received.entry(arrival.delivery.clone()).or_default().entry(arrival.attempt).or_default().push(arrival);
    }
    let mut unexpected: HashMap<_, _> = records.iter().collect();
    for delivery in &expected {
        let name = delivery.key.delivery_id.to_string();
        let case = Case {
            behaviour: delivery.behaviour,
            body: &delivery.body,
            record: unexpected.remove(&delivery.key),
            requests: &received.remove(&name).unwrap_or_default(),
            last_handled: last_handled.get(&delivery.alert).copied(),
            cancelled_at: item_uses.get(&name).and_then(|item_use| item_use.cancelled_at),
            off: switched_off.get(&delivery.integration).copied(),
        };
        let mut violations = Vec::new();
        reconciliation.add(&case, &mut violations);
        let name = format!("{name} ({})", delivery.behaviour.name());
        reconciliation.violations.extend(violations.into_iter().map(|violation| (name.clone(), violation)));
    }
    let unexpected = unexpected.keys().map(|key| key.delivery_id.to_string()).chain(received.into_keys());
    reconciliation.violations.extend(unexpected.map(|name| (name, Violation::Unexpected)));
    reconciliation
}

const GONE: u16 = 410;

/// When each alert was handled last. An alert whose handling failed comes back, and `deliver` uses the items of all its
/// deliveries again, so the latest use of any of them counts.
fn find_last_handled(expected: &[ExpectedDelivery], item_uses: &HashMap<String, ItemUse>) -> HashMap<u64, Timestamp> {
    let mut last_handled: HashMap<u64, Timestamp> = HashMap::new();
    for delivery in expected {
        let item_use = item_uses.get(&delivery.key.delivery_id.to_string());
        let Some(at) = item_use.and_then(|item_use| item_use.last_by_deliver) else { continue };
        let latest = last_handled.entry(delivery.alert).or_insert(at);
        *latest = (*latest).max(at);
    }
    last_handled
}

/// Everything that is known about a delivery.
struct Case<'a> {
    behaviour: Behaviour,
    body: &'a str,
    record: Option<&'a Record>,
    requests: &'a BTreeMap<u32, Vec<Arrival>>,
    /// When its alert was handled last.
    last_handled: Option<Timestamp>,
    cancelled_at: Option<Timestamp>,
    /// When its integration was switched off.
    off: Option<SwitchedOff>,
}

impl Case<'_> {
    /// Whether its integration may have been off at that time.
    fn may_be_off_at(&self, at: Option<Timestamp>) -> bool {
        self.off.is_some_and(|off| at.is_some_and(|at| off.from <= at))
    }

    /// A delivery may be missing only if its integration was off before its alert was last handled. Otherwise it was
    /// wanted each time that its alert was handled.
    fn may_be_absent(&self) -> bool {
        self.requests.is_empty() && self.may_be_off_at(self.last_handled)
    }
}

impl Reconciliation {
    fn add(&mut self, case: &Case<'_>, violations: &mut Vec<Violation>) {
        let (requests, behaviour) = (case.requests, case.behaviour);
        let Some(record) = case.record else {
            if case.may_be_absent() {
                self.no_longer_wanted += 1;
            } else {
                violations.push(Violation::Lost);
            }
            return;
        };
        match record.status {
            Status::Delivered => self.delivered += 1,
            Status::Failed => self.failed += 1,
            Status::Cancelled => self.cancelled += 1,
            status => violations.push(Violation::NotEnded(status)),
        }
        violations.extend(check_end(case, record));
        violations.extend(record.attempts.iter().filter_map(|attempt| check_answer(attempt, requests)));
        violations.extend(record.attempts.iter().filter_map(|attempt| check_error(attempt, behaviour)));
        for (&number, arrivals) in requests {
            let attempt = record.attempts.iter().find(|attempt| attempt.number == number);
            let duplicates = arrivals.len() - 1;
            self.duplicates += duplicates;
            match attempt {
                None => violations.push(Violation::NotInLedger { attempt: number }),
                Some(attempt) if attempt.possible_duplicate => self.duplicates_marked += duplicates,
                Some(_) if duplicates > 0 => {
                    violations.push(Violation::UnmarkedDuplicate { attempt: number, times: arrivals.len() });
                }
                Some(_) => {}
            }
            if let Some(attempt) = attempt {
                for arrival in arrivals {
                    self.compare_answer(attempt, arrival, violations);
                }
            }
            if number > MAX_ATTEMPTS {
                violations.push(Violation::TooManyAttempts { attempt: number });
            }
            if arrivals.iter().any(|arrival| arrival.body != case.body) {
                violations.push(Violation::BodyChanged { attempt: number });
            }
            let surely_off = case.off.and_then(|off| off.surely_from);
            if surely_off.is_some_and(|off| arrivals.iter().any(|arrival| arrival.at > off + INVOCATION_ENDS_WITHIN)) {
                violations.push(Violation::SentAfterSwitchOff { attempt: number });
            }
        }
        let times = |attempt: &Attempt| requests.get(&attempt.number).map_or(0, Vec::len);
        let marked = record.attempts.iter().filter(|attempt| attempt.possible_duplicate);
        self.marked_without_duplicate += marked.filter(|attempt| times(attempt) < 2).count();
        self.outcomes_unknown += record.attempts.iter().filter(|attempt| attempt.outcome == Attempt::UNKNOWN).count();
    }

    /// The ledger has to have the endpoint's answer, unless a worker died before it could record it: then the attempt
    /// is marked as a possible duplicate, or its outcome is unknown.
    fn compare_answer(&mut self, attempt: &Attempt, arrival: &Arrival, violations: &mut Vec<Violation>) {
        let after = |at: Timestamp, since: Timestamp| at.duration_since(since).unsigned_abs();
        let is_excused = attempt.possible_duplicate || attempt.outcome == Attempt::UNKNOWN;
        if arrival.interrupted_at.is_some_and(|at| is_excused && after(at, arrival.at) < JUST_TOO_LATE) {
            self.interrupted += 1;
        }
        let Some(answered) = arrival.answered.filter(|_| !is_excused) else { return };
        if attempt.status_code == Some(answered.status) {
            return;
        }
        if attempt.outcome == "timed_out" && after(answered.at, attempt.started_at) > JUST_TOO_LATE {
            self.answered_too_late += 1;
            return;
        }
        let (status, ledger) = (answered.status, attempt.outcome.clone());
        violations.push(Violation::OtherAnswer { attempt: attempt.number, status, ledger });
    }
}

/// Finds a violation in how a delivery ended.
fn check_end(case: &Case<'_>, record: &Record) -> Option<Violation> {
    let numbers: Vec<_> = record.attempts.iter().map(|attempt| attempt.number).collect();
    let last = record.attempts.last();
    if numbers.iter().zip(1..).any(|(number, place)| *number != place) {
        return Some(Violation::AttemptsOutOfOrder(numbers));
    }
    if let Some(attempt) = record.attempts.iter().find(|attempt| attempt.number > MAX_ATTEMPTS) {
        return Some(Violation::TooManyAttempts { attempt: attempt.number });
    }
    let was = |outcome: &str| last.is_some_and(|attempt| attempt.outcome == outcome);
    match record.status {
        Status::Delivered if !was("accepted") => Some(Violation::NotAccepted),
        Status::Failed if last.and_then(|attempt| attempt.status_code) == Some(GONE) => None,
        Status::Failed if numbers.len() < MAX_ATTEMPTS as usize => {
            Some(Violation::FailedEarly { attempts: numbers.len() })
        }
        Status::Cancelled if !case.may_be_off_at(case.cancelled_at) => Some(Violation::CancelledWithoutReason),
        _ => None,
    }
}

/// Checks that an endpoint gave the answer that the ledger has.
fn check_answer(attempt: &Attempt, requests: &BTreeMap<u32, Vec<Arrival>>) -> Option<Violation> {
    let status = attempt.status_code?;
    let mut arrivals = requests.get(&attempt.number).into_iter().flatten();
    let was_given = arrivals.any(|arrival| arrival.answered.is_some_and(|answered| answered.status == status));
    (!was_given).then_some(Violation::AnswerNotGiven { attempt: attempt.number, status })
}

/// Checks that an attempt's error is one that its endpoint causes. On a busy machine any attempt may time out.
fn check_error(attempt: &Attempt, behaviour: Behaviour) -> Option<Violation> {
    let (expected, code) = (behaviour.error_code()?, &attempt.error.as_ref()?.code);
    let is_expected = code.starts_with(expected) || code.starts_with("timeout_") || attempt.outcome == Attempt::UNKNOWN;
    (!is_expected).then(|| Violation::UnexpectedError { attempt: attempt.number, code: code.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::Answered;
    use bytes::Bytes;
    use domain::attempt::AttemptError;
    use domain::delivery::Identity;
    use domain::delivery::ledger::{End, State};
    use domain::fixtures::identity;

    const DELIVERY: &str = "dlv_01JH7VVHV81KJMEKY94GFHBBTY";
    const BODY: &str = "{}";

    fn key() -> DeliveryKey {
        let integration_id = "int_01JH7Z5A8M0000000000000001".parse().unwrap();
        DeliveryKey { integration_id, delivery_id: DELIVERY.parse().unwrap() }
    }

    /// An attempt in the ledger: its number, its answer, and `"marked"` for a possible duplicate.
    fn attempt(number: u32, status: u16, mark: &str) -> Attempt {
        Attempt {
            number,
            started_at: Timestamp::UNIX_EPOCH,
            duration_ms: Some(1),
            outcome: if status < 300 { "accepted" } else { "rejected" }.to_owned(),
            status_code: Some(status),
            error: None,
            response_excerpt: None,
            possible_duplicate: mark == "marked",
        }
    }

    fn record(end: End, attempts: Vec<Attempt>) -> Record {
        let DeliveryKey { integration_id, delivery_id } = key();
        let identity = Identity { integration_id, delivery_id, ..identity() };
        let last = attempts.last().map_or(1, |attempt| attempt.number);
        let mut record = Record::new(identity, &State::Ended { attempt: last, round_start: 1, end }, Timestamp::MAX);
        record.attempts = attempts;
        record
    }

    fn arrival(attempt: u32, status: u16) -> Arrival {
        Arrival {
            integration: INTEGRATION,
            delivery: DELIVERY.to_owned(),
            attempt,
            body: Bytes::from_static(BODY.as_bytes()),
            at: at(0),
            answered: Some(Answered { status, at: at(0) }),
            interrupted_at: None,
        }
    }

    const INTEGRATION: usize = 3;
    const ALERT: u64 = 7;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn evidence(behaviour: Behaviour, record: Option<Record>, arrivals: Vec<Arrival>) -> Evidence {
        Evidence {
            expected: vec![ExpectedDelivery {
                key: key(),
                alert: ALERT,
                integration: INTEGRATION,
                behaviour,
                body: BODY.to_owned(),
            }],
            records: record.into_iter().map(|record| (key(), record)).collect(),
            arrivals,
            ..Evidence::default()
        }
    }

    /// The same with the integration switched off at 100 s, and its alert last handled and its delivery cancelled at
    /// these times.
    fn switched_off(evidence: Evidence, last_handled: i64, cancelled_at: Option<i64>) -> Evidence {
        let item_use = ItemUse { last_by_deliver: Some(at(last_handled)), cancelled_at: cancelled_at.map(at) };
        let off = SwitchedOff { from: at(100), surely_from: Some(at(100)) };
        Evidence {
            item_uses: HashMap::from([(DELIVERY.to_owned(), item_use)]),
            switched_off: HashMap::from([(INTEGRATION, off)]),
            ..evidence
        }
    }

    #[track_caller]
    fn check_evidence(evidence: Evidence, expected: &[Violation]) {
        let violations: Vec<_> = reconcile(evidence).violations.into_iter().map(|(_, violation)| violation).collect();
        assert_eq!(violations, expected);
    }

    fn reconcile_one(behaviour: Behaviour, record: Option<Record>, arrivals: Vec<Arrival>) -> Reconciliation {
        reconcile(evidence(behaviour, record, arrivals))
    }

    #[track_caller]
    fn check(behaviour: Behaviour, record: Option<Record>, arrivals: Vec<Arrival>, expected: &[Violation]) {
        check_evidence(evidence(behaviour, record, arrivals), expected);
    }

    fn five_failures() -> (Record, Vec<Arrival>) {
        let attempts = (1..=5).map(|number| attempt(number, 500, "")).collect();
        (record(End::Failed, attempts), (1..=5).map(|number| arrival(number, 500)).collect())
    }

    #[test]
    fn expected_ends_are_no_violations() {
        let once = || vec![arrival(1, 200)];
        check(Behaviour::Works, Some(record(End::Delivered, vec![attempt(1, 200, "")])), once(), &[]);
        let (failed, requests) = five_failures();
        check(Behaviour::AlwaysFails, Some(failed), requests, &[]);
        check(Behaviour::Gone, Some(record(End::Failed, vec![attempt(1, 410, "")])), vec![arrival(1, 410)], &[]);
    }

    #[test]
    fn a_switch_off_does_not_excuse_what_came_before_it() {
        let absent = || evidence(Behaviour::SwitchedOff, None, vec![]);
        check_evidence(absent(), &[Violation::Lost]);
        check_evidence(switched_off(absent(), 99, None), &[Violation::Lost]);
        check_evidence(switched_off(absent(), 100, None), &[]);
        let cancelled = || evidence(Behaviour::SwitchedOff, Some(record(End::Cancelled, vec![])), vec![]);
        check_evidence(cancelled(), &[Violation::CancelledWithoutReason]);
        check_evidence(switched_off(cancelled(), 99, Some(99)), &[Violation::CancelledWithoutReason]);
        check_evidence(switched_off(cancelled(), 99, Some(100)), &[]);
        // A delivery of the same alert, which was handled later.
        let mut late = switched_off(absent(), 99, None);
        let sibling = "dlv_01JH7VVHV8550CMES94JPY72KG";
        let key = DeliveryKey { delivery_id: sibling.parse().unwrap(), ..key() };
        late.expected.push(ExpectedDelivery { key, integration: INTEGRATION + 1, ..late.expected[0].clone() });
        late.item_uses.insert(sibling.to_owned(), ItemUse { last_by_deliver: Some(at(101)), cancelled_at: None });
        check_evidence(late, &[Violation::Lost]);
    }

    #[test]
    fn a_410_switches_off_from_then_on() {
        let other = "dlv_01JH7VVHV8550CMES94JPY72KG";
        let gone = Arrival { delivery: other.to_owned(), at: at(100), ..arrival(1, 410) };
        let check = |last_handled, expected: &[Violation]| {
            let mut evidence = evidence(Behaviour::Gone, None, vec![gone.clone()]);
            let item_use = ItemUse { last_by_deliver: Some(at(last_handled)), cancelled_at: None };
            evidence.item_uses.insert(DELIVERY.to_owned(), item_use);
            check_evidence(evidence, expected);
        };
        check(100, &[Violation::Unexpected]);
        check(99, &[Violation::Lost, Violation::Unexpected]);
    }

    #[test]
    fn nothing_is_sent_long_after_the_switch_off() {
        let late = |seconds| Arrival { at: at(100 + seconds), ..arrival(1, 500) };
        let rejected = || Some(record(End::Cancelled, vec![attempt(1, 500, "")]));
        let limit = INVOCATION_ENDS_WITHIN.as_secs() as i64;
        let within = evidence(Behaviour::SwitchedOff, rejected(), vec![late(limit)]);
        check_evidence(switched_off(within, 100, Some(100)), &[]);
        let after = evidence(Behaviour::SwitchedOff, rejected(), vec![late(limit + 1)]);
        check_evidence(switched_off(after, 100, Some(100)), &[Violation::SentAfterSwitchOff { attempt: 1 }]);
    }

    #[test]
    fn an_answer_that_is_not_in_the_ledger_is_a_violation() {
        let timed_out =
            |label| Attempt { status_code: None, outcome: "timed_out".to_owned(), ..attempt(1, 500, label) };
        let failed = |attempt: Attempt| {
            let rest = (2..=5).map(|number| Attempt { number, ..timed_out("") });
            Some(record(End::Failed, [attempt].into_iter().chain(rest).collect()))
        };
        let otherwise = |status| Violation::OtherAnswer { attempt: 1, status, ledger: "timed_out".to_owned() };
        let accepted = || vec![arrival(1, 200)];
        check(Behaviour::Recovers, failed(timed_out("")), accepted(), &[otherwise(200)]);
        check(Behaviour::Recovers, failed(timed_out("")), vec![arrival(1, 500)], &[otherwise(500)]);
        check(Behaviour::Recovers, failed(timed_out("marked")), accepted(), &[]);
        let unknown = Attempt { outcome: Attempt::UNKNOWN.to_owned(), ..timed_out("") };
        check(Behaviour::Recovers, failed(unknown), accepted(), &[]);
        let too_late = Arrival { answered: Some(Answered { status: 200, at: at(1) }), ..arrival(1, 200) };
        let reconciliation = reconcile_one(Behaviour::Recovers, failed(timed_out("")), vec![too_late]);
        assert_eq!((reconciliation.violations.len(), reconciliation.answered_too_late), (0, 1));
    }

    #[test]
    fn a_request_that_a_dying_worker_interrupted_is_counted() {
        let count = |mark, milliseconds| {
            let interrupted_at = Some(Timestamp::from_millisecond(milliseconds).unwrap());
            let interrupted = Arrival { answered: None, interrupted_at, ..arrival(1, 200) };
            let delivered = record(End::Delivered, vec![attempt(1, 200, mark)]);
            reconcile_one(Behaviour::Slow, Some(delivered), vec![interrupted, arrival(1, 200)]).interrupted
        };
        assert_eq!(count("marked", 300), 1);
        // The sender's timeout, and no death.
        assert_eq!(count("marked", 900), 0);
        assert_eq!(count("", 300), 0);
    }

    #[test]
    fn an_error_that_the_endpoint_does_not_cause_is_a_violation() {
        let failed = |code: &str| {
            let error = Some(AttemptError { code: code.to_owned(), message: String::new() });
            let attempt = |number| Attempt { number, error: error.clone(), status_code: None, ..attempt(1, 500, "") };
            Some(record(End::Failed, (1..=5).map(attempt).collect()))
        };
        check(Behaviour::NoTls, failed("tls_not_spoken"), vec![], &[]);
        check(Behaviour::NoTls, failed("timeout_connect"), vec![], &[]);
        let violation = |attempt| Violation::UnexpectedError { attempt, code: "closed_early".to_owned() };
        check(Behaviour::NoTls, failed("closed_early"), vec![], &[1, 2, 3, 4, 5].map(violation));
    }

    #[test]
    fn a_lost_or_unended_delivery_is_a_violation() {
        check(Behaviour::Works, None, vec![], &[Violation::Lost]);
        check(Behaviour::SwitchedOff, None, vec![arrival(1, 500)], &[Violation::Lost]);
        let mut waiting = record(End::Delivered, vec![attempt(1, 500, "")]);
        waiting.set_entry(State::Waiting { attempt: 2, round_start: 1, due_at: Timestamp::UNIX_EPOCH }.into());
        check(Behaviour::Recovers, Some(waiting), vec![arrival(1, 500)], &[Violation::NotEnded(Status::Waiting)]);
    }

    #[test]
    fn only_an_unmarked_duplicate_is_a_violation() {
        let twice = || vec![arrival(1, 200), arrival(1, 200)];
        let delivered = |mark| Some(record(End::Delivered, vec![attempt(1, 200, mark)]));
        check(Behaviour::Works, delivered("marked"), twice(), &[]);
        check(Behaviour::Works, delivered(""), twice(), &[Violation::UnmarkedDuplicate { attempt: 1, times: 2 }]);
        let reconciliation = reconcile_one(Behaviour::Works, delivered("marked"), twice());
        assert_eq!(
            (reconciliation.duplicates, reconciliation.duplicates_marked, reconciliation.marked_without_duplicate),
            (1, 1, 0)
        );
        let reconciliation = reconcile_one(Behaviour::Works, delivered("marked"), vec![arrival(1, 200)]);
        assert_eq!(
            (reconciliation.duplicates, reconciliation.duplicates_marked, reconciliation.marked_without_duplicate),
            (0, 0, 1)
        );
    }

    #[test]
    fn a_difference_between_ledger_and_endpoints_is_a_violation() {
        let delivered = || Some(record(End::Delivered, vec![attempt(1, 200, "")]));
        check(Behaviour::Works, delivered(), vec![], &[Violation::AnswerNotGiven { attempt: 1, status: 200 }]);
        let unexpected = vec![arrival(1, 200), arrival(2, 200)];
        check(Behaviour::Works, delivered(), unexpected, &[Violation::NotInLedger { attempt: 2 }]);
        let cancelled = evidence(Behaviour::SwitchedOff, Some(record(End::Cancelled, vec![])), vec![arrival(1, 500)]);
        check_evidence(switched_off(cancelled, 100, Some(100)), &[Violation::NotInLedger { attempt: 1 }]);
        let other = Arrival { body: Bytes::from_static(b"[]"), ..arrival(1, 200) };
        check(Behaviour::Works, delivered(), vec![other], &[Violation::BodyChanged { attempt: 1 }]);
        let unexpected_arrival = Arrival { delivery: "dlv_0".to_owned(), ..arrival(1, 200) };
        check(Behaviour::Works, delivered(), vec![arrival(1, 200), unexpected_arrival], &[Violation::Unexpected]);
    }

    #[test]
    fn an_end_without_its_reason_is_a_violation() {
        let rejected = || vec![attempt(1, 500, "")];
        let once = || vec![arrival(1, 500)];
        let failed = Some(record(End::Failed, rejected()));
        check(Behaviour::AlwaysFails, failed, once(), &[Violation::FailedEarly { attempts: 1 }]);
        check(Behaviour::Works, Some(record(End::Delivered, rejected())), once(), &[Violation::NotAccepted]);
        check(Behaviour::Works, Some(record(End::Cancelled, rejected())), once(), &[Violation::CancelledWithoutReason]);
        let gap = vec![attempt(1, 500, ""), attempt(3, 200, "")];
        let arrivals = vec![arrival(1, 500), arrival(3, 200)];
        let expected = [Violation::AttemptsOutOfOrder(vec![1, 3])];
        check(Behaviour::Recovers, Some(record(End::Delivered, gap)), arrivals, &expected);
    }

    #[test]
    fn an_attempt_too_many_is_a_violation() {
        let attempts = (1..=6).map(|number| attempt(number, 500, "")).collect();
        let arrivals = (1..=6).map(|number| arrival(number, 500)).collect();
        let beyond = Violation::TooManyAttempts { attempt: 6 };
        check(Behaviour::AlwaysFails, Some(record(End::Failed, attempts)), arrivals, &[beyond.clone(), beyond]);
    }
}
