//! The results of each part as a section: tables, and its figures beside their budgets.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;
use serde_json::Value;

use crate::budgets::{self, Judgement};
use crate::measure::comparison::Comparison;
use crate::measure::costs::{Case, Cost};
use crate::measure::fault::Delay;
use crate::measure::growth::Growth;
use crate::measure::latency::Latency;
use crate::measure::starts::{Size, Start};
use crate::measure::work::Work;
use crate::statistics::Spread;
use crate::table::Table;

const MIB: f64 = 1024.0 * 1024.0;

/// What a part of the benchmark found.
#[derive(Clone, Debug)]
pub struct Section {
    /// The part's name, as in `make bench ONLY=work`.
    pub part: &'static str,
    tables: Vec<Table>,
    notes: Vec<String>,
    pub judgements: Vec<Judgement>,
    /// All that was measured, for programs.
    pub data: Value,
}

impl Section {
    fn new(part: &'static str, table: Table, data: &impl Serialize) -> Self {
        let data = serde_json::to_value(data).expect("results are plain data");
        Self { part, tables: vec![table], notes: Vec::new(), judgements: Vec::new(), data }
    }

    fn judged(self, judgements: impl IntoIterator<Item = Judgement>) -> Self {
        Self { judgements: judgements.into_iter().collect(), ..self }
    }
}

impl Display for Section {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        self.tables.iter().try_for_each(|table| writeln!(formatter, "{table}"))?;
        self.notes.iter().try_for_each(|note| writeln!(formatter, "{note}\n"))?;
        if self.judgements.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(["budget", "of", "at most", "found", ""]);
        for judgement in &self.judgements {
            let Judgement { budget, of, found } = judgement;
            let verdict = if judgement.is_met() { "met" } else { "**over**" };
            let figures = [budget.at_most, *found].map(|figure| budget.unit.format(figure));
            let [at_most, found] = figures;
            table.row([budget.what.to_owned(), of.clone(), at_most, found, verdict.to_owned()]);
        }
        writeln!(formatter, "{table}")
    }
}

/// From execution to the first poll.
pub fn starts(starts: &[Start]) -> Section {
    let nothing = starts.iter().find(|start| start.who == "nothing").map_or(f64::NAN, |start| start.wall_ms.median);
    let mut table = Table::new(["function", "ms", "least–most", "beyond nothing", "CPU, ms", "binary, MB", "zip, MiB"]);
    for start in starts {
        let size = |show: fn(Size) -> f64| start.size.map_or("–".to_owned(), |size| format!("{:.2}", show(size)));
        table.row([
            start.who.to_owned(),
            format!("{:.1}", start.wall_ms.median),
            range(start.wall_ms, 1),
            format!("{:+.1}", start.wall_ms.median - nothing),
            format!("{:.1}", start.cpu_ms.median),
            size(|size| size.binary as f64 / 1e6),
            size(|size| size.zipped as f64 / MIB),
        ]);
    }
    let delivering = || starts.iter().filter(|start| ["deliver", "retry"].contains(&start.who));
    let beyond = delivering().map(|start| budgets::START.judge(start.who, start.wall_ms.median - nothing));
    let zipped = delivering()
        .filter_map(|start| start.size.map(|size| budgets::ZIPPED.judge(start.who, size.zipped as f64 / MIB)));
    Section::new("starts", table, &starts).judged(beyond.chain(zipped))
}

/// Processor time and memory of a delivery.
pub fn work(work: &[Work]) -> Section {
    let median = |who| work.iter().find(|work| work.who == who).map_or(f64::NAN, |work| work.cpu_us.median);
    let (floor, ours) = (median("the floor"), median("deliver"));
    let mut table = Table::new(["sender", "CPU, µs", "least–most", "× floor", "× ours", "per CPU s", "peak, MiB"]);
    for work in work {
        let cpu = work.cpu_us;
        table.row([
            work.who.to_owned(),
            format!("{:.0}", cpu.median),
            range(cpu, 0),
            format!("{:.1}", cpu.median / floor),
            format!("{:.1}", cpu.median / ours),
            format!("{:.0}", work.per_cpu_second()),
            format!("{:.1}", work.peak_memory as f64 / MIB),
        ]);
    }
    let memory = work.iter().filter(|work| ["deliver", "retry"].contains(&work.who));
    let memory = memory.map(|work| budgets::MEMORY.judge(work.who, work.peak_memory as f64 / MIB));
    Section::new("work", table, &work).judged([budgets::WORK.judge("deliver", ours / 1e3)].into_iter().chain(memory))
}

