//! The work of a delivery: processor time and memory, beside the floor's, in turn in the same run.

use std::time::Duration;

use hyper::body::Bytes;
use serde::Serialize;
use support::function::Function;

use crate::alerts::FULL_BATCH;
use crate::endpoint::Manner;
use crate::floor_process::Floor;
use crate::ground::{Ground, SECRET, Taste, handled, retry_batch};
use crate::statistics::Spread;
use crate::trouble::{Trouble, must_be};
use crate::worker::{Program, Worker};

/// How often each is measured.
pub const RUNS: usize = 5;

/// What one process does for each delivery.
#[derive(Clone, Debug, Serialize)]
pub struct Work {
    pub who: &'static str,
    /// Microseconds of processor time for each delivery, in runs of that many.
    pub cpu_us: Spread,
    pub deliveries_per_run: usize,
    /// Bytes. The most that was resident over all runs, with ten requests in flight at once.
    pub peak_memory: u64,
}

impl Work {
    /// How many deliveries a second of processor time makes.
    pub fn per_cpu_second(&self) -> f64 {
        1e6 / self.cpu_us.median
    }
}

fn microseconds(cpu: Duration, deliveries: usize) -> f64 {
    cpu.as_secs_f64() * 1e6 / deliveries as f64
}

/// How much is done to warm up, and how much in each run.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub warm_up: usize,
    pub batches: usize,
}

impl Size {
    pub const OURS: Self = Self { warm_up: 50, batches: 200 };
    /// The baselines are slower, and their interpreters take longer to warm up.
    pub const BASELINE: Self = Self { warm_up: 50, batches: 60 };
}

/// Measures `deliver` and the floor in turn.
///
/// # Errors
/// When what happened is not what must.
pub async fn deliver_and_floor(ground: &mut Ground, size: Size) -> Result<(Work, Work), Trouble> {
    let deliver = Worker::start(&ground.function(Function::Deliver)?).await?;
    let secret = std::str::from_utf8(SECRET).expect("it is text");
    let mut floor = Floor::start(&ground.own("floor")?, &ground.endpoint.url(), secret)?;
    ground.integrations([Taste::Matches]);
    ground.endpoint.behave(Manner::AT_ONCE);

    fed(ground, &deliver, size.warm_up).await?;
    floored(ground, &mut floor, size.warm_up).await?;
    let (mut deliver_us, mut floor_us) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        deliver_us.push(microseconds(fed(ground, &deliver, size.batches).await?, size.batches * FULL_BATCH));
        floor_us.push(microseconds(floored(ground, &mut floor, size.batches).await?, size.batches * FULL_BATCH));
    }
    let work = |who, cpu_us, peak_memory| {
        let cpu_us = Spread::of(cpu_us);
        Work { who, cpu_us, deliveries_per_run: size.batches * FULL_BATCH, peak_memory }
    };
    let deliver = work("deliver", deliver_us, deliver.process().peak_memory()?);
    Ok((deliver, work("the floor", floor_us, floor.process().peak_memory()?)))
}

/// Measures a baseline: another sender under the same Runtime API.
///
/// # Errors
/// When what happened is not what must.
pub async fn baseline(ground: &mut Ground, program: &Program, size: Size) -> Result<Work, Trouble> {
    let worker = Worker::start(program).await?;
    ground.integrations([Taste::Matches]);
    ground.endpoint.behave(Manner::AT_ONCE);
    fed(ground, &worker, size.warm_up).await?;
    let mut cpu = Vec::new();
    for _ in 0..RUNS {
        cpu.push(microseconds(fed(ground, &worker, size.batches).await?, size.batches * FULL_BATCH));
    }
    let deliveries_per_run = size.batches * FULL_BATCH;
    Ok(Work {
        who: program.name,
        cpu_us: Spread::of(cpu),
        deliveries_per_run,
        peak_memory: worker.process().peak_memory()?,
    })
}

/// Measures `retry` with second attempts, which succeed.
///
/// # Errors
/// When what happened is not what must.
pub async fn retry(ground: &mut Ground, size: Size) -> Result<Work, Trouble> {
    let deliver = Worker::start(&ground.function(Function::Deliver)?).await?;
    let retry = Worker::start(&ground.function(Function::Retry)?).await?;
    ground.integrations([Taste::Matches]);
    ground.endpoint.behave(Manner { accepts_from: 2, ..Manner::AT_ONCE });
    let mut cpu = Vec::new();
    for run in 0..=RUNS {
        let batches = if run == 0 { size.warm_up } else { size.batches };
        ground.aws.take_sent();
        fed(ground, &deliver, batches).await?;
        let due: Vec<_> = ground.aws.take_sent().chunks(FULL_BATCH).map(retry_batch).collect();
        let spent = all_handled(ground, &retry, due, batches * FULL_BATCH).await?;
        if run > 0 {
            cpu.push(microseconds(spent, batches * FULL_BATCH));
        }
    }
    let deliveries_per_run = size.batches * FULL_BATCH;
    Ok(Work { who: "retry", cpu_us: Spread::of(cpu), deliveries_per_run, peak_memory: retry.process().peak_memory()? })
}

/// The processor time that a worker takes for so many full batches.
async fn fed(ground: &mut Ground, worker: &Worker, batches: usize) -> Result<Duration, Trouble> {
    ground.aws.clear("DeliveriesTable");
    let events = (0..batches).map(|_| ground.batch(FULL_BATCH, 0).0).collect();
    all_handled(ground, worker, events, batches * FULL_BATCH).await
}

async fn all_handled(
    ground: &Ground,
    worker: &Worker,
    events: Vec<Bytes>,
    deliveries: usize,
) -> Result<Duration, Trouble> {
    ground.endpoint.take();
    let before = worker.process().cpu_time()?;
    for event in events {
        handled(worker, event).await?;
    }
    let spent = worker.process().cpu_time()?.saturating_sub(before);
    all_arrived(ground, deliveries)?;
    Ok(spent)
}

async fn floored(ground: &mut Ground, floor: &mut Floor, batches: usize) -> Result<Duration, Trouble> {
    let groups: Vec<Vec<String>> =
        (0..batches).map(|_| (0..FULL_BATCH).map(|_| ground.alerts.sample()).collect()).collect();
    ground.endpoint.take();
    let before = floor.process().cpu_time()?;
    for group in groups {
        floor.send(&group).await?;
    }
    let spent = floor.process().cpu_time()?.saturating_sub(before);
    all_arrived(ground, batches * FULL_BATCH)?;
    Ok(spent)
}

fn all_arrived(ground: &Ground, deliveries: usize) -> Result<(), Trouble> {
    let arrivals = ground.endpoint.take();
    must_be("deliveries that arrived", &arrivals.seen.len(), &deliveries)?;
    must_be("requests that are not signed right", &arrivals.forged, &0)
}
