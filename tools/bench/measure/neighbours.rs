//! What endpoints that hang cost their neighbours: how long alerts take from their queue to endpoints that work, without and
//! with a fifth of the endpoints hanging, in turn. The functions run with production's own time limits, schedule and
//! concurrency, and every AWS call takes as long as `prices.rs` assumes. `make isolation` measures the same on the local cloud, which is
//! slowed down by whatever else it has to do.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use domain::alert::event::AlertEvent;
use domain::ids::DeliveryId;
use domain::integration::Integration;
use domain::integration::health::{Health, Lane};
use serde::Serialize;
use support::function::Function;
use tokio::time::{Instant, MissedTickBehavior};

use crate::alerts::Alerts;
use crate::aws::{Queue, Way};
use crate::endpoint::{Endpoint, Manner};
use crate::event_source::EventSource;
use crate::ground::{Ground, SECRET};
use crate::prices::AWS_CALL_SECONDS;
use crate::statistics::{Percentiles, milliseconds};
use crate::trouble::{Trouble, must_be};

/// How many organizations have an endpoint each, and which of them hang when they do.
const ENDPOINTS: usize = 20;
const HANGING: [usize; 4] = [4, 9, 14, 19];

/// How often alerts are sent.
const SENT_EVERY: Duration = Duration::from_millis(50);

/// How long a condition is measured at a time: longer than an attempt's time limit, so that all that hangs when it begins
/// runs out meanwhile. At the lower rate eleven delays are then beyond the 99th percentile.
const MEASURED_FOR: Duration = Duration::from_secs(35);

/// How often each condition is measured, in turn.
pub const ROUNDS: usize = 2;

/// How fast and how long alerts are sent before.
const WARM_UP_PER_SECOND: u32 = 100;
const WARM_UP: Duration = Duration::from_secs(5);

/// How long what was sent may take to arrive in the end.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// How long it may take until an endpoint that hangs is suspected: 5 s, and a little.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);

/// Alerts a second.
pub const RATES: [u32; 2] = [20, 200];

/// What neighbours noticed at one rate, under every condition in the order of [`Condition::ALL`].
#[derive(Clone, Debug, Serialize)]
pub struct Neighbours {
    pub per_second: u32,
    pub measured: Vec<Measured>,
}

/// What was measured under one condition.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub condition: Condition,
    /// From queue to arrival, of alerts for endpoints that work.
    pub arrival_ms: Percentiles,
    /// The p99 in those of the first condition, in which all work.
    pub ratio: f64,
    pub alerts: usize,
    /// How long `deliver` ran for each alert of any endpoint, in milliseconds: its invocations that began and ended
    /// meanwhile.
    pub deliver_ms: f64,
}

impl Neighbours {
    /// Of what was measured under each condition.
    pub fn of(per_second: u32, samples: [Sample; 3]) -> Self {
        let calm = Percentiles::of(samples[0].arrival_ms.iter().copied()).p99;
        let measured = Condition::ALL.into_iter().zip(samples).map(|(condition, Sample { arrival_ms, ran, sent })| {
            let (alerts, arrival_ms) = (arrival_ms.len(), Percentiles::of(arrival_ms));
            let deliver_ms = milliseconds(ran) / sent as f64;
            Measured { condition, arrival_ms, ratio: arrival_ms.p99 / calm, alerts, deliver_ms }
        });
        Self { per_second, measured: measured.collect() }
    }
}

/// What the endpoints that can hang do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    AllWork,
    /// They begin to when the measurement does.
    SomeBeginToHang,
    /// They do, and are known to.
    SomeHang,
}

impl Condition {
    pub const ALL: [Self; 3] = [Self::AllWork, Self::SomeBeginToHang, Self::SomeHang];

    pub fn words(self) -> &'static str {
        match self {
            Self::AllWork => "all work",
            Self::SomeBeginToHang => "4 of 20 begin to hang",
            Self::SomeHang => "4 of 20 hang",
        }
    }
}

