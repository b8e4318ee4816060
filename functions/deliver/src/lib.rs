//! `DeliverFunction`: turns an alert event into one delivery for each matching integration of its organization, and
//! makes each first attempt inline, all of a batch concurrently.
//!
//! It hands off a first attempt to `retry` in two cases: by the slow lane when the endpoint is slow, and by the fast
//! lane when a batch matches more integrations than one invocation should hold or too little of the invocation's time
//! is left.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws::dynamodb::integrations_table::Integrations;
use aws::environment::{Environment, InvalidSetting};
use aws::fault::Fault;
use aws::runner::{self, Action, BeforeAck, NewDelivery, Runner, Task};
use aws::sqs::batch::Inbox;
use aws::sqs::queues::{DeadLetterQueue, RetryMessages, SourceQueues};
use aws::sqs::received::Received;
use aws_config::SdkConfig;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use bytes::Bytes;
use domain::alert::event::AlertEvent;
use domain::deadline::Deadline;
use domain::delivery::payload::{StoredPayload, compress};
use domain::delivery::worker::AttemptMode;
use domain::delivery::{CancelReason, Identity};
use domain::ids::{DeliveryId, IntegrationId, OrganizationId};
use domain::integration::health::{Health, Lane};
use domain::integration::{Integration, Standing};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::LambdaEvent;
use sender::NoTrustedRoots;
use tokio::sync::OnceCell;

/// How many first attempts one invocation makes inline: ten for each message of a full batch. A connection takes about
/// 60 kB with TLS, and bodies are shared, so the function's memory and file descriptors would suffice for several times
/// as many.
const FIRST_ATTEMPTS_PER_INVOCATION: usize = 100;

/// How old an event may be to count as new on its message's first receive. SQS also counts a message that was moved
/// back from the dead-letter queue as never received. But that message's event is older than this: it was received
/// twenty times before, which takes almost two hours at least, or failed for an hour.
pub const MAX_NEW_EVENT_AGE: Duration = Duration::from_secs(60 * 60);

/// How many of an alert event's deliveries that are not sent inline are processed concurrently: a batch of messages.
const CONCURRENT_HAND_OFFS: usize = aws::sqs::queues::BATCH;

/// The function's settings.
#[derive(Clone, Debug)]
pub struct Settings {
    runner: runner::Settings,
    alerts_queue_url: String,
    slow_lane_queue_url: String,
    dead_letter_queue_url: String,
}

impl Settings {
    /// # Errors
    /// [`InvalidSetting`] for the first variable that is absent or invalid.
    pub fn read(environment: &Environment<'_>) -> Result<Self, InvalidSetting> {
        Ok(Self {
            runner: runner::Settings::read(environment)?,
            alerts_queue_url: environment.text("ALERTS_QUEUE_URL")?,
            slow_lane_queue_url: environment.text("SLOW_LANE_QUEUE_URL")?,
            dead_letter_queue_url: environment.text("DEAD_LETTER_QUEUE_URL")?,
        })
    }
}

/// The function's state, shared by all invocations of a sandbox.
pub struct Deliver {
    runner: Runner,
    slow_lane: RetryMessages,
    inbox: Arc<Inbox>,
    retention: Duration,
}

impl Deliver {
    /// # Errors
    /// [`NoTrustedRoots`] when the system has no certificate authorities to trust.
    pub fn new(settings: Settings, aws: &SdkConfig) -> Result<Self, NoTrustedRoots> {
        let sqs = aws_sdk_sqs::Client::new(aws);
        let retention = settings.runner.retention();
        Ok(Self {
            runner: Runner::new(settings.runner, aws)?,
            slow_lane: RetryMessages::new(sqs.clone(), settings.slow_lane_queue_url),
            inbox: Arc::new(Inbox::new(
                SourceQueues::new(sqs.clone(), vec![settings.alerts_queue_url]),
                DeadLetterQueue::new(sqs, settings.dead_letter_queue_url),
            )),
            retention,
        })
    }
}

