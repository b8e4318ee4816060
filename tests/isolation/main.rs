//! `make isolation`: what endpoints that hang, a burst and a flood do to their neighbours, measured on a local cloud.
//!
//! Each experiment measures the same alerts without and with the disturbance, in turn, in one run. It fails when an alert
//! is lost. Whether a ratio is within the budget is printed, and fails it only with `STRICT=1`, since the local cloud shares
//! the processors with everything else on this machine.

mod endpoints;
mod experiment;
mod ground;
mod latency;
mod machine;
mod report;

use std::process::ExitCode;
use std::time::Instant;

use ::tests::local_cloud::LocalCloud;
use console::style;
use program::project::Project;

use crate::experiment::{CROWD, Comparison, ENDPOINTS};
use crate::ground::{Ground, Scale, Trouble};
use crate::machine::load;
use crate::report::{BUDGET, Report};
use program::interrupt::run;
use program::screen::Screen;

/// What the local cloud is tried at. Measured is at half of what it carries, so that an endpoint's doing is measured rather
/// than the local cloud's limit, and at the budget's own two rates, as far as they are carried.
const RATES: [u32; 5] = [400, 300, 200, 100, 50];
const BUDGETED: [u32; 2] = [20, 200];

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
    let load_before = load();
    let project = Project::built()?;
    let cloud = screen
        .step("starting the local cloud", LocalCloud::start(&project, "isolation"), |cloud| {
            format!("local cloud answers at {}", cloud.endpoint())
        })
        .await?;
    let measured = measure(&cloud, screen).await;
    let (carried_per_second, comparisons) = measured.inspect_err(|_| {
        screen.say(format!("  The local cloud's log, with what the functions said: {}", cloud.log().display()));
    })?;
    let not_carried = BUDGETED.into_iter().filter(|rate| carried_per_second.is_none_or(|carried| *rate > carried));
    let report = Report {
        load_before,
        load_after: load(),
        carried_per_second,
        not_carried: not_carried.collect(),
        budget: BUDGET,
        comparisons,
    };

    report.show(screen);
    let path = Project::source().root().join("target/isolation.json");
    let writing = |error| Trouble::Writing { path: path.display().to_string(), error };
    std::fs::write(&path, serde_json::to_vec_pretty(&report)?).map_err(writing)?;
    let verdict = if report.is_within_budget() {
        style(format!("No alert was lost, and every judged p99 is within {BUDGET} times its calm one.")).green().bold()
    } else {
        style(format!("No alert was lost. Not every judged p99 is within {BUDGET} times its calm one.")).yellow().bold()
    };
    screen.say(format!("\n  {verdict} ({:.0}s in all; target/isolation.json)\n", begun.elapsed().as_secs_f64()));
    let is_strict = std::env::var("STRICT").is_ok_and(|strict| strict == "1");
    Ok(if is_strict && !report.is_within_budget() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn measure(cloud: &LocalCloud, screen: &Screen) -> Result<(Option<u32>, Vec<Comparison>), Trouble> {
    let ground = Ground::prepare(screen, cloud, Scale::Tenth, ENDPOINTS, CROWD).await?;
    screen.say("");
    let carried = experiment::carried(&ground, screen, &RATES).await?;
    let mut comparisons = Vec::new();
    for rate in rates(carried) {
        comparisons.push(experiment::hanging_neighbours(&ground, screen, rate, if rate < 50 { 3 } else { 2 }).await?);
    }
    comparisons.push(experiment::burst_beside(&ground, screen, 2).await?);
    comparisons.push(experiment::flood_beside(&ground, screen, 2).await?);
    comparisons.push(experiment::overflow_beside(&ground, screen, 2).await?);
    drop(ground);

    screen.say("");
    let ground = Ground::prepare(screen, cloud, Scale::Full, ENDPOINTS, 0).await?;
    comparisons.push(experiment::first_minute(&ground, screen, 20).await?);
    Ok((carried, comparisons))
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
