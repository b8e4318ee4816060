//! What was measured: tables for people, JSON for whoever compares runs.

use console::{StyledObject, style};
use serde::Serialize;
use support::screen::Screen;

use crate::measure::costs::{Case, Cost};
use crate::measure::fault::Delay;
use crate::measure::growth::Growth;
use crate::measure::latency::Latency;
use crate::measure::neighbours::{Condition, Neighbours};
use crate::measure::starts::Start;
use crate::measure::work::Work;
use crate::statistics::Spread;

const MIB: f64 = 1024.0 * 1024.0;

/// A run of everything.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub starts: Vec<Start>,
    pub work: Vec<Work>,
    pub latency: Vec<Latency>,
    pub costs: Vec<Cost>,
    pub growth: Vec<Growth>,
    pub faults: Vec<Delay>,
    pub neighbours: Vec<Neighbours>,
    /// First tries of the baselines, by name.
    pub baselines: Vec<(&'static str, Cost)>,
    pub budgets: Vec<Budget>,
}

/// A figure and what it may be.
#[derive(Clone, Debug, Serialize)]
pub struct Budget {
    pub what: String,
    pub found: f64,
    pub at_most: f64,
    pub unit: &'static str,
}

impl Budget {
    pub fn is_kept(&self) -> bool {
        self.found <= self.at_most
    }
}

impl Report {
    /// Holds what was measured against the budgets of the design's section 8. That the healthy path makes its two writes and
    /// one read and nothing else is not among them: a run in which it does not has failed already.
    pub fn judge(&mut self) {
        let work = |who| self.work.iter().find(|work| work.who == who).map_or(f64::NAN, |work| work.cpu_us.median);
        let memory =
            |who| self.work.iter().find(|work| work.who == who).map_or(f64::NAN, |work| work.peak_memory as f64);
        let start = |who| self.starts.iter().find(|start| start.who == who);
        let wall = |who| start(who).map_or(f64::NAN, |start| start.wall_ms.median);
        let zipped = |who| start(who).and_then(|start| start.size).map_or(f64::NAN, |size| size.zipped as f64 / MIB);
        let total = |case| self.costs.iter().find(|cost| cost.case == case).map_or(f64::NAN, |cost| cost.total);
        let budget = |what: &str, found, at_most, unit| Budget { what: what.to_owned(), found, at_most, unit };
        self.budgets = vec![
            budget("a million first-try deliveries, full batches", total(Case::FirstTry), 2.0, "$"),
            budget("a million first-try deliveries, batches of one", total(Case::BatchOfOne), 4.0, "$"),
            budget("processor time of a delivery, in floors", work("deliver") / work("the floor"), 2.0, "×"),
            budget("processor time of a delivery", work("deliver") / 1e3, 0.22, "ms"),
            budget(
                "`deliver` starts, beyond a Lambda that does nothing",
                wall("deliver") - wall("nothing"),
                15.0,
                "ms",
            ),
            budget("`retry` starts, beyond a Lambda that does nothing", wall("retry") - wall("nothing"), 15.0, "ms"),
            budget("`deliver` zipped", zipped("deliver"), 3.25, "MiB"),
            budget("`retry` zipped", zipped("retry"), 3.25, "MiB"),
            budget("peak memory of `deliver`, ten in flight", memory("deliver") / MIB, 32.0, "MiB"),
            budget("peak memory of `retry`, ten in flight", memory("retry") / MIB, 32.0, "MiB"),
        ];
        self.budgets.extend(self.faults.iter().map(|delay| {
            let what = format!("an alert arrives, {}", delay.fault);
            budget(&what, delay.seconds.most, 10.0, "s")
        }));
        for Neighbours { per_second, measured } in &self.neighbours {
            // The budget is about endpoints that are known to hang. Until then, sandboxes come into use that nothing is open in.
            let judged = measured.iter().filter(|it| it.condition == Condition::SomeHang);
            self.budgets.extend(judged.map(|it| {
                let what = format!("p99 to arrival at {per_second}/s, {}", it.condition.words());
                budget(&what, it.ratio, 1.2, "×")
            }));
        }
        self.budgets.retain(|budget| budget.found.is_finite());
    }

    /// Shows the parts that were measured.
    pub fn show(&self, screen: &Screen) {
        if !self.work.is_empty() {
            self.show_work(screen);
        }
        if !self.starts.is_empty() {
            self.show_starts(screen);
        }
        if !self.latency.is_empty() {
            self.show_latency(screen);
        }
        if !self.costs.is_empty() {
            self.show_costs(screen);
        }
        if !self.growth.is_empty() {
            self.show_growth(screen);
        }
        if !self.faults.is_empty() {
            self.show_faults(screen);
        }
        if !self.neighbours.is_empty() {
            self.show_neighbours(screen);
        }
        if !self.budgets.is_empty() {
            self.show_budgets(screen);
        }
    }

    fn show_work(&self, screen: &Screen) {
        let floor = self.work.iter().find(|work| work.who == "the floor").map_or(f64::NAN, |work| work.cpu_us.median);
        let ours = self.work.iter().find(|work| work.who == "deliver").map_or(f64::NAN, |work| work.cpu_us.median);
        screen.say(heading(
            "work of a delivery",
            &["CPU, µs", "least–most", "× floor", "× ours", "per CPU s", "peak, MiB"],
        ));
        for work in &self.work {
            let cpu = work.cpu_us;
            screen.say(row(
                work.who,
                &[
                    format!("{:.0}", cpu.median),
                    range(cpu, 0),
                    format!("{:.2}", cpu.median / floor),
                    format!("{:.1}", cpu.median / ours),
                    format!("{:.0}", work.per_cpu_second()),
                    format!("{:.1}", work.peak_memory as f64 / MIB),
                ],
            ));
        }
    }

