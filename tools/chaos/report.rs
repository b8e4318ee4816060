//! The table at the end of a run.

use std::collections::BTreeMap;

use console::style;
use harness::faults::Fault;
use harness::leaks::Leak;

use crate::reconcile::{Breach, Reckoning};

/// How many broken promises are listed.
const BREACHES_SHOWN: usize = 40;

/// Everything that there is to tell.
#[derive(Clone, Debug)]
pub(crate) struct Report<'a> {
    pub(crate) seed: u64,
    pub(crate) calls: usize,
    pub(crate) injected: &'a BTreeMap<Fault, usize>,
    pub(crate) workers_killed: usize,
    pub(crate) alerts: usize,
    pub(crate) alerts_sent_again: usize,
    pub(crate) outage_seconds: u64,
    /// How many deliveries there must be.
    pub(crate) asked_for: usize,
    /// Whether everything that the run means to provoke must have happened.
    pub(crate) is_full: bool,
    /// Failed deliveries that a line of the log tells of. A worker that dies just before it writes that line writes none.
    pub(crate) announced: usize,
    /// Messages that were given up on.
    pub(crate) dead_letters: usize,
    /// Messages and unended deliveries that were left when waiting was given up.
    pub(crate) left_over: usize,
    /// Secrets and payloads where they must not be.
    pub(crate) leaks: &'a [Leak],
    pub(crate) reckoning: &'a Reckoning,
}

impl Report<'_> {
    /// Whether every promise was kept, and enough was done to break one.
    pub(crate) fn is_as_it_must_be(&self) -> bool {
        self.reckoning.breaches.is_empty()
            && self.dead_letters == 0
            && self.left_over == 0
            && self.leaks.is_empty()
            && self.not_provoked().is_empty()
    }

    /// What did not happen that must, for the run to show anything. A short one leaves some of it to chance.
    fn not_provoked(&self) -> Vec<String> {
        let reckoning = self.reckoning;
        let mut missing = Vec::new();
        let mut must = |happened: bool, what: String| missing.extend((!happened).then_some(what));
        must(!self.injected.is_empty(), "no call failed".to_owned());
        must(self.workers_killed > 0, "no worker was killed".to_owned());
        must(
            reckoning.created >= self.asked_for,
            format!("of {} deliveries asked for, {} were created", self.asked_for, reckoning.created),
        );
        if self.is_full {
            let kinds = Fault::planned().filter(|fault| !self.injected.contains_key(fault));
            kinds.for_each(|fault| must(false, format!("no call was \"{}\"", fault.name())));
            must(reckoning.cut_off > 0, "no worker died in the middle of a request".to_owned());
            must(reckoning.duplicates > 0, "no request was made twice".to_owned());
        }
        missing
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let reckoning = self.reckoning;
        let faults: usize = self.injected.values().sum();
        let mut lines =
            vec![row("seed", self.seed), row("calls to the cloud", self.calls), row("faults injected", faults)];
        lines.extend(self.injected.iter().map(|(fault, count)| row(&format!("  {}", fault.name()), count)));
        lines.extend([
            row("DynamoDB throttled throughout for", format!("{} s", self.outage_seconds)),
            row("workers killed with SIGKILL", self.workers_killed),
            row("  requests cut off in the middle by that", reckoning.cut_off),
            row("alerts", format!("{}, and {} of them sent again", self.alerts, self.alerts_sent_again)),
            String::new(),
            row("deliveries planned", reckoning.planned),
            row("  created", reckoning.created),
            row("    delivered", reckoning.delivered),
            row("    failed, after the whole schedule or a 410", reckoning.failed),
            row("      and announced by an ERROR line", self.announced),
            row("    cancelled, their integration switched off", reckoning.cancelled),
            row("  not created, their integration off before", reckoning.not_wanted_any_more),
            row("requests at the endpoints", reckoning.requests),
            row("  duplicates among them", reckoning.duplicates),
            row("    labelled by the ledger", reckoning.duplicates_labelled),
            row("  attempts labelled, but seen once at most", reckoning.labelled_in_vain),
            row("  attempts whose outcome is unknown", reckoning.outcomes_unknown),
            row("  answered when the sender had just given up", reckoning.answered_too_late),
            String::new(),
        ]);
        let unlabelled = reckoning.count(|breach| matches!(breach, Breach::UnlabelledDuplicate { .. }));
        let named = [
            ("deliveries lost", reckoning.count(|breach| *breach == Breach::Lost)),
            ("deliveries without an end", reckoning.count(|breach| matches!(breach, Breach::Unended(_)))),
            ("duplicates that the ledger does not label", unlabelled),
            (
                "attempts beyond the schedule",
                reckoning.count(|breach| matches!(breach, Breach::BeyondTheSchedule { .. })),
            ),
            (
                "requests that the ledger does not know",
                reckoning.count(|breach| matches!(breach, Breach::NotInTheLedger { .. } | Breach::Stray)),
            ),
        ];
        let counted: usize = named.iter().map(|(_, count)| count).sum();
        lines.extend(named.map(|(what, count)| promise(what, count)));
        lines.push(promise("other disagreements with the endpoints", reckoning.breaches.len() - counted));
        lines.push(promise("messages in a dead-letter queue", self.dead_letters));
        lines.push(promise("left over when nothing moved any more", self.left_over));
        lines.push(promise("secrets and payloads where they must not be", self.leaks.len()));
        lines.extend(self.not_provoked().iter().map(|what| format!("  {} {what}", style("✗").red())));
        lines.extend(self.leaks.iter().take(BREACHES_SHOWN).map(|leak| format!("  {leak}")));
        lines.extend(self.breaches());
        lines
    }

    fn breaches(&self) -> Vec<String> {
        let breaches = &self.reckoning.breaches;
        if breaches.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![String::new()];
        lines.extend(breaches.iter().take(BREACHES_SHOWN).map(|(delivery, breach)| format!("  {delivery}: {breach}")));
        if let Some(more @ 1..) = breaches.len().checked_sub(BREACHES_SHOWN) {
            lines.push(format!("  and {more} more"));
        }
        lines
    }
}

