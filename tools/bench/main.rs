//! `make bench`: measures, prints what it found, and brings `docs/measurements.md` up to date.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use bench::baselines::baselines;
use bench::document;
use bench::measure::comparison::Sample;
use bench::measure::costs::{self, Case};
use bench::measure::neighbours::{Experiment, ROUNDS};
use bench::measure::starts::{self, Kind};
use bench::measure::work::{self, Size};
use bench::measure::workload::Workers;
use bench::measure::{fault, growth, hanging, latency};
use bench::report::{self, Section};
use bench::testbed::Testbed;
use bench::worker::Worker;
use console::style;
use support::function::Function;
use support::interrupt::run;
use support::parts::choose;
use support::screen::Screen;

// One thread: the other processor is for what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let screen = Screen::new();
    screen.say(format!("\n  {}\n", style("What a delivery costs: work, time and money").bold()));
    run(&screen, async { bench(&screen).await.map_err(|error| format!("{error:#}")) }).await
}

/// A part of the benchmark. `make bench ONLY=work` runs that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Starts,
    Work,
    Latency,
    Costs,
    Growth,
    Fault,
    Neighbours,
    Flood,
    Overflow,
    Api,
}

impl Part {
    const ALL: [(&'static str, Self); 10] = [
        ("starts", Self::Starts),
        ("work", Self::Work),
        ("latency", Self::Latency),
        ("costs", Self::Costs),
        ("growth", Self::Growth),
        ("fault", Self::Fault),
        ("neighbours", Self::Neighbours),
        ("flood", Self::Flood),
        ("overflow", Self::Overflow),
        ("api", Self::Api),
    ];

    async fn measure(self, testbed: &mut Testbed, screen: &Screen) -> Result<Section> {
        match self {
            Self::Starts => measure_starts(testbed, screen).await,
            Self::Work => measure_work(testbed, screen).await,
            Self::Latency => measure_latency(testbed, screen).await,
            Self::Costs => measure_costs(testbed, screen).await,
            Self::Growth => measure_growth(testbed, screen).await,
            Self::Fault => measure_fault(testbed, screen).await,
            Self::Neighbours => {
                let experiments = hanging::RATES.map(|per_second| Experiment::Hanging { per_second });
                compare(testbed, screen, "neighbours", &experiments).await
            }
            Self::Flood => compare(testbed, screen, "flood", &[Experiment::Flood]).await,
            Self::Overflow => compare(testbed, screen, "overflow", &[Experiment::Overflow]).await,
            Self::Api => compare(testbed, screen, "api", &[Experiment::Api]).await,
        }
    }
}

async fn bench(screen: &Screen) -> Result<ExitCode> {
    let begun = Instant::now();
    let parts = choose(&Part::ALL, std::env::args().skip(1))?;
    let mut testbed = Testbed::prepare().await?;
    let mut sections = Vec::with_capacity(parts.len());
    for part in parts {
        let section = part.measure(&mut testbed, screen).await?;
        // What is measured is written down at once: later parts may fail.
        document::update(testbed.project.root(), std::slice::from_ref(&section))?;
        sections.push(section);
    }
    for section in &sections {
        screen.say(format!("\n{}\n\n{}", style(section.part).bold(), section.to_string().trim_end()));
    }
    let (met, missed): (Vec<_>, Vec<_>) =
        sections.iter().flat_map(|section| &section.judgements).partition(|judgement| judgement.is_met());
    let verdict = match missed.len() {
        0 => style("Every budget is met.".to_owned()).green().bold(),
        over => style(format!("{over} of {} budgets are not met.", met.len() + over)).yellow().bold(),
    };
    screen.say(format!("\n  {verdict} ({:.0}s in all; docs/measurements.md)\n", begun.elapsed().as_secs_f64()));
    Ok(ExitCode::SUCCESS)
}

async fn measure_starts(testbed: &mut Testbed, screen: &Screen) -> Result<Section> {
    let mut programs = vec![(testbed.own_program("nothing")?, Kind::Executable)];
    for function in Function::ALL {
        programs.push((testbed.function(function)?, Kind::Executable));
    }
    programs.extend(baselines(testbed)?.map(|program| (program, Kind::Interpreted)));
    let starts = starts::starts(&programs);
    let done = |starts: &Vec<_>| format!("{} kinds of functions started, in turn", starts.len());
    Ok(report::starts(&screen.step("starting functions", starts, done).await?))
}

async fn measure_work(testbed: &mut Testbed, screen: &Screen) -> Result<Section> {
    let [python, node] = baselines(testbed)?;
    let ours = work::deliver_and_floor(testbed, Size::OURS);
    let done = |_: &_| "work of deliver and of the floor, in turn".to_owned();
    let (deliver, floor) = screen.step("counting the work of deliver and of the floor", ours, done).await?;
    let retry = work::retry(testbed, Size::OURS);
    let retry = screen.step("counting the work of retry", retry, |_| "work of retry".to_owned()).await?;
    let mut measured = vec![deliver, retry, floor];
    for program in [&python, &node] {
        let baseline = work::baseline(testbed, program, Size::BASELINE);
        let done = |_: &work::Work| format!("work of the baseline in {}", program.name);
        measured.push(screen.step("counting the work of a baseline", baseline, done).await?);
    }
    Ok(report::work(&measured))
}

async fn measure_latency(testbed: &mut Testbed, screen: &Screen) -> Result<Section> {
    let latency = latency::deliver_and_floor(testbed);
    let latency = screen.step("timing one delivery at a time", latency, |_| "time that is added".to_owned()).await?;
    Ok(report::latency(&latency))
}

async fn measure_costs(testbed: &mut Testbed, screen: &Screen) -> Result<Section> {
    let workers = Workers::start(testbed).await?;
    let mut measured = Vec::new();
    for case in Case::ALL {
        let cost = costs::cost(testbed, &workers, case);
        let done = |_: &costs::Cost| format!("cost: {}", case.label());
        measured.push(screen.step("counting what is paid for", cost, done).await?);
    }
    let mut of_baselines = Vec::new();
    for program in &baselines(testbed)? {
        let workers = Workers { deliver: Worker::start(program).await?, ..Workers::start(testbed).await? };
        let cost = costs::baseline(testbed, &workers);
        let done = |_: &costs::Cost| format!("cost of the baseline in {}", program.name);
        of_baselines.push((program.name, screen.step("counting what is paid for", cost, done).await?));
    }
    Ok(report::costs(&measured, &of_baselines))
}

async fn measure_growth(testbed: &mut Testbed, screen: &Screen) -> Result<Section> {
    let workers = Workers::start(testbed).await?;
    let mut measured = Vec::new();
    for size in growth::sizes() {
        let done = format!("growth: {}", size.0);
        let growth = growth::growth(testbed, &workers, size);
        measured.push(screen.step("measuring growth", growth, |_| done).await?);
    }
    Ok(report::growth(&measured))
}

async fn measure_fault(testbed: &mut Testbed, screen: &Screen) -> Result<Section> {
    let mut delays = Vec::new();
    for fault in fault::FAULTS {
        let delay = fault::delay(testbed, fault);
        let done = |_: &fault::Delay| format!("an alert's delay: {}", fault.0);
        delays.push(screen.step("causing a fault of AWS", delay, done).await?);
    }
    Ok(report::faults(&delays))
}

async fn compare(
    testbed: &Testbed,
    screen: &Screen,
    part: &'static str,
    experiments: &[Experiment],
) -> Result<Section> {
    let mut comparisons = Vec::new();
    for experiment in experiments {
        let conditions = experiment.conditions();
        let mut samples = vec![Sample::default(); conditions.len()];
        for round in 1..=ROUNDS {
            for (condition, sample) in conditions.iter().zip(&mut samples) {
                let doing = format!("{}, {}, round {round} of {ROUNDS}", experiment.label(), condition.label());
                let measured = experiment.measure(testbed, *condition);
                sample.add(screen.step(&doing, measured, |_| doing.clone()).await?);
            }
        }
        comparisons.push(experiment.compare(samples));
    }
    Ok(report::neighbours(part, &comparisons))
}

#[test]
fn every_part_has_its_place_in_the_document() {
    for (part, _) in Part::ALL {
        assert!(document::has_place_for(part), "{part}");
    }
}
