//! What we add to the time of one delivery: from an invocation to its request's arrival, and from the endpoint's answer
//! to the acknowledgement. AWS answers at once here, over plain HTTP.

use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use support::function::Function;

use crate::endpoint::Behavior;
use crate::ensure_eq;
use crate::floor_process::Floor;
use crate::statistics::{Percentiles, milliseconds};
use crate::testbed::{SECRET, Subscription, Testbed, process_batch};
use crate::worker::Worker;

/// How many deliveries are timed, one at a time.
const TIMED: usize = 500;

/// How many are made before, and not counted.
const WARM_UP: usize = 100;

/// The time that one sender adds to a delivery.
#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    pub who: &'static str,
    pub until_sent_ms: Percentiles,
    pub until_acknowledged_ms: Percentiles,
    pub deliveries: usize,
}

struct Times {
    who: &'static str,
    until_sent: Vec<f64>,
    until_acknowledged: Vec<f64>,
}

impl Times {
    fn of(who: &'static str) -> Self {
        Self { who, until_sent: Vec::new(), until_acknowledged: Vec::new() }
    }

    fn add(&mut self, testbed: &Testbed, started: Instant, ended: Instant) -> Result<()> {
        let arrivals = testbed.endpoint.take();
        let received: Vec<_> = arrivals.deliveries.into_values().collect();
        ensure_eq("deliveries that arrived", &received.len(), &1)?;
        self.until_sent.push(milliseconds(received[0].arrived - started));
        self.until_acknowledged.push(milliseconds(ended - received[0].answered));
        Ok(())
    }

    fn latency(self) -> Latency {
        let percentiles = |times: Vec<f64>| Percentiles::of(times.into_iter().skip(WARM_UP));
        Latency {
            who: self.who,
            until_sent_ms: percentiles(self.until_sent),
            until_acknowledged_ms: percentiles(self.until_acknowledged),
            deliveries: TIMED,
        }
    }
}

/// Times `deliver` and the floor in turn.
///
/// # Errors
/// When a delivery did not go as expected.
pub async fn deliver_and_floor(testbed: &mut Testbed) -> Result<[Latency; 2]> {
    let deliver = Worker::start(&testbed.function(Function::Deliver)?).await?;
    let secret = std::str::from_utf8(SECRET).expect("it is text");
    let mut floor = Floor::start(&testbed.own_program("floor")?, &testbed.endpoint.url(), secret)?;
    testbed.set_integrations([Subscription::Matching]);
    testbed.endpoint.set_behavior(Behavior::ACCEPTS);
    testbed.endpoint.take();
    let (mut ours, mut least) = (Times::of("deliver"), Times::of("the floor"));
    for _ in 0..WARM_UP + TIMED {
        let (event, _) = testbed.batch(1, 0);
        let answer = process_batch(&deliver, event).await?;
        ours.add(testbed, answer.started, answer.ended)?;
        let alert = testbed.alerts.sample();
        let (started, ended) = floor.send(&[alert]).await?;
        least.add(testbed, started, ended)?;
    }
    Ok([ours.latency(), least.latency()])
}
