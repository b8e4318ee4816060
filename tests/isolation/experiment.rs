//! The experiments: what is measured without a disturbance, what with it, and how often in turn.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::endpoints::{Arrival, EndpointNumber, Manner};
use crate::ground::{FIRST_DELAY, FunctionSeconds, Ground, Pace, Sent, Trouble, first_arrivals};
use crate::latency::{Ratio, Spread, Summary};
use crate::machine::Processors;
use support::screen::Screen;

/// How many endpoints are neighbours, and which of them hang when they are told to: 20 %.
const NEIGHBOURS: EndpointNumber = 20;
const HANGING: [EndpointNumber; 4] = [4, 9, 14, 19];

/// The endpoint of the organization that has a burst of alerts.
const BURSTING: EndpointNumber = NEIGHBOURS;

/// The endpoint that hangs while it is flooded.
const FLOODED: EndpointNumber = NEIGHBOURS + 1;

/// The endpoint whose first attempts fail, so that all its alerts need a due retry.
const REFUSING: EndpointNumber = NEIGHBOURS + 2;

/// How many endpoints with an organization each the experiments need.
pub const ENDPOINTS: usize = NEIGHBOURS + 3;

/// How many endpoints an organization has besides, whose alerts go to all of them: more than one invocation makes first
/// attempts for, so that the rest is handed off.
pub const CROWD: usize = 130;

/// How many alerts make an endpoint that hangs known: one would do.
const SURELY_NOTICED: usize = 4;

/// How many alerts a burst has.
const BURST: usize = 2_000;

/// How many alerts a flood for one ailing endpoint has.
const FLOOD: usize = 500;

/// How long each half of a round is measured at least.
const MEASURED_FOR: Duration = Duration::from_secs(10);

/// How many delays a 99th percentile is taken of at least, over all rounds: fifteen are beyond it.
const SAMPLES: usize = 1_500;

/// How long a rate is tried, to find out whether the local cloud carries it.
const TRIED_FOR: Duration = Duration::from_secs(5);

/// How long a burst or a flood is watched from its first alert on.
const WATCHED_FOR: Duration = Duration::from_secs(8);

/// By then hanging endpoints are recognised, with some queueing before.
const RECOGNISED_WITHIN: Duration = Duration::from_secs(120);

/// By then what endpoints have held up that were not recognised is through.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(20);

/// An alert that takes longer than that was held up.
const HELD_UP: Duration = Duration::from_secs(1);

/// Alerts that take longer than that pile up: more of them come than the local cloud can carry.
const PILED_UP: Duration = Duration::from_millis(500);

/// Whether a ratio is held against the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standard {
    /// It is.
    Budget,
    /// It cannot be: what it depends on is not to be had here, or no promise is made.
    None,
}

/// What the functions ran for, for each thousand alerts, in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    pub deliver: f64,
    pub retry: f64,
    pub invocations: f64,
}

impl Cost {
    fn of(seconds: &[FunctionSeconds], alerts: usize) -> Self {
        let per_thousand = |total: f64| total * 1_000.0 / alerts.max(1) as f64;
        Self {
            deliver: per_thousand(seconds.iter().map(|it| it.deliver).sum()),
            retry: per_thousand(seconds.iter().map(|it| it.retry).sum()),
            invocations: per_thousand(seconds.iter().map(|it| it.invocations as f64).sum()),
        }
    }
}

/// The same alerts without and with a disturbance.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub what: String,
    pub without: Summary,
    pub with: Summary,
    pub ratio: Ratio,
    /// The ratio of the 99th percentiles in each round by itself.
    pub p99_ratio_by_round: Vec<f64>,
    pub standard: Standard,
    pub cost_without: Option<Cost>,
    pub cost_with: Option<Cost>,
    pub remark: String,
}

/// What was measured of one round, in delays of the alerts that are judged.
#[derive(Clone, Debug, Default)]
struct Round {
    without: Vec<Duration>,
    with: Vec<Duration>,
}

fn compare(what: String, rounds: &[Round], standard: Standard, remark: String) -> Comparison {
    let all = |of: fn(&Round) -> &Vec<Duration>| -> Vec<Duration> { rounds.iter().flat_map(of).copied().collect() };
    let (without, with) = (Summary::of(&all(|it| &it.without)), Summary::of(&all(|it| &it.with)));
    let by_round = rounds.iter().map(|it| Ratio::of(&Summary::of(&it.with), &Summary::of(&it.without)).p99);
    Comparison {
        what,
        ratio: Ratio::of(&with, &without),
        without,
        with,
        p99_ratio_by_round: by_round.collect(),
        standard,
        cost_without: None,
        cost_with: None,
        remark,
    }
}

