//! Compares what was wanted, what the ledger says, and what the endpoints saw: delivery by delivery, request by request.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use domain::attempt::Attempt;
use domain::delivery::{DeliveryKey, Record, Status};
use jiff::Timestamp;

use crate::endpoints::Arrival;
use crate::plan::{Fate, MOST_ATTEMPTS, REQUEST_TIMEOUT_SECONDS};
use crate::stage::{FUNCTION_TIMEOUT_SECONDS, Wanted};
use harness::proxy::Concern;

/// An answer this late may have come when the sender had just given up, whose clock began before the endpoint's.
const JUST_TOO_LATE: Duration = Duration::from_millis(REQUEST_TIMEOUT_SECONDS * 1_000 - 300);

/// What an invocation that read an integration before it was switched off may still send takes no longer, and some time for
/// a busy machine to end it.
const FINISHES_WITHIN: Duration = Duration::from_secs(FUNCTION_TIMEOUT_SECONDS + 2);

/// When an integration stopped wanting alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SwitchedOff {
    /// Before that it surely wanted them.
    pub(crate) from: Timestamp,
    /// From then on it surely did not; unknown where that waits for a record to succeed.
    pub(crate) surely_from: Option<Timestamp>,
}

/// What there is to compare.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) records: HashMap<DeliveryKey, Record>,
    pub(crate) arrivals: Vec<Arrival>,
    /// When functions were concerned with a delivery, by its id.
    pub(crate) concerns: HashMap<String, Concern>,
    /// The integrations that were switched off by their owner, by number.
    pub(crate) switched_off: HashMap<usize, SwitchedOff>,
}

/// A promise that was broken, for one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// The ledger knows nothing of it.
    Lost,
    /// It came to no end.
    Unended(Status),
    /// It was not wanted.
    Stray,
    /// An attempt beyond the schedule.
    BeyondTheSchedule { attempt: u32 },
    /// An endpoint saw an attempt that the ledger does not.
    NotInTheLedger { attempt: u32 },
    /// An endpoint saw an attempt more than once, and the ledger does not say that this is possible.
    UnlabelledDuplicate { attempt: u32, times: usize },
    /// The ledger has an answer that no endpoint gave.
    NobodyAnsweredThat { attempt: u32, status: u16 },
    /// Attempts are missing between the first and the last, or stand there twice.
    AttemptsOutOfOrder(Vec<u32>),
    /// Delivered, though nobody accepted it.
    DeliveredToNobody,
    /// Given up before the schedule was.
    GivenUpEarly { attempts: usize },
    /// Cancelled, though its integration wanted it then.
    CancelledForNoReason,
    /// An endpoint gave an answer that the ledger does not have.
    AnsweredOtherwise { attempt: u32, status: u16, ledger: String },
    /// Sent to an integration that had long been switched off.
    SentThoughOff { attempt: u32 },
    /// An attempt failed for another reason than its endpoint gave.
    OtherReason { attempt: u32, code: String },
    /// An endpoint was sent something else than the alert event's bytes.
    OtherBytes { attempt: u32 },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => write!(f, "lost: the ledger does not know it"),
            Self::Unended(status) => write!(f, "came to no end: it is still {status}"),
            Self::Stray => write!(f, "nobody wanted it"),
            Self::BeyondTheSchedule { attempt } => write!(f, "attempt {attempt} is beyond the schedule"),
            Self::NotInTheLedger { attempt } => write!(f, "attempt {attempt} was seen and is not in the ledger"),
            Self::UnlabelledDuplicate { attempt, times } => {
                write!(f, "attempt {attempt} was seen {times} times, and the ledger does not say so")
            }
            Self::NobodyAnsweredThat { attempt, status } => {
                write!(f, "attempt {attempt} has a {status} in the ledger that no endpoint gave")
            }
            Self::AttemptsOutOfOrder(numbers) => write!(f, "the ledger's attempts are {numbers:?}"),
            Self::DeliveredToNobody => write!(f, "delivered, and nobody accepted it"),
            Self::GivenUpEarly { attempts } => write!(f, "given up after {attempts} attempts"),
            Self::CancelledForNoReason => write!(f, "cancelled, though its integration wanted it then"),
            Self::AnsweredOtherwise { attempt, status, ledger } => {
                write!(f, "attempt {attempt} was answered {status}, and the ledger says {ledger}")
            }
            Self::SentThoughOff { attempt } => write!(f, "attempt {attempt} was sent, though its integration was off"),
            Self::OtherReason { attempt, code } => write!(f, "attempt {attempt} failed, as the ledger says, by {code}"),
            Self::OtherBytes { attempt } => write!(f, "attempt {attempt} was sent other bytes"),
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reckoning {
    /// Deliveries that would have been created if no integration had been switched off.
    pub(crate) planned: usize,
    /// Those that the ledger has.
    pub(crate) created: usize,
    pub(crate) delivered: usize,
    pub(crate) failed: usize,
    pub(crate) cancelled: usize,
    /// Not created, because the integration was off before its alert was last handled.
    pub(crate) not_wanted_any_more: usize,
    /// Requests that arrived at endpoints.
    pub(crate) requests: usize,
    /// Requests of an attempt that its endpoint had seen before.
    pub(crate) duplicates: usize,
    /// How many of those the ledger says are possible.
    pub(crate) duplicates_labelled: usize,
    /// Attempts that the ledger says may have been seen twice, and were not.
    pub(crate) labelled_in_vain: usize,
    /// Attempts whose outcome is unknown, because a worker died and the integration was off before they could be made again.
    pub(crate) outcomes_unknown: usize,
    /// Requests that a worker died in the middle of: cut off before their time was over, their attempt labelled or unknown.
    pub(crate) cut_off: usize,
    /// Answers that came when the sender had just given up.
    pub(crate) answered_too_late: usize,
    pub(crate) breaches: Vec<(String, Breach)>,
}

