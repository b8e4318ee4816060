//! How cost grows with batches, integrations and payloads.

use anyhow::Result;
use serde::Serialize;

use super::workload::{Workers, Workload, run_workload};
use crate::alerts::FULL_BATCH;
use crate::cost::bill;
use crate::statistics::Spread;
use crate::testbed::Testbed;

/// How often each size is measured.
const RUNS: usize = 5;

/// About how many deliveries each run makes.
const DELIVERIES: usize = 200;

/// What a delivery costs when something has a certain size.
#[derive(Clone, Debug, Serialize)]
pub struct Growth {
    pub size: String,
    pub cpu_us: Spread,
    pub write_units: f64,
    pub read_units: f64,
    /// AWS calls of one delivery, all kinds together.
    pub calls: f64,
    /// Dollars for a million deliveries, with an endpoint that answers at once.
    pub total: f64,
}

/// The sizes that are measured, each with its label.
pub fn sizes() -> Vec<(String, Workload)> {
    let of = |load: Workload| Workload { batches: (DELIVERIES / (load.messages * load.matching)).max(1), ..load };
    let mut sizes = Vec::new();
    for messages in [1, 10, 100] {
        sizes.push((format!("batches of {messages}"), of(Workload { messages, ..Workload::PLAIN })));
    }
    for integrations in [1, 10, 100] {
        let load = Workload { unrelated: integrations - 1, ..Workload::PLAIN };
        sizes.push((format!("integrations: 1 of {integrations} matches"), of(load)));
    }
    for matching in [1, 10, 100] {
        let load = Workload { matching, messages: if matching < 100 { FULL_BATCH } else { 1 }, ..Workload::PLAIN };
        sizes.push((format!("integrations: {matching} of {matching} match"), of(load)));
    }
    for kilobytes in [1, 10, 200] {
        let messages = if kilobytes < 200 { FULL_BATCH } else { 1 };
        let load = Workload { bytes: kilobytes * 1_000, messages, ..Workload::PLAIN };
        sizes.push((format!("payloads of {kilobytes} kB"), of(load)));
    }
    sizes
}

/// Measures one size.
///
/// # Errors
/// When a delivery did not go as expected.
pub async fn growth(testbed: &mut Testbed, workers: &Workers, (size, load): (String, Workload)) -> Result<Growth> {
    run_workload(testbed, workers, &load).await?;
    let mut cpu = Vec::new();
    let mut last = None;
    for _ in 0..RUNS {
        let usage = run_workload(testbed, workers, &load).await?;
        let spent: f64 = usage.invocations.iter().map(|invocation| invocation.cpu.as_secs_f64()).sum();
        cpu.push(spent * 1e6 / usage.deliveries as f64);
        last = Some(usage);
    }
    let usage = last.unwrap_or_default();
    let each = |count: f64| count / usage.deliveries as f64;
    Ok(Growth {
        size,
        cpu_us: Spread::of(cpu),
        write_units: each(usage.calls.write_units() as f64),
        read_units: each(usage.calls.read_units()),
        calls: each(usage.calls.0.values().map(|calls| calls.count as f64).sum()),
        total: bill(&usage).total(),
    })
}