/// The delays of the alerts that were sent from then on, each to its first arrival at each endpoint.
fn delays(sent: &[Sent], arrivals: &[Arrival], judged: &[EndpointNumber], from: Timestamp) -> Vec<Duration> {
    let first = first_arrivals(arrivals, judged);
    let from_then_on: HashSet<_> = sent.iter().filter(|alert| alert.at >= from).map(|alert| alert.alert).collect();
    first.into_values().filter(|arrival| from_then_on.contains(&arrival.alert)).map(|arrival| arrival.delay).collect()
}

fn neighbours() -> Vec<EndpointNumber> {
    (0..NEIGHBOURS).collect()
}

fn healthy() -> Vec<EndpointNumber> {
    neighbours().into_iter().filter(|endpoint| !HANGING.contains(endpoint)).collect()
}

/// How long each half of a round has to be measured, for so many samples in all.
fn measured_for(rate: u32, rounds: usize) -> Duration {
    let judged_a_second = f64::from(rate) * healthy().len() as f64 / NEIGHBOURS as f64;
    MEASURED_FOR.max(Duration::from_secs_f64((SAMPLES as f64 / (judged_a_second * rounds as f64)).ceil()))
}

/// The highest of these rates that the local cloud carries without alerts piling up, if it carries any of them.
///
/// # Errors
/// [`Trouble`], as of every experiment.
pub async fn carried(ground: &Ground, screen: &Screen, rates: &[u32]) -> Result<Option<u32>, Trouble> {
    let neighbours = neighbours();
    for &rate in rates {
        let doing = format!("how much the local cloud carries: {rate}/s");
        let trial = async {
            let sent = ground.load_for(TRIED_FOR, Pace::per_second(rate), &neighbours).await?;
            let settled = ground.settle(&sent, &[]).await?;
            Ok::<_, Trouble>(settled.arrivals.iter().map(|arrival| arrival.delay).collect::<Vec<_>>())
        };
        let delays = screen.step(&doing, trial, |delays| line(&doing, delays)).await?;
        if Summary::of(&delays).p99_ms < PILED_UP.as_secs_f64() * 1_000.0 {
            return Ok(Some(rate));
        }
    }
    Ok(None)
}

/// Twenty endpoints at a steady rate, without and with four of them hanging. Judged are the sixteen that always work, from
/// when those that hang are known.
///
/// # Errors
/// [`Trouble`] when something does not work, or an alert is lost.
pub async fn hanging_neighbours(
    ground: &Ground,
    screen: &Screen,
    rate: u32,
    rounds: usize,
) -> Result<Comparison, Trouble> {
    let mut measured = Vec::new();
    let (mut calms, mut storms) = (Vec::new(), Vec::new());
    let time = measured_for(rate, rounds);
    for number in 1..=rounds {
        let round = format!("{rate}/s, round {number} of {rounds}");
        let doing = format!("{round}: all work");
        let calm = screen.step(&doing, calm(ground, rate, time), |it| line(&doing, &it.delays)).await?;
        let doing = format!("{round}: four of twenty hang");
        let storm = screen.step(&doing, storm(ground, rate, time), |it| line(&doing, &it.known)).await?;
        measured.push(Round { without: calm.delays.clone(), with: storm.known.clone() });
        calms.push(calm);
        storms.push(storm);
    }
    let alerts: usize = storms.iter().map(|storm| storm.alerts).sum();
    let given_up: usize = storms.iter().map(|storm| storm.given_up).sum();
    let costs = |of: fn(&Storm) -> FunctionSeconds| storms.iter().map(of).collect::<Vec<_>>();
    let costs_without: Vec<_> = calms.iter().map(|calm| calm.cost).collect();
    let cost_without = Cost::of(&costs_without, calms.iter().map(|calm| calm.alerts).sum());
    let alerts_once_known = storms.iter().map(|storm| storm.alerts_once_known).sum();
    let once_known = Cost::of(&costs(|storm| storm.cost_once_known), alerts_once_known);
    let remark = format!(
        "Processors {} busy without, {} with. {given_up} of {alerts} alerts had all their attempts while their endpoint hung. \
         For a thousand alerts deliver ran {:.1} s without, and {:.1} s with, once they were known. The local cloud by itself \
         took {} to answer a call without, and {} with.",
        percent(calms.iter().map(|calm| calm.busy)),
        percent(storms.iter().map(|storm| storm.busy)),
        cost_without.deliver,
        once_known.deliver,
        p99(calms.iter().flat_map(|calm| &calm.cloud)),
        p99(storms.iter().flat_map(|storm| &storm.cloud)),
    );
    Ok(Comparison {
        cost_without: Some(cost_without),
        cost_with: Some(Cost::of(&costs(|storm| storm.cost), alerts)),
        ..compare(format!("{rate}/s, 20 % hang"), &measured, Standard::Budget, remark)
    })
}

