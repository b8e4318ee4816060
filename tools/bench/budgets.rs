//! What a delivery may cost. That the healthy path makes two writes of one unit, reads once for each batch, and calls
//! nothing else is no budget: a run in which it does not fails.

use serde::Serialize;

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Dollars,
    Milliseconds,
    Seconds,
    Mebibytes,
    Times,
}

impl Unit {
    pub fn format(self, figure: f64) -> String {
        match self {
            Self::Dollars => format!("${figure:.2}"),
            Self::Milliseconds => format!("{figure:.2} ms"),
            Self::Seconds => format!("{figure:.2} s"),
            Self::Mebibytes => format!("{figure:.2} MiB"),
            Self::Times => format!("{figure:.2} ×"),
        }
    }
}

/// The most that something may come to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Budget {
    pub what: &'static str,
    pub at_most: f64,
    pub unit: Unit,
}

/// From the function's execution to its first poll, beyond that of a Lambda that does nothing.
pub const START: Budget =
    Budget { what: "start, beyond a Lambda that does nothing", at_most: 15.0, unit: Unit::Milliseconds };

/// The archive that is deployed. What it holds is loaded before the first poll.
pub const ZIPPED: Budget = Budget { what: "size, zipped", at_most: 3.25, unit: Unit::Mebibytes };

/// Of `deliver`, in full batches. It is at the same time at most 0.6 of what Svix 1.100 took on one machine beside it.
pub const WORK: Budget = Budget { what: "processor time of a delivery", at_most: 0.26, unit: Unit::Milliseconds };

/// With a full batch in flight.
pub const MEMORY: Budget = Budget { what: "peak memory, ten in flight", at_most: 32.0, unit: Unit::Mebibytes };

/// Lambda, SQS, DynamoDB, logs and egress of a million first tries, the endpoint taking 0.3 s; not the producer's send.
pub const MILLION: Budget = Budget { what: "a million first tries, full batches", at_most: 2.0, unit: Unit::Dollars };

/// The same with an invocation for each.
pub const MILLION_ONE_BY_ONE: Budget =
    Budget { what: "a million first tries, batches of one", at_most: 4.0, unit: Unit::Dollars };

/// A million deliveries that fail all their attempts, what waits for them included.
pub const MILLION_FAILED: Budget =
    Budget { what: "a million that fail all five attempts", at_most: 20.0, unit: Unit::Dollars };

/// From an alert's first receive to its request, when AWS fails before the claim and is back after three seconds.
pub const FAULT: Budget = Budget { what: "an alert's delay by a fault of 3 s", at_most: 10.0, unit: Unit::Seconds };

/// The p99 from queue to arrival in undisturbed ones, with everything that is slow known to be.
pub const DISTURBANCE: Budget = Budget { what: "p99 to arrival, in undisturbed ones", at_most: 1.2, unit: Unit::Times };

/// Of one token at full speed, of what AWS charges for. Calculated: the throttles of its four routes let 39,600 requests an
/// hour through, nearly all of which the token buckets refuse for $0.000002; 1,800 changes and 600 tests that pass cost
/// $0.00002 and $0.00007; and 200 lines of access log a second $0.17.
pub const API_FLOOD: Budget = Budget { what: "an hour of one token's flood", at_most: 0.40, unit: Unit::Dollars };

/// A figure beside its budget.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
    pub budget: Budget,
    /// Whose figure, or under which condition.
    pub of: String,
    pub found: f64,
}

impl Budget {
    /// Judges a figure.
    pub fn judge(self, of: &str, found: f64) -> Judgement {
        Judgement { budget: self, of: of.to_owned(), found }
    }
}

impl Judgement {
    pub fn is_met(&self) -> bool {
        self.found <= self.budget.at_most
    }
}
