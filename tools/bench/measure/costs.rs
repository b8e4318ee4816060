//! What a million deliveries cost, case by case.

use std::time::Duration;

use serde::Serialize;

use super::drive::{Load, Workers, drive};
use crate::aws::{Calls, Tally};
use crate::cost::{Bill, Usage, bill};
use crate::endpoint::Manner;
use crate::ground::Ground;
use crate::trouble::{Trouble, must_be};

/// How long an ordinary endpoint takes to answer, as the budget has it.
const ORDINARY: Duration = Duration::from_millis(300);

/// A course that deliveries can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Case {
    FirstTry,
    BatchOfOne,
    TenIntegrations,
    SlowEndpoint,
    ThirdAttempt,
    AllFive,
}

impl Case {
    pub const ALL: [Self; 6] = [
        Self::FirstTry,
        Self::BatchOfOne,
        Self::TenIntegrations,
        Self::SlowEndpoint,
        Self::ThirdAttempt,
        Self::AllFive,
    ];

    pub fn words(self) -> &'static str {
        match self {
            Self::FirstTry => "first try, full batches",
            Self::BatchOfOne => "first try, batches of one",
            Self::TenIntegrations => "each alert to ten integrations",
            Self::SlowEndpoint => "an endpoint that takes 2 s",
            Self::ThirdAttempt => "accepted at the third attempt",
            Self::AllFive => "all five attempts fail",
        }
    }

    fn load(self) -> Load {
        let manner = |accepts_from| Manner { after: ORDINARY, accepts_from };
        let ordinary = Load { manner: manner(1), ..Load::PLAIN };
        match self {
            Self::FirstTry => ordinary,
            Self::BatchOfOne => Load { messages: 1, ..ordinary },
            Self::TenIntegrations => Load { batches: 5, matching: 10, ..ordinary },
            Self::SlowEndpoint => {
                Load { batches: 4, manner: Manner { after: Duration::from_secs(2), accepts_from: 1 }, ..ordinary }
            }
            Self::ThirdAttempt => Load { batches: 5, manner: manner(3), attempts: 3, ..ordinary },
            Self::AllFive => Load { batches: 5, manner: manner(u32::MAX), attempts: 5, ..ordinary },
        }
    }
}

/// What a case came to.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    pub case: Case,
    /// Calls and units of one delivery.
    pub calls: Tally,
    pub write_units: f64,
    pub read_units: f64,
    pub log_bytes: f64,
    /// Dollars for a million deliveries.
    pub bill: Bill,
    pub total: f64,
    /// What keeping a million of them for 30 days costs, beyond the free 25 GB; not in the total.
    pub storage: f64,
    /// How many deliveries these calls were counted over.
    pub deliveries: u64,
}

/// Measures a case. The first-try cases must make the protocol's calls and no others.
///
/// # Errors
/// When what happened is not what must.
pub async fn cost(ground: &mut Ground, workers: &Workers, case: Case) -> Result<Cost, Trouble> {
    let load = case.load();
    let usage = drive(ground, workers, &load).await?;
    if matches!(case, Case::FirstTry | Case::BatchOfOne) {
        healthy_path(&usage, load.batches as u64)?;
    }
    Ok(reckoned(ground, case, usage))
}

/// Measures a baseline's first tries, in full batches.
///
/// # Errors
/// When a delivery did not arrive, or not as it must.
pub async fn baseline(ground: &mut Ground, workers: &Workers) -> Result<Cost, Trouble> {
    let usage = drive(ground, workers, &Load { batches: 4, ..Case::FirstTry.load() }).await?;
    Ok(reckoned(ground, Case::FirstTry, usage))
}

fn reckoned(ground: &Ground, case: Case, usage: Usage) -> Cost {
    let stored: u64 = ground.aws.items("DeliveriesTable").iter().map(stored_bytes).sum();
    let bill = bill(&usage);
    let each = |count: f64| count / usage.deliveries as f64;
    Cost {
        case,
        write_units: each(usage.calls.write_units() as f64),
        read_units: each(usage.calls.read_units()),
        log_bytes: each(usage.log_bytes as f64),
        bill,
        total: bill.total(),
        storage: each(stored as f64) * 1e6 / crate::prices::GB * crate::prices::DYNAMODB_GB_MONTH,
        deliveries: usage.deliveries,
        calls: usage.calls,
    }
}

/// The budget of the healthy path: one claim and one record of one write unit each, one query for each batch (they are of
/// one organization), and no other call.
///
/// # Errors
/// When there were others.
pub fn healthy_path(usage: &Usage, batches: u64) -> Result<(), Trouble> {
    let Usage { calls, deliveries, .. } = usage;
    let found: Vec<_> = calls.0.iter().map(|(operation, calls)| (operation.as_str(), *calls)).collect();
    let writes = Calls { count: *deliveries, write_units: *deliveries, read_units: 0.0 };
    let reads = Calls { count: batches, write_units: 0, read_units: batches as f64 };
    let expected = [
        ("PutItem DeliveriesTable", writes),
        ("Query IntegrationsTable", reads),
        ("UpdateItem DeliveriesTable", writes),
    ];
    must_be("AWS calls of first-try deliveries", &found.as_slice(), &expected.as_slice())
}

fn stored_bytes(item: &crate::aws::Item) -> u64 {
    crate::aws::size_of(item) as u64 + crate::prices::DYNAMODB_ITEM_OVERHEAD
}
