//! What a disturbance costs others: how long their alerts take to arrive, undisturbed and disturbed in turn.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::{flood, hanging};
use crate::statistics::{Percentiles, milliseconds};
use crate::testbed::Testbed;

/// How often each condition is measured, in turn.
pub const ROUNDS: usize = 2;

/// What is measured under several conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Experiment {
    /// Alerts to twenty endpoints, of which four hang.
    Hanging { per_second: u32 },
    /// Retries that come due, beside alerts for a slow endpoint.
    Flood,
    /// Alerts that match more integrations than one invocation makes first attempts for, beside the same.
    Overflow,
}

impl Experiment {
    pub fn label(self) -> String {
        match self {
            Self::Hanging { per_second } => format!("{per_second} alerts/s"),
            Self::Flood => format!("{} due retries/s", flood::RETRIES_PER_SECOND),
            Self::Overflow => format!("alerts for {} endpoints each", flood::MATCHING),
        }
    }

    /// The first is the undisturbed one.
    pub fn conditions(self) -> &'static [Condition] {
        match self {
            Self::Hanging { .. } => &[Condition::Undisturbed, Condition::SomeBeginToHang, Condition::SomeHang],
            Self::Flood | Self::Overflow => &[Condition::Undisturbed, Condition::Flooded],
        }
    }

    /// Measures a condition once.
    ///
    /// # Errors
    /// When an alert does not arrive, or something else does not go as expected.
    pub async fn measure(self, testbed: &Testbed, condition: Condition) -> Result<Sample> {
        match self {
            Self::Hanging { per_second } => hanging::measure(testbed, per_second, condition).await,
            Self::Flood => flood::measure_retries(testbed, condition).await,
            Self::Overflow => flood::measure_overflow(testbed, condition).await,
        }
    }

    /// Compares what was measured under its conditions, in their order.
    pub fn compare(self, samples: impl IntoIterator<Item = Sample>) -> Comparison {
        let mut undisturbed = None;
        let measured = self.conditions().iter().zip(samples).map(|(condition, sample)| {
            let arrivals = sample.arrival_ms.len();
            let arrival_ms = Percentiles::of(sample.arrival_ms);
            let ratio = arrival_ms.p99 / *undisturbed.get_or_insert(arrival_ms.p99);
            let deliver_ms = (sample.alerts > 0).then(|| milliseconds(sample.deliver) / sample.alerts as f64);
            Measured { condition: *condition, arrival_ms, ratio, arrivals, deliver_ms }
        });
        Comparison { what: self.label(), measured: measured.collect() }
    }
}

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
}

impl Condition {
    pub fn label(self) -> &'static str {
        match self {
            Self::Undisturbed => "undisturbed",
            Self::SomeBeginToHang => "4 of 20 begin to hang",
            Self::SomeHang => "4 of 20 hang",
            Self::Flooded => "beside 500 alerts for a slow endpoint",
        }
    }

    /// Whether the budget is for it. Before an endpoint is known to be slow, sandboxes that have no connection and no
    /// secret open yet come into use.
    pub fn has_budget(self) -> bool {
        matches!(self, Self::SomeHang | Self::Flooded)
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
}

impl Sample {
    /// Adds another round's.
    pub fn add(&mut self, other: Self) {
        self.arrival_ms.extend(other.arrival_ms);
        self.deliver += other.deliver;
        self.alerts += other.alerts;
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
}
