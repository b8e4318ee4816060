//! The plan of a run, drawn from one seed: organizations, integrations and how their endpoints behave, alerts, and when
//! everything happens.

use std::time::Duration;

use fastrand::Rng;
use harness::receiver::Answer;
use harness::seeded_rng::seeded_rng;
use serde_json::{Value, json};

/// How many deliveries a run has at least, unless another number is given. A run of that size has to inject every kind
/// of fault.
pub(crate) const DELIVERIES: usize = 2_000;

/// The delays between attempts. The first two and the last are the queue's and not scaled; the third is long enough for
/// the state machine, and scaled to 2.4 s.
pub(crate) const RETRY_SCHEDULE: &str = "1s,2s,20m,1s";

/// How many attempts that schedule allows.
pub(crate) const MAX_ATTEMPTS: u32 = 5;

/// How long the functions wait for an endpoint's answer.
pub(crate) const REQUEST_TIMEOUT_SECONDS: u64 = 1;

/// How many organizations there are at most.
const MAX_ORGANIZATIONS: usize = 20;

/// How many alerts each organization has at least, when there are enough of them.
const ALERTS_PER_ORGANIZATION: usize = 6;

/// How many requests an endpoint fails before it answers 410.
const GONE_AFTER: usize = 4;

/// How long a slow endpoint takes, which is well within the timeout.
const SLOW_ANSWER: Duration = Duration::from_millis(400);

/// A text in every secret and header value.
pub(crate) const SECRET_CANARY: &str = "canary-sings";

/// A text in every payload and URL.
pub(crate) const PAYLOAD_CANARY: &str = "robin-nests";

/// How an endpoint behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Behaviour {
    /// Accepts everything.
    Works,
    /// Accepts everything after a delay.
    Slow,
    /// Fails each alert one to three times, then accepts it.
    Recovers,
    /// Always answers 500.
    AlwaysFails,
    /// Never answers.
    Hangs,
    /// Does not listen on its port.
    RefusesConnections,
    /// Answers 429 with `Retry-After` at first.
    RateLimited,
    /// Fails some requests, then answers 410, which disables the integration.
    Gone,
    /// Fails everything, until its owner switches the integration off.
    SwitchedOff,
    /// Speaks plain HTTP, though its URL is an HTTPS one.
    NoTls,
    /// Reads the request and closes the connection.
    ClosesEarly,
    /// Answers in another protocol.
    NotHttp,
    /// Redirects, which is not followed.
    Redirects,
    /// Has an address that nothing may be sent to.
    BlockedAddress,
    /// Has a name that does not resolve.
    UnknownHost,
}

impl Behaviour {
    pub(crate) const ALL: [Self; 15] = [
        Self::Works,
        Self::Slow,
        Self::Recovers,
        Self::AlwaysFails,
        Self::Hangs,
        Self::RefusesConnections,
        Self::RateLimited,
        Self::Gone,
        Self::SwitchedOff,
        Self::NoTls,
        Self::ClosesEarly,
        Self::NotHttp,
        Self::Redirects,
        Self::BlockedAddress,
        Self::UnknownHost,
    ];

