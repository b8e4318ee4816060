//! What a disturbance costs others: how long their alerts take to arrive, undisturbed and disturbed in turn.

use anyhow::Result;

use super::comparison::{Comparison, Condition, Measured, Sample};
use super::{api, flood, hanging};
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
    /// Alerts beside one token's flood of the API.
    Api,
}

impl Experiment {
    pub fn label(self) -> String {
        match self {
            Self::Hanging { per_second } => format!("{per_second} alerts/s"),
            Self::Flood => format!("{} due retries/s", flood::RETRIES_PER_SECOND),
            Self::Overflow => format!("alerts for {} endpoints each", flood::MATCHING),
            Self::Api => format!("{} alerts/s", api::ALERTS_PER_SECOND),
        }
    }

    /// The first is the undisturbed one.
    pub fn conditions(self) -> &'static [Condition] {
        match self {
            Self::Hanging { .. } => &[Condition::Undisturbed, Condition::SomeBeginToHang, Condition::SomeHang],
            Self::Flood | Self::Overflow => &[Condition::Undisturbed, Condition::Flooded],
            Self::Api => &[Condition::Undisturbed, Condition::ApiFlooded],
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
            Self::Api => api::measure(testbed, condition).await,
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
            Measured { condition: *condition, arrival_ms, ratio, arrivals, deliver_ms, attack: sample.attack }
        });
        Comparison { what: self.label(), measured: measured.collect() }
    }
}
