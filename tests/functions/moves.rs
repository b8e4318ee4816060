//! Every write of the ledger, as `Write::apply` says it and as DynamoDB gets it: both have to come to the same item,
//! and the write has to be refused exactly where `Condition::holds` says so.
//!
//! The writes are made by the product's own table, over HTTP; the expressions are carried out by [`bench::aws`].

use std::cell::Cell;

use aws::config::sdk_config;
use aws::dynamodb::conditional::Conditional;
use aws::dynamodb::deliveries_table::DeliveriesTable;
use aws::environment::Environment;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use bench::aws::Aws;
use bench::testbed::item;
use domain::attempt::Attempt;
use domain::delivery::ledger::{ClaimId, End, Entry, Freshness, State};
use domain::delivery::transitions::{Condition, Transition, Write};
use domain::delivery::{CancelReason, Identity, Record, Status};
use domain::fixtures::identity;
use domain::ids::OrganizationId;
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_bytes::ByteBuf;
use support::template::Template;

const TABLE: &str = "DeliveriesTable";

fn attempt() -> impl Strategy<Value = u32> + Clone {
    1..=2_u32
}

fn claim_id() -> impl Strategy<Value = ClaimId> + Clone {
    select(vec![ClaimId::new([1; 16]), ClaimId::new([2; 16])])
}

fn time() -> impl Strategy<Value = Timestamp> + Clone {
    (1_736_500_000_000..1_736_600_000_000_i64).prop_map(|at| Timestamp::from_millisecond(at).expect("a time"))
}

fn whole_second() -> impl Strategy<Value = Timestamp> + Clone {
    (1_736_500_000..1_736_600_000_i64).prop_map(|at| Timestamp::from_second(at).expect("a time"))
}

fn end() -> impl Strategy<Value = End> + Clone {
    select(vec![End::Delivered, End::Failed, End::Cancelled])
}

fn reason() -> impl Strategy<Value = CancelReason> + Clone {
    use CancelReason::{IntegrationDeleted, IntegrationDisabled, NoLongerMatches};
    select(vec![IntegrationDisabled, IntegrationDeleted, NoLongerMatches])
}

fn freshness() -> impl Strategy<Value = Freshness> + Clone {
    select(vec![Freshness::First, Freshness::PossibleDuplicate])
}

fn state() -> impl Strategy<Value = State> {
    prop_oneof![
        (attempt(), attempt(), time(), claim_id()).prop_map(|(attempt, round_start, lease_until, claim_id)| {
            State::Sending { attempt, round_start, lease_until, claim_id }
        }),
        (attempt(), attempt(), time()).prop_map(|(attempt, round_start, due_at)| State::Waiting {
            attempt,
            round_start,
            due_at
        }),
        (attempt(), attempt(), end()).prop_map(|(attempt, round_start, end)| State::Ended {
            attempt,
            round_start,
            end
        }),
    ]
}

fn past_attempt() -> impl Strategy<Value = Attempt> {
    (attempt(), time(), freshness())
        .prop_map(|(number, started_at, freshness)| Attempt::interrupted(number, started_at, freshness))
}

fn owner(number: u64) -> OrganizationId {
    OrganizationId::new(number).expect("an organization")
}

fn record() -> impl Strategy<Value = Record> {
    let payload = option::of(vec(any::<u8>(), 1..4));
    (state(), freshness(), vec(past_attempt(), 0..3), reason(), 1..5_u32, option::of(time()), payload, whole_second())
        .prop_map(|(state, freshness, attempts, reason, rounds, redelivered_at, payload, expires_at)| {
            let mut record = Record::new(identity(), &state, expires_at);
            let is_over = matches!(state, State::Ended { .. });
            record.possible_duplicate = freshness == Freshness::PossibleDuplicate && !is_over;
            record.cancel_reason = matches!(state, State::Ended { end: End::Cancelled, .. }).then_some(reason);
            (record.attempts, record.rounds, record.redelivered_at) = (attempts, rounds, redelivered_at);
            record.payload = payload.map(ByteBuf::from);
            record
        })
}

/// What a move moves away from, and the move.
fn write() -> impl Strategy<Value = (Condition, Transition)> {
    let waiting = prop_oneof![
        attempt().prop_map(|attempt| Condition::Waiting { attempt }),
        attempt().prop_map(|attempt| Condition::WaitingUnmarked { attempt }),
    ];
    let sending = (attempt(), claim_id()).prop_map(|(attempt, claim_id)| Condition::Sending { attempt, claim_id });
    let ended = (attempt(), end()).prop_map(|(attempt, end)| Condition::Ended { attempt, end });
    let open = prop_oneof![waiting, sending.clone()];
    let claim = (claim_id(), time(), freshness()).prop_map(|(claim_id, lease_until, freshness)| Transition::Claim {
        claim_id,
        lease_until,
        freshness,
    });
    let outcome = prop_oneof![
        time().prop_map(|due_at| Transition::Unclaim { due_at }),
        (2..7_u32, time()).prop_map(|(attempt, due_at)| Transition::Retry { attempt, due_at }),
        select(vec![End::Delivered, End::Failed]).prop_map(Transition::End),
    ];
    let redeliver = (2..7_u32, time(), 2..6_u32, time())
        .prop_map(|(attempt, due_at, rounds, now)| Transition::Redeliver { attempt, due_at, rounds, now });
    prop_oneof![
        (open.clone(), claim),
        (sending.clone(), outcome),
        (open, reason().prop_map(Transition::Cancel)),
        (prop_oneof![sending, ended], redeliver),
    ]
}

