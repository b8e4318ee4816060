//! `make demo`: the main job, from the alerts queue to the customers' endpoints, on a local cloud.
//!
//! Sends the files of `events/` to an organization with five integrations, prints what happens as it happens, and exits
//! with 0 only if every request that arrived and every record in the ledger is as expected.

mod alerts;
mod observations;
mod receiver;
mod scenario;
mod testbed;
mod timeline;
mod verdict;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use aws_sdk_sfn::types::{ExecutionListItem, ExecutionStatus};
use console::style;
use jiff::Timestamp;
use support::interrupt::run;
use support::project::Project;
use support::screen::Screen;

use crate::alerts::Alerts;
use crate::observations::{Delivery, Observations};
use crate::scenario::Scenario;
use crate::testbed::Testbed;
use crate::timeline::{Timeline, describe_waits, scale};
use crate::verdict::{Evidence, LongWait, LongWaitEnd, Verdict};

/// How long all deliveries may take from the first alert on. The schedule, scaled, takes 22 seconds.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long to go on observing after the last delivery has ended, so that a request too many would be seen.
const GRACE_PERIOD: Duration = Duration::from_secs(1);

const POLL_INTERVAL: Duration = Duration::from_millis(200);

// One thread is enough for a demo, and leaves the processors to the local cloud.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let screen = Screen::new();
    screen
        .say(format!("\n  {}\n", style("Roboticks Custom Webhooks: from an alert to the customers' endpoints").bold()));
    run(&screen, demo(&screen)).await
}

async fn demo(screen: &Screen) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let mut testbed = Testbed::set_up(screen, "demo", None).await?;
    explain(screen);

    let alerts = Alerts::read(&Project::source(), Timestamp::now()).context("reading events/")?;
    let start = Timestamp::now();
    for body in alerts.valid.iter().chain([&alerts.invalid]) {
        testbed.stack.send_alert(body, Some("1")).await?;
    }
    let observations = watch(screen, &mut testbed, start).await?;
    let long_waits = testbed.stack.all_executions().await?.into_iter().map(long_wait).collect::<Vec<_>>();

    let evidence = Evidence { alerts: &alerts, observations: &observations, long_waits: &long_waits };
    let verdict = Verdict::new(&evidence);
    screen.say("");
    for line in verdict.lines() {
        screen.say(line);
    }
    let leaks = testbed.find_leaks().await?;
    let mark = if leaks.is_empty() { style("✓").green() } else { style("✗").red() };
    screen.say(format!("  {mark} secrets or payloads found in logs, messages and executions: {}", leaks.len()));
    leaks.iter().for_each(|leak| screen.say(format!("    {leak}")));
    screen.say("");
    if verdict.is_as_expected() && leaks.is_empty() {
        let took = format!("({:.0} s in all)", begun.elapsed().as_secs_f64());
        screen.say(format!("  {} {}\n", style("Everything is as expected.").green().bold(), style(took).dim()));
        return Ok(ExitCode::SUCCESS);
    }
    screen.say(format!("  {}", style("Not everything is as expected.").red().bold()));
    screen.say(format!("  The functions' logs are in the local cloud's log: {}\n", testbed.cloud.log().display()));
    Ok(ExitCode::FAILURE)
}

fn explain(screen: &Screen) {
    let seconds = |hours: f64| scale(Duration::from_secs_f64(hours * 3_600.0)).as_secs_f64();
    screen.say(format!(
        "\n  Sending to AlertsQueue: the three alerts in events/, and one that is invalid. The organization has\
         \n  five integrations: three of them want alert.triggered only, and one is switched off.\
         \n\
         \n  A failed attempt is retried after {}. The first two delays are real; the state machine that\
         \n  waits for the others is sped up here: 30m take {:.1} s, 2h take {:.1} s.\
         \n  \"Verified\" means that the receiver found both signatures to be valid.\n",
        scenario::RETRY_SCHEDULE.replace(',', ", "),
        seconds(0.5),
        seconds(2.0),
    ));
}

/// Prints what happens until every delivery has ended, or the timeout is over.
async fn watch(screen: &Screen, testbed: &mut Testbed, start: Timestamp) -> anyhow::Result<Observations> {
    let mut timeline = Timeline::new(start);
    let begun = Instant::now();
    let mut settled_at = None;
    loop {
        let observations = testbed.update_health().await?;
        for line in timeline.new_lines(&observations) {
            screen.say(line);
        }
        if is_settled(&observations) {
            settled_at.get_or_insert_with(Instant::now);
        }
        let is_over = settled_at.is_some_and(|at| at.elapsed() > GRACE_PERIOD);
        if is_over || begun.elapsed() > TIMEOUT {
            screen.clear();
            return Ok(observations);
        }
        screen.show_status(&describe_waits(&observations.deliveries, Timestamp::now()).unwrap_or_default());
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Whether every delivery that is expected has ended, with whatever result.
fn is_settled(observations: &Observations) -> bool {
    let Observations { deliveries, dead_letters, .. } = observations;
    let has_delivery = |scenario| deliveries.iter().any(|delivery| delivery.scenario == scenario);
    let has_ended = |delivery: &Delivery| delivery.record.due_at.is_none() && delivery.record.claim_id.is_none();
    let mut enabled = Scenario::ALL.into_iter().filter(|scenario| scenario.is_enabled());
    enabled.all(has_delivery) && deliveries.iter().all(has_ended) && !dead_letters.is_empty()
}

fn long_wait(execution: ExecutionListItem) -> LongWait {
    let end = match execution.status() {
        ExecutionStatus::Succeeded => LongWaitEnd::Succeeded,
        _ => LongWaitEnd::Otherwise,
    };
    LongWait { name: execution.name, end }
}
