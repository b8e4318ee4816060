//! Compares what was wanted, what the ledger says, and what the endpoints saw: delivery by delivery, request by request.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use shared::delivery::{Attempt, DeliveryKey, Record, Status};

use crate::endpoints::Arrival;
use crate::plan::{Fate, MOST_ATTEMPTS};
use crate::stage::Wanted;

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
    /// Cancelled, though its integration wanted it.
    CancelledForNoReason,
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
            Self::CancelledForNoReason => write!(f, "cancelled, though its integration wanted it"),
            Self::OtherBytes { attempt } => write!(f, "attempt {attempt} was sent other bytes"),
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reckoning {
    pub(crate) deliveries: usize,
    pub(crate) delivered: usize,
    pub(crate) failed: usize,
    pub(crate) cancelled: usize,
    /// Not created, because the integration was off when the alert came.
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
    pub(crate) breaches: Vec<(String, Breach)>,
}

impl Reckoning {
    /// How many breaches are of that kind.
    pub(crate) fn count(&self, is_it: impl Fn(&Breach) -> bool) -> usize {
        self.breaches.iter().filter(|(_, breach)| is_it(breach)).count()
    }
}

/// Compares everything with everything.
pub(crate) fn reconcile(
    wanted: &[Wanted],
    records: &HashMap<DeliveryKey, Record>,
    arrivals: Vec<Arrival>,
) -> Reckoning {
    let mut reckoning = Reckoning { deliveries: wanted.len(), requests: arrivals.len(), ..Reckoning::default() };
    let mut seen: HashMap<String, BTreeMap<u32, Vec<Arrival>>> = HashMap::new();
    for arrival in arrivals {
        seen.entry(arrival.delivery.clone()).or_default().entry(arrival.attempt).or_default().push(arrival);
    }
    let mut unwanted: HashMap<_, _> = records.iter().collect();
    for wanted in wanted {
        let name = wanted.key.delivery_id.to_string();
        let requests = seen.remove(&name).unwrap_or_default();
        let mut breaches = Vec::new();
        reckoning.add(wanted, unwanted.remove(&wanted.key), &requests, &mut breaches);
        let name = format!("{name} ({})", wanted.fate.name());
        reckoning.breaches.extend(breaches.into_iter().map(|breach| (name.clone(), breach)));
    }
    let strays = unwanted.keys().map(|key| key.delivery_id.to_string()).chain(seen.into_keys());
    reckoning.breaches.extend(strays.map(|name| (name, Breach::Stray)));
    reckoning
}

impl Reckoning {
    fn add(
        &mut self,
        wanted: &Wanted,
        record: Option<&Record>,
        requests: &BTreeMap<u32, Vec<Arrival>>,
        breaches: &mut Vec<Breach>,
    ) {
        let Some(record) = record else {
            if wanted.fate.ends_midway() && requests.is_empty() {
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
        breaches.extend(wrong_end(wanted.fate, record));
        breaches.extend(record.attempts.iter().filter_map(|attempt| wrong_answer(attempt, requests)));
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
            if number > MOST_ATTEMPTS {
                breaches.push(Breach::BeyondTheSchedule { attempt: number });
            }
            if arrivals.iter().any(|arrival| arrival.body != wanted.body) {
                breaches.push(Breach::OtherBytes { attempt: number });
            }
        }
        let times = |attempt: &Attempt| requests.get(&attempt.number).map_or(0, Vec::len);
        let labelled = record.attempts.iter().filter(|attempt| attempt.possible_duplicate);
        self.labelled_in_vain += labelled.filter(|attempt| times(attempt) < 2).count();
        self.outcomes_unknown += record.attempts.iter().filter(|attempt| attempt.outcome == "unknown").count();
    }
}

/// Whether a delivery ended as it must not have.
fn wrong_end(fate: Fate, record: &Record) -> Option<Breach> {
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
        Status::Failed if fate == Fate::GoesAway && last.and_then(|attempt| attempt.status_code) == Some(410) => None,
        Status::Failed if numbers.len() < MOST_ATTEMPTS as usize => {
            Some(Breach::GivenUpEarly { attempts: numbers.len() })
        }
        Status::Cancelled if !fate.ends_midway() => Some(Breach::CancelledForNoReason),
        _ => None,
    }
}

/// Whether the ledger has an answer to an attempt that nobody gave.
fn wrong_answer(attempt: &Attempt, requests: &BTreeMap<u32, Vec<Arrival>>) -> Option<Breach> {
    let status = attempt.status_code?;
    let mut arrivals = requests.get(&attempt.number).into_iter().flatten();
    let was_given = arrivals.any(|arrival| arrival.answered == Some(status));
    (!was_given).then_some(Breach::NobodyAnsweredThat { attempt: attempt.number, status })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use jiff::Timestamp;
    use shared::alert_event::EventType;
    use shared::delivery::Identity;
    use shared::ids::OrganizationId;
    use shared::ledger::{End, State};

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

    fn arrival(attempt: u32, answered: u16) -> Arrival {
        let body = Bytes::from_static(BODY.as_bytes());
        Arrival { delivery: DELIVERY.to_owned(), attempt, body, answered: Some(answered) }
    }

    fn reckon(fate: Fate, record: Option<Record>, arrivals: Vec<Arrival>) -> Reckoning {
        let wanted = [Wanted { key: key(), fate, body: BODY.to_owned() }];
        reconcile(&wanted, &record.into_iter().map(|record| (key(), record)).collect(), arrivals)
    }

    #[track_caller]
    fn check(fate: Fate, record: Option<Record>, arrivals: Vec<Arrival>, expected: &[Breach]) {
        let reckoning = reckon(fate, record, arrivals);
        let breaches: Vec<_> = reckoning.breaches.into_iter().map(|(_, breach)| breach).collect();
        assert_eq!(breaches, expected);
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
        check(Fate::IsSwitchedOff, Some(record(End::Cancelled, vec![])), vec![], &[]);
        check(Fate::IsSwitchedOff, None, vec![], &[]);
    }

    #[test]
    fn what_is_lost_or_unended_is_named() {
        check(Fate::Works, None, vec![], &[Breach::Lost]);
        check(Fate::IsSwitchedOff, None, vec![arrival(1, 500)], &[Breach::Lost]);
        let mut waiting = record(End::Delivered, vec![attempt(1, 500, "")]);
        waiting.enter(&State::Waiting { attempt: 2, round_start: 1, due_at: Timestamp::UNIX_EPOCH });
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
        let cancelled = Some(record(End::Cancelled, vec![]));
        check(Fate::IsSwitchedOff, cancelled, vec![arrival(1, 500)], &[Breach::NotInTheLedger { attempt: 1 }]);
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
