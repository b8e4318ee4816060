//! The report at the end of a run.

use std::collections::BTreeMap;

use console::style;
use harness::faults::Fault;
use harness::leaks::Leak;

use crate::reconcile::{Reconciliation, Violation};

/// How many violations are listed.
const MAX_LISTED: usize = 40;

/// The figures of a run.
#[derive(Clone, Debug)]
pub(crate) struct Report<'a> {
    pub(crate) seed: u64,
    pub(crate) calls: usize,
    /// How many calls got each fault.
    pub(crate) faults: &'a BTreeMap<Fault, usize>,
    pub(crate) workers_killed: usize,
    pub(crate) alerts: usize,
    pub(crate) alerts_sent_twice: usize,
    pub(crate) outage_seconds: u64,
    /// How many deliveries there have to be at least.
    pub(crate) min_deliveries: usize,
    /// Whether the run was long enough for every kind of fault to occur.
    pub(crate) is_full: bool,
    /// Failed deliveries with a line in the log that says so. A worker that dies just before it writes the line writes
    /// none.
    pub(crate) logged_failures: usize,
    /// Messages in the dead-letter queues.
    pub(crate) dead_letters: usize,
    /// Messages and open deliveries that were left at the end.
    pub(crate) left_over: usize,
    /// Secrets and payloads where they must not be.
    pub(crate) leaks: &'a [Leak],
    pub(crate) reconciliation: &'a Reconciliation,
}

impl Report<'_> {
    /// Whether every guarantee held, and enough was injected to test them.
    pub(crate) fn is_pass(&self) -> bool {
        self.reconciliation.violations.is_empty()
            && self.dead_letters == 0
            && self.left_over == 0
            && self.leaks.is_empty()
            && self.not_injected().is_empty()
    }

    /// What has to be injected for the run to show anything, and was not. A short run leaves some of it to chance.
    fn not_injected(&self) -> Vec<String> {
        let reconciliation = self.reconciliation;
        let mut missing = Vec::new();
        let mut require = |happened: bool, what: String| missing.extend((!happened).then_some(what));
        require(!self.faults.is_empty(), "no call failed".to_owned());
        require(self.workers_killed > 0, "no worker was killed".to_owned());
        require(
            reconciliation.created >= self.min_deliveries,
            format!("only {} of {} deliveries were created", reconciliation.created, self.min_deliveries),
        );
        if self.is_full {
            let kinds = Fault::all().filter(|fault| !self.faults.contains_key(fault));
            kinds.for_each(|fault| require(false, format!("no call got the fault \"{}\"", fault.name())));
            require(reconciliation.interrupted > 0, "no worker died in the middle of a request".to_owned());
            require(reconciliation.duplicates > 0, "no request was made twice".to_owned());
        }
        missing
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let reconciliation = self.reconciliation;
        let faults: usize = self.faults.values().sum();
        let mut lines =
            vec![row("seed", self.seed), row("calls to the cloud", self.calls), row("faults injected", faults)];
        lines.extend(self.faults.iter().map(|(fault, count)| row(&format!("  {}", fault.name()), count)));
        lines.extend([
            row("DynamoDB outage", format!("{} s", self.outage_seconds)),
            row("workers killed", self.workers_killed),
            row("  in the middle of a request", reconciliation.interrupted),
            row("alerts sent", format!("{}, {} of them twice", self.alerts, self.alerts_sent_twice)),
            String::new(),
            row("deliveries planned", reconciliation.planned),
            row("  created", reconciliation.created),
            row("    delivered", reconciliation.delivered),
            row("    failed, after five attempts or a 410", reconciliation.failed),
            row("      with an ERROR line in the log", self.logged_failures),
            row("    cancelled, integration switched off", reconciliation.cancelled),
            row("  not created, integration switched off before", reconciliation.no_longer_wanted),
            row("requests received by endpoints", reconciliation.requests),
            row("  duplicates", reconciliation.duplicates),
            row("    marked as possible in the ledger", reconciliation.duplicates_marked),
            row("  marked as possible duplicates, but were none", reconciliation.marked_without_duplicate),
            row("  attempts with an unknown outcome", reconciliation.outcomes_unknown),
            row("  answered just after the timeout", reconciliation.answered_too_late),
            String::new(),
        ]);
        let unmarked = reconciliation.count(|violation| matches!(violation, Violation::UnmarkedDuplicate { .. }));
        let named = [
            ("deliveries lost", reconciliation.count(|violation| *violation == Violation::Lost)),
            (
                "deliveries that have not ended",
                reconciliation.count(|violation| matches!(violation, Violation::NotEnded(_))),
            ),
            ("duplicates not marked in the ledger", unmarked),
            (
                "attempts that exceed the schedule",
                reconciliation.count(|violation| matches!(violation, Violation::TooManyAttempts { .. })),
            ),
            (
                "requests that are not in the ledger",
                reconciliation
                    .count(|violation| matches!(violation, Violation::NotInLedger { .. } | Violation::Unexpected)),
            ),
        ];
        let counted: usize = named.iter().map(|(_, count)| count).sum();
        lines.extend(named.map(|(what, count)| zero_row(what, count)));
        lines.push(zero_row(
            "other differences between ledger and endpoints",
            reconciliation.violations.len() - counted,
        ));
        lines.push(zero_row("messages in the dead-letter queues", self.dead_letters));
        lines.push(zero_row("messages and deliveries left over", self.left_over));
        lines.push(zero_row("secrets and payloads where they must not be", self.leaks.len()));
        lines.extend(self.not_injected().iter().map(|what| format!("  {} {what}", style("✗").red())));
        lines.extend(self.leaks.iter().take(MAX_LISTED).map(|leak| format!("  {leak}")));
        lines.extend(self.violations());
        lines
    }

    fn violations(&self) -> Vec<String> {
        let violations = &self.reconciliation.violations;
        if violations.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![String::new()];
        lines.extend(
            violations.iter().take(MAX_LISTED).map(|(delivery, violation)| format!("  {delivery}: {violation}")),
        );
        if let Some(more @ 1..) = violations.len().checked_sub(MAX_LISTED) {
            lines.push(format!("  and {more} more"));
        }
        lines
    }
}

