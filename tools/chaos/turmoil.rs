//! What is done to the stack while it works: alerts, foul weather, deaths of workers, customers who change their minds.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use fastrand::Rng;
use harness::dice::dice;
use harness::faults::Weather;
use jiff::Timestamp;
use serde_json::json;
use support::function::Function;
use tokio::time::{Instant, sleep, sleep_until};

use crate::endpoints::fate_of;
use crate::plan::{Fate, Plan, Sending};
use crate::reconcile::SwitchedOff;
use crate::stage::{Stage, Trouble, organization_number};

/// What has been done so far.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) alerts: Cell<usize>,
    pub(crate) alerts_sent_again: Cell<usize>,
    pub(crate) workers_killed: Cell<usize>,
    pub(crate) phase: Cell<Phase>,
    /// The integrations that were switched off so far, by their number.
    pub(crate) switched_off: RefCell<HashMap<usize, SwitchedOff>>,
}

/// What the stack is going through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Turmoil,
    Outage,
    Calm,
}

impl Phase {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Turmoil => "calls fail, workers die",
            Self::Outage => "and every call to DynamoDB is throttled",
            Self::Calm => "all is well again",
        }
    }
}

/// Makes turmoil for as long as planned, then leaves the stack alone.
///
/// # Errors
/// [`Trouble`] when something cannot be done.
pub(crate) async fn make(stage: &Stage, plan: &Plan, done: &Done) -> Result<(), Trouble> {
    let begin = Instant::now();
    let killing = kill(stage, plan, done);
    tokio::select! {
        // Ends with the turmoil only.
        ended = killing => ended,
        ended = async {
            tokio::try_join!(
                raise(stage, plan, done, begin),
                weather(stage, plan, done, begin),
                switch_off(stage, plan, done, begin),
            )
        } => ended.map(drop),
    }
}

async fn raise(stage: &Stage, plan: &Plan, done: &Done, begin: Instant) -> Result<(), Trouble> {
    for alert in &plan.alerts {
        sleep_until(begin + alert.at).await;
        let body = stage.body(plan, alert);
        let group = organization_number(alert.organization).to_string();
        stage.stack.send_alert(&body, Some(&group)).await?;
        done.alerts.set(done.alerts.get() + 1);
        if alert.sending == Sending::Twice {
            stage.stack.send_alert(&body, Some(&group)).await?;
            done.alerts_sent_again.set(done.alerts_sent_again.get() + 1);
        }
    }
    Ok(())
}

async fn weather(stage: &Stage, plan: &Plan, done: &Done, begin: Instant) -> Result<(), Trouble> {
    let outage_at = (plan.turmoil - plan.outage) / 2;
    let course = [
        (Duration::ZERO, Weather::Foul, Phase::Turmoil),
        (outage_at, Weather::TableOutage, Phase::Outage),
        (outage_at + plan.outage, Weather::Foul, Phase::Turmoil),
        (plan.turmoil, Weather::Fair, Phase::Calm),
    ];
    for (at, weather, phase) in course {
        sleep_until(begin + at).await;
        stage.proxy.set_weather(weather);
        done.phase.set(phase);
    }
    Ok(())
}

/// Customers who switch an integration off in the middle of it all.
async fn switch_off(stage: &Stage, plan: &Plan, done: &Done, begin: Instant) -> Result<(), Trouble> {
    let doomed = stage.integrations.iter().enumerate();
    let doomed = doomed.filter(|(number, _)| fate_of(*number) == Fate::IsSwitchedOff);
    let mut doomed: Vec<_> = doomed
        .map(|(number, integration)| {
            let share = dice(plan.seed, [format!("switch off {number}")]).f64();
            (plan.turmoil.mul_f64(0.3 + 0.6 * share), number, integration)
        })
        .collect();
    doomed.sort_by_key(|(at, ..)| *at);
    for (at, number, integration) in doomed {
        sleep_until(begin + at).await;
        let from = Timestamp::now();
        stage.stack.change(integration, &json!({ "enabled": false })).await?;
        done.switched_off.borrow_mut().insert(number, SwitchedOff { from, surely_from: Some(Timestamp::now()) });
    }
    Ok(())
}

async fn kill(stage: &Stage, plan: &Plan, done: &Done) -> Result<(), Trouble> {
    let mut dice = dice(plan.seed, ["kills"]);
    loop {
        sleep(plan.kills_every.mul_f64(2.0 * dice.f64())).await;
        if kill_one(stage, &mut dice)? {
            done.workers_killed.set(done.workers_killed.get() + 1);
        }
    }
}

/// Kills a worker, if there is one; whether it is at work is left to chance.
fn kill_one(stage: &Stage, dice: &mut Rng) -> Result<bool, Trouble> {
    let function = if dice.bool() { Function::Deliver } else { Function::Retry };
    let workers = stage.stack.workers(function)?;
    let Some(worker) = dice.choice(&workers) else { return Ok(false) };
    // It may have ended by itself meanwhile.
    Ok(worker.kill().is_ok())
}
