//! What customers, producers and operators see of the deployed template: every journey of an alert event, from the
//! queue to the endpoint and into the ledger.
//!
//! All journeys share one local cloud and one stack, and run at the same time; each has an organization of its own.
//! What concerns the run as a whole is checked when they are over.

mod access;
mod afterwards;
mod bad_messages;
mod cancelled;
mod crashes;
mod dead_letters;
mod delivered;
mod emulated;
mod fan_out;
mod first_deployment;
mod hostile;
mod in_process_api;
mod integrations;
mod isolation;
mod log;
mod lost_answers;
mod openapi;
mod outage;
mod rate_limits;
mod recovery;
mod redrive;
mod retried;
mod shell;
mod test_button;
mod testbed;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use anyhow::{Context, anyhow};
use harness::containers::DockerBridge;
use harness::local_cloud::{LocalCloud, Parameters};
use harness::stack::Stack;
use libtest_mimic::{Arguments, Trial};
use support::project::Project;
use support::screen::Screen;
use tokio::runtime::Runtime;

use testbed::Testbed;

/// What all journeys share.
struct Shared {
    runtime: Runtime,
    stack: Arc<Stack>,
    /// For journeys that deploy a stack of their own.
    cloud: Weak<LocalCloud>,
    project: Project,
    unused_api: access::UnusedApi,
    killed: crashes::Killed,
    moved_back: dead_letters::MovedBack,
    interrupted: recovery::Interrupted,
}

static SHARED: OnceLock<Shared> = OnceLock::new();

/// The running cloud, dropped by whatever ends it: the last line of `main`, or Ctrl-C.
static CLOUD: Mutex<Option<Arc<LocalCloud>>> = Mutex::new(None);

fn shared() -> anyhow::Result<&'static Shared> {
    SHARED.get().context("the local cloud is not running")
}

