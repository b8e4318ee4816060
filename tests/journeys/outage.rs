//! An outage of DynamoDB that lasts longer than several receives of a message, on a stack of its own, whose functions'
//! calls go through a proxy.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName};
use domain::delivery::{DeliveryKey, Status};
use domain::integration::Integration;
use harness::faults::FaultProfile;
use harness::leaks::Secrets;
use harness::local_cloud::Parameters;
use harness::proxy::{Forbidden, Proxy};
use harness::receiver::Answer;
use harness::stack::Stack;
use serde_json::{Value, json};
use support::function::Function;
use support::readme::commands_with;
use tokio::time::{Instant, sleep};

use crate::redrive::Redrive;
use crate::shared;
use crate::shell;
use crate::testbed::{CANARY, CANARY_IN_BASE64, PATH, SOON, Testbed, outcomes};

/// How long a message is hidden each time that it is given back before the outage ends.
const HIDDEN_SECONDS: [u64; 3] = [5, 10, 20];

/// How long the short outage lasts.
const SHORT_OUTAGE: Duration = Duration::from_secs(3);

/// After how many receives SQS moves a message to the dead-letter queue, in the second half. In production it is 20.
const MAX_RECEIVE_COUNT: u64 = 2;

/// The path at which the endpoint fails first attempts.
const FAILS_FIRST: &str = "/hooks/canary/fails-first";

struct Outage {
    testbed: Testbed,
    proxy: Proxy,
    sqs: aws_sdk_sqs::Client,
}

/// The deliveries that an outage delays: that of a new alert, and one whose retry comes due.
struct Delayed {
    alert: DeliveryKey,
    retry: DeliveryKey,
}

pub async fn is_waited_out_and_what_was_given_up_is_moved_back(_: Testbed) -> anyhow::Result<()> {
    let outage = Outage::prepare().await?;
    let works = outage.testbed.create(outage.testbed.new_integration()).await?;
    let here = outage.testbed.receiver.url(FAILS_FIRST);
    outage.testbed.receiver.script(FAILS_FIRST, [Answer::Status(500), Answer::Status(200)]);
    let mut fails_first = outage.testbed.new_integration();
    fails_first.url = here;
    // Each wants alerts of its own severity.
    fails_first.filter.severities = vec!["low".to_owned()];
    let fails_first = outage.testbed.create(fails_first).await?;
    outage.testbed.stack.change(&works, &json!({ "severities": ["high"] })).await?;

    outage.check_short_outage(&works).await?;
    outage.check_long_outage(&works, &fails_first).await?;
    outage.check_move_back(&works, &fails_first).await?;

    let leaks = outage.proxy.leaks();
    assert!(leaks.is_empty(), "{leaks:#?}");
    let shown = outage.testbed.stack.visible_texts().await?;
    let leaks = Secrets::new([CANARY, CANARY_IN_BASE64]).find_in(shown);
    assert!(leaks.is_empty(), "{leaks:#?}");
    Ok(())
}

impl Outage {
    async fn prepare() -> anyhow::Result<Self> {
        let stage = shared()?;
        let (stack, endpoint, config) = {
            let cloud = stage.cloud.upgrade().context("the local cloud is gone")?;
            // The first delay leaves time to begin an outage.
            let parameters = Parameters::local().with("RetrySchedule", "5s,3s,30m,2h");
            let stack = cloud.deploy(&stage.project, "outage", parameters).await?;
            (Arc::new(stack), cloud.endpoint(), cloud.sdk_config())
        };
        let payloads = Secrets::new([CANARY, CANARY_IN_BASE64]);
        let proxy = Proxy::start(endpoint, 0, Forbidden { secrets: Secrets::default(), payloads }).await?;
        proxy.route(&stack, &[Function::Deliver, Function::Retry]).await?;
        // With the template's visibility timeout of six minutes: no message may have to wait for it.
        Ok(Self { testbed: Testbed::set_up(&stack).await?, proxy, sqs: aws_sdk_sqs::Client::new(&config) })
    }