/// How a record comes to a write.
#[derive(Clone, Copy, Debug)]
enum Found {
    AsItIs,
    /// In a state that the write moves away from, but for the mark of a possible duplicate.
    AsExpected,
}

/// The same record, in a state that such a write moves away from.
fn expected(record: &Record, from: Condition, at: Timestamp) -> Record {
    let round_start = record.round_start;
    let state = match from {
        Condition::Waiting { attempt } | Condition::WaitingUnmarked { attempt } => {
            State::Waiting { attempt, round_start, due_at: at }
        }
        Condition::Sending { attempt, claim_id } => State::Sending { attempt, round_start, lease_until: at, claim_id },
        Condition::Ended { attempt, end } => State::Ended { attempt, round_start, end },
    };
    let mut expected = record.clone();
    expected.set_entry(Entry { state, freshness: record.freshness() });
    expected.cancel_reason = expected.cancel_reason.filter(|_| expected.status == Status::Cancelled);
    expected
}

/// How a write is made.
#[derive(Clone, Copy, Debug)]
enum Method {
    /// The item is read back.
    Advance,
    /// The item is worked out.
    Conclude,
}

#[test]
fn a_write_does_what_its_move_says_and_only_where_it_may() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let aws = runtime.block_on(Aws::start(&Template::read(), &[0; 32])).expect("a free port");
    let url = aws.url();
    let look_up = |name: &str| match name {
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        "AWS_ENDPOINT_URL" => Some(url.clone()),
        _ => None,
    };
    let config = sdk_config(&Environment::new(&look_up)).expect("all that it needs");
    let credentials = SharedCredentialsProvider::new(Credentials::new("key", "secret", None, None, "this test"));
    let config = config.to_builder().credentials_provider(credentials).build();
    let table = DeliveriesTable::new(aws_sdk_dynamodb::Client::new(&config), TABLE.to_owned());

    let attempts = option::of(vec(past_attempt(), 1..3));
    let method = select(vec![Method::Advance, Method::Conclude]);
    let found = select(vec![Found::AsItIs, Found::AsExpected]);
    let cases = ((record(), found, time()), write(), attempts, option::of(whole_second()), 1..=6_u64, method);
    let (applied, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 1_500, ..Config::default() });
    let result = runner.run(&cases, |((record, found, at), (from, to), attempts, expires_at, stranger, method)| {
        let record = match found {
            Found::AsItIs => record,
            Found::AsExpected => expected(&record, from, at),
        };
        let key = record.identity.key();
        // Every sixth message names another organization.
        let owner = if stranger == 6 { owner(2) } else { owner(1) };
        let write = Write { from, to, attempts: attempts.as_deref(), expires_at };
        aws.clear(TABLE);
        aws.put(TABLE, item(&record));
        let answer = match method {
            Method::Advance => runtime.block_on(table.advance(key, owner, &write)),
            Method::Conclude => {
                let identity = Identity { organization_id: owner, ..record.identity.clone() };
                let seen = Record { identity, ..record.clone() };
                runtime.block_on(table.record_attempt(&seen, &write))
            }
        };
        let stored = aws.items(TABLE);
        let entry = record.entry().expect("it is whole");
        match answer.expect("it is understood") {
            Conditional::Applied(written) => {
                applied.set(applied.get() + 1);
                prop_assert!(from.holds(Some(&entry)) && record.identity.organization_id == owner);
                let mut expected = record.clone();
                write.apply(&mut expected).expect("it is whole");
                prop_assert_eq!(&*written, &expected);
                prop_assert_eq!(stored, [item(&expected)]);
            }
            Conditional::Refused(found) => {
                refused.set(refused.get() + 1);
                prop_assert!(!from.holds(Some(&entry)) || record.identity.organization_id != owner);
                prop_assert_eq!(found.as_deref(), Some(&record));
                prop_assert_eq!(stored, [item(&record)]);
            }
        }
        Ok(())
    });
    result.expect("both say the same");
    let (applied, refused) = (applied.get(), refused.get());
    assert!(applied >= 300 && refused >= 300, "{applied} writes were made, {refused} refused");
}
