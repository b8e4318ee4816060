//! `make bench`: see the library's own words.

use std::process::ExitCode;
use std::time::Instant;

use bench::baselines::baselines;
use bench::ground::{Function, Ground};
use bench::measure::costs::{self, Case};
use bench::measure::drive::Workers;
use bench::measure::starts::{self, Kind};
use bench::measure::work::{self, Size};
use bench::measure::{growth, latency};
use bench::report::Report;
use bench::trouble::Trouble;
use bench::worker::Worker;
use console::style;
use program::interrupt::run;
use program::screen::Screen;

// One thread: the other processor is for what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let screen = Screen::new();
    screen.say(format!("\n  {}\n", style("What a delivery costs: work, time and money").bold()));
    run(&screen, bench(&screen)).await
}

async fn bench(screen: &Screen) -> Result<ExitCode, Trouble> {
    let begun = Instant::now();
    let mut ground = Ground::prepare().await?;
    let report = measure(&mut ground, screen).await?;
    report.show(screen);
    let path = ground.project.root().join("target/bench.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&report)?)?;
    let over = report.budgets.iter().filter(|budget| !budget.is_kept()).count();
    let verdict = match over {
        0 => style("Every budget is kept.".to_owned()).green().bold(),
        over => {
            style(format!("{over} of {} budgets are not kept on this machine.", report.budgets.len())).yellow().bold()
        }
    };
    screen.say(format!("\n  {verdict} ({:.0}s in all; target/bench.json)\n", begun.elapsed().as_secs_f64()));
    Ok(ExitCode::SUCCESS)
}

async fn measure(ground: &mut Ground, screen: &Screen) -> Result<Report, Trouble> {
    let [python, node] = baselines(ground)?;
    let mut programs = vec![(ground.own("nothing")?, Kind::Executable)];
    for function in Function::ALL {
        programs.push((ground.function(function)?, Kind::Executable));
    }
    programs.extend([(python.clone(), Kind::Interpreted), (node.clone(), Kind::Interpreted)]);
    let starts = screen.step("starting functions", starts::starts(&programs), |starts| {
        format!("{} kinds of functions started, in turn", starts.len())
    });
    let starts = starts.await?;

    let (deliver, floor) = screen
        .step("counting the work of deliver and of the floor", work::deliver_and_floor(ground, Size::OURS), |_| {
            "work of deliver and of the floor, in turn".to_owned()
        })
        .await?;
    let retry = work::retry(ground, Size::OURS);
    let retry = screen.step("counting the work of retry", retry, |_| "work of retry".to_owned()).await?;
    let mut work = vec![deliver, retry, floor];
    for program in [&python, &node] {
        let baseline = work::baseline(ground, program, Size::BASELINE);
        let done = |_: &work::Work| format!("work of the baseline in {}", program.name);
        work.push(screen.step("counting the work of a baseline", baseline, done).await?);
    }

    let latency = latency::deliver_and_floor(ground);
    let latency = screen.step("timing one delivery at a time", latency, |_| "time that is added".to_owned()).await?;

    let workers = Workers::start(ground).await?;
    let mut costs = Vec::new();
    for case in Case::ALL {
        let cost = costs::cost(ground, &workers, case);
        costs.push(screen.step("counting what is paid for", cost, |_| format!("cost: {}", case.words())).await?);
    }
    let mut sizes = Vec::new();
    for size in growth::sizes() {
        let told = format!("growth: {} {}", size.0, size.1);
        sizes.push(screen.step("measuring growth", growth::growth(ground, &workers, size), |_| told).await?);
    }
    let mut baselines = Vec::new();
    for program in [&python, &node] {
        let workers = Workers { deliver: Worker::start(program).await?, ..Workers::start(ground).await? };
        let cost = costs::baseline(ground, &workers);
        let done = |_: &costs::Cost| format!("cost of the baseline in {}", program.name);
        baselines.push((program.name, screen.step("counting what is paid for", cost, done).await?));
    }

    let latency = latency.to_vec();
    let mut report = Report { starts, work, latency, costs, growth: sizes, baselines, budgets: Vec::new() };
    report.judge();
    Ok(report)
}
