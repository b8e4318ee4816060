//! The ids of organizations, integrations and deliveries.
//!
//! A delivery's id is *derived* from the event, so that the same event put on the queue twice is the same delivery,
//! without any lookup.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::json::{self, Expected, Kind};

/// The number of an organization, as in an alert event's `organization.id`. Positive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct OrganizationId(u64);

impl OrganizationId {
    /// The id with this number; `None` for zero.
    pub fn new(number: u64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    pub fn get(self) -> u64 {
        self.0
    }

    /// What an organization's number must be in JSON.
    pub const EXPECTED: Expected<Self> =
        Expected { kind: Kind::Number, words: "a whole number, 1 or more", read: json::parse };
}

impl fmt::Display for OrganizationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u64> for OrganizationId {
    type Error = &'static str;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        Self::new(number).ok_or("an organization id is a positive integer")
    }
}

impl From<OrganizationId> for u64 {
    fn from(id: OrganizationId) -> Self {
        id.0
    }
}

/// A text that is not an id of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be `{prefix}` followed by a ULID (26 characters)")]
pub struct InvalidId {
    prefix: &'static str,
}

macro_rules! prefixed_ulid {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Ulid);

        impl $name {
            /// The prefix of every id of this kind.
            pub const PREFIX: &'static str = $prefix;

            /// What such an id must be in JSON.
            pub const EXPECTED: Expected<Self> = Expected {
                kind: Kind::String,
                words: concat!("`", $prefix, "` followed by a ULID (26 characters)"),
                read: json::parse_string,
            };

            /// An id with this time, in milliseconds, and these 80 random bits.
            pub fn new(time: Timestamp, random: [u8; 10]) -> Self {
                let mut bits = [0; 16];
                bits[6..].copy_from_slice(&random);
                let millis = u64::try_from(time.as_millisecond()).unwrap_or(0);
                Self(Ulid::from_parts(millis, u128::from_be_bytes(bits)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", Self::PREFIX, self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let refused = InvalidId { prefix: Self::PREFIX };
                let ulid = text.strip_prefix(Self::PREFIX).ok_or(refused)?;
                let id = Ulid::from_string(ulid).map(Self).map_err(|_| refused)?;
                // A ULID may also be written in lower case, but as a table key each id has only one spelling.
                (id.to_string() == text).then_some(id).ok_or(refused)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

prefixed_ulid!(
    /// `int_` and a ULID: one customer's configured webhook.
    IntegrationId,
    "int_"
);

prefixed_ulid!(
    /// `dlv_` and a ULID: one alert event on its way to one integration. The receiver's idempotency key.
    DeliveryId,
    "dlv_"
);

impl DeliveryId {
    /// The id of an alert event's delivery: the event's own time, and the first 80 bits of SHA-256 over the
    /// organization id (decimal), the integration id and the SHA-256 of the body, each preceded by its length in bytes
    /// as eight big-endian bytes, so that no two triples have the same encoding.
    pub fn of_alert(
        organization: OrganizationId,
        integration: IntegrationId,
        timestamp: Timestamp,
        body: &[u8],
    ) -> Self {
        let mut hash = Sha256::new();
        for part in
            [organization.to_string().as_bytes(), integration.to_string().as_bytes(), Sha256::digest(body).as_slice()]
        {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut random = [0; 10];
        random.copy_from_slice(&hash.finalize()[..10]);
        Self::new(timestamp, random)
    }

    /// The same random part with another time, as a ULID: sorts deliveries by a time that is not their event's.
    pub fn sorted_by(self, time: Timestamp) -> String {
        Self::new(time, self.random()).0.to_string()
    }

    fn random(self) -> [u8; 10] {
        let mut random = [0; 10];
        random.copy_from_slice(&self.0.random().to_be_bytes()[6..]);
        random
    }

    /// The last byte of the id's random part, which spreads deliveries evenly over index shards.
    pub fn spread(self) -> u8 {
        self.0.random().to_be_bytes()[15]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"event_type":"alert.triggered"}"#;

    fn base() -> (OrganizationId, IntegrationId, Timestamp) {
        (
            OrganizationId::new(1).unwrap(),
            "int_01JH7Z5A8M0000000000000001".parse().unwrap(),
            "2025-01-10T10:23:45Z".parse().unwrap(),
        )
    }

    #[test]
    fn the_same_event_has_the_same_id() {
        let (organization, integration, time) = base();
        let id = DeliveryId::of_alert(organization, integration, time, BODY);
        assert_eq!(id, DeliveryId::of_alert(organization, integration, time, BODY));
        // Computed from the doc comment by an independent script.
        assert_eq!(id.to_string(), EXPECTED);
    }

    #[test]
    fn anything_that_differs_gives_another_id() {
        let (organization, integration, time) = base();
        let id = DeliveryId::of_alert(organization, integration, time, BODY);
        let others = [
            DeliveryId::of_alert(OrganizationId::new(11).unwrap(), integration, time, BODY),
            DeliveryId::of_alert(organization, "int_01JH7Z5A8M0000000000000002".parse().unwrap(), time, BODY),
            DeliveryId::of_alert(organization, integration, "2025-01-10T10:23:46Z".parse().unwrap(), BODY),
            DeliveryId::of_alert(organization, integration, time, br#"{"event_type": "alert.triggered"}"#),
        ];
        for other in others {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn the_spelling_of_the_time_does_not_matter() {
        let (organization, integration, time) = base();
        let elsewhere = "2025-01-10T11:23:45+01:00".parse().unwrap();
        assert_eq!(
            DeliveryId::of_alert(organization, integration, time, BODY),
            DeliveryId::of_alert(organization, integration, elsewhere, BODY),
        );
    }

    #[test]
    fn ids_sort_by_event_time() {
        let (organization, integration, time) = base();
        let later = "2025-01-10T10:23:45.001Z".parse().unwrap();
        let early = DeliveryId::of_alert(organization, integration, time, BODY).to_string();
        let late = DeliveryId::of_alert(organization, integration, later, BODY).to_string();
        assert!(early < late);
    }

    #[track_caller]
    fn refused(text: &str) {
        assert!(text.parse::<DeliveryId>().is_err(), "{text}");
    }

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        assert!("dlv_01JH7Z5A8M0000000000000001".parse::<DeliveryId>().is_ok());
        refused("01JH7Z5A8M0000000000000001");
        refused("int_01JH7Z5A8M0000000000000001");
        refused("dlv_01jh7z5a8m0000000000000001");
        refused("dlv_01JH7Z5A8M000000000000000");
        refused("dlv_91JH7Z5A8M0000000000000001");
        refused("");
    }

    const EXPECTED: &str = "dlv_01JH7VVHV81KJMEKY94GFHBBTY";
}