/// Processes a batch of alert events. Never fails as a whole: the response names the messages that return to their
/// queue.
pub async fn handle(deliver: Arc<Deliver>, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Infallible> {
    let invocation = Arc::new(Invocation::new(event.context.deadline()));
    let response = deliver.inbox.each_message(event.payload, invocation.deadline, |message| {
        let (deliver, invocation) = (Arc::clone(&deliver), Arc::clone(&invocation));
        async move { deliver.process(&invocation, &message).await }
    });
    Ok(response.await)
}

/// What all messages of a batch share.
struct Invocation {
    deadline: Deadline,
    first_attempts_left: AtomicUsize,
    organizations: Mutex<HashMap<OrganizationId, Arc<Organization>>>,
}

/// What is read of an organization once, however many messages of the batch belong to it.
#[derive(Default)]
struct Organization {
    integrations: OnceCell<Integrations>,
    deleted: OnceCell<Vec<IntegrationId>>,
}

impl Invocation {
    fn new(deadline: std::time::SystemTime) -> Self {
        Self {
            deadline: Deadline(Timestamp::try_from(deadline).unwrap_or(Timestamp::MAX)),
            first_attempts_left: AtomicUsize::new(FIRST_ATTEMPTS_PER_INVOCATION),
            organizations: Mutex::default(),
        }
    }

    fn organization(&self, id: OrganizationId) -> Arc<Organization> {
        Arc::clone(self.organizations.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default())
    }

    /// Where a first attempt is made: inline, while this invocation has attempts left. Those for slow endpoints are
    /// always handed off, because the invocation would have to wait for them.
    fn choose_mode(&self, lane: Lane) -> AttemptMode {
        if lane == Lane::Slow {
            return AttemptMode::HandedOff;
        }
        let take = |left: usize| left.checked_sub(1);
        match self.first_attempts_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => AttemptMode::Inline,
            Err(_) => AttemptMode::HandedOff,
        }
    }
}

/// Whether an alert event may have been received before. If so, its processing may have stopped halfway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receipt {
    First,
    Repeated,
}

impl Receipt {
    fn classify(receive_count: u32, event: &AlertEvent, received_at: Timestamp) -> Self {
        let is_new = received_at.duration_since(event.timestamp)
            <= SignedDuration::try_from(MAX_NEW_EVENT_AGE).unwrap_or_default();
        if receive_count == 1 && is_new { Self::First } else { Self::Repeated }
    }
}

/// The payload of an alert event, shared by all its deliveries.
#[derive(Clone, Copy)]
struct Payload<'a> {
    body: &'a Bytes,
    stored: &'a StoredPayload,
}

impl Deliver {
    async fn process(&self, invocation: &Invocation, message: &Received) -> Result<(), Fault> {
        let event = match AlertEvent::parse(&message.body) {
            Ok(event) => event,
            Err(bad) => return self.inbox.dead_letter(message, &bad.field, &bad.message).await,
        };
        let received_at = Timestamp::now();
        let receipt = Receipt::classify(message.receive_count, &event, received_at);
        let organization = invocation.organization(event.organization_id);
        let query = || self.runner.integrations().of_organization(event.organization_id);
        let integrations = organization.integrations.get_or_try_init(query).await?;
        // Read last: one that is deleted meanwhile is then among the integrations, the deleted ones, or both.
        let deleted = match receipt {
            Receipt::First => &[][..],
            Receipt::Repeated => {
                let query = || self.runner.integrations().newest_deleted(event.organization_id);
                organization.deleted.get_or_try_init(query).await?
            }
        };

        let body = Bytes::copy_from_slice(message.body.as_bytes());
        let stored = compress(&body);
        let payload = Payload { body: &body, stored: &stored };
        let present = integrations.readable.iter().filter_map(|integration| {
            let action = choose_action(integration, &event, receipt, invocation)?;
            Some((self.new_task(integration.id, &event, payload, received_at), action))
        });
        let absent = deleted.iter().filter(|id| integrations.readable.iter().all(|present| present.id != **id));
        let absent = absent.map(|id| {
            let action = Action::Cancel(CancelReason::IntegrationDeleted);
            (self.new_task(*id, &event, payload, received_at), action)
        });
        let (inline, other): (Vec<_>, Vec<_>) =
            present.chain(absent).partition(|(_, action)| matches!(action, Action::Send(_, AttemptMode::Inline)));

        let deadline = invocation.deadline;
        let inline = async { self.run_all(&inline, deadline).await };
        let other = async {
            let mut result = Ok(());
            for chunk in other.chunks(CONCURRENT_HAND_OFFS) {
                result = combine(result, self.run_all(chunk, deadline).await);
            }
            result
        };
        let (inline, other) = tokio::join!(inline, other);
        combine(inline, other)?;
        if integrations.unreadable > 0 {
            return Err(Fault::UnreadableItem { table: "integrations" });
        }
        Ok(())
    }

