//! `make chaos`: runs the deployed template while everything around it fails, then checks what became of every
//! delivery.
//!
//! A proxy between the functions and the local cloud injects faults into calls. Workers are killed at random, messages
//! are sent twice, DynamoDB is down for a while, and endpoints fail in every way that endpoints do. Then the faults
//! end, and once nothing changes any more, every delivery in the ledger is compared with what the endpoints received.
//!
//! `make chaos SEED=7 DELIVERIES=500` chooses the run; without a seed, one is drawn and printed. Exits with 0 only if
//! every guarantee held.

mod endpoints;
mod injection;
mod plan;
mod progress;
mod reconcile;
mod report;
mod testbed;

use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context;
use console::style;
use harness::leaks::{Leak, Secrets, VisibleText};
use support::interrupt::run;
use support::screen::Screen;

use crate::injection::{Injected, Phase, inject};
use crate::plan::{DELIVERIES, PAYLOAD_CANARY, Plan, SECRET_CANARY};
use crate::progress::Progress;
use crate::reconcile::{Evidence, reconcile};
use crate::report::Report;
use crate::testbed::{PRODUCTION_VISIBILITY_TIMEOUT_SECONDS, Testbed, VISIBILITY_TIMEOUT_SECONDS};

/// How long nothing may change before the run is given up: a message that met six faults in a row is hidden for 160 s,
/// one that met seven for 320 s.
const STALL_TIMEOUT: Duration = Duration::from_secs(400);

/// How long to go on observing when everything is complete, so that a request too many would be seen.
const GRACE_PERIOD: Duration = Duration::from_secs(3);

/// How often to look at the ledger, which costs the local cloud time.
const POLL_INTERVAL: Duration = Duration::from_millis(1_500);

const REDRAW_INTERVAL: Duration = Duration::from_millis(200);

/// How often to write a line about the progress, which is all that is seen without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(15);

// One thread is enough, and leaves the processors to the local cloud.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let screen = Screen::new();
    screen.say(format!("\n  {}\n", style("Roboticks Custom Webhooks: fault injection").bold()));
    run(&screen, chaos(&screen)).await
}

async fn chaos(screen: &Screen) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let seed = read_setting("SEED")?.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let deliveries = read_setting("DELIVERIES")?.unwrap_or(DELIVERIES);
    let plan = Plan::draw(seed, deliveries);
    screen.say(format!("  Seed {seed}: `make chaos SEED={seed} DELIVERIES={deliveries}` repeats this run.\n"));

    let testbed = Testbed::set_up(screen, &plan).await?;
    explain(screen, &plan);
    let injected = Injected::default();
    let left = tokio::select! {
        biased;
        left = watch(screen, &testbed, &injected) => left?,
        error = fail_or_wait(inject(&testbed, &plan, &injected)) => return Err(error),
    };

    let records = testbed.stack.all_records().await?;
    let reconciliation = reconcile(Evidence {
        expected: testbed.expected_deliveries(&plan)?,
        records: records.into_iter().map(|record| (record.identity.key(), record)).collect(),
        arrivals: testbed.endpoints.arrivals(),
        item_uses: testbed.proxy.item_uses(),
        switched_off: injected.switched_off.take(),
    });
    let (faults, calls) = {
        let injector = testbed.proxy.injector();
        (injector.injected().clone(), injector.calls())
    };
    let report = Report {
        seed,
        calls,
        faults: &faults,
        workers_killed: injected.workers_killed.get(),
        alerts: injected.alerts.get(),
        alerts_sent_twice: injected.alerts_sent_twice.get(),
        outage_seconds: plan.outage.as_secs(),
        min_deliveries: plan.min_deliveries,
        is_full: plan.is_full(),
        logged_failures: testbed.logged_failures().await?,
        dead_letters: testbed.stack.dead_letters().await?.len(),
        left_over: left.open + left.messages,
        leaks: &find_leaks(&testbed).await?,
        reconciliation: &reconciliation,
    };
    screen.clear();
    for line in report.lines() {
        screen.say(line);
    }
    screen.say("");
    if report.is_pass() {
        let took = format!("({:.0} s in all)", begun.elapsed().as_secs_f64());
        screen.say(format!("  {} {}\n", style("Every guarantee held.").green().bold(), style(took).dim()));
        return Ok(ExitCode::SUCCESS);
    }
    screen.say(format!("  {}", style("Not every guarantee held.").red().bold()));
    screen.say(format!("  The functions' logs are in the local cloud's log: {}\n", testbed.cloud.log().display()));
    Ok(ExitCode::FAILURE)
}

