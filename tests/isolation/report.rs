//! What the experiments came to: a table for people, JSON for whoever compares runs.

use console::style;
use serde::Serialize;

use crate::experiment::{Comparison, Cost, Standard};
use support::screen::Screen;

/// How much longer the 99th percentile may take under a disturbance.
pub const BUDGET: f64 = 1.2;

/// A run of all experiments.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The machine's load averages when it began and when it was over: others' work disturbs it as well.
    pub load_before: String,
    pub load_after: String,
    /// The highest rate tried that did not pile up, if there was one, and rates were tried.
    pub carried_per_second: Option<u32>,
    /// The rates of the budget that nothing is said about, because the local cloud does not carry them here.
    pub not_carried: Vec<u32>,
    pub comparisons: Vec<Comparison>,
}

impl Report {
    /// Whether every ratio that is held against the budget is within it, and all of them could be measured.
    pub fn is_within_budget(&self) -> bool {
        self.not_carried.is_empty()
            && self.comparisons.iter().all(|it| it.standard == Standard::None || it.ratio.p99 <= BUDGET)
    }

    pub fn show(&self, screen: &Screen) {
        screen.say(format!(
            "\n  {:<42}{:>17}{:>19}{:>8}{:>16}{:>8}",
            style("from queue to arrival, in ms").bold(),
            "p50",
            "p99",
            "ratio",
            "each round",
            "alerts"
        ));
        for comparison in &self.comparisons {
            screen.say(self.row(comparison));
        }
        screen.say("");
        for Comparison { what, remark, cost_without, cost_with, .. } in &self.comparisons {
            screen.say(format!("  {what}: {remark}"));
            if let (Some(without), Some(with)) = (cost_without, cost_with) {
                screen.say(format!("    function seconds for each thousand alerts: {}", cost(without)));
                screen.say(format!("    with the disturbance: {}", cost(with)));
            }
        }
        if let Some(rate) = self.carried_per_second {
            screen.say(format!("\n  The local cloud carries {rate}/s on this machine, of the rates tried."));
        }
        for rate in &self.not_carried {
            screen.say(format!(
                "  {} {rate}/s was not measured: the local cloud does not carry it on this machine.",
                style("✗").red()
            ));
        }
        screen.say(format!("\n  machine load before: {}; after: {}", self.load_before, self.load_after));
    }

    fn row(&self, it: &Comparison) -> String {
        let rounds: Vec<_> = it.p99_ratio_by_round.iter().map(|ratio| format!("{ratio:.2}")).collect();
        let rounds = if rounds.len() > 1 { rounds.join(" ") } else { String::new() };
        let verdict = match it.standard {
            Standard::None => style("not judged").dim(),
            Standard::Budget if it.ratio.p99 <= BUDGET => style("within budget").green(),
            Standard::Budget => style("over budget").red(),
        };
        format!(
            "  {:<42}{:>8.0} → {:>6.0}{:>9.0} → {:>7.0}{:>8.2}{rounds:>16}{:>8}  {verdict}",
            it.what, it.without.p50_ms, it.with.p50_ms, it.without.p99_ms, it.with.p99_ms, it.ratio.p99, it.with.alerts,
        )
    }
}

fn cost(cost: &Cost) -> String {
    format!("deliver {:.1}, retry {:.1}, in {:.0} invocations", cost.deliver, cost.retry, cost.invocations)
}