/// What was measured under one condition so far.
#[derive(Default)]
pub struct Sample {
    arrival_ms: Vec<f64>,
    ran: Duration,
    sent: usize,
}

impl Sample {
    /// Adds another round's.
    pub fn add(&mut self, other: Self) {
        self.arrival_ms.extend(other.arrival_ms);
        self.ran += other.ran;
        self.sent += other.sent;
    }
}

/// Measures a condition once, at one rate.
///
/// # Errors
/// When what happened is not what must.
pub async fn measure(ground: &Ground, per_second: u32, condition: Condition) -> Result<Sample, Trouble> {
    let town = Town::build(ground, condition).await?;
    ground.aws.answer_after(Duration::from_secs_f64(AWS_CALL_SECONDS));
    let measured = tokio::select! {
        measured = town.measured(per_second) => measured,
        ended = town.run() => ended.map(|never| match never {}),
    };
    ground.aws.answer_after(Duration::ZERO);
    ground.aws.take_tally().map_err(Trouble::UnknownCall)?;
    measured
}

/// Everything that is needed to measure a condition, all of it new.
struct Town<'a> {
    ground: &'a Ground,
    condition: Condition,
    /// The endpoint of those that can hang. The others share the ground's.
    hanging: Endpoint,
    integrations: Vec<Integration>,
    alerts: EventSource,
    retries: EventSource,
    slow_lane: EventSource,
}

impl<'a> Town<'a> {
    async fn build(ground: &'a Ground, condition: Condition) -> Result<Self, Trouble> {
        let hanging = Endpoint::start(SECRET).await?;
        ground.endpoint.behave(Manner::AT_ONCE);
        let url = |number| if HANGING.contains(&number) { hanging.url() } else { ground.endpoint.url() };
        let integrations = ground.neighbours((0..ENDPOINTS).map(url));
        let concurrency = |parameter| ground.template.default_of(parameter).parse().expect("it is a number");
        let [deliver, retry, slow_lane] =
            ["DeliverConcurrency", "RetryConcurrency", "SlowLaneConcurrency"].map(concurrency);
        ground.aws.take_sent();
        Ok(Self {
            ground,
            condition,
            integrations,
            alerts: EventSource::start(ground, "AlertsQueue", Function::Deliver, deliver).await?,
            retries: EventSource::start(ground, "RetryQueue", Function::Retry, retry).await?,
            slow_lane: EventSource::start(ground, "SlowLaneQueue", Function::Retry, slow_lane).await?,
            hanging,
        })
    }

    /// Hands over all messages for as long as it is polled.
    async fn run(&self) -> Result<Infallible, Trouble> {
        let sent_on = async {
            loop {
                for sent in self.ground.aws.next_sent().await {
                    match sent.way {
                        Way::Queue(Queue::Retry) => self.retries.send([sent.body], sent.delay),
                        Way::Queue(Queue::SlowLane) => self.slow_lane.send([sent.body], sent.delay),
                        // It ends when the run is long over.
                        Way::Wait => {}
                        Way::Queue(Queue::DeadLetters) => must_be("messages that were buried", &1, &0)?,
                    }
                }
            }
        };
        tokio::select! {
            ended = self.alerts.run() => ended,
            ended = self.retries.run() => ended,
            ended = self.slow_lane.run() => ended,
            ended = sent_on => ended,
        }
    }

    async fn measured(&self, per_second: u32) -> Result<Sample, Trouble> {
        let mut alerts = Alerts::new()?;
        // The sandboxes that are busy at these rates open all integrations' secrets.
        self.send(&mut alerts, WARM_UP_PER_SECOND, WARM_UP).await?;
        if self.condition != Condition::AllWork {
            self.hanging.behave(Manner::HANGS);
            self.hanging.take();
        }
        if self.condition == Condition::SomeHang {
            self.become_known(&mut alerts).await?;
        }
        self.ground.endpoint.take();
        let begun = Instant::now();
        let sent = self.send(&mut alerts, per_second, MEASURED_FOR).await?;
        let arrival_ms = self.arrivals(&sent).await?;
        let ran = self.alerts.ran_since(begun);
        if self.condition != Condition::AllWork {
            let hung = self.hanging.take().seen.len();
            must_be("whether requests hung", &(hung > HANGING.len()), &true)?;
        }
        Ok(Sample { arrival_ms, ran, sent: sent.len() })
    }

