//! What a customer, a producer and an operator would see, on the deployed template: every journey of an alert event,
//! from the queue to the endpoint and into the ledger.
//!
//! All journeys share one local cloud and one stack, and run at the same time; each has an organization of its own.
//! What can only be said of the run as a whole is checked when they are over.

mod access;
mod afterwards;
mod at_hand;
mod bad_messages;
mod by_hand;
mod cancelled;
mod crashes;
mod delivered;
mod described;
mod emulated;
mod fan_out;
mod first_deployment;
mod hostile;
mod integrations;
mod isolation;
mod log;
mod lost_answers;
mod outage;
mod poison;
mod recovery;
mod redrive;
mod retried;
mod scene;
mod test_button;

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Instant;

use harness::containers::Containers;
use harness::local_cloud::{LocalCloud, Parameters};
use harness::stack::Stack;
use libtest_mimic::{Arguments, Failed, Trial};
use support::project::Project;
use tokio::runtime::Runtime;

use scene::Scene;

/// What the journeys take place on.
struct Stage {
    runtime: Runtime,
    stack: Arc<Stack>,
    /// For the journey that needs a stack of its own.
    cloud: Weak<LocalCloud>,
    project: Project,
    beforehand: access::Beforehand,
    killed: crashes::Killed,
    poisoned: poison::Poisoned,
    interrupted: recovery::Interrupted,
}

static STAGE: OnceLock<Stage> = OnceLock::new();

/// The running cloud, for whoever ends it: the last line of `main`, or Ctrl-C.
static CLOUD: Mutex<Option<Arc<LocalCloud>>> = Mutex::new(None);

/// More than the lease, and short enough that a message whose worker was killed is back in less than a minute.
const VISIBILITY_TIMEOUT_SECONDS: u64 = 45;

/// What the stack is deployed with.
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
            unreadable_entry_hides_no_other, old_alert_is_taken_for_one_that_comes_back,
            given_up_attempt_is_sent_again_by_hand;
        retried: five_failures_end_failed, fails_twice_then_delivered, retry_after_is_honoured, redirect_is_not_followed,
            slow_endpoint_times_out, refused_connection_is_unreachable, gone_disables_the_integration,
            forbidden_addresses_are_blocked;
        fan_out: every_one_of_120_integrations_exactly_once, a_full_batch_of_ten_each_is_made_inline;
        delivered: once, same_event_twice_is_one_delivery, put_and_patch, custom_headers, byte_for_byte, large_payload,
            plain_secret, secrets_of_older_rules, without_secret, both_secrets_sign_during_a_rotation, failing_neighbour_delays_nobody,
            filters_hold_back, disabled_integration_gets_nothing;
        cancelled: disabled_while_waiting, deleted_while_waiting, alert_that_comes_back;
        bad_messages: bad_alerts, bad_retry_messages, message_ahead_of_its_delivery, message_of_another_organization,
            unknown_delivery_is_dropped;
        poison: mended_and_moved_back;
        redrive: each_message_once_and_its_group_kept;
        isolation: slow_endpoint_has_a_lane_of_its_own_until_it_answers, due_attempts_of_a_slow_endpoint_change_lane,
            endpoint_that_hangs_is_known_before_its_first_time_out, accepting_late_is_slow_too,
            alert_that_comes_back_to_a_slow_endpoint_is_handed_off, failing_at_once_is_not_slow, another_url_is_another_endpoint;
        hostile: nine_of_a_batch_mean_harm;
        emulated: bootstraps_answer_the_sample_events;
        first_deployment: fails_halfway_is_repeated_and_removed;
        described: by_its_own_document;
        access: unauthenticated_calls_start_no_function, expired_token_is_refused, tampered_tokens_are_refused,
            tokens_for_others_are_refused, token_without_an_organization, claim_that_is_no_canonical_integer,
            another_organization_sees_nothing, users_cannot_change_their_organization,
            no_open_route_leads_to_a_guarded_one,
            no_escape_leads_to_another_path;
        lost_answers: own_writes_are_known_again;
        recovery: five_hundred_interrupted_midway, refused_while_off_or_fully_booked, a_dry_run_counts_what_would_be_sent;
        integrations: from_creation_to_deletion, a_patch_keeps_what_it_does_not_name, an_update_is_not_lost,
            asking_often_creates_once, an_organization_has_only_so_many, bad_input_is_told_by_field,
            a_host_is_looked_up_when_it_is_set_or_switched_on, an_unreadable_one_hides_no_other,
            what_changes_nothing_makes_no_version, off_says_since_when_and_why,
            compressed_for_whoever_takes_that, stored_header_values_stay_home,
            a_value_that_comes_while_the_url_moves_stays_home;
        test_button: shows_what_was_sent_and_what_came_back, explains_a_failure_and_tries_once, gone_switches_nothing_off,
            a_test_is_not_sent_again, ten_a_minute;
        log: pages_and_filters, a_delivery_explains_itself, sent_again_by_hand, a_large_payload_is_sent_again_too,
            rotated_secrets_sign_for_the_overlap, a_promised_overlap_is_kept, asking_often_rotates_once,
            a_time_range_ends_the_search;
    }
}

