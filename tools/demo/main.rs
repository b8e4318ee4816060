//! `make demo`: the main job, from the alerts queue to the customers' endpoints, on a local cloud.
//!
//! Sends the files of `events/` to an organization with five integrations, tells what happens while it does, and exits
//! with 0 only if everything that arrived and everything the ledger says is as it must be.

mod alerts;
mod receiver;
mod scenario;
mod seen;
mod stage;
mod timeline;
mod verdict;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use aws_sdk_sfn::types::ExecutionStatus;
use console::style;
use jiff::Timestamp;
use support::project::Project;

use crate::alerts::{Alerts, BadEvent};
use crate::scenario::Scenario;
use crate::seen::Seen;
use crate::stage::{Stage, Trouble};
use crate::timeline::{Timeline, scaled, waits};
use crate::verdict::{Evidence, LongWait, LongWaitEnd, Verdict};
use support::interrupt::run;
use support::screen::Screen;

/// How long everything may take from the first alert on. The schedule, scaled, takes 22 seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long to go on looking when everything has ended: what must not happen has then had its chance.
const AFTERMATH: Duration = Duration::from_secs(1);

const LOOKS_EVERY: Duration = Duration::from_millis(200);

// One thread is enough for a demo, and leaves the processors to the local cloud.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let screen = Screen::new();
    screen.say(format!("\n  {}\n", style("Roboticks Custom Webhooks, from the alerts queue to the endpoints").bold()));
    run(&screen, demo(&screen)).await
}

/// Why the demo could not be given to its end.
#[derive(Debug, thiserror::Error)]
enum NoDemo {
    #[error(transparent)]
    Trouble(#[from] Trouble),
    #[error("events/{0}")]
    BadEvent(#[from] BadEvent),
}

async fn demo(screen: &Screen) -> Result<ExitCode, NoDemo> {
    let begun = Instant::now();
    let mut stage = Stage::set(screen, "demo", None).await?;
    explain(screen);

    let alerts = Alerts::read(&Project::source(), Timestamp::now())?;
    let start = Timestamp::now();
    for body in alerts.valid.iter().chain([&alerts.invalid]) {
        stage.stack.send_alert(body, Some("1")).await.map_err(Trouble::from)?;
    }
    let seen = watch(screen, &mut stage, start).await?;
    let long_waits = long_waits(&stage).await?;

    let verdict = Verdict::of(&Evidence { alerts: &alerts, seen: &seen, long_waits: &long_waits });
    screen.say("");
    for line in verdict.lines() {
        screen.say(line);
    }
    let leaks = stage.leaks().await?;
    let mark = if leaks.is_empty() { style("✓").green() } else { style("✗").red() };
    screen.say(format!(
        "  {mark} secrets and payloads in logs, messages between functions and executions: {}",
        leaks.len()
    ));
    leaks.iter().for_each(|leak| screen.say(format!("    {leak}")));
    screen.say("");
    if verdict.is_as_it_must_be() && leaks.is_empty() {
        let took = format!("({:.0}s in all)", begun.elapsed().as_secs_f64());
        screen.say(format!("  {} {}\n", style("Everything is as it must be.").green().bold(), style(took).dim()));
        return Ok(ExitCode::SUCCESS);
    }
    let log = stage.cloud.log().display();
    screen.say(format!("  {}", style("Not everything is as it must be.").red().bold()));
    screen.say(format!("  The local cloud's log, with what the functions said: {log}\n"));
    Ok(ExitCode::FAILURE)
}

fn explain(screen: &Screen) {
    let seconds = |hours: f64| scaled(Duration::from_secs_f64(hours * 3_600.0)).as_secs_f64();
    screen.say(format!(
        "\n  Sent to AlertsQueue now: the three alerts of events/, and one that is not valid. Each valid one\
         \n  finds all five integrations; three of those want only alert.triggered, one is switched off.\
         \n  Retries follow after {}. Queues wait in real time, the state machine is sped up:\
         \n  its 30m take {:.1}s here, its 2h {:.1}s. \"Verified\" is what the receiver said of both signatures.\n",
        scenario::RETRY_SCHEDULE.replace(',', ", "),
        seconds(0.5),
        seconds(2.0),
    ));
}

/// Tells what happens until all has ended, or patience has.
async fn watch(screen: &Screen, stage: &mut Stage, start: Timestamp) -> Result<Seen, Trouble> {
    let mut timeline = Timeline::new(start);
    let begun = Instant::now();
    let mut settled_at = None;
    loop {
        let seen = stage.look().await?;
        for line in timeline.news(&seen) {
            screen.say(line);
        }
        if is_settled(&seen) {
            settled_at.get_or_insert_with(Instant::now);
        }
        let is_over = settled_at.is_some_and(|at| at.elapsed() > AFTERMATH);
        if is_over || begun.elapsed() > PATIENCE {
            screen.clear();
            return Ok(seen);
        }
        screen.wait_for(&waits(&seen.deliveries, Timestamp::now()).unwrap_or_default());
        tokio::time::sleep(LOOKS_EVERY).await;
    }
}

/// Whether everything that can be expected has come to its end, well or not.
fn is_settled(seen: &Seen) -> bool {
    let has_delivery = |scenario| seen.deliveries.iter().any(|delivery| delivery.scenario == scenario);
    let wanted = Scenario::ALL.into_iter().filter(|scenario| scenario.is_enabled());
    let ended = |delivery: &seen::Delivery| delivery.record.due_at.is_none() && delivery.record.claim_id.is_none();
    wanted.into_iter().all(has_delivery) && seen.deliveries.iter().all(ended) && !seen.dead_letters.is_empty()
}

async fn long_waits(stage: &Stage) -> Result<Vec<LongWait>, Trouble> {
    let executions = stage.stack.all_executions().await?;
    let long_wait = |execution: aws_sdk_sfn::types::ExecutionListItem| LongWait {
        end: match execution.status() {
            ExecutionStatus::Succeeded => LongWaitEnd::Succeeded,
            _ => LongWaitEnd::Otherwise,
        },
        name: execution.name,
    };
    Ok(executions.into_iter().map(long_wait).collect())
}
