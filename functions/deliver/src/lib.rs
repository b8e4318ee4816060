//! `DeliverFunction`: an alert event becomes one delivery for each matching integration of its organization, and each
//! first attempt is made here and now, all of a batch at once.
//!
//! A first attempt is handed off to `retry` instead when its endpoint takes long to answer, by the slow lane; and when a
//! batch matches more integrations than one invocation should hold, or too little of the invocation's time is left, by the
//! usual one.

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
use domain::ids::{DeliveryId, OrganizationId};
use domain::integration::health::{Health, Lane};
use domain::integration::{Integration, Standing};
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::LambdaEvent;
use sender::NoTrustedRoots;
use tokio::sync::OnceCell;

/// How many first attempts one invocation makes itself: ten for each message of a full batch. A connection takes some 60
/// kB with TLS, and bodies are shared, so that all of them fit the function's memory and file descriptors several times.
const FIRST_ATTEMPTS_PER_INVOCATION: usize = 100;

/// How old an event may be for its message to be taken for new when SQS has not handed it out before. One that was moved
/// back from the dead-letter queue counts as new there; it was received twenty times before, which takes almost two hours at
/// least, or given up after an hour.
pub const NEW_FOR: Duration = Duration::from_secs(60 * 60);

/// How many deliveries of one alert event are handed off at once; a batch of messages.
const HANDED_OFF_AT_ONCE: usize = aws::sqs::queues::BATCH;

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
    /// [`InvalidSetting`] for the first variable that is absent or cannot be used.
    pub fn read(environment: &Environment<'_>) -> Result<Self, InvalidSetting> {
        Ok(Self {
            runner: runner::Settings::read(environment)?,
            alerts_queue_url: environment.text("ALERTS_QUEUE_URL")?,
            slow_lane_queue_url: environment.text("SLOW_LANE_QUEUE_URL")?,
            dead_letter_queue_url: environment.text("DEAD_LETTER_QUEUE_URL")?,
        })
    }
}

/// What the function works with, for as long as it lives.
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

/// Handles a batch of alert events.
///
/// # Errors
/// Never as a whole: the response names the messages that go back to their queue.
pub async fn handle(deliver: Arc<Deliver>, event: LambdaEvent<SqsEvent>) -> Result<SqsBatchResponse, Infallible> {
    let invocation = Arc::new(Invocation::new(event.context.deadline()));
    let answer = deliver.inbox.each_message(event.payload, invocation.deadline, |message| {
        let (deliver, invocation) = (Arc::clone(&deliver), Arc::clone(&invocation));
        async move { deliver.alert(&invocation, &message).await }
    });
    Ok(answer.await)
}

/// What the messages of one batch share.
struct Invocation {
    deadline: Deadline,
    first_attempts_left: AtomicUsize,
    organizations: Mutex<HashMap<OrganizationId, Arc<OnceCell<Integrations>>>>,
}

impl Invocation {
    fn new(deadline: std::time::SystemTime) -> Self {
        Self {
            deadline: Deadline(Timestamp::try_from(deadline).unwrap_or(Timestamp::MAX)),
            first_attempts_left: AtomicUsize::new(FIRST_ATTEMPTS_PER_INVOCATION),
            organizations: Mutex::default(),
        }
    }

    /// The organization's integrations: asked once, however many messages of the batch are its.
    fn organization(&self, id: OrganizationId) -> Arc<OnceCell<Integrations>> {
        Arc::clone(self.organizations.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default())
    }

    /// Takes one of the first attempts that this invocation makes itself, while there are any. Those of an endpoint that
    /// takes long it does not make: it would wait for it.
    fn place(&self, lane: Lane) -> AttemptMode {
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

/// Whether an alert event may have been received before: then a run of ours may have died half-way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    First,
    Again,
}

impl Run {
    fn of(receive_count: u32, event: &AlertEvent, received_at: Timestamp) -> Self {
        let is_new =
            received_at.duration_since(event.timestamp) <= SignedDuration::try_from(NEW_FOR).unwrap_or_default();
        if receive_count == 1 && is_new { Self::First } else { Self::Again }
    }
}

/// What an alert event says, for all its deliveries.
#[derive(Clone, Copy)]
struct Payload<'a> {
    body: &'a Bytes,
    kept: &'a StoredPayload,
}

