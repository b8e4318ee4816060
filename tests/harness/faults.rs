//! Which call of a function to the cloud goes wrong, and how.

use std::collections::{BTreeMap, HashMap};

use fastrand::Rng;

use crate::dice::dice;

/// A call of an AWS operation, as its `X-Amz-Target` names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    pub service: Service,
    pub name: String,
}

/// A service that the functions call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    DynamoDb,
    Sqs,
    StepFunctions,
    Kms,
}

impl Service {
    pub const ALL: [Self; 4] = [Self::DynamoDb, Self::Sqs, Self::StepFunctions, Self::Kms];

    /// The environment variable that tells the AWS SDK where this service alone is.
    pub fn endpoint_variable(self) -> &'static str {
        match self {
            Self::DynamoDb => "AWS_ENDPOINT_URL_DYNAMODB",
            Self::Sqs => "AWS_ENDPOINT_URL_SQS",
            Self::StepFunctions => "AWS_ENDPOINT_URL_SFN",
            Self::Kms => "AWS_ENDPOINT_URL_KMS",
        }
    }

    /// The code of its throttling error.
    pub fn throttling_code(self) -> &'static str {
        match self {
            Self::DynamoDb => "ProvisionedThroughputExceededException",
            Self::Sqs => "RequestThrottled",
            Self::StepFunctions | Self::Kms => "ThrottlingException",
        }
    }

    fn of_target(prefix: &str) -> Option<Self> {
        match prefix {
            "DynamoDB_20120810" => Some(Self::DynamoDb),
            "AmazonSQS" => Some(Self::Sqs),
            "AWSStepFunctions" => Some(Self::StepFunctions),
            "TrentService" => Some(Self::Kms),
            _ => None,
        }
    }
}

impl Operation {
    /// Reads an `X-Amz-Target`, such as `DynamoDB_20120810.PutItem`.
    pub fn parse(target: &str) -> Option<Self> {
        let (service, name) = target.split_once('.')?;
        Some(Self { service: Service::of_target(service)?, name: name.to_owned() })
    }
}

/// Something that goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Refused by a throttling error; nothing was done.
    Throttled,
    /// Refused with status 500; nothing was done.
    ServerError,
    /// Refused with status 503 and no error that can be read; nothing was done.
    Unavailable,
    /// No answer, until whoever called gives up; nothing was done.
    NoAnswer,
    /// The connection is reset; nothing was done.
    Reset,
    /// It was done, and the connection reset in place of the answer.
    AnswerLost,
    /// It was done, and the answer comes when whoever called has given up.
    AnswerTooLate,
    /// It is done after a while.
    Slow,
    /// It was done twice: a message that is on its queue two times.
    DoneTwice,
}

impl Fault {
    /// All that a run means to inject.
    pub fn planned() -> impl Iterator<Item = Self> {
        OF_A_THOUSAND.into_iter().map(|(fault, _)| fault)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::ServerError => "status 500",
            Self::Unavailable => "status 503",
            Self::NoAnswer => "no answer",
            Self::Reset => "connection reset",
            Self::AnswerLost => "done, answer lost",
            Self::AnswerTooLate => "done, answer too late",
            Self::Slow => "slow",
            Self::DoneTwice => "message doubled",
        }
    }
}

/// How many of a thousand calls each fault befalls.
const OF_A_THOUSAND: [(Fault, u32); 9] = [
    (Fault::Throttled, 20),
    (Fault::ServerError, 20),
    (Fault::Unavailable, 10),
    (Fault::NoAnswer, 4),
    (Fault::Reset, 20),
    (Fault::AnswerLost, 40),
    (Fault::AnswerTooLate, 4),
    (Fault::Slow, 20),
    (Fault::DoneTwice, 60),
];

/// How the cloud is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Every call succeeds.
    Fair,
    /// Some calls fail.
    Foul,
    /// Some calls fail, and every one to DynamoDB.
    TableOutage,
    /// Every call to DynamoDB is throttled; nothing else goes wrong.
    TableThrottled,
}