    /// Begins an outage, in which an alert is sent and a retry comes due.
    async fn begin(&self, works: &Integration, fails_first: &Integration) -> anyhow::Result<Delayed> {
        let send = async |integration: &Integration, severity: &str| -> anyhow::Result<DeliveryKey> {
            let mut alert = self.testbed.alert();
            alert["alert"]["severity"] = json!(severity);
            let body = alert.to_string();
            self.testbed.send(&body).await?;
            self.testbed.delivery(integration, &body)
        };
        let retry = send(fails_first, "low").await?;
        self.testbed.record_waiting_for(retry, 2).await?;
        self.proxy.set_profile(FaultProfile::DynamoDbOutage);
        Ok(Delayed { alert: send(works, "high").await?, retry })
    }

    /// Checks that both are delivered, without a duplicate.
    async fn check_delivered(&self, delayed: &Delayed) -> anyhow::Result<()> {
        let record = self.testbed.record(delayed.alert, Status::Delivered).await?;
        assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
        assert!(record.attempts.iter().all(|attempt| !attempt.possible_duplicate), "{record:?}");
        let record = self.testbed.record(delayed.retry, Status::Delivered).await?;
        assert_eq!(outcomes(&record), [(1, "rejected", Some(500)), (2, "accepted", Some(200))]);
        assert!(record.attempts.iter().all(|attempt| !attempt.possible_duplicate), "{record:?}");
        Ok(())
    }

    /// How many seconds each message was hidden that a function has given back so far because of a fault of ours.
    async fn hidden_seconds(&self, function: Function) -> anyhow::Result<Vec<u64>> {
        let lines = self.testbed.stack.log_lines(function).await?;
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let given_back = |line: &Value| line["level"] == "ERROR" && line["message"] == "message returned to its queue";
        let hidden = lines.filter(given_back).map(|line| line["again_in_seconds"].as_u64());
        hidden.collect::<Option<_>>().context("a message was left to its queue's visibility timeout")
    }

    /// An outage that is over after three seconds delays an alert for seconds.
    async fn check_short_outage(&self, works: &Integration) -> anyhow::Result<()> {
        self.proxy.set_profile(FaultProfile::DynamoDbOutage);
        let mut alert = self.testbed.alert();
        alert["alert"]["severity"] = json!("high");
        let body = alert.to_string();
        self.testbed.send(&body).await?;
        let sent = Instant::now();
        sleep(SHORT_OUTAGE).await;
        self.proxy.set_profile(FaultProfile::NoFaults);
        let record = self.testbed.record(self.testbed.delivery(works, &body)?, Status::Delivered).await?;
        eprintln!(
            "journeys: an outage of {} s delayed an alert by {:.1} s",
            SHORT_OUTAGE.as_secs(),
            sent.elapsed().as_secs_f64()
        );
        assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
        Ok(())
    }

    async fn check_long_outage(&self, works: &Integration, fails_first: &Integration) -> anyhow::Result<()> {
        let before = self.hidden_seconds(Function::Deliver).await?;
        let arrived = self.testbed.arrivals().len();
        let delayed = self.begin(works, fails_first).await?;
        let started = Instant::now();
        for (function, before) in [(Function::Deliver, before), (Function::Retry, Vec::new())] {
            let mut expected = [before, HIDDEN_SECONDS.to_vec()].concat();
            expected.sort_unstable();
            loop {
                let mut hidden = self.hidden_seconds(function).await?;
                hidden.sort_unstable();
                if hidden == expected {
                    break;
                }
                assert!(started.elapsed() < 2 * SOON, "{function:?} has hidden {hidden:?}, not {expected:?}");
                sleep(Duration::from_millis(500)).await;
            }
        }
        assert_eq!(self.testbed.arrivals().len(), arrived, "nothing is sent that was not claimed");
        self.proxy.set_profile(FaultProfile::NoFaults);
        self.check_delivered(&delayed).await?;
        assert_eq!(self.testbed.receiver.arrivals_at(PATH).len(), arrived + 1);
        assert_eq!(self.testbed.receiver.arrivals_at(FAILS_FIRST).len(), 2);
        assert_eq!(self.testbed.stack.dead_letters().await?, []);
        Ok(())
    }

