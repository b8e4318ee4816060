//! What we add to the time of one delivery: from an invocation to its request's arrival, and from the endpoint's answer to
//! the acknowledgement. AWS answers at once here, over plain HTTP.

use std::time::Instant;

use serde::Serialize;
use support::function::Function;

use crate::endpoint::Manner;
use crate::floor_process::Floor;
use crate::ground::{Ground, SECRET, Taste, handled};
use crate::statistics::{Percentiles, milliseconds};
use crate::trouble::{Trouble, must_be};
use crate::worker::Worker;

/// How many deliveries are timed, one at a time.
const TIMED: usize = 500;

/// How many go before them.
const WARM_UP: usize = 100;

/// What one process adds to a delivery.
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

    fn add(&mut self, ground: &Ground, started: Instant, ended: Instant) -> Result<(), Trouble> {
        let arrivals = ground.endpoint.take();
        let seen: Vec<_> = arrivals.seen.into_values().collect();
        must_be("deliveries that arrived", &seen.len(), &1)?;
        self.until_sent.push(milliseconds(seen[0].arrived - started));
        self.until_acknowledged.push(milliseconds(ended - seen[0].answered));
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
/// When what happened is not what must.
pub async fn deliver_and_floor(ground: &mut Ground) -> Result<[Latency; 2], Trouble> {
    let deliver = Worker::start(&ground.function(Function::Deliver)?).await?;
    let secret = std::str::from_utf8(SECRET).expect("it is text");
    let mut floor = Floor::start(&ground.own("floor")?, &ground.endpoint.url(), secret)?;
    ground.integrations([Taste::Matches]);
    ground.endpoint.behave(Manner::AT_ONCE);
    ground.endpoint.take();
    let (mut ours, mut least) = (Times::of("deliver"), Times::of("the floor"));
    for _ in 0..WARM_UP + TIMED {
        let (event, _) = ground.batch(1, 0);
        let answer = handled(&deliver, event).await?;
        ours.add(ground, answer.started, answer.ended)?;
        let alert = ground.alerts.sample();
        let (started, ended) = floor.send(&[alert]).await?;
        least.add(ground, started, ended)?;
    }
    Ok([ours.latency(), least.latency()])
}
