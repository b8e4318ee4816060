//! The DynamoDB expressions of a delivery's moves: what is written, and on what condition.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_dynamo::aws_sdk_dynamodb_1::to_attribute_value;

use domain::delivery::moves::{Move, Prior};

use super::{Item, UNREADABLE, number};
use crate::fault::Fault;
use domain::attempt::Attempt;
use domain::delivery::Status;
use domain::delivery::ledger::{ClaimId, End, Freshness};
use domain::ids::OrganizationId;

/// An update of a delivery's item.
pub(super) struct Expression {
    pub(super) update: String,
    pub(super) condition: String,
    pub(super) names: HashMap<String, String>,
    pub(super) values: Item,
}

/// Collects the assignments of an update, each attribute under a placeholder of its own name: `status` and others are
/// reserved words.
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
}

const CLAIM_ATTRIBUTES: [&str; 3] = ["lease_until", "claim_id", MARK];

/// Whether an attempt may be a duplicate: stays when a claim is taken back.
const MARK: &str = "possible_duplicate";

const WAIT_ATTRIBUTES: [&str; 2] = ["due_at", "due_shard"];

/// The update that makes a move, on condition that the delivery is still where it was seen, and of that organization.
///
/// # Errors
/// [`Fault`] for attempts that do not become an attribute, which none does.
pub(super) fn expression(owner: OrganizationId, from: Prior, to: &Move<'_>) -> Result<Expression, Fault> {
    let mut update = Assignments::default();
    match to {
        Move::Claim { claim_id, lease_until, freshness } => {
            update
                .status(Status::Sending)
                .set("lease_until", number(lease_until.as_millisecond()))
                .set("claim_id", binary(claim_id))
                .remove(&WAIT_ATTRIBUTES);
            if *freshness == Freshness::PossibleDuplicate {
                update.set(MARK, AttributeValue::Bool(true));
            }
        }
        Move::TakeBack { due_at, due_shard } => {
            update
                .status(Status::Waiting)
                .set("due_at", number(due_at.as_millisecond()))
                .set("due_shard", number(due_shard))
                .remove(&["lease_until", "claim_id"]);
        }
        Move::Await { attempt, due_at, due_shard, attempts, expires_at } => {
            update
                .status(Status::Waiting)
                .set("attempt", number(attempt))
                .set("due_at", number(due_at.as_millisecond()))
                .set("due_shard", number(due_shard))
                .set("attempts", list(attempts)?)
                .remove(&CLAIM_ATTRIBUTES);
            if let Some(expires_at) = expires_at {
                update.set("expires_at", number(expires_at.as_second()));
            }
        }
        Move::End { end, attempts } => {
            update.status((*end).into()).set("attempts", list(attempts)?).remove(&CLAIM_ATTRIBUTES);
            if *end == End::Failed {
                update.copy("failed_created_at", "created_at");
            }
        }
        Move::Cancel { reason, interrupted } => {
            if let Some(attempts) = interrupted {
                update.set("attempts", list(attempts)?);
            }
            let reason = to_attribute_value(reason).map_err(|_| UNREADABLE)?;
            update
                .status(Status::Cancelled)
                .set("cancel_reason", reason)
                .remove(&WAIT_ATTRIBUTES)
                .remove(&CLAIM_ATTRIBUTES);
        }
        Move::Redeliver { attempt, due_at, due_shard, rounds, now, expires_at, interrupted } => {
            if let Some(attempts) = interrupted {
                update.set("attempts", list(attempts)?);
            }
            update
                .status(Status::Waiting)
                .set("attempt", number(attempt))
                .set("round_start", number(attempt))
                .set("due_at", number(due_at.as_millisecond()))
                .set("due_shard", number(due_shard))
                .set("rounds", number(rounds))
                .set("redelivered_at", number(now.as_millisecond()))
                .set("expires_at", number(expires_at.as_second()))
                .remove(&CLAIM_ATTRIBUTES)
                .remove(&["failed_created_at", "cancel_reason"]);
        }
    }
    let Assignments { set, remove, mut names, mut values } = update;
    names.insert("#attempt".to_owned(), "attempt".to_owned());
    values.insert(":owner".to_owned(), number(owner));
    let mut condition = match from {
        Prior::Waiting { attempt } => {
            values.insert(":from_status".to_owned(), AttributeValue::S(Status::Waiting.as_str().to_owned()));
            values.insert(":from_attempt".to_owned(), number(attempt));
            "#status = :from_status AND #attempt = :from_attempt"
        }
        Prior::Sending { attempt, claim_id } => {
            names.insert("#claim_id".to_owned(), "claim_id".to_owned());
            values.insert(":from_status".to_owned(), AttributeValue::S(Status::Sending.as_str().to_owned()));
            values.insert(":from_attempt".to_owned(), number(attempt));
            values.insert(":from_claim".to_owned(), binary(&claim_id));
            "#status = :from_status AND #attempt = :from_attempt AND #claim_id = :from_claim"
        }
        Prior::Ended { status, attempt } => {
            values.insert(":from_status".to_owned(), AttributeValue::S(status.as_str().to_owned()));
            values.insert(":from_attempt".to_owned(), number(attempt));
            "#status = :from_status AND #attempt = :from_attempt"
        }
    }
    .to_owned();
    condition.push_str(" AND organization_id = :owner");
    if let (Prior::Waiting { .. }, Move::Cancel { interrupted: None, .. }) = (from, to) {
        // With it, the attempt that a worker died in belongs into the log.
        condition.push_str(" AND attribute_not_exists(possible_duplicate)");
    }
    let update = format!("SET {} REMOVE {}", set.join(", "), remove.join(", "));
    Ok(Expression { update, condition, names, values })
}

fn binary(claim_id: &ClaimId) -> AttributeValue {
    AttributeValue::B(claim_id.as_bytes().to_vec().into())
}

fn list(attempts: &[Attempt]) -> Result<AttributeValue, Fault> {
    to_attribute_value(attempts).map_err(|_| UNREADABLE)
}
