//! The integrations that the demo sends to: five of one organization, which differ in their endpoints, their filters,
//! and whether they are switched on.

use domain::alert::event::EventType;

/// The delays between attempts. SQS delays are not scaled in the local cloud, so the two that SQS waits for are short.
/// The state machine waits for the other two, as long as in production but scaled: 30 m take 3.6 s, 2 h take 14.4 s.
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
    /// A path of the receiver.
    Receiver(&'static str),
    /// Another URL.
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
            // The metadata service of cloud machines, which returns credentials. No setting allows it.
            Self::BlockedAddress => Endpoint::Elsewhere("http://169.254.169.254/"),
            Self::SwitchedOff => Endpoint::Receiver("/switched-off"),
        }
    }

    /// The event types that the integration wants; empty means all.
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