    /// How many of the integrations want alerts throughout the run.
    pub(crate) fn count_lasting() -> usize {
        Self::ALL.into_iter().filter(|behaviour| !behaviour.ends_midway()).count()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Slow => "slow",
            Self::Recovers => "recovers",
            Self::AlwaysFails => "always fails",
            Self::Hangs => "hangs",
            Self::RefusesConnections => "refuses connections",
            Self::RateLimited => "rate limited (429)",
            Self::Gone => "gone (410)",
            Self::SwitchedOff => "switched off",
            Self::NoTls => "no TLS",
            Self::ClosesEarly => "closes early",
            Self::NotHttp => "not HTTP",
            Self::Redirects => "redirects",
            Self::BlockedAddress => "blocked address",
            Self::UnknownHost => "unknown host",
        }
    }

    /// What the error code of every attempt starts with, when all attempts fail in the same way.
    pub(crate) fn error_code(self) -> Option<&'static str> {
        match self {
            Self::Works | Self::Slow | Self::Recovers | Self::RateLimited | Self::Gone => None,
            Self::AlwaysFails | Self::SwitchedOff => Some("server_error"),
            Self::Hangs => Some("timeout_response"),
            Self::RefusesConnections => Some("connection_refused"),
            Self::NoTls => Some("tls_"),
            Self::ClosesEarly => Some("closed_early"),
            Self::NotHttp => Some("not_http"),
            Self::Redirects => Some("redirect"),
            Self::BlockedAddress => Some("blocked_address"),
            Self::UnknownHost => Some("dns_failed"),
        }
    }

    /// Whether its integration stops wanting alerts during the run.
    pub(crate) fn ends_midway(self) -> bool {
        matches!(self, Self::Gone | Self::SwitchedOff)
    }

    /// Its answer to an attempt. `before` is how many requests it had before this one. `rng` is the alert's own and
    /// always starts anew, so that it gives the same numbers to all attempts of an alert.
    pub(crate) fn answer(self, attempt: u32, before: usize, mut rng: Rng) -> Answer {
        match self {
            // Except at `Works`, no request should arrive at these.
            Self::Works | Self::RefusesConnections | Self::NoTls | Self::BlockedAddress | Self::UnknownHost => {
                Answer::Status(200)
            }
            Self::Slow => Answer::Late { after: SLOW_ANSWER, status: 204 },
            Self::Recovers if attempt > rng.u32(1..=3) => Answer::Status(200),
            Self::RateLimited if attempt > rng.u32(1..=2) => Answer::Status(202),
            // Longer than the schedule's delay: one by the queue, the other by the state machine.
            Self::RateLimited => Answer::with_header(429, "retry-after", if rng.u8(..4) == 0 { "1200" } else { "3" }),
            // The last two have a listener of their own.
            Self::Hangs | Self::ClosesEarly | Self::NotHttp => Answer::Hang,
            Self::Redirects => Answer::with_header(307, "location", "http://127.0.0.1:9/"),
            Self::Gone if before >= GONE_AFTER => Answer::Status(410),
            Self::Recovers | Self::AlwaysFails | Self::Gone | Self::SwitchedOff => Answer::Status(500),
        }
    }
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// How many deliveries there have to be at least.
    pub(crate) min_deliveries: usize,
    pub(crate) organizations: usize,
    /// An alert matches all integrations of its organization, which has one of each behaviour.
    pub(crate) alerts: Vec<Alert>,
    /// How long calls fail, workers are killed and alerts are sent.
    pub(crate) fault_time: Duration,
    /// How long, in the middle of that, every call to DynamoDB is throttled.
    pub(crate) outage: Duration,
    /// The average time between two kills of a worker.
    pub(crate) kill_interval: Duration,
}

/// An alert event to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    /// Its `alert.id`, from 1.
    pub(crate) number: u64,
    /// Index of its organization.
    pub(crate) organization: usize,
    /// When it is sent, counted from the start.
    pub(crate) at: Duration,
    pub(crate) sending: Sending,
    pub(crate) size: Size,
}

/// How often a producer sends an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    Once,
    Twice,
}

/// How large an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// That of the documented example.
    Normal,
    /// Too large to be stored in its delivery's item.
    Large,
}

impl Plan {
    /// Draws a run with at least that many deliveries, those of integrations that stop wanting alerts not counted.
    pub(crate) fn draw(seed: u64, deliveries: usize) -> Self {
        let mut rng = seeded_rng(seed, ["plan"]);
        let alerts = deliveries.div_ceil(Behaviour::count_lasting()).max(1);
        let organizations = (alerts / ALERTS_PER_ORGANIZATION).clamp(1, MAX_ORGANIZATIONS);
        // What two processors can deliver, and long enough to see the effect of a worker's death.
        let fault_time = Duration::from_millis((deliveries as u64 * 90).max(10_000));
        let alerts = (0..alerts).map(|index| Alert {
            number: index as u64 + 1,
            organization: index % organizations,
            at: fault_time.mul_f64(0.8 * rng.f64()),
            sending: if rng.u8(..8) == 0 { Sending::Twice } else { Sending::Once },
            size: if rng.u8(..12) == 0 { Size::Large } else { Size::Normal },
        });
        let mut alerts: Vec<_> = alerts.collect();
        alerts.sort_by_key(|alert| alert.at);
        Self {
            seed,
            min_deliveries: deliveries,
            organizations,
            alerts,
            fault_time,
            outage: fault_time * 2 / 3,
            kill_interval: Duration::from_millis(1_000),
        }
    }