fn row(what: &str, value: impl std::fmt::Display) -> String {
    format!("  {what:<46}{value}")
}

/// A row whose count has to be zero.
fn zero_row(what: &str, count: usize) -> String {
    let mark = if count == 0 { style("✓").green() } else { style("✗").red() };
    format!("  {mark} {what:<44}{count}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Report<'_>, &mut Reconciliation), expected: bool) {
        let injected: BTreeMap<_, _> = Fault::all().map(|fault| (fault, 1)).collect();
        let mut reconciliation =
            Reconciliation { created: 10, duplicates: 1, interrupted: 1, ..Reconciliation::default() };
        let blank = Reconciliation::default();
        let mut report = Report {
            seed: 1,
            calls: 1,
            faults: &injected,
            workers_killed: 1,
            alerts: 1,
            alerts_sent_twice: 0,
            outage_seconds: 1,
            min_deliveries: 10,
            is_full: true,
            logged_failures: 0,
            dead_letters: 0,
            left_over: 0,
            leaks: &[],
            reconciliation: &blank,
        };
        change(&mut report, &mut reconciliation);
        let report = Report { reconciliation: &reconciliation, ..report };
        assert_eq!(report.is_pass(), expected);
        let broken = report.lines().iter().filter(|line| line.contains('✗')).count();
        assert_eq!(broken == 0, expected);
    }

    fn leak() -> Leak {
        let found_in = harness::leaks::VisibleText::new("a log", "secret");
        Leak { secret: "secret".to_owned(), form: harness::leaks::Form::Plain, found_in }
    }

    #[test]
    fn a_run_passes_when_every_guarantee_held() {
        check(|_, _| {}, true);
        check(|report, _| report.dead_letters = 1, false);
        check(|report, _| report.left_over = 1, false);
        check(|report, _| report.leaks = Box::leak(Box::new([leak()])), false);
        check(|_, reconciliation| reconciliation.violations.push(("dlv".to_owned(), Violation::Lost)), false);
        check(|_, reconciliation| reconciliation.violations.push(("dlv".to_owned(), Violation::NotAccepted)), false);
    }

    #[test]
    fn a_run_that_injected_too_little_does_not_pass() {
        static NO_FAULTS: BTreeMap<Fault, usize> = BTreeMap::new();
        let one_kind: &BTreeMap<Fault, usize> = Box::leak(Box::new(BTreeMap::from([(Fault::Reset, 9)])));
        check(|report, _| report.workers_killed = 0, false);
        check(|report, _| report.faults = &NO_FAULTS, false);
        check(|report, _| report.min_deliveries = 11, false);
        check(|report, _| report.faults = one_kind, false);
        check(|_, reconciliation| reconciliation.duplicates = 0, false);
        check(|_, reconciliation| reconciliation.interrupted = 0, false);
        let short = |report: &mut Report<'_>, reconciliation: &mut Reconciliation| {
            report.is_full = false;
            report.faults = one_kind;
            (reconciliation.duplicates, reconciliation.interrupted) = (0, 0);
        };
        check(short, true);
    }
}
