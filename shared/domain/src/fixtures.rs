//! An integration and a delivery for tests: this crate's own, and those of crates that turn on the feature `fixtures`.

use jiff::Timestamp;

use crate::alert::event::EventType;
use crate::alert::filter::Filter;
use crate::delivery::Identity;
use crate::ids::OrganizationId;
use crate::integration::{Integration, Method};

/// An enabled integration of organization 1, which receives every alert by POST. It has no secrets and no health, and was
/// created at the epoch.
///
/// # Panics
/// Never: the id is valid.
pub fn integration() -> Integration {
    Integration {
        organization_id: organization(),
        id: "int_01JH7Z5A8M0000000000000001".parse().expect("it is an integration's id"),
        name: "On-call pager".to_owned(),
        url: "https://example.com/webhook".to_owned(),
        method: Method::Post,
        enabled: true,
        disabled_reason: None,
        disabled_at: None,
        filter: Filter::default(),
        secrets: None,
        health: None,
        version: Integration::FIRST_VERSION,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
        deleted_at: None,
        expires_at: None,
        format: Integration::FORMAT,
    }
}

/// A delivery of alert 123, which was triggered, to [`integration`]. It was received at the epoch.
///
/// # Panics
/// Never: the id is valid.
pub fn identity() -> Identity {
    Identity {
        integration_id: integration().id,
        delivery_id: "dlv_01JH7VVHV81KJMEKY94GFHBBTY".parse().expect("it is a delivery's id"),
        organization_id: organization(),
        event_type: EventType::Triggered,
        alert_id: 123,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn organization() -> OrganizationId {
    OrganizationId::new(1).expect("1 is an organization's id")
}
