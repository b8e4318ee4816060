//! `make bench`: see the library's own words.

use std::process::ExitCode;
use std::time::Instant;

use bench::baselines::baselines;
use bench::ground::Ground;
use bench::measure::costs::{self, Case};
use bench::measure::drive::Workers;
use bench::measure::neighbours::{self, Condition, Neighbours, Sample};
use bench::measure::starts::{self, Kind};
use bench::measure::work::{self, Size};
use bench::measure::{fault, growth, latency};
use bench::report::Report;
use bench::trouble::Trouble;
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
    run(&screen, bench(&screen)).await
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
}

impl Part {
    const ALL: [(&'static str, Self); 7] = [
        ("starts", Self::Starts),
        ("work", Self::Work),
        ("latency", Self::Latency),
        ("costs", Self::Costs),
        ("growth", Self::Growth),
        ("fault", Self::Fault),
        ("neighbours", Self::Neighbours),
    ];
}

async fn bench(screen: &Screen) -> Result<ExitCode, Trouble> {
    let begun = Instant::now();
    let parts = choose(&Part::ALL, std::env::args().skip(1))?;
    let mut ground = Ground::prepare().await?;
    let mut report = Report::default();
    for part in parts {
        match part {
            Part::Starts => measure_starts(&mut ground, screen, &mut report).await?,
            Part::Work => measure_work(&mut ground, screen, &mut report).await?,
            Part::Latency => measure_latency(&mut ground, screen, &mut report).await?,
            Part::Costs => measure_costs(&mut ground, screen, &mut report).await?,
            Part::Growth => measure_growth(&mut ground, screen, &mut report).await?,
            Part::Fault => measure_fault(&mut ground, screen, &mut report).await?,
            Part::Neighbours => measure_neighbours(&ground, screen, &mut report).await?,
        }
    }
    report.judge();
    report.show(screen);
    let path = ground.project.root().join("target/bench.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&report)?)?;
    let over = report.budgets.iter().filter(|budget| !budget.is_kept()).count();
    let verdict = match over {
        0 => style("Every budget is kept.".to_owned()).green().bold(),
        over => style(format!("{over} of {} budgets are not kept.", report.budgets.len())).yellow().bold(),
    };
    screen.say(format!("\n  {verdict} ({:.0}s in all; target/bench.json)\n", begun.elapsed().as_secs_f64()));
    Ok(ExitCode::SUCCESS)
}

async fn measure_starts(ground: &mut Ground, screen: &Screen, report: &mut Report) -> Result<(), Trouble> {
    let mut programs = vec![(ground.own("nothing")?, Kind::Executable)];
    for function in Function::ALL {
        programs.push((ground.function(function)?, Kind::Executable));
    }
    programs.extend(baselines(ground)?.map(|program| (program, Kind::Interpreted)));
    let starts = starts::starts(&programs);
    let done = |starts: &Vec<_>| format!("{} kinds of functions started, in turn", starts.len());
    report.starts = screen.step("starting functions", starts, done).await?;
    Ok(())
}

async fn measure_work(ground: &mut Ground, screen: &Screen, report: &mut Report) -> Result<(), Trouble> {
    let [python, node] = baselines(ground)?;
    let ours = work::deliver_and_floor(ground, Size::OURS);
    let done = |_: &_| "work of deliver and of the floor, in turn".to_owned();
    let (deliver, floor) = screen.step("counting the work of deliver and of the floor", ours, done).await?;
    let retry = work::retry(ground, Size::OURS);
    let retry = screen.step("counting the work of retry", retry, |_| "work of retry".to_owned()).await?;
    report.work = vec![deliver, retry, floor];
    for program in [&python, &node] {
        let baseline = work::baseline(ground, program, Size::BASELINE);
        let done = |_: &work::Work| format!("work of the baseline in {}", program.name);
        report.work.push(screen.step("counting the work of a baseline", baseline, done).await?);
    }
    Ok(())
}

async fn measure_latency(ground: &mut Ground, screen: &Screen, report: &mut Report) -> Result<(), Trouble> {
    let latency = latency::deliver_and_floor(ground);
    let latency = screen.step("timing one delivery at a time", latency, |_| "time that is added".to_owned()).await?;
    report.latency = latency.to_vec();
    Ok(())
}

async fn measure_costs(ground: &mut Ground, screen: &Screen, report: &mut Report) -> Result<(), Trouble> {
    let workers = Workers::start(ground).await?;
    for case in Case::ALL {
        let cost = costs::cost(ground, &workers, case);
        let done = |_: &costs::Cost| format!("cost: {}", case.words());
        report.costs.push(screen.step("counting what is paid for", cost, done).await?);
    }
    for program in &baselines(ground)? {
        let workers = Workers { deliver: Worker::start(program).await?, ..Workers::start(ground).await? };
        let cost = costs::baseline(ground, &workers);
        let done = |_: &costs::Cost| format!("cost of the baseline in {}", program.name);
        report.baselines.push((program.name, screen.step("counting what is paid for", cost, done).await?));
    }
    Ok(())
}

async fn measure_growth(ground: &mut Ground, screen: &Screen, report: &mut Report) -> Result<(), Trouble> {
    let workers = Workers::start(ground).await?;
    for size in growth::sizes() {
        let told = format!("growth: {} {}", size.0, size.1);
        let growth = growth::growth(ground, &workers, size);
        report.growth.push(screen.step("measuring growth", growth, |_| told).await?);
    }
    Ok(())
}

async fn measure_fault(ground: &mut Ground, screen: &Screen, report: &mut Report) -> Result<(), Trouble> {
    for fault in fault::FAULTS {
        let delay = fault::delay(ground, fault);
        let done = |_: &fault::Delay| format!("an alert's delay: {}", fault.0);
        report.faults.push(screen.step("making a fault of ours", delay, done).await?);
    }
    Ok(())
}

async fn measure_neighbours(ground: &Ground, screen: &Screen, report: &mut Report) -> Result<(), Trouble> {
    for per_second in neighbours::RATES {
        let mut samples = Condition::ALL.map(|_| Sample::default());
        for round in 1..=neighbours::ROUNDS {
            for (condition, sample) in Condition::ALL.into_iter().zip(&mut samples) {
                let doing =
                    format!("{per_second} alerts/s, {}, round {round} of {}", condition.words(), neighbours::ROUNDS);
                let measured = neighbours::measure(ground, per_second, condition);
                sample.add(screen.step(&doing, measured, |_| doing.clone()).await?);
            }
        }
        report.neighbours.push(Neighbours::of(per_second, samples));
    }
    Ok(())
}