    /// Whether the run is long enough for every random event to occur.
    pub(crate) fn is_full(&self) -> bool {
        self.min_deliveries >= DELIVERIES
    }

    /// How many deliveries there are, if no integration stops wanting them.
    pub(crate) fn deliveries(&self) -> usize {
        self.alerts.len() * Behaviour::ALL.len()
    }

    /// The random numbers for one alert at one integration.
    pub(crate) fn answer_rng(&self, integration: usize, alert: u64) -> Rng {
        seeded_rng(self.seed, [format!("answers {integration} {alert}")])
    }

    /// An alert event as its producer sends it.
    pub(crate) fn body(&self, alert: &Alert, organization_id: u64, timestamp: &str) -> Value {
        let mut rng = seeded_rng(self.seed, [format!("padding {}", alert.number)]);
        let mut body = json!({
            "event_type": "alert.triggered",
            "timestamp": timestamp,
            "alert": {
                "id": alert.number, "name": "Device Offline", "severity": "critical", "status": "active",
                "message": "Device has not sent a heartbeat in 5 minutes", "rule_id": 456,
                "triggered_at": "2025-01-10T10:23:45Z",
            },
            "device": { "id": 789, "name": PAYLOAD_CANARY, "type": "robot", "status": "offline" },
            "project": { "id": 10, "name": "Warehouse Operations", "slug": "warehouse" },
            "organization": { "id": organization_id, "name": "Acme Corp", "slug": "acme" },
        });
        if alert.size == Size::Large {
            // Random letters cannot be compressed until they fit into an item.
            body["padding"] = (0..4_000).map(|_| rng.alphanumeric()).collect::<String>().into();
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_follows_from_its_seed() {
        let (one, same, other) = (Plan::draw(7, 150), Plan::draw(7, 150), Plan::draw(8, 150));
        assert_eq!(one.alerts, same.alerts);
        assert_ne!(one.alerts, other.alerts);
        assert_eq!(one.answer_rng(1, 2).u64(..), same.answer_rng(1, 2).u64(..));
        assert_ne!(one.answer_rng(1, 2).u64(..), one.answer_rng(2, 1).u64(..));
    }

    #[test]
    fn there_are_as_many_deliveries_as_requested() {
        for deliveries in [1, 150, 2_000] {
            let plan = Plan::draw(1, deliveries);
            let lasting = plan.alerts.len() * Behaviour::count_lasting();
            assert!((deliveries..deliveries + Behaviour::count_lasting()).contains(&lasting));
            assert!(plan.deliveries() > lasting);
            assert!(
                plan.alerts.iter().all(|alert| alert.at < plan.fault_time && alert.organization < plan.organizations)
            );
        }
    }

    #[track_caller]
    fn check(behaviour: Behaviour, attempt: u32, before: usize, expected: Answer) {
        assert_eq!(behaviour.answer(attempt, before, Rng::with_seed(1)), expected);
    }

    #[test]
    fn endpoints_recover_within_the_schedule_or_never() {
        check(Behaviour::Recovers, 1, 0, Answer::Status(500));
        check(Behaviour::Recovers, 4, 0, Answer::Status(200));
        check(Behaviour::RateLimited, 3, 0, Answer::Status(202));
        check(Behaviour::AlwaysFails, MAX_ATTEMPTS, 0, Answer::Status(500));
        check(Behaviour::Gone, 1, GONE_AFTER - 1, Answer::Status(500));
        check(Behaviour::Gone, 1, GONE_AFTER, Answer::Status(410));
    }
}
