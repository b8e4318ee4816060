//! Fault injection: which of the functions' calls to AWS fail, and how.

use std::collections::{BTreeMap, HashMap};

use fastrand::Rng;

use crate::seeded_rng::seeded_rng;

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

/// A fault that is injected into a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Refused with a throttling error; nothing was done.
    Throttled,
    /// Refused with status 500; nothing was done.
    ServerError,
    /// Refused with status 503 and without an error code; nothing was done.
    Unavailable,
    /// No answer until the caller gives up; nothing was done.
    NoAnswer,
    /// The connection is reset; nothing was done.
    Reset,
    /// It was done, and the connection is reset instead of an answer.
    AnswerLost,
    /// It was done, and the answer comes after the caller has given up.
    AnswerTooLate,
    /// It is done after a delay.
    Slow,
    /// It was done twice: a message is on its queue two times.
    Duplicated,
}

impl Fault {
    /// All kinds of faults, each of which a long run injects.
    pub fn all() -> impl Iterator<Item = Self> {
        PER_THOUSAND_CALLS.into_iter().map(|(fault, _)| fault)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::ServerError => "500",
            Self::Unavailable => "503",
            Self::NoAnswer => "no answer",
            Self::Reset => "connection reset",
            Self::AnswerLost => "done, but the answer was lost",
            Self::AnswerTooLate => "done, but the answer was too late",
            Self::Slow => "delayed",
            Self::Duplicated => "message sent twice",
        }
    }
}

/// How many of a thousand calls get each fault.
const PER_THOUSAND_CALLS: [(Fault, u32); 9] = [
    (Fault::Throttled, 20),
    (Fault::ServerError, 20),
    (Fault::Unavailable, 10),
    (Fault::NoAnswer, 4),
    (Fault::Reset, 20),
    (Fault::AnswerLost, 40),
    (Fault::AnswerTooLate, 4),
    (Fault::Slow, 20),
    (Fault::Duplicated, 60),
];

/// Which calls fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultProfile {
    /// None.
    NoFaults,
    /// Some, at random.
    RandomFaults,
    /// Every call to DynamoDB is throttled, and some others fail at random.
    RandomFaultsAndDynamoDbOutage,
    /// Every call to DynamoDB is throttled; all others succeed.
    DynamoDbOutage,
}

/// Draws the fault of each call. The n-th call of an operation gets the same fault in every run with the same seed;
/// which call is the n-th depends on how the workers happen to run.
#[derive(Debug)]
pub struct FaultInjector {
    seed: u64,
    profile: FaultProfile,
    rngs: HashMap<Operation, Rng>,
    injected: BTreeMap<Fault, usize>,
    calls: usize,
}

impl FaultInjector {
    pub fn new(seed: u64) -> Self {
        Self { seed, profile: FaultProfile::NoFaults, rngs: HashMap::new(), injected: BTreeMap::new(), calls: 0 }
    }

    pub fn set_profile(&mut self, profile: FaultProfile) {
        self.profile = profile;
    }

    /// The fault of the next call of an operation, if it gets one.
    pub fn draw(&mut self, operation: &Operation) -> Option<Fault> {
        self.calls += 1;
        let is_outage = [FaultProfile::DynamoDbOutage, FaultProfile::RandomFaultsAndDynamoDbOutage];
        let fault = match self.profile {
            profile if is_outage.contains(&profile) && operation.service == Service::DynamoDb => Some(Fault::Throttled),
            FaultProfile::NoFaults | FaultProfile::DynamoDbOutage => None,
            FaultProfile::RandomFaults | FaultProfile::RandomFaultsAndDynamoDbOutage => self.draw_at_random(operation),
        }?;
        *self.injected.entry(fault).or_default() += 1;
        Some(fault)
    }

    fn draw_at_random(&mut self, operation: &Operation) -> Option<Fault> {
        let (seed, name) = (self.seed, &operation.name);
        let rng = self.rngs.entry(operation.clone()).or_insert_with(|| seeded_rng(seed, ["faults ", name]));
        let fault = fault_of(rng.u32(..1_000))?;
        let is_possible = fault != Fault::Duplicated || name.starts_with("SendMessage");
        is_possible.then_some(fault)
    }

    /// How many calls got each fault.
    pub fn injected(&self) -> &BTreeMap<Fault, usize> {
        &self.injected
    }

    /// How many calls there were, with or without a fault.
    pub fn calls(&self) -> usize {
        self.calls
    }
}

/// The fault that a number below 1,000 stands for.
fn fault_of(mut number: u32) -> Option<Fault> {
    for (fault, share) in PER_THOUSAND_CALLS {
        match number.checked_sub(share) {
            None => return Some(fault),
            Some(rest) => number = rest,
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

    fn draw(seed: u64, profile: FaultProfile, target: &str) -> Vec<Option<Fault>> {
        let mut injector = FaultInjector::new(seed);
        injector.set_profile(profile);
        (0..1_000).map(|_| injector.draw(&operation(target))).collect()
    }

    const PUT: &str = "DynamoDB_20120810.PutItem";
    const SEND: &str = "AmazonSQS.SendMessage";

    #[test]
    fn the_faults_of_an_operation_follow_from_the_seed() {
        assert_eq!(draw(1, FaultProfile::RandomFaults, PUT), draw(1, FaultProfile::RandomFaults, PUT));
        assert_ne!(draw(1, FaultProfile::RandomFaults, PUT), draw(2, FaultProfile::RandomFaults, PUT));
        assert_ne!(draw(1, FaultProfile::RandomFaults, PUT), draw(1, FaultProfile::RandomFaults, SEND));
    }

    #[test]
    fn every_fault_is_injected_and_most_calls_succeed() {
        let drawn = draw(1, FaultProfile::RandomFaults, SEND);
        for fault in Fault::all() {
            assert!(drawn.contains(&Some(fault)), "{fault:?}");
        }
        assert!(drawn.iter().filter(|fault| fault.is_none()).count() > 500);
    }

    #[test]
    fn only_messages_are_duplicated_and_an_outage_is_of_dynamodb() {
        assert!(!draw(1, FaultProfile::RandomFaults, PUT).contains(&Some(Fault::Duplicated)));
        assert!(
            draw(1, FaultProfile::RandomFaultsAndDynamoDbOutage, PUT)
                .iter()
                .all(|fault| *fault == Some(Fault::Throttled))
        );
        assert!(draw(1, FaultProfile::RandomFaultsAndDynamoDbOutage, SEND).contains(&None));
        assert!(draw(1, FaultProfile::DynamoDbOutage, PUT).iter().all(|fault| *fault == Some(Fault::Throttled)));
        assert!(draw(1, FaultProfile::DynamoDbOutage, SEND).iter().all(Option::is_none));
        assert!(draw(1, FaultProfile::NoFaults, PUT).iter().all(Option::is_none));
    }

    #[test]
    fn an_operation_is_read_from_its_target() {
        assert_eq!(operation("AWSStepFunctions.StartExecution").service, Service::StepFunctions);
        assert_eq!(operation("TrentService.Decrypt").service, Service::Kms);
        assert_eq!(Operation::parse("Logs_20140328.PutLogEvents"), None);
    }
}
