//! The endpoints that the demo sends to: one organization with five integrations, as a customer would have them.
//!
//! Every alert finds all five; filters, the switch and the endpoints make the difference.

use domain::alert::event::EventType;

/// The delays between attempts. SQS delays run in real time in the local cloud, so the two that SQS can hold are short;
/// the two that need the state machine are the documented ones, whose time is scaled: 30 m take 3.6 s, 2 h 14.4 s.
pub const RETRY_SCHEDULE: &str = "1s,3s,30m,2h";

/// An endpoint and how it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    AlwaysWorks,
    Recovers,
    AlwaysFails,
    BlockedAddress,
    SwitchedOff,
}

/// Where an integration's requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// To that path of the receiver.
    Receiver(&'static str),
    /// To that URL.
    Elsewhere(&'static str),
}

impl Scenario {
    pub const ALL: [Self; 5] =
        [Self::AlwaysWorks, Self::Recovers, Self::AlwaysFails, Self::BlockedAddress, Self::SwitchedOff];

    /// The integration's name; at most 15 characters, the width of its column.
    pub fn name(self) -> &'static str {
        match self {
            Self::AlwaysWorks => "always works",
            Self::Recovers => "recovers",
            Self::AlwaysFails => "always fails",
            Self::BlockedAddress => "blocked address",
            Self::SwitchedOff => "switched off",
        }
    }

    pub fn endpoint(self) -> Endpoint {
        match self {
            Self::AlwaysWorks => Endpoint::Receiver("/always-works"),
            Self::Recovers => Endpoint::Receiver("/recovers"),
            Self::AlwaysFails => Endpoint::Receiver("/always-fails"),
            // Where cloud machines keep their credentials. No setting opens it.
            Self::BlockedAddress => Endpoint::Elsewhere("http://169.254.169.254/"),
            Self::SwitchedOff => Endpoint::Receiver("/switched-off"),
        }
    }

    /// The event types that the integration wants; none means all.
    pub fn event_types(self) -> &'static [EventType] {
        match self {
            Self::AlwaysWorks | Self::SwitchedOff => &[],
            Self::Recovers | Self::AlwaysFails | Self::BlockedAddress => &[EventType::Triggered],
        }
    }

    pub fn is_enabled(self) -> bool {
        self != Self::SwitchedOff
    }
}
