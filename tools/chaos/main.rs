//! `make chaos`: the deployed template under everything that can go wrong, and the reckoning afterwards.
//!
//! Between the functions and the local cloud stands a proxy through which calls fail in all their ways. Workers are killed
//! at random, messages are doubled, the table is throttled for a while, and the endpoints fail as endpoints do. Then all
//! is left alone until nothing moves any more, and every delivery of the ledger is compared with what the endpoints saw.
//!
//! `make chaos SEED=7 DELIVERIES=500` chooses the run; without, the seed is drawn and printed. Exits with 0 only if every
//! promise was kept.

mod endpoints;
mod ledger;
mod plan;
mod reconcile;
mod report;
mod stage;
mod turmoil;

use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use console::style;

use crate::ledger::Standing;
use crate::plan::{DELIVERIES, PAYLOAD_CANARY, Plan, SECRET_CANARY};
use crate::reconcile::{Evidence, reconcile};
use crate::report::Report;
use crate::stage::{Stage, Trouble, VISIBILITY_TIMEOUT_IN_PRODUCTION, VISIBILITY_TIMEOUT_SECONDS};
use crate::turmoil::{Done, Phase, make};
use harness::leaks::{Leak, Secrets, Shown};
use support::interrupt::run;
use support::screen::Screen;

/// How long nothing may move before waiting is given up: a message that met six faults in a row is hidden for 160 s, one that met
/// seven for 320 s.
const PATIENCE: Duration = Duration::from_secs(400);

/// How long everything must have been settled: what must not happen has then had its chance.
const AFTERMATH: Duration = Duration::from_secs(3);

/// How often to look at the ledger. Looking costs the local cloud.
const LOOKS_EVERY: Duration = Duration::from_millis(1_500);

const REDRAWS_EVERY: Duration = Duration::from_millis(200);

/// How often to say how far it is, where there is no line to redraw.
const SAYS_EVERY: Duration = Duration::from_secs(15);

// One thread is enough, and leaves the processors to the local cloud.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let screen = Screen::new();
    screen.say(format!("\n  {}\n", style("Roboticks Custom Webhooks, while everything goes wrong").bold()));
    run(&screen, chaos(&screen)).await
}

async fn chaos(screen: &Screen) -> Result<ExitCode, Trouble> {
    let begun = Instant::now();
    let seed = setting("SEED")?.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let deliveries = setting("DELIVERIES")?.unwrap_or(DELIVERIES);
    let plan = Plan::draw(seed, deliveries);
    screen.say(format!("  seed {seed}: `make chaos SEED={seed} DELIVERIES={deliveries}` draws the same run again\n"));

    let stage = Stage::set(screen, &plan).await?;
    let done = Done::default();
    screen.say(format!(
        "\n  For {} s now calls fail, workers die, and {} alerts come that {} deliveries follow from, if no integration is\n  \
         switched off before. In the middle of that DynamoDB refuses everything for {} s. A message whose worker died comes back\n  \
         after {} s here and {} s in production; one that was given back, after the same times as there.\n",
        plan.turmoil.as_secs(),
        plan.alerts.len(),
        plan.deliveries(),
        plan.outage.as_secs(),
        VISIBILITY_TIMEOUT_SECONDS,
        VISIBILITY_TIMEOUT_IN_PRODUCTION,
    ));
    let turmoil = make(&stage, &plan, &done);
    let left = tokio::select! {
        biased;
        left = watch(screen, &stage, &done) => left?,
        trouble = async { make_until_calm(turmoil).await } => return Err(trouble),
    };

    let reckoning = reconcile(Evidence {
        wanted: stage.wanted(&plan)?,
        records: stage.records().await?,
        arrivals: stage.endpoints.arrivals(),
        concerns: stage.proxy.concerns(),
        switched_off: done.switched_off.take(),
    });
    let (injected, calls) = stage.proxy.with_faults(|faults| (faults.injected().clone(), faults.calls()));
    let report = Report {
        seed,
        calls,
        injected: &injected,
        workers_killed: done.workers_killed.get(),
        alerts: done.alerts.get(),
        alerts_sent_again: done.alerts_sent_again.get(),
        outage_seconds: plan.outage.as_secs(),
        asked_for: plan.asked_for,
        is_full: plan.is_full(),
        announced: stage.announced().await?,
        dead_letters: stage.stack.dead_letters().await?.len(),
        left_over: left.under_way + left.messages,
        leaks: &leaks(&stage).await?,
        reckoning: &reckoning,
    };
    screen.clear();
    for line in report.lines() {
        screen.say(line);
    }
    screen.say("");
    if report.is_as_it_must_be() {
        let took = format!("({:.0}s in all)", begun.elapsed().as_secs_f64());
        screen.say(format!("  {} {}\n", style("Every promise was kept.").green().bold(), style(took).dim()));
        return Ok(ExitCode::SUCCESS);
    }
    let log = stage.cloud.log().display();
    screen.say(format!("  {}", style("Not every promise was kept.").red().bold()));
    screen.say(format!("  The local cloud's log, with what the functions said: {log}\n"));
    Ok(ExitCode::FAILURE)
}