/// The same with production's time limits, from the moment when they begin to hang until they are known to, once.
///
/// # Errors
/// [`Trouble`] when something does not work, or an alert is lost.
pub async fn first_minute(ground: &Ground, screen: &Screen, rate: u32) -> Result<Comparison, Trouble> {
    let doing = format!("{rate}/s: all work");
    let time = Duration::from_secs(60);
    let calm = screen.step(&doing, calm(ground, rate, time), |it| line(&doing, &it.delays)).await?;
    let doing = format!("{rate}/s: four of twenty begin to hang");
    let storm = screen.step(&doing, storm(ground, rate, MEASURED_FOR), |it| line(&doing, &it.unknown)).await?;
    let held_up = storm.unknown.iter().filter(|delay| **delay > HELD_UP).count();
    let remark = format!(
        "Known after {:.0} s, with a time limit of {} s. Until what had begun by then was over, {held_up} of {} alerts to \
         endpoints that work took over a second. Afterwards: p99 {:.0} ms.",
        storm.recognised_after.as_secs_f64(),
        ground.scale.request_timeout().as_secs(),
        storm.unknown.len(),
        Summary::of(&storm.known).p99_ms,
    );
    let measured = [Round { without: calm.delays, with: storm.unknown }];
    Ok(compare(format!("{rate}/s, 20 % begin to hang, full times"), &measured, Standard::Budget, remark))
}

fn percent(numbers: impl Iterator<Item = f64>) -> String {
    Spread::of(numbers).map(|it| format!("{:.0} to {:.0} %", it.least, it.most)).unwrap_or_default()
}

fn p99<'a>(delays: impl Iterator<Item = &'a Duration>) -> String {
    format!("{:.0} ms at p99", Summary::of(&delays.copied().collect::<Vec<_>>()).p99_ms)
}

fn line(what: &str, delays: &[Duration]) -> String {
    let Summary { p50_ms, p99_ms, .. } = Summary::of(delays);
    format!("{what:<52} p50 {p50_ms:>5.0}  p99 {p99_ms:>6.0} ms")
}

struct Calm {
    delays: Vec<Duration>,
    /// How long the local cloud took to answer by itself.
    cloud: Vec<Duration>,
    cost: FunctionSeconds,
    alerts: usize,
    /// How busy the processors were, in percent.
    busy: f64,
}

async fn calm(ground: &Ground, rate: u32, time: Duration) -> Result<Calm, Trouble> {
    let (begun, before) = (Timestamp::now(), Processors::now());
    let neighbours = neighbours();
    let load = ground.load_for(time, Pace::per_second(rate), &neighbours);
    let (sent, cloud) = tokio::join!(load, ground.answers_of_the_cloud(time));
    let (sent, cloud) = (sent?, cloud?);
    let busy = Processors::now().busy_percent_since(before);
    let settled = ground.settle(&sent, &[]).await?;
    let delays = delays(&sent, &settled.arrivals, &healthy(), begun);
    Ok(Calm { delays, cloud, cost: ground.function_seconds(begun).await?, alerts: sent.len(), busy })
}

struct Storm {
    /// Of alerts sent when the endpoints that hang were known, and what they had held up was through.
    known: Vec<Duration>,
    /// Of those sent before.
    unknown: Vec<Duration>,
    /// How long the local cloud took to answer by itself, once they were known.
    cloud: Vec<Duration>,
    recognised_after: Duration,
    cost: FunctionSeconds,
    alerts: usize,
    /// What the functions ran for from when the endpoints were known, and the alerts sent from then on.
    cost_once_known: FunctionSeconds,
    alerts_once_known: usize,
    given_up: usize,
    busy: f64,
}

