//! The functions that the template deploys.

/// A function of the template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Function {
    Deliver,
    Retry,
    Sweep,
    Api,
}

impl Function {
    pub const ALL: [Self; 4] = [Self::Deliver, Self::Retry, Self::Sweep, Self::Api];

    /// Its name, with which its log group's name ends.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Retry => "retry",
            Self::Sweep => "sweep",
            Self::Api => "api",
        }
    }

    /// Its logical id in the template.
    pub fn logical_id(self) -> &'static str {
        match self {
            Self::Deliver => "DeliverFunction",
            Self::Retry => "RetryFunction",
            Self::Sweep => "SweepFunction",
            Self::Api => "ApiFunction",
        }
    }
}