/// The time that is added to a delivery.
pub fn latency(latency: &[Latency]) -> Section {
    let mut table = Table::new(["sender", "sent, p50 ms", "p99", "acknowledged, p50 ms", "p99"]);
    for latency in latency {
        let (sent, acknowledged) = (latency.until_sent_ms, latency.until_acknowledged_ms);
        let [a, b, c, d] = [sent.p50, sent.p99, acknowledged.p50, acknowledged.p99].map(|time| format!("{time:.2}"));
        table.row([latency.who.to_owned(), a, b, c, d]);
    }
    Section::new("latency", table, &latency)
}

/// What a million deliveries cost, and a million of the baselines' first tries.
pub fn costs(costs: &[Cost], baselines: &[(&'static str, Cost)]) -> Section {
    let mut table =
        Table::new(["a million deliveries", "total", "DynamoDB", "Lambda", "SQS", "waits", "logs", "egress"]);
    let ours = costs.iter().map(|cost| (cost.case.label().to_owned(), cost));
    let baselines_named =
        baselines.iter().map(|(who, cost)| (format!("the same in {who}: {}", cost.case.label()), cost));
    for (what, Cost { bill, total, .. }) in ours.chain(baselines_named) {
        let lambda = bill.lambda_requests + bill.lambda_time;
        let [a, b, c, d, e, f, g] =
            [*total, bill.dynamodb, lambda, bill.sqs, bill.step_functions, bill.logs, bill.egress]
                .map(|dollars| format!("${dollars:.2}"));
        table.row([what, a, b, c, d, e, f, g]);
    }
    let budget = |case| match case {
        Case::FirstTry => Some(budgets::MILLION),
        Case::BatchOfOne => Some(budgets::MILLION_ONE_BY_ONE),
        Case::AllFive => Some(budgets::MILLION_FAILED),
        Case::TenIntegrations | Case::SlowEndpoint | Case::ThirdAttempt => None,
    };
    let judged = costs.iter().filter_map(|cost| Some(budget(cost.case)?.judge("both functions", cost.total)));
    let note = costs.iter().find(|cost| cost.case == Case::FirstTry).map(|cost| {
        format!(
            "A first try writes {:.2} units, reads {:.2}, and logs {:.0} bytes. Keeping a million deliveries for 30 \
             days costs ${:.2} more, once the account's 25 free GB are used up.",
            cost.write_units, cost.read_units, cost.log_bytes, cost.storage
        )
    });
    let section = Section::new("costs", table, &(costs, baselines)).judged(judged);
    Section { notes: note.into_iter().collect(), ..section }
}

/// How a delivery's cost grows.
pub fn growth(growth: &[Growth]) -> Section {
    let mut table =
        Table::new(["size", "CPU, µs", "least–most", "write units", "read units", "AWS calls", "a million"]);
    for growth in growth {
        table.row([
            growth.size.clone(),
            format!("{:.0}", growth.cpu_us.median),
            range(growth.cpu_us, 0),
            format!("{:.2}", growth.write_units),
            format!("{:.2}", growth.read_units),
            format!("{:.2}", growth.calls),
            format!("${:.2}", growth.total),
        ]);
    }
    Section::new("growth", table, &growth)
}

/// How late a fault makes an alert.
pub fn faults(delays: &[Delay]) -> Section {
    let mut table = Table::new(["fault", "s", "least–most"]);
    for Delay { fault, seconds } in delays {
        table.row([(*fault).to_owned(), format!("{:.2}", seconds.median), range(*seconds, 2)]);
    }
    let judged = delays.iter().map(|delay| budgets::FAULT.judge(delay.fault, delay.seconds.most));
    Section::new("fault", table, &delays).judged(judged)
}

/// What alerts notice of a disturbance.
pub fn neighbours(part: &'static str, comparisons: &[Comparison]) -> Section {
    let mut table =
        Table::new(["from queue to arrival", "p50, ms", "p99, ms", "× p99", "arrivals", "`deliver` ms an alert"]);
    let (mut judgements, mut notes) = (Vec::new(), Vec::new());
    for Comparison { what, measured } in comparisons {
        for it in measured {
            let label = format!("{what}, {}", it.condition.label());
            table.row([
                label.clone(),
                format!("{:.1}", it.arrival_ms.p50),
                format!("{:.1}", it.arrival_ms.p99),
                format!("{:.2}", it.ratio),
                it.arrivals.to_string(),
                it.deliver_ms.map_or("–".to_owned(), |time| format!("{time:.1}")),
            ]);
            if it.condition.has_budget() {
                judgements.push(budgets::DISTURBANCE.judge(&label, it.ratio));
            }
            if let Some(attack) = &it.attack {
                notes.push(attack.to_string());
                judgements.push(budgets::API_FLOOD.judge("AWS's prices", attack.dollars_an_hour));
            }
        }
    }
    let section = Section::new(part, table, &comparisons).judged(judgements);
    Section { notes, ..section }
}

fn range(spread: Spread, digits: usize) -> String {
    format!("{:.digits$}–{:.digits$}", spread.least, spread.most)
}