/// Where secrets or payloads are that must not be there: in the functions' calls, in what is shown to others, in what the
/// functions wrote into the local cloud's log.
async fn leaks(stage: &Stage) -> Result<Vec<Leak>, Trouble> {
    let log = std::fs::read_to_string(stage.cloud.log())?;
    let log = log.lines().map(|line| Shown::new("the local cloud's log", line));
    let shown = stage.stack.shown().await?.into_iter().chain(log);
    let secrets = Secrets::new([SECRET_CANARY, PAYLOAD_CANARY]);
    Ok([stage.proxy.leaks(), secrets.leaks(shown)].concat())
}

/// Ends only in trouble: when the turmoil is over, watching goes on.
async fn make_until_calm(turmoil: impl Future<Output = Result<(), Trouble>>) -> Trouble {
    match turmoil.await {
        Ok(()) => std::future::pending().await,
        Err(trouble) => trouble,
    }
}

/// Tells how far it is until nothing is left to be done, or nothing moves any more. Returns what is left.
async fn watch(screen: &Screen, stage: &Stage, done: &Done) -> Result<Standing, Trouble> {
    let begun = Instant::now();
    let (mut looked, mut said, mut moved) = (begun, begun, begun);
    let mut settled: Option<Instant> = None;
    let mut phase = Phase::Turmoil;
    let mut last = (Standing::default(), 0);
    loop {
        if looked.elapsed() >= LOOKS_EVERY {
            let now = (stage.standing().await?, stage.endpoints.count());
            looked = Instant::now();
            if now != last {
                moved = Instant::now();
                last = now;
            }
        }
        let (standing, arrivals) = &last;
        if done.phase.get() != Phase::Calm || !standing.is_settled() {
            settled = None;
        } else {
            settled.get_or_insert_with(Instant::now);
        }
        if settled.is_some_and(|at| at.elapsed() > AFTERMATH) || moved.elapsed() > PATIENCE {
            screen.clear();
            return Ok(standing.clone());
        }
        let progress = progress(stage, done, standing, *arrivals);
        if done.phase.get() != phase || said.elapsed() > SAYS_EVERY {
            phase = done.phase.get();
            said = Instant::now();
            screen.say(format!("  {:>4}s  {progress}", begun.elapsed().as_secs()));
        }
        screen.wait_for(&progress);
        tokio::time::sleep(REDRAWS_EVERY).await;
    }
}

fn progress(stage: &Stage, done: &Done, standing: &Standing, arrivals: usize) -> String {
    let faults: usize = stage.proxy.with_faults(|faults| faults.injected().values().sum());
    format!(
        "{}: {} ended, {} under way, {} messages · {arrivals} requests · {faults} faults · {} workers killed",
        done.phase.get().words(),
        standing.ended,
        standing.under_way,
        standing.messages,
        done.workers_killed.get(),
    )
}

fn setting<T: FromStr>(name: &'static str) -> Result<Option<T>, Trouble> {
    let Ok(value) = std::env::var(name) else { return Ok(None) };
    value.parse().map(Some).map_err(|_| Trouble::Setting { name, value })
}
