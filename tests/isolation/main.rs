//! `make isolation`: what endpoints that hang, a burst and a flood do to their neighbours, measured on a local cloud.
//!
//! Each experiment measures the same alerts without and with the disturbance, in turn, in one run. It fails when an alert
//! is lost. Whether a ratio is within the budget is printed, and fails it only with `STRICT=1`, since the local cloud shares
//! the processors with everything else on this machine. `make bench ONLY=neighbours` measures the first of them without it.

mod endpoints;
mod experiment;
mod ground;
mod latency;
mod machine;
mod report;

use std::process::ExitCode;
use std::time::Instant;

use console::style;
use harness::local_cloud::LocalCloud;
use support::parts::choose;
use support::project::Project;

use crate::experiment::{CROWD, ENDPOINTS};
use crate::ground::{Ground, Scale, Trouble};
use crate::machine::load;
use crate::report::{BUDGET, Report};
use support::interrupt::run;
use support::screen::Screen;

/// What the local cloud is tried at. Measured is at half of what it carries, so that an endpoint's doing is measured rather
/// than the local cloud's limit, and at the budget's own two rates, as far as they are carried.
const RATES: [u32; 5] = [400, 300, 200, 100, 50];
const BUDGETED: [u32; 2] = [20, 200];

/// An experiment. `make isolation ONLY=flood` makes that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Experiment {
    Hanging,
    Burst,
    Flood,
    Overflow,
    /// From when endpoints begin to hang, with production's time limits.
    Begin,
}

impl Experiment {
    const ALL: [(&'static str, Self); 5] = [
        ("hanging", Self::Hanging),
        ("burst", Self::Burst),
        ("flood", Self::Flood),
        ("overflow", Self::Overflow),
        ("begin", Self::Begin),
    ];

    /// What its template is deployed with.
    fn scale(self) -> Scale {
        match self {
            Self::Hanging | Self::Burst | Self::Flood | Self::Overflow => Scale::Tenth,
            Self::Begin => Scale::Full,
        }
    }
}

// A thread for the producer and one for the endpoints: a delay in either would be measured as one of the functions'.
#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let screen = Screen::new();
    screen
        .say(format!("\n  {}\n", style("What hangs, bursts and floods, and what its neighbours notice of it").bold()));
    run(&screen, isolation(&screen)).await
}

async fn isolation(screen: &Screen) -> Result<ExitCode, Trouble> {
    let begun = Instant::now();
    let experiments = choose(&Experiment::ALL, std::env::args().skip(1))?;
    let load_before = load();
    let project = Project::built()?;
    let cloud = screen
        .step("starting the local cloud", LocalCloud::start(&project, "isolation"), |cloud| {
            format!("local cloud answers at {}", cloud.endpoint())
        })
        .await?;
    let mut report = Report { load_before, ..Report::default() };
    measure(&cloud, screen, &experiments, &mut report).await.inspect_err(|_| {
        screen.say(format!("  The local cloud's log, with what the functions said: {}", cloud.log().display()));
    })?;
    report.load_after = load();

    report.show(screen);
    let path = Project::source().root().join("target/isolation.json");
    let writing = |error| Trouble::Writing { path: path.display().to_string(), error };
    std::fs::write(&path, serde_json::to_vec_pretty(&report)?).map_err(writing)?;
    let verdict = if report.is_within_budget() {
        style(format!("No alert was lost, and every judged p99 is within {BUDGET} times its calm one.")).green().bold()
    } else {
        style(format!(
            "No alert was lost. Not every judged p99 is within {BUDGET} times its calm one; \
             `make bench ONLY=neighbours` shows what of that is not the local cloud's own."
        ))
        .yellow()
        .bold()
    };
    screen.say(format!("\n  {verdict} ({:.0}s in all; target/isolation.json)\n", begun.elapsed().as_secs_f64()));
    let is_strict = std::env::var("STRICT").is_ok_and(|strict| strict == "1");
    Ok(if is_strict && !report.is_within_budget() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn measure(
    cloud: &LocalCloud,
    screen: &Screen,
    experiments: &[Experiment],
    report: &mut Report,
) -> Result<(), Trouble> {
    for scale in [Scale::Tenth, Scale::Full] {
        let experiments: Vec<_> = experiments.iter().filter(|experiment| experiment.scale() == scale).collect();
        if experiments.is_empty() {
            continue;
        }
        let crowd = if experiments.contains(&&Experiment::Overflow) { CROWD } else { 0 };
        let ground = Ground::prepare(screen, cloud, scale, ENDPOINTS, crowd).await?;
        screen.say("");
        for experiment in experiments {
            make(*experiment, &ground, screen, report).await?;
        }
        screen.say("");
    }
    Ok(())
}

async fn make(experiment: Experiment, ground: &Ground, screen: &Screen, report: &mut Report) -> Result<(), Trouble> {
    let comparison = match experiment {
        Experiment::Hanging => {
            let carried = experiment::carried(ground, screen, &RATES).await?;
            report.carried_per_second = carried;
            report.not_carried = BUDGETED.into_iter().filter(|rate| *rate > carried.unwrap_or_default()).collect();
            for rate in rates(carried) {
                let rounds = if rate < 50 { 3 } else { 2 };
                report.comparisons.push(experiment::hanging_neighbours(ground, screen, rate, rounds).await?);
            }
            return Ok(());
        }
        Experiment::Burst => experiment::burst_beside(ground, screen, 2).await?,
        Experiment::Flood => experiment::flood_beside(ground, screen, 2).await?,
        Experiment::Overflow => experiment::overflow_beside(ground, screen, 2).await?,
        Experiment::Begin => experiment::first_minute(ground, screen, 20).await?,
    };
    report.comparisons.push(comparison);
    Ok(())
}

/// What is measured at: the budget's rates that are carried, and half of what is.
fn rates(carried: Option<u32>) -> Vec<u32> {
    let carried = carried.unwrap_or_default();
    let mut rates: Vec<_> = BUDGETED.into_iter().filter(|rate| *rate <= carried).chain([carried / 2]).collect();
    rates.retain(|rate| *rate > 0);
    rates.sort_unstable();
    rates.dedup();
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rates_of_the_budget_are_measured_where_they_are_carried() {
        assert_eq!(rates(Some(400)), [20, 200]);
        assert_eq!(rates(Some(300)), [20, 150, 200]);
        assert_eq!(rates(Some(100)), [20, 50]);
        assert_eq!(rates(None), [] as [u32; 0]);
    }
}
