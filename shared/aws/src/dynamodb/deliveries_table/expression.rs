//! Turns a delivery's transition into DynamoDB expressions: what is written, and on what condition.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use domain::delivery::ledger::{ClaimId, End, Freshness};
use domain::delivery::transitions::{Condition, Transition, Write};
use domain::delivery::{DeliveryKey, Status};
use domain::ids::OrganizationId;
use jiff::Timestamp;
use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;

use super::{Item, UNREADABLE, number};
use crate::fault::Fault;

/// An update of a delivery's item.
pub(super) struct Expression {
    pub(super) update: String,
    pub(super) condition: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

/// Collects the parts of an update. Every attribute is written as a placeholder (`#status`), because `status` and
/// others are reserved words.
#[derive(Default)]
struct Assignments {
    set: Vec<String>,
    remove: Vec<String>,
    names: HashMap<String, String>,
    values: Item,
}

impl Assignments {
    fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    fn set(&mut self, attribute: &str, value: AttributeValue) -> &mut Self {
        let name = self.name(attribute);
        self.set.push(format!("{name} = :{attribute}"));
        self.values.insert(format!(":{attribute}"), value);
        self
    }

    fn copy(&mut self, attribute: &str, source: &str) -> &mut Self {
        let (name, source) = (self.name(attribute), self.name(source));
        self.set.push(format!("{name} = {source}"));
        self
    }

    fn remove(&mut self, attributes: &[&str]) -> &mut Self {
        for attribute in attributes {
            let name = self.name(attribute);
            self.remove.push(name);
        }
        self
    }

    fn status(&mut self, status: Status) -> &mut Self {
        self.set("status", AttributeValue::S(status.as_str().to_owned()))
    }

    fn waiting(&mut self, key: DeliveryKey, due_at: Timestamp) -> &mut Self {
        self.status(Status::Waiting)
            .set("due_at", number(due_at.as_millisecond()))
            .set("due_shard", number(key.due_shard()))
    }

    /// The expression of [`Condition::holds`], and that the delivery belongs to that organization.
    fn condition(&mut self, owner: OrganizationId, from: Condition) -> String {
        let status = match from {
            Condition::Waiting { .. } | Condition::WaitingUnmarked { .. } => Status::Waiting,
            Condition::Sending { .. } => Status::Sending,
            Condition::Ended { end, .. } => end.into(),
        };
        let (status_name, attempt_name) = (self.name("status"), self.name("attempt"));
        self.values.insert(":from_status".to_owned(), AttributeValue::S(status.as_str().to_owned()));
        self.values.insert(":from_attempt".to_owned(), number(from.attempt()));
        self.values.insert(":owner".to_owned(), number(owner));
        let same =
            format!("{status_name} = :from_status AND {attempt_name} = :from_attempt AND organization_id = :owner");
        match from {
            Condition::Sending { claim_id, .. } => {
                let claim_name = self.name("claim_id");
                self.values.insert(":from_claim".to_owned(), binary(&claim_id));
                format!("{same} AND {claim_name} = :from_claim")
            }
            Condition::WaitingUnmarked { .. } => format!("{same} AND attribute_not_exists({MARK})"),
            Condition::Waiting { .. } | Condition::Ended { .. } => same,
        }
    }
}

const CLAIM_ATTRIBUTES: [&str; 3] = ["lease_until", "claim_id", MARK];

/// Marks an attempt that may be a duplicate. Stays when a claim is taken back.
const MARK: &str = "possible_duplicate";

const WAIT_ATTRIBUTES: [&str; 2] = ["due_at", "due_shard"];

/// The update that makes a write, on condition that the delivery is still in the state that the write leaves and
/// belongs to that organization. `Write::apply` does the same to a record.
///
/// # Errors
/// [`Fault`] for values that cannot be serialized, which does not happen.
pub(super) fn expression(key: DeliveryKey, owner: OrganizationId, write: &Write<'_>) -> Result<Expression, Fault> {
    let mut update = Assignments::default();
    match write.to {
        Transition::Claim { claim_id, lease_until, freshness } => {
            update
                .status(Status::Sending)
                .set("lease_until", number(lease_until.as_millisecond()))
                .set("claim_id", binary(&claim_id))
                .remove(&WAIT_ATTRIBUTES);
            if freshness == Freshness::PossibleDuplicate {
                update.set(MARK, AttributeValue::Bool(true));
            }
        }
        Transition::Unclaim { due_at } => {
            update.waiting(key, due_at).remove(&["lease_until", "claim_id"]);
        }
        Transition::Retry { attempt, due_at } => {
            update.waiting(key, due_at).set("attempt", number(attempt)).remove(&CLAIM_ATTRIBUTES);
        }
        Transition::End(end) => {
            update.status(end.into()).remove(&CLAIM_ATTRIBUTES);
            if end == End::Failed {
                update.copy("failed_created_at", "created_at");
            }
        }
        Transition::Cancel(reason) => {
            let reason = to_attribute_value(reason).map_err(|_| UNREADABLE)?;
            update
                .status(Status::Cancelled)
                .set("cancel_reason", reason)
                .remove(&WAIT_ATTRIBUTES)
                .remove(&CLAIM_ATTRIBUTES);
        }
        Transition::Redeliver { attempt, due_at, rounds, now } => {
            update
                .waiting(key, due_at)
                .set("attempt", number(attempt))
                .set("round_start", number(attempt))
                .set("rounds", number(rounds))
                .set("redelivered_at", number(now.as_millisecond()))
                .remove(&CLAIM_ATTRIBUTES)
                .remove(&["failed_created_at", "cancel_reason"]);
        }
    }
    if let Some(attempts) = write.attempts {
        update.set("attempts", to_attribute_value(attempts).map_err(|_| UNREADABLE)?);
    }
    if let Some(expires_at) = write.expires_at {
        update.set("expires_at", number(expires_at.as_second()));
    }
    let condition = update.condition(owner, write.from);
    let Assignments { set, remove, names, values } = update;
    let update = format!("SET {} REMOVE {}", set.join(", "), remove.join(", "));
    Ok(Expression { update, condition, names, values })
}

fn binary(claim_id: &ClaimId) -> AttributeValue {
    AttributeValue::B(claim_id.as_bytes().to_vec().into())
}