/// Draws what befalls calls. The n-th call of an operation meets the same fate in every run of a seed; which call is the
/// n-th depends on how the workers happen to run.
#[derive(Debug)]
pub struct Faults {
    seed: u64,
    weather: Weather,
    dice: HashMap<Operation, Rng>,
    injected: BTreeMap<Fault, usize>,
    calls: usize,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        Self { seed, weather: Weather::Fair, dice: HashMap::new(), injected: BTreeMap::new(), calls: 0 }
    }

    pub fn set_weather(&mut self, weather: Weather) {
        self.weather = weather;
    }

    /// What befalls the next call of an operation.
    pub fn draw(&mut self, operation: &Operation) -> Option<Fault> {
        self.calls += 1;
        let fault = match (self.weather, operation.service) {
            (Weather::Fair, _) => None,
            (Weather::TableOutage | Weather::TableThrottled, Service::DynamoDb) => Some(Fault::Throttled),
            (Weather::TableThrottled, _) => None,
            (Weather::Foul | Weather::TableOutage, _) => self.throw(operation),
        }?;
        *self.injected.entry(fault).or_default() += 1;
        Some(fault)
    }

    fn throw(&mut self, operation: &Operation) -> Option<Fault> {
        let seed = self.seed;
        let dice = self.dice.entry(operation.clone()).or_insert_with(|| dice(seed, ["faults ", &operation.name]));
        let fault = which(dice.u32(..1_000))?;
        let can_be = fault != Fault::DoneTwice || operation.name.starts_with("SendMessage");
        can_be.then_some(fault)
    }

    /// How many calls met each fault.
    pub fn injected(&self) -> &BTreeMap<Fault, usize> {
        &self.injected
    }

    /// How many calls there were, well or not.
    pub fn calls(&self) -> usize {
        self.calls
    }
}

fn which(mut of_a_thousand: u32) -> Option<Fault> {
    for (fault, share) in OF_A_THOUSAND {
        match of_a_thousand.checked_sub(share) {
            None => return Some(fault),
            Some(rest) => of_a_thousand = rest,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(target: &str) -> Operation {
        Operation::parse(target).unwrap()
    }

    fn drawn(seed: u64, weather: Weather, target: &str) -> Vec<Option<Fault>> {
        let mut faults = Faults::new(seed);
        faults.set_weather(weather);
        (0..1_000).map(|_| faults.draw(&operation(target))).collect()
    }

    const PUT: &str = "DynamoDB_20120810.PutItem";
    const SEND: &str = "AmazonSQS.SendMessage";

    #[test]
    fn a_seed_fixes_what_befalls_the_calls_of_an_operation() {
        assert_eq!(drawn(1, Weather::Foul, PUT), drawn(1, Weather::Foul, PUT));
        assert_ne!(drawn(1, Weather::Foul, PUT), drawn(2, Weather::Foul, PUT));
        assert_ne!(drawn(1, Weather::Foul, PUT), drawn(1, Weather::Foul, SEND));
    }

    #[test]
    fn every_fault_befalls_some_call_and_most_succeed() {
        let drawn = drawn(1, Weather::Foul, SEND);
        for fault in Fault::planned() {
            assert!(drawn.contains(&Some(fault)), "{fault:?}");
        }
        assert!(drawn.iter().filter(|fault| fault.is_none()).count() > 500);
    }

    #[test]
    fn only_messages_are_doubled_and_an_outage_is_the_tables() {
        assert!(!drawn(1, Weather::Foul, PUT).contains(&Some(Fault::DoneTwice)));
        assert!(drawn(1, Weather::TableOutage, PUT).iter().all(|fault| *fault == Some(Fault::Throttled)));
        assert!(drawn(1, Weather::TableOutage, SEND).contains(&None));
        assert!(drawn(1, Weather::TableThrottled, PUT).iter().all(|fault| *fault == Some(Fault::Throttled)));
        assert!(drawn(1, Weather::TableThrottled, SEND).iter().all(Option::is_none));
        assert!(drawn(1, Weather::Fair, PUT).iter().all(Option::is_none));
    }

    #[test]
    fn targets_are_told_apart() {
        assert_eq!(operation("AWSStepFunctions.StartExecution").service, Service::StepFunctions);
        assert_eq!(operation("TrentService.Decrypt").service, Service::Kms);
        assert_eq!(Operation::parse("Logs_20140328.PutLogEvents"), None);
    }
}