    fn new_task<'a>(
        &self,
        integration_id: IntegrationId,
        event: &AlertEvent,
        payload: Payload<'a>,
        received_at: Timestamp,
    ) -> Task<'a> {
        let Payload { body, stored } = payload;
        let delivery_id = DeliveryId::of_alert(event.organization_id, integration_id, event.timestamp, body);
        Task::Alert(NewDelivery {
            identity: Identity {
                integration_id,
                delivery_id,
                organization_id: event.organization_id,
                event_type: event.event_type,
                alert_id: event.alert_id,
                created_at: received_at,
            },
            body: body.clone(),
            payload: stored,
            expires_at: received_at.saturating_add(self.retention).unwrap_or(Timestamp::MAX),
        })
    }

    /// Processes deliveries concurrently. A fault of one does not affect the others, and is returned when all have
    /// ended.
    async fn run_all(&self, deliveries: &[(Task<'_>, Action<'_>)], deadline: Deadline) -> Result<(), Fault> {
        let runs = deliveries.iter().map(|(task, action)| self.runner.run(task, *action, deadline));
        let results: Vec<Result<BeforeAck, Fault>> = join_all(runs).await;
        for (lane, queue) in [(Lane::Fast, self.runner.retry_queue()), (Lane::Slow, &self.slow_lane)] {
            let messages = results.iter().flatten().filter_map(|follow_up| match follow_up {
                BeforeAck::HandOff { message, lane: message_lane } if *message_lane == lane => Some(*message),
                BeforeAck::HandOff { .. } | BeforeAck::Nothing => None,
            });
            queue.send_all(&messages.collect::<Vec<_>>()).await?;
        }
        results.into_iter().map(|result| result.map(drop)).fold(Ok(()), combine)
    }
}

/// Combines the results of two parts of a message. If both failed, returns the fault that may be over first.
fn combine(one: Result<(), Fault>, other: Result<(), Fault>) -> Result<(), Fault> {
    match (one, other) {
        (Err(one), Err(other)) => Err(one.or_sooner(other)),
        (one, other) => one.and(other),
    }
}

/// What to do about an integration; `None` when nothing. On a repeated receipt, integrations that do not want the event
/// now count too: they may have wanted it the first time, and a delivery that was created then has to end.
fn choose_action<'a>(
    integration: &'a Integration,
    event: &AlertEvent,
    receipt: Receipt,
    invocation: &Invocation,
) -> Option<Action<'a>> {
    let unwanted = match integration.standing() {
        Standing::Deleted => CancelReason::IntegrationDeleted,
        Standing::Disabled => CancelReason::IntegrationDisabled,
        Standing::Enabled if integration.filter.matches(event) => {
            let mode = invocation.choose_mode(Health::lane(integration.health.as_ref()));
            return Some(Action::Send(integration, mode));
        }
        Standing::Enabled => CancelReason::NoLongerMatches,
    };
    (receipt == Receipt::Repeated).then_some(Action::Cancel(unwanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_event_counts_as_received_before() {
        let event = AlertEvent::parse(include_str!("../../../events/alert-triggered.json")).unwrap();
        let classify = |receive_count, age| Receipt::classify(receive_count, &event, event.timestamp + age);
        assert_eq!(classify(1, Duration::ZERO), Receipt::First);
        assert_eq!(classify(1, MAX_NEW_EVENT_AGE), Receipt::First);
        assert_eq!(classify(1, MAX_NEW_EVENT_AGE + Duration::from_millis(1)), Receipt::Repeated);
        assert_eq!(classify(2, Duration::ZERO), Receipt::Repeated);
        // A producer's clock that is ahead.
        assert_eq!(Receipt::classify(1, &event, event.timestamp - MAX_NEW_EVENT_AGE), Receipt::First);
    }
}
