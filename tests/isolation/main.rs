//! `make isolation`: what endpoints that hang, a burst and a flood do to their neighbours, measured on a local cloud.
//!
//! Each experiment measures the same alerts without and with the disturbance, in turn, in one run. It fails when an alert
//! is lost; whether a ratio is within the budget is printed, since the local cloud shares the processors with everything
//! else on this machine.

mod endpoints;
mod experiment;
mod ground;
mod latency;
mod machine;
mod report;

use std::process::ExitCode;
use std::time::Instant;

use console::style;
use program::project::Project;
use tests::local_cloud::LocalCloud;

use crate::experiment::{Comparison, ENDPOINTS};
use crate::ground::{Ground, Scale, Trouble};
use crate::machine::load;
use crate::report::{BUDGET, Report};
use program::interrupt::run;
use program::screen::Screen;

/// What the local cloud is tried at. Measured is at half of what it carries, so that an endpoint's doing is measured rather
/// than the local cloud's limit.
const RATES: [u32; 4] = [400, 300, 200, 100];

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
    let report = Report { load_before, load_after: load(), carried_per_second, budget: BUDGET, comparisons };

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
    Ok(ExitCode::SUCCESS)
}

async fn measure(cloud: &LocalCloud, screen: &Screen) -> Result<(u32, Vec<Comparison>), Trouble> {
    let ground = Ground::prepare(screen, cloud, Scale::Tenth, ENDPOINTS).await?;
    screen.say("");
    let carried = experiment::carried(&ground, screen, &RATES).await?;
    let mut comparisons = Vec::new();
    comparisons.push(experiment::hanging_neighbours(&ground, screen, 20, 3).await?);
    comparisons.push(experiment::hanging_neighbours(&ground, screen, carried / 2, 2).await?);
    comparisons.push(experiment::burst_beside(&ground, screen, 2).await?);
    comparisons.push(experiment::flood_beside(&ground, screen, 2).await?);
    drop(ground);

    screen.say("");
    let ground = Ground::prepare(screen, cloud, Scale::Full, ENDPOINTS).await?;
    comparisons.push(experiment::first_minute(&ground, screen, 20).await?);
    Ok((carried, comparisons))
}
