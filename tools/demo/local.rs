//! `make local`: runs the demo's stack until Ctrl-C, to try things by hand.

mod observations;
mod receiver;
mod scenario;
mod testbed;
mod timeline;

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use console::style;
use harness::api::{PASSWORD, user_of};
use harness::containers::DockerBridge;
use harness::local_cloud::{REGION, ROOT_CREDENTIALS};
use harness::local_variables;
use jiff::Timestamp;
use support::interrupt::run;
use support::project::{Project, architecture};
use support::screen::Screen;

use crate::observations::Arrival;
use crate::scenario::{Endpoint, RETRY_SCHEDULE, Scenario};
use crate::testbed::{ORGANIZATION, Testbed};
use crate::timeline::{Timeline, describe_waits};

const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The stack's outputs that are printed.
const OUTPUTS: [&str; 10] = [
    "ConsoleUrl",
    "ApiUrl",
    "UserPoolId",
    "AlertsQueueUrl",
    "RetryQueueUrl",
    "SlowLaneQueueUrl",
    "AlertsDeadLetterQueueUrl",
    "RetryDeadLetterQueueUrl",
    "IntegrationsTableName",
    "DeliveriesTableName",
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let screen = Screen::new();
    screen.say(format!("\n  {}\n", style("Roboticks Custom Webhooks on a local cloud").bold()));
    let work = async { local(&screen).await.map(|never| match never {}) };
    run(&screen, work).await
}

async fn local(screen: &Screen) -> anyhow::Result<Infallible> {
    let bridge = DockerBridge::detect().await;
    let mut testbed = Testbed::set_up(screen, "local", bridge.address()).await?;
    let variables = Project::source().local_variables();
    local_variables::write(&testbed.stack, &testbed.cloud.other_endpoint(), &variables).await?;
    explain(screen, &testbed, bridge)?;

    let mut timeline = Timeline::new(Timestamp::now());
    let mut arrivals_written = 0;
    loop {
        let observations = testbed.update_health().await?;
        for arrival in observations.arrivals.iter().skip(arrivals_written) {
            screen.say(arrival_line(arrival));
        }
        arrivals_written = observations.arrivals.len();
        for line in timeline.new_lines(&observations) {
            screen.say(line);
        }
        let waits = describe_waits(&observations.deliveries, Timestamp::now());
        screen.show_status(&waits.unwrap_or_else(|| "running, press Ctrl-C to stop".to_owned()));
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn explain(screen: &Screen, testbed: &Testbed, bridge: DockerBridge) -> anyhow::Result<()> {
    let heading = |text: &str| screen.say(format!("\n  {}", style(text).bold()));
    let (stack, endpoint) = (&testbed.stack, testbed.cloud.endpoint());

    heading("Addresses");
    screen.say(format!("    {:<25} {endpoint}", "all AWS services"));
    screen.say(format!("    {:<25} {}", "receiver", testbed.receiver.url("")));
    for output in OUTPUTS {
        screen.say(format!("    {output:<25} {}", stack.output(output)?));
    }

    heading(&format!("Integrations of organization 1, retried after {}", RETRY_SCHEDULE.replace(',', ", ")));
    for (scenario, integration) in &testbed.integrations {
        screen.say(format!("    {:<16} {}  {}", scenario.name(), integration.id, describe(*scenario)));
    }

    heading("In another terminal, in the project's folder, run this first");
    screen.say(format!(
        "    export AWS_ENDPOINT_URL={endpoint} AWS_DEFAULT_REGION={REGION} \\\
         \n      AWS_ACCESS_KEY_ID={ROOT_CREDENTIALS} AWS_SECRET_ACCESS_KEY={ROOT_CREDENTIALS}"
    ));
    heading("Then, with the tools in .tools");
    let by_hand = ".tools/cloud/bin/python tools/demo/by_hand.py";
    screen.say(format!("    {by_hand} send events/alert-triggered.json"));
    screen.say(format!("    {by_hand} ledger"));
    screen.say(format!("    {by_hand} dead-letters"));
    screen.say(format!("    {by_hand} logs"));
    heading("The API, as a user of organization 1");
    screen.say(format!("    TOKEN=$({by_hand} token)"));
    screen.say(format!(
        "    curl -H \"Authorization: Bearer $TOKEN\" {}/integrations",
        stack.output("ApiUrl")?.trim_end_matches('/')
    ));
    heading("The settings page, at ConsoleUrl");
    screen.say(format!("    Sign in as {} with the password {PASSWORD}", user_of(ORGANIZATION)));
    heading("A single function, in a container");
    let text = match bridge {
        DockerBridge::At(_) => format!(
            ".tools/sam/bin/sam local invoke DeliverFunction --event events/sqs-alert-triggered.json \\\
             \n      --env-vars .aws-sam/local-variables.json --parameter-overrides Architecture={}",
            architecture()
        ),
        DockerBridge::Elsewhere => {
            "Not possible: the Docker engine runs elsewhere, and its containers cannot reach this machine.".to_owned()
        }
        DockerBridge::NoEngine => {
            "Not possible without a Docker engine. Start one, then run `make local` again.".to_owned()
        }
    };
    screen.say(format!("    {text}"));
    heading("With the AWS CLI, if you have it");
    // Every command names the endpoint: version 1 ignores the variable for SQS, and would call AWS itself.
    let aws = format!("aws --endpoint-url {endpoint}");
    screen.say(format!(
        "    {aws} sqs send-message \\\
         \n      --queue-url {} \\\
         \n      --message-body \"$(sed \"s/2025-01-10T10:[0-9:]*Z/$(date -u +%FT%TZ)/\" events/alert-triggered.json)\"",
        stack.output("AlertsQueueUrl")?
    ));
    screen.say(format!(
        "    {aws} dynamodb scan \\\
         \n      --table-name {} --query 'Items[].[delivery_id.S,status.S]'",
        stack.output("DeliveriesTableName")?
    ));
    screen.say(format!(
        "    {aws} logs filter-log-events \\\
         \n      --log-group-name /aws/lambda/{}-deliver --query 'events[].message' --output text",
        stack.name()
    ));
    screen.say(format!("\n  The local cloud's log: {}\n", testbed.cloud.log().display()));
    Ok(())
}

fn describe(scenario: Scenario) -> String {
    let place = match scenario.endpoint() {
        Endpoint::Receiver(path) => path,
        Endpoint::Elsewhere(url) => url,
    };
    let wants = match scenario.event_types() {
        [] => "all events".to_owned(),
        wanted => wanted.iter().map(|event_type| event_type.as_str()).collect::<Vec<_>>().join(", "),
    };
    let switch = if scenario.is_enabled() { "" } else { ", switched off" };
    format!("{place:<23}  wants {wants}{switch}")
}

fn arrival_line(arrival: &Arrival) -> String {
    let verified = if arrival.is_verified() { style("verified").green() } else { style("NOT VERIFIED").red() };
    let Arrival { path, attempt, answered, body, .. } = arrival;
    format!(
        "{:10}receiver         {path:<13} attempt {attempt}  {} bytes, {verified}, answered {answered}",
        "",
        body.len()
    )
}