    async fn check_move_back(&self, works: &Integration, fails_first: &Integration) -> anyhow::Result<()> {
        let stack: &Stack = &self.testbed.stack;
        for (queue, dead_letter_queue) in
            [("AlertsQueue", "AlertsDeadLetterQueue"), ("RetryQueue", "RetryDeadLetterQueue")]
        {
            let arn = stack.output(&format!("{dead_letter_queue}Arn"))?;
            let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVE_COUNT });
            stack
                .set_queue_attribute(&format!("{queue}Url"), QueueAttributeName::RedrivePolicy, policy.to_string())
                .await?;
        }
        self.testbed.receiver.script(FAILS_FIRST, [Answer::Status(500), Answer::Status(200)]);
        let delayed = self.begin(works, fails_first).await?;

        let project = &shared()?.project;
        let redrive = Redrive { project, endpoint: stack.endpoint() };
        let folder = tempfile::tempdir_in(project.scratch())?;
        for (dead, name) in [("AlertsDeadLetterQueueUrl", "alerts"), ("RetryDeadLetterQueueUrl", "retries")] {
            let printed = redrive.look_for_one(stack.output(dead)?, &folder.path().join(name)).await?;
            assert!(printed.contains("field: none") && printed.contains("because of our own failures"), "{printed}");
        }
        let sent = self.send_to_dead_letter_queue(works).await?;
        self.proxy.set_profile(FaultProfile::NoFaults);
        self.move_back().await?;
        self.testbed.record(sent, Status::Delivered).await?;
        self.check_delivered(&delayed).await?;
        assert_eq!(stack.dead_letters().await?, []);
        Ok(())
    }

    /// Sends an alert to its dead-letter queue as a function does, and not by the queue's redrive policy: such as one
    /// that only a newer version understands.
    async fn send_to_dead_letter_queue(&self, works: &Integration) -> anyhow::Result<DeliveryKey> {
        let mut alert = self.testbed.alert();
        alert["alert"]["severity"] = json!("high");
        let body = alert.to_string();
        let field = MessageAttributeValue::builder().data_type("String").string_value("event_type").build()?;
        let message = self.sqs.send_message().queue_url(self.testbed.stack.output("AlertsDeadLetterQueueUrl")?);
        message.message_body(&body).message_attributes("field", field).send().await?;
        self.testbed.delivery(works, &body)
    }

    /// Moves everything back with README's commands, though SQS does not know where one of the messages came from.
    async fn move_back(&self) -> anyhow::Result<()> {
        let stack: &Stack = &self.testbed.stack;
        let [alerts, dead] = [stack.output("AlertsQueueArn")?, stack.output("AlertsDeadLetterQueueArn")?];
        let refused = self.sqs.start_message_move_task().source_arn(alerts).send().await;
        assert!(refused.is_err_and(|error| format!("{error:?}").contains("must be configured as a Dead Letter Queue")));
        self.sqs.start_message_move_task().source_arn(dead).send().await?;
        let tasks = self.sqs.list_message_move_tasks().source_arn(dead).send().await?.results.unwrap_or_default();
        let reason = tasks.first().and_then(|task| task.failure_reason());
        assert_eq!(reason, Some("CouldNotDetermineMessageSource"), "without a destination: {tasks:?}");

        let project = &shared()?.project;
        let output = commands_with("output() {").replace("roboticks-webhooks", stack.name());
        let commands = format!("{output}\n{}", commands_with("start-message-move-task"));
        let moved = shell::run(project, stack.endpoint(), &commands).await?;
        let printed = String::from_utf8_lossy(&moved.stdout);
        assert!(moved.status.success() && printed.matches("COMPLETED").count() == 2, "{moved:?}");
        Ok(())
    }
}