    /// Lets those that hang be known to.
    async fn become_known(&self, alerts: &mut Alerts) -> Result<(), Trouble> {
        self.alerts.send(HANGING.map(|endpoint| alerts.of(organization(endpoint))), Duration::ZERO);
        let begun = Instant::now();
        while self.on_the_slow_lane()? < HANGING.len() && begun.elapsed() < KNOWN_WITHIN {
            tokio::time::sleep(SENT_EVERY).await;
        }
        must_be("endpoints known to hang", &self.on_the_slow_lane()?, &HANGING.len())
    }

    fn on_the_slow_lane(&self) -> Result<usize, Trouble> {
        let health = self.ground.health()?;
        Ok(health.iter().filter(|health| Health::lane(health.as_ref()) == Lane::Slow).count())
    }

    /// Sends alerts to all endpoints in turn at that pace, however long each takes, and returns them.
    async fn send(&self, alerts: &mut Alerts, per_second: u32, time: Duration) -> Result<Vec<Sent>, Trouble> {
        let mut ticks = tokio::time::interval(SENT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let at_once = f64::from(per_second) * SENT_EVERY.as_secs_f64();
        let mut endpoints = (0..ENDPOINTS).cycle();
        let mut sent = Vec::new();
        for _ in 0..(time.as_secs_f64() / SENT_EVERY.as_secs_f64()).ceil() as usize {
            ticks.tick().await;
            let to: Vec<_> = endpoints.by_ref().take(at_once.round() as usize).collect();
            let bodies: Vec<_> = to.iter().map(|endpoint| alerts.of(organization(*endpoint))).collect();
            for (endpoint, body) in to.into_iter().zip(&bodies) {
                let event = AlertEvent::parse(body)?;
                let integration = self.integrations[endpoint].id;
                let delivery =
                    DeliveryId::of_alert(event.organization_id, integration, event.timestamp, body.as_bytes());
                sent.push(Sent { endpoint, delivery: delivery.to_string(), at: Instant::now() });
            }
            self.alerts.send(bodies, Duration::ZERO);
        }
        Ok(sent)
    }

    /// How long each took that was sent to an endpoint that works, in milliseconds.
    async fn arrivals(&self, sent: &[Sent]) -> Result<Vec<f64>, Trouble> {
        let begun = Instant::now();
        let mut seen = HashMap::new();
        let mut waited_for: Vec<_> = sent.iter().filter(|sent| !HANGING.contains(&sent.endpoint)).collect();
        let mut arrival_ms = Vec::with_capacity(waited_for.len());
        while !waited_for.is_empty() && begun.elapsed() < ARRIVES_WITHIN {
            tokio::time::sleep(SENT_EVERY).await;
            let arrivals = self.ground.endpoint.take();
            must_be("requests that are not signed right", &arrivals.forged, &0)?;
            seen.extend(arrivals.seen);
            waited_for.retain(|sent| match seen.get(&sent.delivery) {
                Some(seen) => {
                    arrival_ms.push(milliseconds(seen.arrived - sent.at.into_std()));
                    false
                }
                None => true,
            });
        }
        let late = format!("alerts that did not arrive within {} s of the last one", ARRIVES_WITHIN.as_secs());
        must_be(&late, &waited_for.len(), &0)?;
        Ok(arrival_ms)
    }
}

/// An alert that was sent.
struct Sent {
    endpoint: usize,
    delivery: String,
    at: Instant,
}

/// The organization of an endpoint.
fn organization(endpoint: usize) -> u64 {
    endpoint as u64 + 1
}
