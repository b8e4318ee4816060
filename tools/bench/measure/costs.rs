//! What a million deliveries cost, case by case.

use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::workload::{Workers, Workload, run_workload};
use crate::aws::{Calls, Tally};
use crate::cost::{Bill, Usage, bill};
use crate::endpoint::Behavior;
use crate::ensure_eq;
use crate::testbed::Testbed;

/// How long an ordinary endpoint takes to answer, as the budget has it.
const ORDINARY: Duration = Duration::from_millis(300);

/// How deliveries go.
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

    pub fn label(self) -> &'static str {
        match self {
            Self::FirstTry => "first try, full batches",
            Self::BatchOfOne => "first try, batches of one",
            Self::TenIntegrations => "each alert to ten integrations",
            Self::SlowEndpoint => "an endpoint that takes 2 s",
            Self::ThirdAttempt => "accepted at the third attempt",
            Self::AllFive => "all five attempts fail",
        }
    }

    fn load(self) -> Workload {
        let behavior = |accepts_from| Behavior { delay: ORDINARY, accepts_from };
        let ordinary = Workload { behavior: behavior(1), ..Workload::PLAIN };
        match self {
            Self::FirstTry => ordinary,
            Self::BatchOfOne => Workload { messages: 1, ..ordinary },
            Self::TenIntegrations => Workload { batches: 5, matching: 10, ..ordinary },
            Self::SlowEndpoint => Workload {
                batches: 4,
                behavior: Behavior { delay: Duration::from_secs(2), accepts_from: 1 },
                ..ordinary
            },
            Self::ThirdAttempt => Workload { batches: 5, behavior: behavior(3), attempts: 3, ..ordinary },
            Self::AllFive => Workload { batches: 5, behavior: behavior(u32::MAX), attempts: 5, ..ordinary },
        }
    }
}

/// The cost of a case.
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
/// When a delivery did not go as expected.
pub async fn cost(testbed: &mut Testbed, workers: &Workers, case: Case) -> Result<Cost> {
    let load = case.load();
    let usage = run_workload(testbed, workers, &load).await?;
    if matches!(case, Case::FirstTry | Case::BatchOfOne) {
        ensure_healthy_path(&usage, load.batches as u64)?;
    }
    Ok(summarize(testbed, case, usage))
}

/// Measures a baseline's first tries, in full batches.
///
/// # Errors
/// When a delivery did not go as expected.
pub async fn baseline(testbed: &mut Testbed, workers: &Workers) -> Result<Cost> {
    let usage = run_workload(testbed, workers, &Workload { batches: 4, ..Case::FirstTry.load() }).await?;
    Ok(summarize(testbed, Case::FirstTry, usage))
}

fn summarize(testbed: &Testbed, case: Case, usage: Usage) -> Cost {
    let stored: u64 = testbed.aws.items("DeliveriesTable").iter().map(stored_bytes).sum();
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

/// Checks that first tries make one claim and one record of one write unit each, one query for each batch (they are of
/// one organization), and no other call.
///
/// # Errors
/// When there were others.
pub fn ensure_healthy_path(usage: &Usage, batches: u64) -> Result<()> {
    let Usage { calls, deliveries, .. } = usage;
    let found: Vec<_> = calls.0.iter().map(|(operation, calls)| (operation.as_str(), *calls)).collect();
    let writes = Calls { count: *deliveries, write_units: *deliveries, read_units: 0.0 };
    let reads = Calls { count: batches, write_units: 0, read_units: batches as f64 };
    let expected = [
        ("PutItem DeliveriesTable", writes),
        ("Query IntegrationsTable", reads),
        ("UpdateItem DeliveriesTable", writes),
    ];
    ensure_eq("AWS calls of first-try deliveries", &found.as_slice(), &expected.as_slice())
}

fn stored_bytes(item: &crate::aws::Item) -> u64 {
    crate::aws::size_of(item) as u64 + crate::prices::DYNAMODB_ITEM_OVERHEAD
}
