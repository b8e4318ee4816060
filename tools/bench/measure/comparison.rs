//! What is measured undisturbed and disturbed: under which conditions, and how the results compare.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use crate::statistics::Percentiles;

/// What happens beside the alerts that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    Undisturbed,
    /// Endpoints begin to hang when the measurement begins.
    SomeBeginToHang,
    /// They hang, and are known to be slow.
    SomeHang,
    /// A slow endpoint gets many alerts.
    Flooded,
    /// One token makes requests of the API at full speed.
    ApiFlooded,
}

impl Condition {
    pub fn label(self) -> &'static str {
        match self {
            Self::Undisturbed => "undisturbed",
            Self::SomeBeginToHang => "4 of 20 begin to hang",
            Self::SomeHang => "4 of 20 hang",
            Self::Flooded => "beside 500 alerts for a slow endpoint",
            Self::ApiFlooded => "beside one token's flood of the API",
        }
    }

    /// Whether the budget is for it. Before an endpoint is known to be slow, sandboxes that have no connection and no
    /// secret open yet come into use.
    pub fn has_budget(self) -> bool {
        matches!(self, Self::SomeHang | Self::Flooded | Self::ApiFlooded)
    }
}

/// What was measured under one condition so far.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// From queue to arrival, of deliveries to endpoints that work.
    pub arrival_ms: Vec<f64>,
    /// How long `deliver` ran, for this many alerts; none where retries are measured.
    pub deliver: Duration,
    pub alerts: usize,
    /// What became of the requests to the API, of the last round.
    pub attack: Option<Attack>,
}

impl Sample {
    /// Adds another round's.
    pub fn add(&mut self, other: Self) {
        self.arrival_ms.extend(other.arrival_ms);
        self.deliver += other.deliver;
        self.alerts += other.alerts;
        self.attack = other.attack;
    }
}

/// What became of a flood of the API.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Attack {
    pub requests: u64,
    pub refused_by_throttles: u64,
    /// What the API answered: how often each status.
    pub answers: BTreeMap<u64, u64>,
    /// The most invocations of the API at the same time.
    pub most_at_once: usize,
    pub dollars_an_hour: f64,
}

impl Display for Attack {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let answers: Vec<_> = self.answers.iter().map(|(status, count)| format!("{count} × {status}")).collect();
        let Self { requests, refused_by_throttles, most_at_once, .. } = self;
        write!(
            formatter,
            "Of {requests} requests the throttles refused {refused_by_throttles}. The API answered {}, with at most \
             {most_at_once} invocations at once.",
            answers.join(", ")
        )
    }
}

/// An experiment's results.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub what: String,
    pub measured: Vec<Measured>,
}

/// The result under one condition.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    pub condition: Condition,
    pub arrival_ms: Percentiles,
    /// The p99 in those of the undisturbed condition.
    pub ratio: f64,
    pub arrivals: usize,
    /// How long `deliver` ran for each alert of any endpoint.
    pub deliver_ms: Option<f64>,
    pub attack: Option<Attack>,
}
