//! A fault of our own that lasts: DynamoDB throttles every call of the functions for longer than several receives of a
//! message. On a stack of its own, whose functions' calls go through a proxy.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::{MessageAttributeValue, QueueAttributeName};
use domain::delivery::{DeliveryKey, Status};
use domain::integration::Integration;
use harness::faults::Weather;
use harness::leaks::Secrets;
use harness::local_cloud::Parameters;
use harness::proxy::{Guarded, Proxy};
use harness::receiver::Answer;
use harness::stack::Stack;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use support::function::Function;
use support::readme::commands_with;
use tokio::time::{Instant, sleep};

use crate::STAGE;
use crate::by_hand::shell;
use crate::redrive::Redrive;
use crate::scene::{CANARY, CANARY_IN_BASE64, PATH, SOON, Scene, outcomes};

/// How often a message is given back before the outage ends, and how long it is hidden each time.
const HIDDEN_SECONDS: [u64; 3] = [5, 10, 20];

/// How long a fault lasts that is over soon.
const MOMENT: Duration = Duration::from_secs(3);

/// After so many receives SQS gives a message up, in the second half. Production's is 20.
const MAX_RECEIVE_COUNT: u64 = 2;

/// Where the endpoint fails first attempts.
const FAILS_FIRST: &str = "/hooks/canary/fails-first";

struct Outage {
    scene: Scene,
    proxy: Proxy,
    sqs: aws_sdk_sqs::Client,
}

/// An alert and a due retry, which the outage befalls.
struct Befallen {
    alert: DeliveryKey,
    due: DeliveryKey,
}

pub async fn is_waited_out_and_what_was_given_up_is_moved_back(_: Scene) -> Result<(), Failed> {
    let outage = Outage::prepare().await?;
    let works = outage.scene.create(outage.scene.here()).await?;
    let here = outage.scene.receiver.url(FAILS_FIRST);
    outage.scene.receiver.script(FAILS_FIRST, [Answer::Status(500), Answer::Status(200)]);
    let mut fails_first = outage.scene.here();
    fails_first.url = here;
    // They are told apart by what they want.
    fails_first.filter.severities = vec!["low".to_owned()];
    let fails_first = outage.scene.create(fails_first).await?;
    outage.scene.stack.change(&works, &json!({ "severities": ["high"] })).await?;

    outage.costs_an_alert_seconds(&works).await?;
    outage.is_waited_out(&works, &fails_first).await?;
    outage.gives_up_and_is_moved_back(&works, &fails_first).await?;

    let leaks = outage.proxy.leaks();
    assert!(leaks.is_empty(), "{leaks:#?}");
    let shown = outage.scene.stack.shown().await?;
    let leaks = Secrets::new([CANARY, CANARY_IN_BASE64]).leaks(shown);
    assert!(leaks.is_empty(), "{leaks:#?}");
    Ok(())
}

impl Outage {
    async fn prepare() -> Result<Self, Failed> {
        let stage = STAGE.get().ok_or("the stage is set")?;
        let (stack, endpoint, config) = {
            let cloud = stage.cloud.upgrade().ok_or("the local cloud is gone")?;
            // The first delay leaves time to begin an outage.
            let parameters = Parameters::local().with("RetrySchedule", "5s,3s,30m,2h");
            let stack = cloud.deploy(&stage.project, "outage", parameters).await?;
            (Arc::new(stack), cloud.endpoint(), cloud.sdk_config())
        };
        let payloads = Secrets::new([CANARY, CANARY_IN_BASE64]);
        let proxy = Proxy::start(endpoint, 0, Guarded { secrets: Secrets::default(), payloads }).await?;
        let lambda = aws_sdk_lambda::Client::new(&config);
        proxy.lead(&stack, &lambda, &[Function::Deliver, Function::Retry]).await?;
        Ok(Self { scene: Scene::open(&stack).await?, proxy, sqs: aws_sdk_sqs::Client::new(&config) })
    }

