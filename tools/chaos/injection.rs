//! What a run does to the stack while it works: it sends alerts, injects faults into calls, kills workers, and switches
//! integrations off.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use fastrand::Rng;
use harness::faults::FaultProfile;
use harness::seeded_rng::seeded_rng;
use jiff::Timestamp;
use serde_json::json;
use support::function::Function;
use tokio::time::{Instant, sleep, sleep_until};

use crate::endpoints::behaviour_of;
use crate::plan::{Behaviour, Plan, Sending};
use crate::reconcile::SwitchedOff;
use crate::testbed::{Testbed, organization_number};

/// What has been done so far.
#[derive(Debug, Default)]
pub(crate) struct Injected {
    pub(crate) alerts: Cell<usize>,
    pub(crate) alerts_sent_twice: Cell<usize>,
    pub(crate) workers_killed: Cell<usize>,
    pub(crate) phase: Cell<Phase>,
    /// The integrations that were switched off, by their number.
    pub(crate) switched_off: RefCell<HashMap<usize, SwitchedOff>>,
}

/// A phase of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Some calls fail, and workers are killed.
    #[default]
    Faults,
    /// The same, and every call to DynamoDB is throttled.
    Outage,
    /// No faults are injected any more.
    Recovery,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Faults => "faults",
            Self::Outage => "DynamoDB outage",
            Self::Recovery => "recovery",
        }
    }
}

/// Sends the alerts and injects the faults of the plan, which takes as long as planned.
///
/// # Errors
/// When the local cloud refuses something.
pub(crate) async fn inject(testbed: &Testbed, plan: &Plan, injected: &Injected) -> anyhow::Result<()> {
    let start = Instant::now();
    tokio::select! {
        // Goes on until the others are done.
        ended = kill_workers(testbed, plan, injected) => ended,
        ended = async {
            tokio::try_join!(
                send_alerts(testbed, plan, injected, start),
                inject_faults(testbed, plan, injected, start),
                switch_integrations_off(testbed, plan, injected, start),
            )
        } => ended.map(drop),
    }
}

async fn send_alerts(testbed: &Testbed, plan: &Plan, injected: &Injected, start: Instant) -> anyhow::Result<()> {
    for alert in &plan.alerts {
        sleep_until(start + alert.at).await;
        let body = testbed.body(plan, alert);
        let group = organization_number(alert.organization).to_string();
        testbed.stack.send_alert(&body, Some(&group)).await?;
        injected.alerts.set(injected.alerts.get() + 1);
        if alert.sending == Sending::Twice {
            testbed.stack.send_alert(&body, Some(&group)).await?;
            injected.alerts_sent_twice.set(injected.alerts_sent_twice.get() + 1);
        }
    }
    Ok(())
}

async fn inject_faults(testbed: &Testbed, plan: &Plan, injected: &Injected, start: Instant) -> anyhow::Result<()> {
    let outage_at = (plan.fault_time - plan.outage) / 2;
    let phases = [
        (Duration::ZERO, FaultProfile::RandomFaults, Phase::Faults),
        (outage_at, FaultProfile::RandomFaultsAndDynamoDbOutage, Phase::Outage),
        (outage_at + plan.outage, FaultProfile::RandomFaults, Phase::Faults),
        (plan.fault_time, FaultProfile::NoFaults, Phase::Recovery),
    ];
    for (at, profile, phase) in phases {
        sleep_until(start + at).await;
        testbed.proxy.set_profile(profile);
        injected.phase.set(phase);
    }
    Ok(())
}

/// Switches integrations off as their owners would, at any time in the middle of the run.
async fn switch_integrations_off(
    testbed: &Testbed,
    plan: &Plan,
    injected: &Injected,
    start: Instant,
) -> anyhow::Result<()> {
    let integrations = testbed.integrations.iter().enumerate();
    let integrations = integrations.filter(|(number, _)| behaviour_of(*number) == Behaviour::SwitchedOff);
    let mut switch_offs: Vec<_> = integrations
        .map(|(number, integration)| {
            let share = seeded_rng(plan.seed, [format!("switch off {number}")]).f64();
            (plan.fault_time.mul_f64(0.3 + 0.6 * share), number, integration)
        })
        .collect();
    switch_offs.sort_by_key(|(at, ..)| *at);
    for (at, number, integration) in switch_offs {
        sleep_until(start + at).await;
        let from = Timestamp::now();
        testbed.stack.change(integration, &json!({ "enabled": false })).await?;
        let switched_off = SwitchedOff { from, surely_from: Some(Timestamp::now()) };
        injected.switched_off.borrow_mut().insert(number, switched_off);
    }
    Ok(())
}

async fn kill_workers(testbed: &Testbed, plan: &Plan, injected: &Injected) -> anyhow::Result<()> {
    let mut rng = seeded_rng(plan.seed, ["kills"]);
    loop {
        sleep(plan.kill_interval.mul_f64(2.0 * rng.f64())).await;
        if kill_worker(testbed, &mut rng)? {
            injected.workers_killed.set(injected.workers_killed.get() + 1);
        }
    }
}

/// Kills a random worker, busy or idle, if there is one.
fn kill_worker(testbed: &Testbed, rng: &mut Rng) -> anyhow::Result<bool> {
    let function = if rng.bool() { Function::Deliver } else { Function::Retry };
    let workers = testbed.stack.workers(function)?;
    let Some(worker) = rng.choice(&workers) else { return Ok(false) };
    // It may have ended in the meantime.
    Ok(worker.kill().is_ok())
}