impl Deliver {
    async fn alert(&self, invocation: &Invocation, message: &Received) -> Result<(), Fault> {
        let event = match AlertEvent::parse(&message.body) {
            Ok(event) => event,
            Err(bad) => return self.inbox.dead_letter(message, &bad.field, &bad.message).await,
        };
        let received_at = Timestamp::now();
        let run = Run::of(message.receive_count, &event, received_at);
        let organization = invocation.organization(event.organization_id);
        let ask = || self.runner.integrations().of_organization(event.organization_id);
        let integrations = organization.get_or_try_init(ask).await?;

        let body = Bytes::copy_from_slice(message.body.as_bytes());
        let kept = compress(&body);
        let deliveries = integrations.readable.iter().filter_map(|integration| {
            let action = action(integration, &event, run, invocation)?;
            Some((self.task(integration, &event, Payload { body: &body, kept: &kept }, received_at), action))
        });
        let (inline, elsewhere): (Vec<_>, Vec<_>) =
            deliveries.partition(|(_, action)| matches!(action, Action::Send(_, AttemptMode::Inline)));

        let deadline = invocation.deadline;
        let inline = async { self.all(&inline, deadline).await };
        let elsewhere = async {
            let mut result = Ok(());
            for chunk in elsewhere.chunks(HANDED_OFF_AT_ONCE) {
                result = both(result, self.all(chunk, deadline).await);
            }
            result
        };
        let (inline, elsewhere) = tokio::join!(inline, elsewhere);
        both(inline, elsewhere)?;
        if integrations.unreadable > 0 {
            return Err(Fault::UnreadableItem { table: "integrations" });
        }
        Ok(())
    }

    fn task<'a>(
        &self,
        integration: &Integration,
        event: &AlertEvent,
        payload: Payload<'a>,
        received_at: Timestamp,
    ) -> Task<'a> {
        let Payload { body, kept } = payload;
        let delivery_id = DeliveryId::of_alert(event.organization_id, integration.id, event.timestamp, body);
        Task::Alert(NewDelivery {
            identity: Identity {
                integration_id: integration.id,
                delivery_id,
                organization_id: event.organization_id,
                event_type: event.event_type,
                alert_id: event.alert_id,
                created_at: received_at,
            },
            body: body.clone(),
            kept,
            expires_at: received_at.saturating_add(self.retention).unwrap_or(Timestamp::MAX),
        })
    }

    /// Carries deliveries out, all at once. A fault of one leaves the others alone, and is told when all have ended.
    async fn all(&self, deliveries: &[(Task<'_>, Action<'_>)], deadline: Deadline) -> Result<(), Fault> {
        let each = deliveries.iter().map(|(task, action)| self.runner.run(task, *action, deadline));
        let ended: Vec<Result<BeforeAck, Fault>> = join_all(each).await;
        for (lane, queue) in [(Lane::Fast, self.runner.retry_queue()), (Lane::Slow, &self.slow_lane)] {
            let on_this_lane = ended.iter().flatten().filter_map(|left| match left {
                BeforeAck::HandOff { message, lane: its } if *its == lane => Some(*message),
                BeforeAck::HandOff { .. } | BeforeAck::Nothing => None,
            });
            queue.send_all(&on_this_lane.collect::<Vec<_>>()).await?;
        }
        ended.into_iter().map(|left| left.map(drop)).fold(Ok(()), both)
    }
}

/// What came of two parts of a message. Where both met a fault, the message comes back for the one that may be over first.
fn both(one: Result<(), Fault>, other: Result<(), Fault>) -> Result<(), Fault> {
    match (one, other) {
        (Err(one), Err(other)) => Err(one.or_sooner(other)),
        (one, other) => one.and(other),
    }
}

/// What an alert event means for an integration; `None` when nothing. A run that comes again also looks at integrations
/// that do not want the event now: they may have wanted it at the first run, and what that began has to end.
fn action<'a>(
    integration: &'a Integration,
    event: &AlertEvent,
    run: Run,
    invocation: &Invocation,
) -> Option<Action<'a>> {
    let unwanted = match integration.standing() {
        Standing::Deleted => CancelReason::IntegrationDeleted,
        Standing::Disabled => CancelReason::IntegrationDisabled,
        Standing::Enabled if integration.filter.matches(event) => {
            let place = invocation.place(Health::lane(integration.health.as_ref()));
            return Some(Action::Send(integration, place));
        }
        Standing::Enabled => CancelReason::NoLongerMatches,
    };
    (run == Run::Again).then_some(Action::Cancel(unwanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_event_is_taken_for_one_that_was_received_before() {
        let event = AlertEvent::parse(include_str!("../../../events/alert-triggered.json")).unwrap();
        let run = |receive_count, age| Run::of(receive_count, &event, event.timestamp + age);
        assert_eq!(run(1, Duration::ZERO), Run::First);
        assert_eq!(run(1, NEW_FOR), Run::First);
        assert_eq!(run(1, NEW_FOR + Duration::from_millis(1)), Run::Again);
        assert_eq!(run(2, Duration::ZERO), Run::Again);
        // A producer's clock that is ahead.
        assert_eq!(Run::of(1, &event, event.timestamp - NEW_FOR), Run::First);
    }
}