    /// Begins an outage, with an alert on its queue and a retry that comes due in it.
    async fn begin(&self, works: &Integration, fails_first: &Integration) -> Result<Befallen, Failed> {
        let raise = async |integration: &Integration, severity: &str| -> Result<DeliveryKey, Failed> {
            let mut alert = self.scene.alert();
            alert["alert"]["severity"] = json!(severity);
            let body = alert.to_string();
            self.scene.send(&body).await?;
            self.scene.delivery(integration, &body)
        };
        let due = raise(fails_first, "low").await?;
        self.scene.waiting_for(due, 2).await?;
        self.proxy.set_weather(Weather::TableThrottled);
        Ok(Befallen { alert: raise(works, "high").await?, due })
    }

    /// Both are delivered, in order, as if nothing had been.
    async fn end_well(&self, befallen: &Befallen) -> Result<(), Failed> {
        let record = self.scene.record(befallen.alert, Status::Delivered).await?;
        assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
        assert!(record.attempts.iter().all(|attempt| !attempt.possible_duplicate), "{record:?}");
        let record = self.scene.record(befallen.due, Status::Delivered).await?;
        assert_eq!(outcomes(&record), [(1, "rejected", Some(500)), (2, "accepted", Some(200))]);
        assert!(record.attempts.iter().all(|attempt| !attempt.possible_duplicate), "{record:?}");
        Ok(())
    }

    /// For how many seconds each message was hidden that a function has given back so far, by a fault of ours.
    async fn given_back(&self, function: Function) -> Result<Vec<u64>, Failed> {
        let lines = self.scene.stack.log_lines(function).await?;
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let given_back =
            |line: &Value| line["level"] == "ERROR" && line["message"] == "message given back to its queue";
        let hidden = lines.filter(given_back).map(|line| line["again_in_seconds"].as_u64());
        Ok(hidden.collect::<Option<_>>().ok_or("a message was left to its queue's visibility timeout")?)
    }

    /// A fault that is over after three seconds.
    async fn costs_an_alert_seconds(&self, works: &Integration) -> Result<(), Failed> {
        self.proxy.set_weather(Weather::TableThrottled);
        let mut alert = self.scene.alert();
        alert["alert"]["severity"] = json!("high");
        let body = alert.to_string();
        self.scene.send(&body).await?;
        let sent = Instant::now();
        sleep(MOMENT).await;
        self.proxy.set_weather(Weather::Fair);
        let record = self.scene.record(self.scene.delivery(works, &body)?, Status::Delivered).await?;
        eprintln!(
            "journeys: a fault of {} s delayed an alert by {:.1} s",
            MOMENT.as_secs(),
            sent.elapsed().as_secs_f64()
        );
        assert_eq!(outcomes(&record), [(1, "accepted", Some(200))]);
        Ok(())
    }

    async fn is_waited_out(&self, works: &Integration, fails_first: &Integration) -> Result<(), Failed> {
        let before = self.given_back(Function::Deliver).await?;
        let arrived = self.scene.arrivals().len();
        let befallen = self.begin(works, fails_first).await?;
        let started = Instant::now();
        for (function, before) in [(Function::Deliver, before), (Function::Retry, Vec::new())] {
            let mut expected = [before, HIDDEN_SECONDS.to_vec()].concat();
            expected.sort_unstable();
            loop {
                let mut hidden = self.given_back(function).await?;
                hidden.sort_unstable();
                if hidden == expected {
                    break;
                }
                assert!(started.elapsed() < 2 * SOON, "{function:?} has hidden {hidden:?}, not {expected:?}");
                sleep(Duration::from_millis(500)).await;
            }
        }
        assert_eq!(self.scene.arrivals().len(), arrived, "nothing is sent that was not claimed");
        self.proxy.set_weather(Weather::Fair);
        self.end_well(&befallen).await?;
        assert_eq!(self.scene.receiver.arrivals_at(PATH).len(), arrived + 1);
        assert_eq!(self.scene.receiver.arrivals_at(FAILS_FIRST).len(), 2);
        assert_eq!(self.scene.stack.dead_letters().await?, []);
        Ok(())
    }

