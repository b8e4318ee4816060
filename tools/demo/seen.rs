//! What was seen so far, from both ends: at the receiver, and in the local cloud.

use domain::delivery::Record;
use domain::ids::DeliveryId;
use harness::stack::DeadLetter;
use jiff::Timestamp;
use serde::Deserialize;

use crate::scenario::Scenario;

/// One request, as the receiver reports it.
#[derive(Clone, Debug, Deserialize)]
pub struct Arrival {
    pub path: String,
    pub delivery: Option<DeliveryId>,
    pub attempt: u32,
    /// `X-Roboticks-Signature` was right for the raw body.
    pub roboticks_signature: bool,
    /// The official library accepted the Standard Webhooks headers.
    pub standard_webhooks: bool,
    pub answered: u16,
    pub body: String,
}

impl Arrival {
    pub fn is_verified(&self) -> bool {
        self.roboticks_signature && self.standard_webhooks
    }
}

/// A delivery as the ledger holds it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub scenario: Scenario,
    pub record: Record,
}

/// All that was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub arrivals: Vec<Arrival>,
    pub deliveries: Vec<Delivery>,
    /// With the time at which each was first seen.
    pub dead_letters: Vec<(Timestamp, DeadLetter)>,
}