impl Reckoning {
    /// How many breaches are of that kind.
    pub(crate) fn count(&self, is_it: impl Fn(&Breach) -> bool) -> usize {
        self.breaches.iter().filter(|(_, breach)| is_it(breach)).count()
    }
}

/// Compares everything with everything.
pub(crate) fn reconcile(evidence: Evidence) -> Reckoning {
    let Evidence { wanted, records, arrivals, concerns, mut switched_off } = evidence;
    let mut reckoning =
        Reckoning { planned: wanted.len(), created: records.len(), requests: arrivals.len(), ..Reckoning::default() };
    let handled_until = handled_until(&wanted, &concerns);
    let mut seen: HashMap<String, BTreeMap<u32, Vec<Arrival>>> = HashMap::new();
    for arrival in arrivals {
        if arrival.answered.is_some_and(|answered| answered.status == GONE) {
            // The integration is switched off when that is recorded, whenever it is.
            let off =
                switched_off.entry(arrival.integration).or_insert(SwitchedOff { from: arrival.at, surely_from: None });
            off.from = off.from.min(arrival.at);
        }
        seen.entry(arrival.delivery.clone()).or_default().entry(arrival.attempt).or_default().push(arrival);
    }
    let mut unwanted: HashMap<_, _> = records.iter().collect();
    for wanted in &wanted {
        let name = wanted.key.delivery_id.to_string();
        let case = Case {
            fate: wanted.fate,
            body: &wanted.body,
            record: unwanted.remove(&wanted.key),
            requests: &seen.remove(&name).unwrap_or_default(),
            handled_until: handled_until.get(&wanted.alert).copied(),
            cancelled_at: concerns.get(&name).and_then(|concern| concern.cancelled_at),
            off: switched_off.get(&wanted.integration).copied(),
        };
        let mut breaches = Vec::new();
        reckoning.add(&case, &mut breaches);
        let name = format!("{name} ({})", wanted.fate.name());
        reckoning.breaches.extend(breaches.into_iter().map(|breach| (name.clone(), breach)));
    }
    let strays = unwanted.keys().map(|key| key.delivery_id.to_string()).chain(seen.into_keys());
    reckoning.breaches.extend(strays.map(|name| (name, Breach::Stray)));
    reckoning
}

const GONE: u16 = 410;

