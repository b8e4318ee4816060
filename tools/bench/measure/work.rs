//! The work of a delivery: processor time and memory, beside the floor's, in turn in the same run.

use anyhow::Result;
use hyper::body::Bytes;
use serde::Serialize;
use support::function::Function;

use crate::alerts::FULL_BATCH;
use crate::endpoint::Behavior;
use crate::ensure_eq;
use crate::floor_process::Floor;
use crate::process::Process;
use crate::statistics::Spread;
use crate::testbed::{SECRET, Subscription, Testbed, batch_for_retry, process_batch};
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
    fn new(who: &'static str, cpu_us: Vec<f64>, size: Size, process: Process) -> Result<Self> {
        let deliveries_per_run = size.batches * FULL_BATCH;
        Ok(Self { who, cpu_us: Spread::of(cpu_us), deliveries_per_run, peak_memory: process.peak_memory()? })
    }

    /// How many deliveries a second of processor time makes.
    pub fn per_cpu_second(&self) -> f64 {
        1e6 / self.cpu_us.median
    }
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
/// When a delivery did not go as expected.
pub async fn deliver_and_floor(testbed: &mut Testbed, size: Size) -> Result<(Work, Work)> {
    let deliver = Worker::start(&testbed.function(Function::Deliver)?).await?;
    let secret = std::str::from_utf8(SECRET).expect("it is text");
    let mut floor = Floor::start(&testbed.own_program("floor")?, &testbed.endpoint.url(), secret)?;
    testbed.set_integrations([Subscription::Matching]);
    testbed.endpoint.set_behavior(Behavior::ACCEPTS);

    deliver_batches(testbed, &deliver, size.warm_up).await?;
    send_by_floor(testbed, &mut floor, size.warm_up).await?;
    let (mut deliver_us, mut floor_us) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        deliver_us.push(deliver_batches(testbed, &deliver, size.batches).await?);
        floor_us.push(send_by_floor(testbed, &mut floor, size.batches).await?);
    }
    let deliver = Work::new("deliver", deliver_us, size, deliver.process())?;
    Ok((deliver, Work::new("the floor", floor_us, size, floor.process())?))
}

/// Measures a baseline: another sender under the same Runtime API.
///
/// # Errors
/// When a delivery did not go as expected.
pub async fn baseline(testbed: &mut Testbed, program: &Program, size: Size) -> Result<Work> {
    let worker = Worker::start(program).await?;
    testbed.set_integrations([Subscription::Matching]);
    testbed.endpoint.set_behavior(Behavior::ACCEPTS);
    deliver_batches(testbed, &worker, size.warm_up).await?;
    let mut cpu = Vec::new();
    for _ in 0..RUNS {
        cpu.push(deliver_batches(testbed, &worker, size.batches).await?);
    }
    Work::new(program.name, cpu, size, worker.process())
}

/// Measures `retry` with second attempts, which succeed.
///
/// # Errors
/// When a delivery did not go as expected.
pub async fn retry(testbed: &mut Testbed, size: Size) -> Result<Work> {
    let deliver = Worker::start(&testbed.function(Function::Deliver)?).await?;
    let retry = Worker::start(&testbed.function(Function::Retry)?).await?;
    testbed.set_integrations([Subscription::Matching]);
    testbed.endpoint.set_behavior(Behavior { accepts_from: 2, ..Behavior::ACCEPTS });
    let mut cpu = Vec::new();
    for run in 0..=RUNS {
        let batches = if run == 0 { size.warm_up } else { size.batches };
        testbed.aws.take_sent();
        deliver_batches(testbed, &deliver, batches).await?;
        let due: Vec<_> = testbed.aws.take_sent().chunks(FULL_BATCH).map(batch_for_retry).collect();
        let cpu_us = process_all(testbed, &retry, due).await?;
        if run > 0 {
            cpu.push(cpu_us);
        }
    }
    Work::new("retry", cpu, size, retry.process())
}

/// The processor time that a worker takes for a delivery of so many full batches, in microseconds.
async fn deliver_batches(testbed: &mut Testbed, worker: &Worker, batches: usize) -> Result<f64> {
    testbed.aws.clear("DeliveriesTable");
    let events = (0..batches).map(|_| testbed.batch(FULL_BATCH, 0).0).collect();
    process_all(testbed, worker, events).await
}

async fn process_all(testbed: &Testbed, worker: &Worker, batches: Vec<Bytes>) -> Result<f64> {
    let deliveries = batches.len() * FULL_BATCH;
    count_time(testbed, worker.process(), deliveries, async || {
        for batch in batches {
            process_batch(worker, batch).await?;
        }
        Ok(())
    })
    .await
}

async fn send_by_floor(testbed: &mut Testbed, floor: &mut Floor, batches: usize) -> Result<f64> {
    let batches: Vec<Vec<String>> =
        (0..batches).map(|_| (0..FULL_BATCH).map(|_| testbed.alerts.sample()).collect()).collect();
    let deliveries = batches.len() * FULL_BATCH;
    count_time(testbed, floor.process(), deliveries, async || {
        for batch in batches {
            floor.send(&batch).await?;
        }
        Ok(())
    })
    .await
}

/// The processor time that a process takes for each of so many deliveries, in microseconds. All of them have to arrive.
async fn count_time(
    testbed: &Testbed,
    process: Process,
    deliveries: usize,
    deliver: impl AsyncFnOnce() -> Result<()>,
) -> Result<f64> {
    testbed.endpoint.take();
    let before = process.cpu_time()?;
    deliver().await?;
    let spent = process.cpu_time()?.saturating_sub(before);
    let arrivals = testbed.endpoint.take();
    ensure_eq("deliveries that arrived", &arrivals.deliveries.len(), &deliveries)?;
    ensure_eq("requests with an invalid signature", &arrivals.invalid_signatures, &0)?;
    Ok(spent.as_secs_f64() * 1e6 / deliveries as f64)
}
