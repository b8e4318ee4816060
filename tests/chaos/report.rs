//! The table at the end of a run.

use std::collections::BTreeMap;

use console::style;

use crate::faults::Fault;
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
    /// Failed deliveries that a line of the log tells of. A worker that dies just before it writes that line writes none.
    pub(crate) announced: usize,
    /// Messages that were given up on.
    pub(crate) dead_letters: usize,
    /// Messages and unended deliveries that were left when waiting was given up.
    pub(crate) left_over: usize,
    pub(crate) reckoning: &'a Reckoning,
}

impl Report<'_> {
    /// Whether every promise was kept, and anything was done to break one.
    pub(crate) fn is_as_it_must_be(&self) -> bool {
        self.reckoning.breaches.is_empty()
            && self.dead_letters == 0
            && self.left_over == 0
            && !self.injected.is_empty()
            && self.workers_killed > 0
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
            row("alerts", format!("{}, and {} of them sent again", self.alerts, self.alerts_sent_again)),
            String::new(),
            row("deliveries", reckoning.deliveries),
            row("  delivered", reckoning.delivered),
            row("  failed, after the whole schedule or a 410", reckoning.failed),
            row("    and announced by an ERROR line", self.announced),
            row("  cancelled, their integration switched off", reckoning.cancelled),
            row("  not created, their integration off before", reckoning.not_wanted_any_more),
            row("requests at the endpoints", reckoning.requests),
            row("  duplicates among them", reckoning.duplicates),
            row("  attempts labelled, but seen once at most", reckoning.labelled_in_vain),
            row("  attempts whose outcome is unknown", reckoning.outcomes_unknown),
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
        if self.injected.is_empty() || self.workers_killed == 0 {
            lines.push(format!("  {} nothing was done to break a promise", style("✗").red()));
        }
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
        let injected = BTreeMap::from([(Fault::Reset, 1)]);
        let mut reckoning = Reckoning::default();
        let blank = Reckoning::default();
        let mut report = Report {
            seed: 1,
            calls: 1,
            injected: &injected,
            workers_killed: 1,
            alerts: 1,
            alerts_sent_again: 0,
            outage_seconds: 1,
            announced: 0,
            dead_letters: 0,
            left_over: 0,
            reckoning: &blank,
        };
        change(&mut report, &mut reckoning);
        let report = Report { reckoning: &reckoning, ..report };
        assert_eq!(report.is_as_it_must_be(), expected);
        let broken = report.lines().iter().filter(|line| line.contains('✗')).count();
        assert_eq!(broken == 0, expected);
    }

    #[test]
    fn a_report_says_whether_all_is_well() {
        check(|_, _| {}, true);
        check(|report, _| report.dead_letters = 1, false);
        check(|report, _| report.left_over = 1, false);
        check(|report, _| report.workers_killed = 0, false);
        check(|_, reckoning| reckoning.breaches.push(("dlv".to_owned(), Breach::Lost)), false);
        check(|_, reckoning| reckoning.breaches.push(("dlv".to_owned(), Breach::DeliveredToNobody)), false);
    }
}
