//! What a run consists of, all of it drawn from one seed: organizations, integrations with the fates of their endpoints,
//! alerts, and when what happens.

use std::time::Duration;

use fastrand::Rng;
use harness::dice::dice;
use harness::receiver::Answer;
use serde_json::{Value, json};

/// How many deliveries a run makes at least, unless told otherwise. Such a run must have provoked everything that it means to.
pub(crate) const DELIVERIES: usize = 2_000;

/// The delays between attempts here. The first two and the last wait on the queue, in real time; the third is long enough
/// for the state machine, whose time is scaled: 2.4 s.
pub(crate) const RETRY_SCHEDULE: &str = "1s,2s,20m,1s";

/// How many attempts that schedule allows.
pub(crate) const MOST_ATTEMPTS: u32 = 5;

/// How long the functions give an endpoint.
pub(crate) const REQUEST_TIMEOUT_SECONDS: u64 = 1;

/// How many organizations there are at most.
const MOST_ORGANIZATIONS: usize = 20;

/// How many alerts an organization has at least, where there are enough.
const ALERTS_EACH: usize = 6;

/// How many requests an endpoint that goes away fails first.
const GONE_AFTER: usize = 4;

/// How long a slow endpoint takes. Well within the time limit.
const SLOW: Duration = Duration::from_millis(400);

/// In every secret and header value.
pub(crate) const SECRET_CANARY: &str = "canary-sings";

/// In every payload and URL.
pub(crate) const PAYLOAD_CANARY: &str = "robin-nests";

/// What an endpoint does with what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    /// Accepts everything.
    Works,
    /// Accepts everything, after a while.
    IsSlow,
    /// Fails an alert one to three times, then accepts it.
    Recovers,
    /// Fails with 500, for ever.
    AlwaysFails,
    /// Never answers.
    Hangs,
    /// Nobody listens.
    Refuses,
    /// Says 429 with `Retry-After` at first.
    IsBusy,
    /// Fails some, then answers 410: the integration is disabled.
    GoesAway,
    /// Fails everything, until its owner switches the integration off.
    IsSwitchedOff,
    /// Speaks plain HTTP where HTTPS is asked for.
    HasNoTls,
    /// Reads the request, and closes without a word.
    ClosesEarly,
    /// Answers in another protocol.
    IsNotHttp,
    /// Redirects, which is not followed.
    Redirects,
    /// Is at an address that nothing is sent to.
    IsForbidden,
    /// Has a name that does not resolve.
    HasNoName,
}

impl Fate {
    pub(crate) const ALL: [Self; 15] = [
        Self::Works,
        Self::IsSlow,
        Self::Recovers,
        Self::AlwaysFails,
        Self::Hangs,
        Self::Refuses,
        Self::IsBusy,
        Self::GoesAway,
        Self::IsSwitchedOff,
        Self::HasNoTls,
        Self::ClosesEarly,
        Self::IsNotHttp,
        Self::Redirects,
        Self::IsForbidden,
        Self::HasNoName,
    ];

    /// How many of them want alerts throughout the run.
    pub(crate) fn lasting() -> usize {
        Self::ALL.into_iter().filter(|fate| !fate.ends_midway()).count()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::IsSlow => "is slow",
            Self::Recovers => "recovers",
            Self::AlwaysFails => "always fails",
            Self::Hangs => "hangs",
            Self::Refuses => "refuses",
            Self::IsBusy => "is busy (429)",
            Self::GoesAway => "goes away (410)",
            Self::IsSwitchedOff => "is switched off",
            Self::HasNoTls => "has no TLS",
            Self::ClosesEarly => "closes early",
            Self::IsNotHttp => "is not HTTP",
            Self::Redirects => "redirects",
            Self::IsForbidden => "is forbidden",
            Self::HasNoName => "has no name",
        }
    }

    /// What the code of each of its attempts begins with, where all of them fail in the same way.
    pub(crate) fn code(self) -> Option<&'static str> {
        match self {
            Self::Works | Self::IsSlow | Self::Recovers | Self::IsBusy | Self::GoesAway => None,
            Self::AlwaysFails | Self::IsSwitchedOff => Some("server_error"),
            Self::Hangs => Some("timeout_response"),
            Self::Refuses => Some("connection_refused"),
            Self::HasNoTls => Some("tls_"),
            Self::ClosesEarly => Some("closed_early"),
            Self::IsNotHttp => Some("not_http"),
            Self::Redirects => Some("redirect"),
            Self::IsForbidden => Some("blocked_address"),
            Self::HasNoName => Some("dns_failed"),
        }
    }

    /// Whether its integration stops wanting alerts in the course of the run.
    pub(crate) fn ends_midway(self) -> bool {
        matches!(self, Self::GoesAway | Self::IsSwitchedOff)
    }

    /// What it answers to an attempt. `before` is how many requests it had before this one; `dice` are the alert's own, so
    /// that all its attempts see the same throw.
    pub(crate) fn answer(self, attempt: u32, before: usize, mut dice: Rng) -> Answer {
        match self {
            // Nothing arrives at the others, unless what must not be sent is.
            Self::Works | Self::Refuses | Self::HasNoTls | Self::IsForbidden | Self::HasNoName => Answer::Status(200),
            Self::IsSlow => Answer::Late { after: SLOW, status: 204 },
            Self::Recovers if attempt > dice.u32(1..=3) => Answer::Status(200),
            Self::IsBusy if attempt > dice.u32(1..=2) => Answer::Status(202),
            // Longer than the schedule's delay, on the queue or in the state machine.
            Self::IsBusy => Answer::with_header(429, "retry-after", if dice.u8(..4) == 0 { "1200" } else { "3" }),
            // Two of these have listeners of their own, which say it in their own way.
            Self::Hangs | Self::ClosesEarly | Self::IsNotHttp => Answer::Hang,
            Self::Redirects => Answer::with_header(307, "location", "http://127.0.0.1:9/"),
            Self::GoesAway if before >= GONE_AFTER => Answer::Status(410),
            Self::Recovers | Self::AlwaysFails | Self::GoesAway | Self::IsSwitchedOff => Answer::Status(500),
        }
    }
}