async fn storm(ground: &Ground, rate: u32, time: Duration) -> Result<Storm, Trouble> {
    let (begun, started) = (Timestamp::now(), Instant::now());
    let neighbours = neighbours();
    ground.endpoints.set(&HANGING, Manner::Hangs);
    let (stop, stopped) = oneshot::channel();
    let watch = async {
        ground.ailing(&HANGING, RECOGNISED_WITHIN).await?;
        let recognised_after = started.elapsed();
        // What began before ends by then, and what it held up is through.
        tokio::time::sleep(ground.scale.request_timeout()).await;
        ground.caught_up(CAUGHT_UP_WITHIN).await?;
        let (known_from, before) = (Timestamp::now(), Processors::now());
        let cloud = ground.answers_of_the_cloud(time).await?;
        let busy = Processors::now().busy_percent_since(before);
        Ok::<_, Trouble>((recognised_after, known_from, cloud, busy))
    };
    let watch = async {
        let watched = watch.await;
        drop(stop);
        watched
    };
    let (sent, watched) = tokio::join!(ground.load(Pace::per_second(rate), &neighbours, stopped), watch);
    ground.endpoints.set(&HANGING, Manner::Works);
    let (sent, (recognised_after, known_from, cloud, busy)) = (sent?, watched?);
    let settled = ground.settle(&sent, &HANGING).await?;
    let (before, after): (Vec<_>, Vec<_>) = sent.iter().cloned().partition(|alert| alert.at < known_from);
    Ok(Storm {
        known: delays(&after, &settled.arrivals, &healthy(), known_from),
        unknown: delays(&before, &settled.arrivals, &healthy(), begun),
        cloud,
        recognised_after,
        cost: ground.function_seconds(begun).await?,
        alerts: sent.len(),
        cost_once_known: ground.function_seconds(known_from).await?,
        alerts_once_known: after.len(),
        given_up: settled.given_up,
        busy,
    })
}

/// A trickle of many organizations' alerts, without and with a burst of another's. Judged is the trickle.
///
/// # Errors
/// [`Trouble`] when something does not work, or an alert is lost.
pub async fn burst_beside(ground: &Ground, screen: &Screen, rounds: usize) -> Result<Comparison, Trouble> {
    let (trickle, judged) = (Pace::per_second(10), healthy());
    let (mut measured, mut drained) = (Vec::new(), Vec::new());
    for number in 1..=rounds {
        let round = format!("burst, round {number} of {rounds}");
        let without = async {
            let begun = Timestamp::now();
            let sent = ground.load_for(WATCHED_FOR, trickle, &judged).await?;
            Ok::<_, Trouble>(delays(&sent, &ground.settle(&sent, &[]).await?.arrivals, &judged, begun))
        };
        let doing = format!("{round}: a trickle alone");
        let without = screen.step(&doing, without, |it| line(&doing, it)).await?;
        let with = async {
            let begun = Timestamp::now();
            let load = ground.load_for(WATCHED_FOR, trickle, &judged);
            let (sent, burst) = tokio::join!(load, ground.burst(BURST, BURSTING));
            let (sent, burst) = (sent?, burst?);
            let settled = ground.settle(&[sent.clone(), burst].concat(), &[]).await?;
            let last = settled.arrivals.iter().filter(|arrival| arrival.endpoint == BURSTING).map(|it| it.at).max();
            let took = last.map_or(Duration::ZERO, |last| last.duration_since(begun).unsigned_abs());
            Ok::<_, Trouble>((delays(&sent, &settled.arrivals, &judged, begun), took))
        };
        let doing = format!("{round}: beside {BURST} of another");
        let (with, took) = screen.step(&doing, with, |(it, _)| line(&doing, it)).await?;
        measured.push(Round { without, with });
        drained.push(took.as_secs_f64());
    }
    let drained = Spread::of(drained).map(|it| format!("{:.1} to {:.1} s", it.least, it.most)).unwrap_or_default();
    let remark = format!(
        "The burst was sent and through in {drained}. The local cloud has no fair queues: the trickle waits its turn behind the \
         burst. On AWS the message group id, which all alerts here carry, lets it pass."
    );
    let what = format!("10/s beside {BURST} at once of another");
    Ok(compare(what, &measured, Standard::None, remark))
}

/// Due retries of an endpoint, without and with a flood for another that is ailing. Judged is how late the retries are.
///
/// # Errors
/// [`Trouble`] when something does not work, or an alert is lost.
pub async fn flood_beside(ground: &Ground, screen: &Screen, rounds: usize) -> Result<Comparison, Trouble> {
    let (pace, judged) = (Pace::per_second(10), [REFUSING]);
    ground.endpoints.set(&judged, Manner::RefusesFirst);
    let mut measured = Vec::new();
    for number in 1..=rounds {
        let round = format!("flood, round {number} of {rounds}");
        let without = async {
            let sent = ground.load_for(WATCHED_FOR, pace, &judged).await?;
            Ok::<_, Trouble>(lateness(&ground.settle(&sent, &[]).await?.arrivals))
        };
        let doing = format!("{round}: due retries alone");
        let without = screen.step(&doing, without, |it| line(&doing, it)).await?;
        let with = async {
            let (_, arrivals) =
                beside_a_flood(ground, Flood::Arriving, ground.load_for(WATCHED_FOR, pace, &judged)).await?;
            Ok::<_, Trouble>(lateness(&arrivals))
        };
        let doing = format!("{round}: beside {FLOOD} for an ailing one");
        let with = screen.step(&doing, with, |it| line(&doing, it)).await?;
        measured.push(Round { without, with });
    }
    ground.endpoints.set(&judged, Manner::Works);
    let remark =
        "From when a retry is due to its arrival. An idle local cloud looks for delayed messages once a second only, \
                  a busy one at every turn."
            .to_owned();
    let what = format!("retries due, beside {FLOOD} for an ailing one");
    Ok(compare(what, &measured, Standard::Budget, remark))
}