/// When each alert was handled last. An alert that was not done with comes back, and all deliveries of its organization are
/// looked at anew: any of them tells when that was.
fn handled_until(wanted: &[Wanted], concerns: &HashMap<String, Concern>) -> HashMap<u64, Timestamp> {
    let mut until: HashMap<u64, Timestamp> = HashMap::new();
    for wanted in wanted {
        let concern = concerns.get(&wanted.key.delivery_id.to_string());
        let Some(at) = concern.and_then(|concern| concern.delivering_until) else { continue };
        let latest = until.entry(wanted.alert).or_insert(at);
        *latest = (*latest).max(at);
    }
    until
}

/// All that is known of a delivery.
struct Case<'a> {
    fate: Fate,
    body: &'a str,
    record: Option<&'a Record>,
    requests: &'a BTreeMap<u32, Vec<Arrival>>,
    /// When its alert was handled last.
    handled_until: Option<Timestamp>,
    cancelled_at: Option<Timestamp>,
    /// When its integration was switched off.
    off: Option<SwitchedOff>,
}

impl Case<'_> {
    /// Whether its integration may have been off at that time.
    fn is_off_at(&self, at: Option<Timestamp>) -> bool {
        self.off.is_some_and(|off| at.is_some_and(|at| off.from <= at))
    }

    /// An absent one may be so only if its integration was off before its alert was last handled: had that been the other
    /// way round, each time that its alert was handled it was wanted.
    fn may_be_absent(&self) -> bool {
        self.requests.is_empty() && self.is_off_at(self.handled_until)
    }
}

impl Reckoning {
    fn add(&mut self, case: &Case<'_>, breaches: &mut Vec<Breach>) {
        let (requests, fate) = (case.requests, case.fate);
        let Some(record) = case.record else {
            if case.may_be_absent() {
                self.not_wanted_any_more += 1;
            } else {
                breaches.push(Breach::Lost);
            }
            return;
        };
        match record.status {
            Status::Delivered => self.delivered += 1,
            Status::Failed => self.failed += 1,
            Status::Cancelled => self.cancelled += 1,
            unended => breaches.push(Breach::Unended(unended)),
        }
        breaches.extend(wrong_end(case, record));
        breaches.extend(record.attempts.iter().filter_map(|attempt| wrong_answer(attempt, requests)));
        breaches.extend(record.attempts.iter().filter_map(|attempt| wrong_reason(attempt, fate)));
        for (&number, arrivals) in requests {
            let attempt = record.attempts.iter().find(|attempt| attempt.number == number);
            let duplicates = arrivals.len() - 1;
            self.duplicates += duplicates;
            match attempt {
                None => breaches.push(Breach::NotInTheLedger { attempt: number }),
                Some(attempt) if attempt.possible_duplicate => self.duplicates_labelled += duplicates,
                Some(_) if duplicates > 0 => {
                    breaches.push(Breach::UnlabelledDuplicate { attempt: number, times: arrivals.len() });
                }
                Some(_) => {}
            }
            if let Some(attempt) = attempt {
                for arrival in arrivals {
                    self.compare_answer(attempt, arrival, breaches);
                }
            }
            if number > MOST_ATTEMPTS {
                breaches.push(Breach::BeyondTheSchedule { attempt: number });
            }
            if arrivals.iter().any(|arrival| arrival.body != case.body) {
                breaches.push(Breach::OtherBytes { attempt: number });
            }
            let surely_off = case.off.and_then(|off| off.surely_from);
            if surely_off.is_some_and(|off| arrivals.iter().any(|arrival| arrival.at > off + FINISHES_WITHIN)) {
                breaches.push(Breach::SentThoughOff { attempt: number });
            }
        }
        let times = |attempt: &Attempt| requests.get(&attempt.number).map_or(0, Vec::len);
        let labelled = record.attempts.iter().filter(|attempt| attempt.possible_duplicate);
        self.labelled_in_vain += labelled.filter(|attempt| times(attempt) < 2).count();
        self.outcomes_unknown += record.attempts.iter().filter(|attempt| attempt.outcome == Attempt::UNKNOWN).count();
    }