fn afterwards() -> Vec<Trial> {
    trials! {
        afterwards: nothing_secret_was_shown, only_bad_messages_were_buried, every_log_line_is_one_of_ours;
    }
}

fn trial<F, T>(name: &str, journey: F) -> Trial
where
    F: FnOnce(Scene) -> T + Send + 'static,
    T: Future<Output = Result<(), Failed>>,
{
    Trial::test(name, move || {
        let stage = STAGE.get().ok_or("the local cloud is not running")?;
        stage.runtime.block_on(async {
            let scene = Scene::open(&stage.stack).await?;
            journey(scene).await
        })
    })
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They wait far more than they compute.
    arguments.test_threads.get_or_insert(64);
    if !arguments.list
        && let Err(problem) = set_the_stage()
    {
        eprintln!("journeys: {problem}");
        return ExitCode::FAILURE;
    }
    let mut conclusion = libtest_mimic::run(&arguments, journeys());
    conclusion.num_failed += libtest_mimic::run(&arguments, afterwards()).num_failed;
    strike_the_stage();
    conclusion.exit_code()
}

fn set_the_stage() -> Result<(), Box<dyn Error>> {
    let project = Project::built()?;
    let runtime = Runtime::new()?;
    let (cloud, stack) = runtime.block_on(async {
        tokio::select! {
            ready = start_and_deploy(&project) => ready,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        }
    })?;
    let cloud = Arc::new(cloud);
    let weak = Arc::downgrade(&cloud);
    *CLOUD.lock().unwrap_or_else(PoisonError::into_inner) = Some(cloud);
    runtime.spawn(async {
        if tokio::signal::ctrl_c().await.is_ok() {
            strike_the_stage();
            std::process::exit(130);
        }
    });
    let stack = Arc::new(stack);
    let beforehand = runtime.block_on(access::try_the_unused_api(&stack));
    let killed = runtime.block_on(crashes::kill_a_worker(&stack));
    let poisoned = runtime.block_on(poison::mend_and_move_back(&stack, &project));
    let interrupted = runtime.block_on(recovery::interrupt(&stack));
    STAGE
        .set(Stage { runtime, stack, cloud: weak, project, beforehand, killed, poisoned, interrupted })
        .map_err(|_| "the stage is set once")?;
    Ok(())
}

async fn start_and_deploy(project: &Project) -> Result<(LocalCloud, Stack), Box<dyn Error>> {
    let started = Instant::now();
    let containers = Containers::look().await.address();
    let cloud = LocalCloud::start_also_at(project, "journeys", containers).await?;
    let log = cloud.log().display();
    eprintln!("journeys: the local cloud is up after {:.1} s; its log is {log}", started.elapsed().as_secs_f32());
    let stack = cloud.deploy(project, "journeys", parameters().with_endpoints_at(containers)).await?;
    stack.set_visibility_timeout(VISIBILITY_TIMEOUT_SECONDS).await?;
    eprintln!("journeys: the template is deployed after {:.1} s", started.elapsed().as_secs_f32());
    Ok((cloud, stack))
}

fn strike_the_stage() {
    drop(CLOUD.lock().unwrap_or_else(PoisonError::into_inner).take());
}