    fn show_starts(&self, screen: &Screen) {
        let nothing =
            self.starts.iter().find(|start| start.who == "nothing").map_or(f64::NAN, |start| start.wall_ms.median);
        screen.say(heading(
            "from start to first poll",
            &["ms", "least–most", "more", "CPU, ms", "binary, MB", "zip, MiB"],
        ));
        for start in &self.starts {
            let size = |bytes: fn(&crate::measure::starts::Size) -> f64| {
                start.size.as_ref().map_or("–".to_owned(), |size| format!("{:.1}", bytes(size)))
            };
            screen.say(row(
                start.who,
                &[
                    format!("{:.1}", start.wall_ms.median),
                    range(start.wall_ms, 1),
                    format!("{:+.1}", start.wall_ms.median - nothing),
                    format!("{:.1}", start.cpu_ms.median),
                    size(|size| size.binary as f64 / 1e6),
                    size(|size| size.zipped as f64 / MIB),
                ],
            ));
        }
    }

    fn show_latency(&self, screen: &Screen) {
        screen.say(heading("added time, in ms", &["sent p50", "sent p99", "acked p50", "acked p99", "", ""]));
        for latency in &self.latency {
            let (sent, acknowledged) = (latency.until_sent_ms, latency.until_acknowledged_ms);
            let times = [sent.p50, sent.p99, acknowledged.p50, acknowledged.p99];
            screen.say(row(latency.who, &times.map(|time| format!("{time:.2}"))));
        }
    }

    fn show_costs(&self, screen: &Screen) {
        screen.say(heading(
            "a million deliveries, in $",
            &["total", "Lambda", "SQS", "DynamoDB", "waits", "logs", "egress"],
        ));
        let all = self.costs.iter().map(|cost| (cost.case.words(), cost));
        for (what, cost) in all.chain(self.baselines.iter().map(|(who, cost)| (*who, cost))) {
            let bill = &cost.bill;
            screen.say(row(
                what,
                &[
                    format!("{:.2}", cost.total),
                    format!("{:.2}", bill.lambda_requests + bill.lambda_time),
                    format!("{:.2}", bill.sqs),
                    format!("{:.2}", bill.dynamodb),
                    format!("{:.2}", bill.step_functions),
                    format!("{:.2}", bill.logs),
                    format!("{:.2}", bill.egress),
                ],
            ));
        }
        if let Some(cost) = self.costs.first() {
            let lines = [
                format!(
                    "Each first try writes {:.2} units, reads {:.2}, logs {:.0} bytes.",
                    cost.write_units, cost.read_units, cost.log_bytes
                ),
                format!(
                    "Keeping a million for 30 days costs ${:.2} more once the account's 25 free GB are used up.",
                    cost.storage
                ),
            ];
            lines.iter().for_each(|line| screen.say(format!("  {}", style(line).dim())));
        }
    }

    fn show_growth(&self, screen: &Screen) {
        screen.say(heading("growth", &["CPU, µs", "least–most", "write units", "read units", "calls", "$ a million"]));
        for growth in &self.growth {
            screen.say(row(
                &format!("{} {}", growth.what, growth.size),
                &[
                    format!("{:.0}", growth.cpu_us.median),
                    range(growth.cpu_us, 0),
                    format!("{:.2}", growth.write_units),
                    format!("{:.2}", growth.read_units),
                    format!("{:.2}", growth.calls),
                    format!("{:.2}", growth.total),
                ],
            ));
        }
    }

    fn show_faults(&self, screen: &Screen) {
        screen.say(heading("from receive to arrival", &["s", "least–most"]));
        for Delay { fault, seconds } in &self.faults {
            screen.say(row(fault, &[format!("{:.2}", seconds.median), range(*seconds, 2)]));
        }
    }

    fn show_neighbours(&self, screen: &Screen) {
        screen.say(heading("from queue to arrival, in ms", &["p50", "p99", "× p99", "alerts", "deliver, ms"]));
        for neighbours in &self.neighbours {
            for it in &neighbours.measured {
                screen.say(row(
                    &format!("{}/s, {}", neighbours.per_second, it.condition.words()),
                    &[
                        format!("{:.1}", it.arrival_ms.p50),
                        format!("{:.1}", it.arrival_ms.p99),
                        format!("{:.2}", it.ratio),
                        format!("{}", it.alerts),
                        format!("{:.1}", it.deliver_ms),
                    ],
                ));
            }
        }
    }

    fn show_budgets(&self, screen: &Screen) {
        screen.say(heading("budgets", &["found", "at most", "", "", "", ""]));
        for budget in &self.budgets {
            let figure = |value: f64| match budget.unit {
                "$" => format!("${value:.2}"),
                unit => format!("{value:.2} {unit}"),
            };
            let verdict = if budget.is_kept() { style("kept").green() } else { style("over").red() };
            screen.say(format!(
                "  {:<52}{:>12}{:>12}  {verdict}",
                budget.what,
                figure(budget.found),
                figure(budget.at_most)
            ));
        }
    }
}

fn range(spread: Spread, digits: usize) -> String {
    format!("{:.digits$}–{:.digits$}", spread.least, spread.most)
}

fn heading(what: &str, columns: &[&str]) -> String {
    let columns: String = columns.iter().map(|column| format!("{column:>12}")).collect();
    let heading: StyledObject<String> = style(format!("{what:<34}{columns}")).bold();
    format!("\n  {heading}")
}

fn row(what: &str, columns: &[String]) -> String {
    let columns: String = columns.iter().map(|column| format!("{column:>12}")).collect();
    format!("  {what:<34}{columns}")
}