    /// What an endpoint did with a request must be what the ledger says of it, unless a worker died before it could be
    /// said: then the attempt is labelled, or its outcome unknown.
    fn compare_answer(&mut self, attempt: &Attempt, arrival: &Arrival, breaches: &mut Vec<Breach>) {
        let after = |at: Timestamp, since: Timestamp| at.duration_since(since).unsigned_abs();
        let is_excused = attempt.possible_duplicate || attempt.outcome == Attempt::UNKNOWN;
        if arrival.cut_off_at.is_some_and(|at| is_excused && after(at, arrival.at) < JUST_TOO_LATE) {
            self.cut_off += 1;
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
        breaches.push(Breach::AnsweredOtherwise { attempt: attempt.number, status, ledger });
    }
}

/// Whether a delivery ended as it must not have.
fn wrong_end(case: &Case<'_>, record: &Record) -> Option<Breach> {
    let numbers: Vec<_> = record.attempts.iter().map(|attempt| attempt.number).collect();
    let last = record.attempts.last();
    if numbers.iter().zip(1..).any(|(number, place)| *number != place) {
        return Some(Breach::AttemptsOutOfOrder(numbers));
    }
    if let Some(attempt) = record.attempts.iter().find(|attempt| attempt.number > MOST_ATTEMPTS) {
        return Some(Breach::BeyondTheSchedule { attempt: attempt.number });
    }
    let was = |outcome: &str| last.is_some_and(|attempt| attempt.outcome == outcome);
    match record.status {
        Status::Delivered if !was("accepted") => Some(Breach::DeliveredToNobody),
        Status::Failed if last.and_then(|attempt| attempt.status_code) == Some(GONE) => None,
        Status::Failed if numbers.len() < MOST_ATTEMPTS as usize => {
            Some(Breach::GivenUpEarly { attempts: numbers.len() })
        }
        Status::Cancelled if !case.is_off_at(case.cancelled_at) => Some(Breach::CancelledForNoReason),
        _ => None,
    }
}

/// Whether the ledger has an answer to an attempt that nobody gave.
fn wrong_answer(attempt: &Attempt, requests: &BTreeMap<u32, Vec<Arrival>>) -> Option<Breach> {
    let status = attempt.status_code?;
    let mut arrivals = requests.get(&attempt.number).into_iter().flatten();
    let was_given = arrivals.any(|arrival| arrival.answered.is_some_and(|answered| answered.status == status));
    (!was_given).then_some(Breach::NobodyAnsweredThat { attempt: attempt.number, status })
}

/// Whether an attempt failed by something else than its endpoint's fate. A busy machine may be late for any.
fn wrong_reason(attempt: &Attempt, fate: Fate) -> Option<Breach> {
    let (expected, code) = (fate.code()?, &attempt.error.as_ref()?.code);
    let is_right = code.starts_with(expected) || code.starts_with("timeout_") || attempt.outcome == Attempt::UNKNOWN;
    (!is_right).then(|| Breach::OtherReason { attempt: attempt.number, code: code.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoints::Answered;
    use bytes::Bytes;
    use domain::alert::event::EventType;
    use domain::attempt::AttemptError;
    use domain::delivery::Identity;
    use domain::delivery::ledger::{End, State};
    use domain::ids::OrganizationId;

    const DELIVERY: &str = "dlv_01JH7VVHV81KJMEKY94GFHBBTY";
    const BODY: &str = "{}";

    fn key() -> DeliveryKey {
        let integration_id = "int_01JH7Z5A8M0000000000000001".parse().unwrap();
        DeliveryKey { integration_id, delivery_id: DELIVERY.parse().unwrap() }
    }

    /// An attempt in the ledger: its number, its answer, and whether it is labelled.
    fn attempt(number: u32, status: u16, label: &str) -> Attempt {
        Attempt {
            number,
            started_at: Timestamp::UNIX_EPOCH,
            duration_ms: Some(1),
            outcome: if status < 300 { "accepted" } else { "rejected" }.to_owned(),
            status_code: Some(status),
            error: None,
            response_excerpt: None,
            possible_duplicate: label == "labelled",
        }
    }

    fn record(end: End, attempts: Vec<Attempt>) -> Record {
        let identity = Identity {
            integration_id: key().integration_id,
            delivery_id: key().delivery_id,
            organization_id: OrganizationId::new(1).unwrap(),
            event_type: EventType::Triggered,
            alert_id: 1,
            created_at: Timestamp::UNIX_EPOCH,
        };
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
            cut_off_at: None,
        }
    }

    const INTEGRATION: usize = 3;
    const ALERT: u64 = 7;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn evidence(fate: Fate, record: Option<Record>, arrivals: Vec<Arrival>) -> Evidence {
        Evidence {
            wanted: vec![Wanted { key: key(), alert: ALERT, integration: INTEGRATION, fate, body: BODY.to_owned() }],
            records: record.into_iter().map(|record| (key(), record)).collect(),
            arrivals,
            ..Evidence::default()
        }
    }

    /// The integration is off at 100 s; its alert was handled until then, and its delivery cancelled then.
    fn switched_off(evidence: Evidence, handled_until: i64, cancelled_at: Option<i64>) -> Evidence {
        let concern = Concern { delivering_until: Some(at(handled_until)), cancelled_at: cancelled_at.map(at) };
        let off = SwitchedOff { from: at(100), surely_from: Some(at(100)) };
        Evidence {
            concerns: HashMap::from([(DELIVERY.to_owned(), concern)]),
            switched_off: HashMap::from([(INTEGRATION, off)]),
            ..evidence
        }
    }

    #[track_caller]
    fn check_evidence(evidence: Evidence, expected: &[Breach]) {
        let breaches: Vec<_> = reconcile(evidence).breaches.into_iter().map(|(_, breach)| breach).collect();
        assert_eq!(breaches, expected);
    }

    fn reckon(fate: Fate, record: Option<Record>, arrivals: Vec<Arrival>) -> Reckoning {
        reconcile(evidence(fate, record, arrivals))
    }

    #[track_caller]
    fn check(fate: Fate, record: Option<Record>, arrivals: Vec<Arrival>, expected: &[Breach]) {
        check_evidence(evidence(fate, record, arrivals), expected);
    }

    fn five_failures() -> (Record, Vec<Arrival>) {
        let attempts = (1..=5).map(|number| attempt(number, 500, "")).collect();
        (record(End::Failed, attempts), (1..=5).map(|number| arrival(number, 500)).collect())
    }

    #[test]
    fn what_is_as_it_should_be_breaks_no_promise() {
        let once = || vec![arrival(1, 200)];
        check(Fate::Works, Some(record(End::Delivered, vec![attempt(1, 200, "")])), once(), &[]);
        let (failed, requests) = five_failures();
        check(Fate::AlwaysFails, Some(failed), requests, &[]);
        check(Fate::GoesAway, Some(record(End::Failed, vec![attempt(1, 410, "")])), vec![arrival(1, 410)], &[]);
    }

    #[test]
    fn what_came_before_the_switch_off_is_not_excused_by_it() {
        let absent = || evidence(Fate::IsSwitchedOff, None, vec![]);
        check_evidence(absent(), &[Breach::Lost]);
        check_evidence(switched_off(absent(), 99, None), &[Breach::Lost]);
        check_evidence(switched_off(absent(), 100, None), &[]);
        let cancelled = || evidence(Fate::IsSwitchedOff, Some(record(End::Cancelled, vec![])), vec![]);
        check_evidence(cancelled(), &[Breach::CancelledForNoReason]);
        check_evidence(switched_off(cancelled(), 99, Some(99)), &[Breach::CancelledForNoReason]);
        check_evidence(switched_off(cancelled(), 99, Some(100)), &[]);
        // A sibling's handling tells too.
        let mut late = switched_off(absent(), 99, None);
        let sibling = "dlv_01JH7VVHV8550CMES94JPY72KG";
        let key = DeliveryKey { delivery_id: sibling.parse().unwrap(), ..key() };
        late.wanted.push(Wanted { key, integration: INTEGRATION + 1, ..late.wanted[0].clone() });
        late.concerns.insert(sibling.to_owned(), Concern { delivering_until: Some(at(101)), cancelled_at: None });
        check_evidence(late, &[Breach::Lost]);
    }

    #[test]
    fn a_410_switches_off_from_then_on() {
        let other = "dlv_01JH7VVHV8550CMES94JPY72KG";
        let gone = Arrival { delivery: other.to_owned(), at: at(100), ..arrival(1, 410) };
        let check = |handled_until, expected: &[Breach]| {
            let mut evidence = evidence(Fate::GoesAway, None, vec![gone.clone()]);
            let concern = Concern { delivering_until: Some(at(handled_until)), cancelled_at: None };
            evidence.concerns.insert(DELIVERY.to_owned(), concern);
            check_evidence(evidence, expected);
        };
        check(100, &[Breach::Stray]);
        check(99, &[Breach::Lost, Breach::Stray]);
    }

    #[test]
    fn nothing_is_sent_long_after_the_switch_off() {
        let late = |seconds| Arrival { at: at(100 + seconds), ..arrival(1, 500) };
        let rejected = || Some(record(End::Cancelled, vec![attempt(1, 500, "")]));
        let limit = FINISHES_WITHIN.as_secs() as i64;
        let within = evidence(Fate::IsSwitchedOff, rejected(), vec![late(limit)]);
        check_evidence(switched_off(within, 100, Some(100)), &[]);
        let after = evidence(Fate::IsSwitchedOff, rejected(), vec![late(limit + 1)]);
        check_evidence(switched_off(after, 100, Some(100)), &[Breach::SentThoughOff { attempt: 1 }]);
    }

    #[test]
    fn an_answer_that_the_ledger_lacks_is_named() {
        let timed_out =
            |label| Attempt { status_code: None, outcome: "timed_out".to_owned(), ..attempt(1, 500, label) };
        let failed = |attempt: Attempt| {
            let rest = (2..=5).map(|number| Attempt { number, ..timed_out("") });
            Some(record(End::Failed, [attempt].into_iter().chain(rest).collect()))
        };
        let otherwise = |status| Breach::AnsweredOtherwise { attempt: 1, status, ledger: "timed_out".to_owned() };
        let accepted = || vec![arrival(1, 200)];
        check(Fate::Recovers, failed(timed_out("")), accepted(), &[otherwise(200)]);
        check(Fate::Recovers, failed(timed_out("")), vec![arrival(1, 500)], &[otherwise(500)]);
        check(Fate::Recovers, failed(timed_out("labelled")), accepted(), &[]);
        let unknown = Attempt { outcome: Attempt::UNKNOWN.to_owned(), ..timed_out("") };
        check(Fate::Recovers, failed(unknown), accepted(), &[]);
        let too_late = Arrival { answered: Some(Answered { status: 200, at: at(1) }), ..arrival(1, 200) };
        let reckoning = reckon(Fate::Recovers, failed(timed_out("")), vec![too_late]);
        assert_eq!((reckoning.breaches.len(), reckoning.answered_too_late), (0, 1));
    }

    #[test]
    fn a_request_in_whose_middle_a_worker_died_is_counted() {
        let count = |label, milliseconds| {
            let cut_off_at = Some(Timestamp::from_millisecond(milliseconds).unwrap());
            let cut_off = Arrival { answered: None, cut_off_at, ..arrival(1, 200) };
            let delivered = record(End::Delivered, vec![attempt(1, 200, label)]);
            reckon(Fate::IsSlow, Some(delivered), vec![cut_off, arrival(1, 200)]).cut_off
        };
        assert_eq!(count("labelled", 300), 1);
        // A time-out of the sender's, and nobody's death.
        assert_eq!(count("labelled", 900), 0);
        assert_eq!(count("", 300), 0);
    }

    #[test]
    fn an_endpoint_fails_in_its_own_way() {
        let failed = |code: &str| {
            let error = Some(AttemptError { code: code.to_owned(), message: String::new() });
            let attempt = |number| Attempt { number, error: error.clone(), status_code: None, ..attempt(1, 500, "") };
            Some(record(End::Failed, (1..=5).map(attempt).collect()))
        };
        check(Fate::HasNoTls, failed("tls_not_spoken"), vec![], &[]);
        check(Fate::HasNoTls, failed("timeout_connect"), vec![], &[]);
        let breach = |attempt| Breach::OtherReason { attempt, code: "closed_early".to_owned() };
        check(Fate::HasNoTls, failed("closed_early"), vec![], &[1, 2, 3, 4, 5].map(breach));
    }

    #[test]
    fn what_is_lost_or_unended_is_named() {
        check(Fate::Works, None, vec![], &[Breach::Lost]);
        check(Fate::IsSwitchedOff, None, vec![arrival(1, 500)], &[Breach::Lost]);
        let mut waiting = record(End::Delivered, vec![attempt(1, 500, "")]);
        waiting.set_entry(State::Waiting { attempt: 2, round_start: 1, due_at: Timestamp::UNIX_EPOCH }.into());
        check(Fate::Recovers, Some(waiting), vec![arrival(1, 500)], &[Breach::Unended(Status::Waiting)]);
    }

    #[test]
    fn a_duplicate_is_fine_where_it_is_labelled() {
        let twice = || vec![arrival(1, 200), arrival(1, 200)];
        let delivered = |label| Some(record(End::Delivered, vec![attempt(1, 200, label)]));
        check(Fate::Works, delivered("labelled"), twice(), &[]);
        check(Fate::Works, delivered(""), twice(), &[Breach::UnlabelledDuplicate { attempt: 1, times: 2 }]);
        let reckoning = reckon(Fate::Works, delivered("labelled"), twice());
        assert_eq!((reckoning.duplicates, reckoning.duplicates_labelled, reckoning.labelled_in_vain), (1, 1, 0));
        let reckoning = reckon(Fate::Works, delivered("labelled"), vec![arrival(1, 200)]);
        assert_eq!((reckoning.duplicates, reckoning.duplicates_labelled, reckoning.labelled_in_vain), (0, 0, 1));
    }

    #[test]
    fn ledger_and_endpoints_must_agree() {
        let delivered = || Some(record(End::Delivered, vec![attempt(1, 200, "")]));
        check(Fate::Works, delivered(), vec![], &[Breach::NobodyAnsweredThat { attempt: 1, status: 200 }]);
        let unexpected = vec![arrival(1, 200), arrival(2, 200)];
        check(Fate::Works, delivered(), unexpected, &[Breach::NotInTheLedger { attempt: 2 }]);
        let cancelled = evidence(Fate::IsSwitchedOff, Some(record(End::Cancelled, vec![])), vec![arrival(1, 500)]);
        check_evidence(switched_off(cancelled, 100, Some(100)), &[Breach::NotInTheLedger { attempt: 1 }]);
        let other = Arrival { body: Bytes::from_static(b"[]"), ..arrival(1, 200) };
        check(Fate::Works, delivered(), vec![other], &[Breach::OtherBytes { attempt: 1 }]);
        let stray = Arrival { delivery: "dlv_0".to_owned(), ..arrival(1, 200) };
        check(Fate::Works, delivered(), vec![arrival(1, 200), stray], &[Breach::Stray]);
    }

    #[test]
    fn an_end_has_its_reason() {
        let rejected = || vec![attempt(1, 500, "")];
        let once = || vec![arrival(1, 500)];
        let failed = Some(record(End::Failed, rejected()));
        check(Fate::AlwaysFails, failed, once(), &[Breach::GivenUpEarly { attempts: 1 }]);
        check(Fate::Works, Some(record(End::Delivered, rejected())), once(), &[Breach::DeliveredToNobody]);
        check(Fate::Works, Some(record(End::Cancelled, rejected())), once(), &[Breach::CancelledForNoReason]);
        let gap = vec![attempt(1, 500, ""), attempt(3, 200, "")];
        let arrivals = vec![arrival(1, 500), arrival(3, 200)];
        let expected = [Breach::AttemptsOutOfOrder(vec![1, 3])];
        check(Fate::Recovers, Some(record(End::Delivered, gap)), arrivals, &expected);
    }

    #[test]
    fn the_schedule_is_not_exceeded() {
        let attempts = (1..=6).map(|number| attempt(number, 500, "")).collect();
        let arrivals = (1..=6).map(|number| arrival(number, 500)).collect();
        let beyond = Breach::BeyondTheSchedule { attempt: 6 };
        check(Fate::AlwaysFails, Some(record(End::Failed, attempts)), arrivals, &[beyond.clone(), beyond]);
    }
}