/// A run, before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// How many deliveries there must be.
    pub(crate) asked_for: usize,
    pub(crate) organizations: usize,
    /// An alert of an organization finds all integrations of that organization, one of each fate.
    pub(crate) alerts: Vec<Alert>,
    /// How long calls fail, workers die and alerts keep coming.
    pub(crate) turmoil: Duration,
    /// How long, in the middle of that, every call to DynamoDB is throttled.
    pub(crate) outage: Duration,
    /// How long to rest between two workers' deaths, on average.
    pub(crate) kills_every: Duration,
}

/// An alert event to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alert {
    /// Its `alert.id`, from 1.
    pub(crate) number: u64,
    /// Index of its organization.
    pub(crate) organization: usize,
    /// When it is sent, counted from the beginning.
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
    /// As in the documentation.
    Usual,
    /// Too large for its delivery's item.
    Large,
}

impl Plan {
    /// Draws a run of at least that many deliveries, whether or not some integrations stop wanting theirs.
    pub(crate) fn draw(seed: u64, deliveries: usize) -> Self {
        let mut dice = dice(seed, ["plan"]);
        let alerts = deliveries.div_ceil(Fate::lasting()).max(1);
        let organizations = (alerts / ALERTS_EACH).clamp(1, MOST_ORGANIZATIONS);
        // About what two processors carry, and never less than what a worker's death takes to show.
        let turmoil = Duration::from_millis((deliveries as u64 * 90).max(10_000));
        let alerts = (0..alerts).map(|index| Alert {
            number: index as u64 + 1,
            organization: index % organizations,
            at: turmoil.mul_f64(0.8 * dice.f64()),
            sending: if dice.u8(..8) == 0 { Sending::Twice } else { Sending::Once },
            size: if dice.u8(..12) == 0 { Size::Large } else { Size::Usual },
        });
        let mut alerts: Vec<_> = alerts.collect();
        alerts.sort_by_key(|alert| alert.at);
        Self {
            seed,
            asked_for: deliveries,
            organizations,
            alerts,
            turmoil,
            outage: turmoil * 2 / 3,
            kills_every: Duration::from_millis(1_000),
        }
    }

    /// Whether the run is long enough for all that is left to chance to happen.
    pub(crate) fn is_full(&self) -> bool {
        self.asked_for >= DELIVERIES
    }

    /// How many deliveries there will be, if no integration stops wanting them.
    pub(crate) fn deliveries(&self) -> usize {
        self.alerts.len() * Fate::ALL.len()
    }

    /// The dice of one alert at one integration.
    pub(crate) fn dice_of(&self, integration: usize, alert: u64) -> Rng {
        dice(self.seed, [format!("answers {integration} {alert}")])
    }

    /// An alert event as its producer sends it.
    pub(crate) fn body(&self, alert: &Alert, organization_id: u64, timestamp: &str) -> Value {
        let mut dice = dice(self.seed, [format!("padding {}", alert.number)]);
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
            // Letters by chance do not deflate to less than an item holds.
            body["padding"] = (0..4_000).map(|_| dice.alphanumeric()).collect::<String>().into();
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_run() {
        let (one, same, other) = (Plan::draw(7, 150), Plan::draw(7, 150), Plan::draw(8, 150));
        assert_eq!(one.alerts, same.alerts);
        assert_ne!(one.alerts, other.alerts);
        assert_eq!(one.dice_of(1, 2).u64(..), same.dice_of(1, 2).u64(..));
        assert_ne!(one.dice_of(1, 2).u64(..), one.dice_of(2, 1).u64(..));
    }

    #[test]
    fn there_are_as_many_deliveries_as_asked_for() {
        for deliveries in [1, 150, 2_000] {
            let plan = Plan::draw(1, deliveries);
            let surely = plan.alerts.len() * Fate::lasting();
            assert!((deliveries..deliveries + Fate::lasting()).contains(&surely));
            assert!(plan.deliveries() > surely);
            assert!(plan.alerts.iter().all(|alert| alert.at < plan.turmoil && alert.organization < plan.organizations));
        }
    }

    #[track_caller]
    fn check(fate: Fate, attempt: u32, before: usize, expected: Answer) {
        assert_eq!(fate.answer(attempt, before, Rng::with_seed(1)), expected);
    }

    #[test]
    fn what_recovers_does_so_within_the_schedule_and_what_fails_does_not() {
        check(Fate::Recovers, 1, 0, Answer::Status(500));
        check(Fate::Recovers, 4, 0, Answer::Status(200));
        check(Fate::IsBusy, 3, 0, Answer::Status(202));
        check(Fate::AlwaysFails, MOST_ATTEMPTS, 0, Answer::Status(500));
        check(Fate::GoesAway, 1, GONE_AFTER - 1, Answer::Status(500));
        check(Fate::GoesAway, 1, GONE_AFTER, Answer::Status(410));
    }
}