/// Where the flood is while others' alerts are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flood {
    /// It comes in with them.
    Arriving,
    /// `deliver` has handed all of it off.
    HandedOff,
}

/// What a load comes to beside a flood for an endpoint that is known to hang.
async fn beside_a_flood(
    ground: &Ground,
    flood: Flood,
    load: impl Future<Output = Result<Vec<Sent>, Trouble>>,
) -> Result<(Vec<Sent>, Vec<Arrival>), Trouble> {
    ground.endpoints.set(&[FLOODED], Manner::Hangs);
    let first = ground.burst(SURELY_NOTICED, FLOODED).await?;
    ground.ailing(&[FLOODED], RECOGNISED_WITHIN).await?;
    tokio::time::sleep(ground.scale.request_timeout()).await;
    let (sent, flood) = match flood {
        Flood::Arriving => tokio::join!(load, ground.burst(FLOOD, FLOODED)),
        Flood::HandedOff => {
            let flood = ground.burst(FLOOD, FLOODED).await;
            ground.caught_up(CAUGHT_UP_WITHIN).await?;
            (load.await, flood)
        }
    };
    ground.endpoints.set(&[FLOODED], Manner::Works);
    let sent = sent?;
    let settled = ground.settle(&[sent.clone(), flood?, first].concat(), &[FLOODED]).await?;
    Ok((sent, settled.arrivals))
}

/// Alerts of an organization with more integrations than one invocation makes first attempts for, without and with a flood
/// for another's that is ailing. Judged are all their arrivals: those that were handed off must not queue behind the flood.
///
/// # Errors
/// [`Trouble`] when something does not work, or an alert is lost.
pub async fn overflow_beside(ground: &Ground, screen: &Screen, rounds: usize) -> Result<Comparison, Trouble> {
    let (pace, judged) = (Pace { alerts: 1, every: Duration::from_secs(2) }, ground.crowd());
    let crowded = [judged[0]];
    let mut measured = Vec::new();
    for number in 1..=rounds {
        let round = format!("overflow, round {number} of {rounds}");
        let without = async {
            let begun = Timestamp::now();
            let sent = ground.load_for(WATCHED_FOR, pace, &crowded).await?;
            Ok::<_, Trouble>(delays(&sent, &ground.settle(&sent, &[]).await?.arrivals, &judged, begun))
        };
        let doing = format!("{round}: alerts for {CROWD} endpoints each");
        let without = screen.step(&doing, without, |it| line(&doing, it)).await?;
        let with = async {
            let begun = Timestamp::now();
            let load = ground.load_for(WATCHED_FOR, pace, &crowded);
            let (sent, arrivals) = beside_a_flood(ground, Flood::HandedOff, load).await?;
            Ok::<_, Trouble>(delays(&sent, &arrivals, &judged, begun))
        };
        let doing = format!("{round}: beside {FLOOD} for an ailing one");
        let with = screen.step(&doing, with, |it| line(&doing, it)).await?;
        measured.push(Round { without, with });
    }
    let remark = format!(
        "Each alert goes to {CROWD} endpoints that work, of one organization; what one invocation does not send itself is \
         handed off."
    );
    Ok(compare(format!("overflow, beside {FLOOD} for an ailing one"), &measured, Standard::Budget, remark))
}

/// How late the second attempts of the refusing endpoint arrived: the first ones were refused at once.
fn lateness(arrivals: &[Arrival]) -> Vec<Duration> {
    let of_attempt = |attempt| {
        let attempts = arrivals.iter().filter(move |it| it.endpoint == REFUSING && it.attempt == attempt);
        attempts.map(|it| (it.alert, it.at)).collect::<std::collections::HashMap<_, _>>()
    };
    let (first, second) = (of_attempt(1), of_attempt(2));
    let late = second.iter().filter_map(|(alert, at)| {
        Some(at.duration_since(*first.get(alert)?).unsigned_abs().saturating_sub(FIRST_DELAY))
    });
    late.collect()
}
