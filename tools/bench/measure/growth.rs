//! How cost grows with batches, integrations and payloads.

use serde::Serialize;

use super::drive::{Load, Workers, drive};
use crate::alerts::FULL_BATCH;
use crate::cost::bill;
use crate::ground::Ground;
use crate::statistics::Spread;
use crate::trouble::Trouble;

/// How often each size is measured.
const RUNS: usize = 5;

/// About how many deliveries each run makes.
const DELIVERIES: usize = 200;

/// One size of one thing, and what a delivery costs with it.
#[derive(Clone, Debug, Serialize)]
pub struct Growth {
    pub what: &'static str,
    pub size: String,
    pub cpu_us: Spread,
    pub write_units: f64,
    pub read_units: f64,
    /// AWS calls of one delivery, all kinds together.
    pub calls: f64,
    /// Dollars for a million deliveries, with an endpoint that answers at once.
    pub total: f64,
}

/// The sizes that are measured, with what each is called.
pub fn sizes() -> Vec<(&'static str, String, Load)> {
    let of = |load: Load| Load { batches: (DELIVERIES / (load.messages * load.matching)).max(1), ..load };
    let mut sizes = Vec::new();
    for messages in [1, 10, 100] {
        sizes.push(("batch of", format!("{messages}"), of(Load { messages, ..Load::PLAIN })));
    }
    for declining in [0, 9, 99] {
        sizes.push(("integrations, one matching", format!("{}", declining + 1), of(Load { declining, ..Load::PLAIN })));
    }
    for matching in [1, 10, 100] {
        let load = Load { matching, messages: if matching < 100 { FULL_BATCH } else { 1 }, ..Load::PLAIN };
        sizes.push(("integrations, all matching", format!("{matching}"), of(load)));
    }
    for kilobytes in [1, 10, 200] {
        let load =
            Load { bytes: kilobytes * 1_000, messages: if kilobytes < 200 { FULL_BATCH } else { 1 }, ..Load::PLAIN };
        sizes.push(("payload, kB", format!("{kilobytes}"), of(load)));
    }
    sizes
}

/// Measures one size.
///
/// # Errors
/// When what happened is not what must.
pub async fn growth(
    ground: &mut Ground,
    workers: &Workers,
    (what, size, load): (&'static str, String, Load),
) -> Result<Growth, Trouble> {
    drive(ground, workers, &load).await?;
    let mut cpu = Vec::new();
    let mut last = None;
    for _ in 0..RUNS {
        let usage = drive(ground, workers, &load).await?;
        let spent: f64 = usage.invocations.iter().map(|invocation| invocation.cpu.as_secs_f64()).sum();
        cpu.push(spent * 1e6 / usage.deliveries as f64);
        last = Some(usage);
    }
    let usage = last.unwrap_or_default();
    let each = |count: f64| count / usage.deliveries as f64;
    Ok(Growth {
        what,
        size,
        cpu_us: Spread::of(cpu),
        write_units: each(usage.calls.write_units() as f64),
        read_units: each(usage.calls.read_units()),
        calls: each(usage.calls.0.values().map(|calls| calls.count as f64).sum()),
        total: bill(&usage).total(),
    })
}