fn row(what: &str, value: impl std::fmt::Display) -> String {
    format!("  {what:<46}{value}")
}

/// Something that must not be.
fn promise(what: &str, count: usize) -> String {
    let mark = if count == 0 { style("✓").green() } else { style("✗").red() };
    format!("  {mark} {what:<44}{count}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Report<'_>, &mut Reckoning), expected: bool) {
        let injected: BTreeMap<_, _> = Fault::planned().map(|fault| (fault, 1)).collect();
        let mut reckoning = Reckoning { created: 10, duplicates: 1, cut_off: 1, ..Reckoning::default() };
        let blank = Reckoning::default();
        let mut report = Report {
            seed: 1,
            calls: 1,
            injected: &injected,
            workers_killed: 1,
            alerts: 1,
            alerts_sent_again: 0,
            outage_seconds: 1,
            asked_for: 10,
            is_full: true,
            announced: 0,
            dead_letters: 0,
            left_over: 0,
            leaks: &[],
            reckoning: &blank,
        };
        change(&mut report, &mut reckoning);
        let report = Report { reckoning: &reckoning, ..report };
        assert_eq!(report.is_as_it_must_be(), expected);
        let broken = report.lines().iter().filter(|line| line.contains('✗')).count();
        assert_eq!(broken == 0, expected);
    }

    fn leak() -> Leak {
        let shown = harness::leaks::Shown::new("a log", "secret");
        Leak { secret: "secret".to_owned(), form: harness::leaks::Form::Plain, shown }
    }

    #[test]
    fn a_report_says_whether_all_is_well() {
        check(|_, _| {}, true);
        check(|report, _| report.dead_letters = 1, false);
        check(|report, _| report.left_over = 1, false);
        check(|report, _| report.leaks = Box::leak(Box::new([leak()])), false);
        check(|_, reckoning| reckoning.breaches.push(("dlv".to_owned(), Breach::Lost)), false);
        check(|_, reckoning| reckoning.breaches.push(("dlv".to_owned(), Breach::DeliveredToNobody)), false);
    }

    #[test]
    fn a_run_that_provoked_nothing_shows_nothing() {
        static NO_FAULTS: BTreeMap<Fault, usize> = BTreeMap::new();
        let one_kind: &BTreeMap<Fault, usize> = Box::leak(Box::new(BTreeMap::from([(Fault::Reset, 9)])));
        check(|report, _| report.workers_killed = 0, false);
        check(|report, _| report.injected = &NO_FAULTS, false);
        check(|report, _| report.asked_for = 11, false);
        check(|report, _| report.injected = one_kind, false);
        check(|_, reckoning| reckoning.duplicates = 0, false);
        check(|_, reckoning| reckoning.cut_off = 0, false);
        let short = |report: &mut Report<'_>, reckoning: &mut Reckoning| {
            report.is_full = false;
            report.injected = one_kind;
            (reckoning.duplicates, reckoning.cut_off) = (0, 0);
        };
        check(short, true);
    }
}