fn explain(screen: &Screen, plan: &Plan) {
    screen.say(format!(
        "\n  For {} s, calls to AWS fail, workers are killed, and {} alerts are sent, which become {} deliveries\
         \n  (fewer, as some integrations are switched off). In the middle, DynamoDB is down for {} s. A message\
         \n  whose worker died comes back after {VISIBILITY_TIMEOUT_SECONDS} s here, and after \
         {PRODUCTION_VISIBILITY_TIMEOUT_SECONDS} s in production.\n",
        plan.fault_time.as_secs(),
        plan.alerts.len(),
        plan.deliveries(),
        plan.outage.as_secs(),
    ));
}

/// Secrets and payloads where they must not be: in the functions' calls, in what others may see, in the local cloud's
/// log.
async fn find_leaks(testbed: &Testbed) -> anyhow::Result<Vec<Leak>> {
    let log = std::fs::read_to_string(testbed.cloud.log()).context("reading the local cloud's log")?;
    let log = log.lines().map(|line| VisibleText::new("the local cloud's log", line));
    let texts = testbed.stack.visible_texts().await?.into_iter().chain(log);
    let secrets = Secrets::new([SECRET_CANARY, PAYLOAD_CANARY]);
    Ok([testbed.proxy.leaks(), secrets.find_in(texts)].concat())
}

/// Returns an error at once. After success it waits for ever: the run ends when watching it does.
async fn fail_or_wait(injection: impl Future<Output = anyhow::Result<()>>) -> anyhow::Error {
    match injection.await {
        Ok(()) => std::future::pending().await,
        Err(error) => error,
    }
}

/// Shows the progress until the run is complete, or nothing has changed for too long. Returns the last progress.
async fn watch(screen: &Screen, testbed: &Testbed, injected: &Injected) -> anyhow::Result<Progress> {
    let begun = Instant::now();
    let (mut polled, mut written, mut changed) = (begun, begun, begun);
    let mut completed: Option<Instant> = None;
    let mut phase = Phase::Faults;
    let mut last = (Progress::default(), 0);
    loop {
        if polled.elapsed() >= POLL_INTERVAL {
            let now = (testbed.progress().await?, testbed.endpoints.count());
            polled = Instant::now();
            if now != last {
                changed = Instant::now();
                last = now;
            }
        }
        let (progress, arrivals) = last;
        if injected.phase.get() != Phase::Recovery || !progress.is_complete() {
            completed = None;
        } else {
            completed.get_or_insert_with(Instant::now);
        }
        if completed.is_some_and(|at| at.elapsed() > GRACE_PERIOD) || changed.elapsed() > STALL_TIMEOUT {
            screen.clear();
            return Ok(progress);
        }
        let status = describe(testbed, injected, progress, arrivals);
        if injected.phase.get() != phase || written.elapsed() > LINE_INTERVAL {
            phase = injected.phase.get();
            written = Instant::now();
            screen.say(format!("  {:>4}s  {status}", begun.elapsed().as_secs()));
        }
        screen.show_status(&status);
        tokio::time::sleep(REDRAW_INTERVAL).await;
    }
}

fn describe(testbed: &Testbed, injected: &Injected, progress: Progress, arrivals: usize) -> String {
    let faults: usize = testbed.proxy.injector().injected().values().sum();
    let (phase, killed) = (injected.phase.get().name(), injected.workers_killed.get());
    let Progress { ended, open, messages } = progress;
    format!(
        "{phase}: deliveries {ended} ended, {open} open · {messages} messages in queues · {arrivals} requests · \
         {faults} faults · {killed} workers killed"
    )
}

/// An environment variable, if it is set.
fn read_setting<T: FromStr>(name: &'static str) -> anyhow::Result<Option<T>> {
    let Ok(value) = std::env::var(name) else { return Ok(None) };
    value.parse().map(Some).ok().with_context(|| format!("{name} has to be a whole number, not {value:?}"))
}