    async fn gives_up_and_is_moved_back(&self, works: &Integration, fails_first: &Integration) -> Result<(), Failed> {
        let stack: &Stack = &self.scene.stack;
        for (queue, graveyard) in [("AlertsQueue", "AlertsDeadLetterQueue"), ("RetryQueue", "RetryDeadLetterQueue")] {
            let arn = stack.output(&format!("{graveyard}Arn"))?;
            let policy = json!({ "deadLetterTargetArn": arn, "maxReceiveCount": MAX_RECEIVE_COUNT });
            let request = self.sqs.set_queue_attributes().queue_url(stack.output(&format!("{queue}Url"))?);
            request.attributes(QueueAttributeName::RedrivePolicy, policy.to_string()).send().await?;
        }
        self.scene.receiver.script(FAILS_FIRST, [Answer::Status(500), Answer::Status(200)]);
        let befallen = self.begin(works, fails_first).await?;

        let project = &STAGE.get().ok_or("the stage is set")?.project;
        let redrive = Redrive { project, endpoint: stack.endpoint() };
        let folder = tempfile::tempdir_in(project.scratch())?;
        for (dead, name) in [("AlertsDeadLetterQueueUrl", "alerts"), ("RetryDeadLetterQueueUrl", "retries")] {
            let said = redrive.look_until_one_is_there(stack.output(dead)?, &folder.path().join(name)).await?;
            assert!(said.contains("field: none") && said.contains("by a fault of ours"), "{said}");
        }
        let buried = self.bury(works).await?;
        self.proxy.set_weather(Weather::Fair);
        self.move_back_by_hand().await?;
        self.scene.record(buried, Status::Delivered).await?;
        self.end_well(&befallen).await?;
        assert_eq!(stack.dead_letters().await?, []);
        Ok(())
    }

    /// Puts an alert into its dead-letter queue as a function does, which is not by the queue's own redrive: one that only a
    /// newer version understands, say.
    async fn bury(&self, works: &Integration) -> Result<DeliveryKey, Failed> {
        let mut alert = self.scene.alert();
        alert["alert"]["severity"] = json!("high");
        let body = alert.to_string();
        let field = MessageAttributeValue::builder().data_type("String").string_value("event_type").build()?;
        let message = self.sqs.send_message().queue_url(self.scene.stack.output("AlertsDeadLetterQueueUrl")?);
        message.message_body(&body).message_attributes("field", field).send().await?;
        self.scene.delivery(works, &body)
    }

    /// README's commands move everything back, though nobody knows where one message came from.
    async fn move_back_by_hand(&self) -> Result<(), Failed> {
        let stack: &Stack = &self.scene.stack;
        let [alerts, dead] = [stack.output("AlertsQueueArn")?, stack.output("AlertsDeadLetterQueueArn")?];
        let refused = self.sqs.start_message_move_task().source_arn(alerts).send().await;
        assert!(refused.is_err_and(|error| format!("{error:?}").contains("must be configured as a Dead Letter Queue")));
        self.sqs.start_message_move_task().source_arn(dead).send().await?;
        let tasks = self.sqs.list_message_move_tasks().source_arn(dead).send().await?.results.unwrap_or_default();
        let reason = tasks.first().and_then(|task| task.failure_reason());
        assert_eq!(reason, Some("CouldNotDetermineMessageSource"), "without a destination: {tasks:?}");

        let project = &STAGE.get().ok_or("the stage is set")?.project;
        let output = commands_with("output() {").replace("roboticks-webhooks", stack.name());
        let commands = format!("{output}\n{}", commands_with("start-message-move-task"));
        let moved = shell(project, stack.endpoint(), &commands).await?;
        let told = String::from_utf8_lossy(&moved.stdout);
        assert!(moved.status.success() && told.matches("COMPLETED").count() == 2, "{moved:?}");
        Ok(())
    }
}