/// An error of what was prepared before the journeys, for the journey that needs it.
fn copy_error(error: &anyhow::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

/// More than the lease, and short enough that a message whose worker was killed comes back in less than a minute.
const VISIBILITY_TIMEOUT_SECONDS: u64 = 45;

fn parameters() -> Parameters {
    Parameters::local().with("MaxIntegrations", "120")
}

macro_rules! trials {
    ($($theme:ident: $($name:ident),+ $(,)?;)+) => {
        vec![$($(trial(concat!(stringify!($theme), "::", stringify!($name)), $theme::$name)),+),+]
    };
}

fn journeys() -> Vec<Trial> {
    trials! {
        // The slowest first.
        outage: is_waited_out_and_what_was_given_up_is_moved_back;
        crashes: worker_killed_in_mid_request, aborted_execution_is_swept, lost_hand_off_is_swept,
            unreadable_entry_hides_no_other, alert_moved_back_ends_its_old_claim,
            attempt_without_a_message_is_sent_again_by_hand;
        retried: five_failures_end_failed, fails_twice_then_delivered, retry_after_is_honoured,
            redirect_is_not_followed, slow_endpoint_times_out, refused_connection_is_unreachable,
            gone_disables_the_integration, forbidden_addresses_are_blocked;
        fan_out: every_one_of_120_integrations_exactly_once, a_full_batch_of_ten_each_is_made_inline;
        delivered: once, same_event_twice_is_one_delivery, put_and_patch, custom_headers, byte_for_byte,
            large_payload, plain_secret, secrets_of_older_rules, without_secret, both_secrets_sign_during_a_rotation,
            failing_endpoint_delays_no_other, filters_apply, disabled_integration_gets_nothing;
        cancelled: disabled_while_waiting, deleted_while_waiting, alert_that_comes_back;
        bad_messages: bad_alerts, bad_retry_messages, message_ahead_of_its_delivery,
            message_of_another_organization, unknown_delivery_is_dropped;
        dead_letters: repaired_and_moved_back;
        redrive: each_message_once_and_its_group_kept;
        isolation: slow_endpoint_is_served_by_the_slow_lane_until_it_answers,
            due_attempts_of_a_slow_endpoint_change_lane, endpoint_that_hangs_is_recognized_before_its_first_timeout,
            accepting_late_is_slow_too, alert_that_comes_back_to_a_slow_endpoint_is_handed_off,
            failing_at_once_is_not_slow, another_url_is_another_endpoint;
        hostile: nine_of_ten_endpoints_are_hostile, secrets_are_echoed;
        emulated: bootstraps_answer_the_sample_events;
        first_deployment: fails_halfway_is_repeated_and_removed;
        openapi: answers_match_the_document;
        access: unauthenticated_calls_start_no_function, expired_token_is_refused, tampered_tokens_are_refused,
            tokens_for_others_are_refused, token_without_an_organization, claim_that_is_no_canonical_integer,
            another_organization_sees_nothing, users_cannot_change_their_organization,
            no_open_route_leads_to_a_guarded_one, no_escape_leads_to_another_path;
        lost_answers: own_writes_are_recognized;
        recovery: five_hundred_interrupted_midway, refused_while_off_or_fully_booked,
            a_dry_run_counts_what_would_be_sent;
        integrations: from_creation_to_deletion, a_patch_keeps_what_it_does_not_name, an_update_is_not_lost,
            repeated_requests_create_once, an_organization_has_a_limit, bad_input_is_reported_by_field,
            a_host_is_looked_up_when_it_is_set_or_switched_on, plain_http_can_be_refused,
            an_unreadable_integration_hides_no_other, what_changes_nothing_makes_no_version, disabled_says_since_when_and_why,
            large_answers_are_compressed_on_request, stored_header_values_go_to_no_other_origin,
            a_header_added_while_the_url_changes_is_not_sent_elsewhere;
        test_button: shows_what_was_sent_and_what_came_back, sends_any_event_as_of_now_and_marked,
            explains_a_failure_and_tries_once, gone_switches_nothing_off, a_test_is_not_sent_again;
        rate_limits: each_kind_of_costly_request_has_its_own, one_log_request_reads_a_megabyte;
        log: pages_and_filters, a_delivery_shows_its_attempts, sent_again_by_hand,
            a_large_payload_is_sent_again_too, rotated_secrets_sign_for_the_overlap, a_promised_overlap_is_kept,
            repeated_requests_rotate_once, a_time_range_ends_the_search, misdated_events_are_found_by_their_receipt;
    }
}

fn afterwards() -> Vec<Trial> {
    trials! {
        afterwards: no_secret_has_leaked, only_bad_messages_are_dead_letters, every_log_line_is_well_formed;
    }
}

fn trial<F, T>(name: &str, journey: F) -> Trial
where
    F: FnOnce(Testbed) -> T + Send + 'static,
    T: Future<Output = anyhow::Result<()>>,
{
    Trial::test(name, move || {
        let run = async |shared: &Shared| journey(Testbed::set_up(&shared.stack).await?).await;
        shared().and_then(|shared| shared.runtime.block_on(run(shared))).map_err(|error| format!("{error:#}").into())
    })
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Journeys wait far more than they compute.
    arguments.test_threads.get_or_insert(64);
    if !arguments.list
        && let Err(error) = set_up()
    {
        eprintln!("journeys: {error:#}");
        return ExitCode::FAILURE;
    }
    let mut conclusion = libtest_mimic::run(&arguments, journeys());
    conclusion.num_failed += libtest_mimic::run(&arguments, afterwards()).num_failed;
    tear_down();
    conclusion.exit_code()
}

fn set_up() -> anyhow::Result<()> {
    let project = Project::built()?;
    let runtime = Runtime::new()?;
    let (cloud, stack) = runtime.block_on(async {
        tokio::select! {
            ready = start(&project) => ready,
            _ = tokio::signal::ctrl_c() => Err(anyhow!("interrupted")),
        }
    })?;
    let cloud = Arc::new(cloud);
    let weak = Arc::downgrade(&cloud);
    *CLOUD.lock().unwrap_or_else(PoisonError::into_inner) = Some(cloud);
    runtime.spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            tear_down();
            std::process::exit(130);
        }
    });
    let stack = Arc::new(stack);
    let unused_api = runtime.block_on(access::try_unused_api(&stack));
    let killed = runtime.block_on(crashes::kill_a_worker(&stack));
    let moved_back = runtime.block_on(dead_letters::repair_and_move_back(&stack, &project));
    let interrupted = runtime.block_on(recovery::interrupt(&stack));
    let shared = Shared { runtime, stack, cloud: weak, project, unused_api, killed, moved_back, interrupted };
    SHARED.set(shared).ok().context("set up twice")
}

async fn start(project: &Project) -> anyhow::Result<(LocalCloud, Stack)> {
    let bridge = DockerBridge::detect().await.address();
    let (cloud, stack) = harness::testbed::start(&Screen::new(), project, "journeys", parameters(), bridge).await?;
    stack.set_visibility_timeout(VISIBILITY_TIMEOUT_SECONDS).await?;
    Ok((cloud, stack))
}

fn tear_down() {
    drop(CLOUD.lock().unwrap_or_else(PoisonError::into_inner).take());
}
