//! `make local`: the demo's stack stays up until Ctrl-C, for whoever wants to try things by hand.

mod receiver;
mod scenario;
mod seen;
mod stage;
mod timeline;

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use console::style;
use harness::api::{PASSWORD, user_of};
use harness::containers::Containers;
use harness::local_cloud::{REGION, ROOT_CREDENTIALS};
use harness::local_variables;
use jiff::Timestamp;
use support::project::{Project, architecture};

use crate::scenario::{Endpoint, RETRY_SCHEDULE, Scenario};
use crate::seen::Arrival;
use crate::stage::{ORGANIZATION, Stage, Trouble};
use crate::timeline::{Timeline, waits};
use support::interrupt::run;
use support::screen::Screen;

const LOOKS_EVERY: Duration = Duration::from_millis(500);

/// The outputs that someone who tries things needs.
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

async fn local(screen: &Screen) -> Result<Infallible, Trouble> {
    let containers = Containers::look().await;
    let mut stage = Stage::set(screen, "local", containers.address()).await?;
    let variables = Project::source().local_variables();
    local_variables::write(&stage.stack, &stage.cloud.other_endpoint(), &variables).await?;
    explain(screen, &stage, containers)?;

    let mut timeline = Timeline::new(Timestamp::now());
    let mut arrivals_told = 0;
    loop {
        let seen = stage.look().await?;
        for arrival in seen.arrivals.iter().skip(arrivals_told) {
            screen.say(arrival_line(arrival));
        }
        arrivals_told = seen.arrivals.len();
        for line in timeline.news(&seen) {
            screen.say(line);
        }
        let waits = waits(&seen.deliveries, Timestamp::now());
        screen.wait_for(&waits.unwrap_or_else(|| "up, until Ctrl-C".to_owned()));
        tokio::time::sleep(LOOKS_EVERY).await;
    }
}

fn explain(screen: &Screen, stage: &Stage, containers: Containers) -> Result<(), Trouble> {
    let heading = |text: &str| screen.say(format!("\n  {}", style(text).bold()));
    let endpoint = stage.cloud.endpoint();

    heading("Where things are");
    screen.say(format!("    {:<25} {endpoint}", "endpoint of every service"));
    screen.say(format!("    {:<25} {}", "receiver", stage.receiver.url("")));
    for output in OUTPUTS {
        screen.say(format!("    {output:<25} {}", stage.stack.output(output)?));
    }

    heading(&format!("Integrations of organization 1, retried after {}", RETRY_SCHEDULE.replace(',', ", ")));
    for (scenario, integration) in &stage.integrations {
        screen.say(format!("    {:<16} {}  {}", scenario.name(), integration.id, about(*scenario)));
    }

    heading("In another terminal, in the project's folder, first");
    screen.say(format!(
        "    export AWS_ENDPOINT_URL={endpoint} AWS_DEFAULT_REGION={REGION} \\\
         \n      AWS_ACCESS_KEY_ID={ROOT_CREDENTIALS} AWS_SECRET_ACCESS_KEY={ROOT_CREDENTIALS}"
    ));
    heading("Then, with what is in .tools");
    let by_hand = ".tools/cloud/bin/python tools/demo/by_hand.py";
    screen.say(format!("    {by_hand} send events/alert-triggered.json"));
    screen.say(format!("    {by_hand} ledger"));
    screen.say(format!("    {by_hand} dead-letters"));
    screen.say(format!("    {by_hand} logs"));
    heading("The API, as a user of organization 1");
    screen.say(format!("    TOKEN=$({by_hand} token)"));
    screen.say(format!(
        "    curl -H \"Authorization: Bearer $TOKEN\" {}/integrations",
        stage.stack.output("ApiUrl")?.trim_end_matches('/')
    ));
    heading("The settings page, at ConsoleUrl above");
    screen.say(format!("    sign in as {} with the password {PASSWORD}", user_of(ORGANIZATION)));
    heading("One function, in a container");
    let what = match containers {
        Containers::FindItAt(_) => format!(
            ".tools/sam/bin/sam local invoke DeliverFunction --event events/sqs-alert-triggered.json \\\
             \n      --env-vars .aws-sam/local-variables.json --parameter-overrides Architecture={}",
            architecture()
        ),
        Containers::AreElsewhere => {
            "The Docker engine is not on this machine itself, so containers do not find it.".to_owned()
        }
        Containers::HaveNoEngine => "No Docker engine answers. Start one, and `make local` again.".to_owned(),
    };
    screen.say(format!("    {what}"));
    heading("Or with the AWS command line, if you have it");
    // Named in each line: its first version forgets the variable for SQS, and would call AWS itself.
    let aws = format!("aws --endpoint-url {endpoint}");
    screen.say(format!(
        "    {aws} sqs send-message \\\
         \n      --queue-url {} \\\
         \n      --message-body \"$(sed \"s/2025-01-10T10:[0-9:]*Z/$(date -u +%FT%TZ)/\" events/alert-triggered.json)\"",
        stage.stack.output("AlertsQueueUrl")?
    ));
    screen.say(format!(
        "    {aws} dynamodb scan \\\
         \n      --table-name {} --query 'Items[].[delivery_id.S,status.S]'",
        stage.stack.output("DeliveriesTableName")?
    ));
    screen.say(format!(
        "    {aws} logs filter-log-events \\\
         \n      --log-group-name /aws/lambda/{}-deliver --query 'events[].message' --output text",
        stage.stack.name()
    ));
    screen.say(format!("\n  The local cloud's own log is {}\n", stage.cloud.log().display()));
    Ok(())
}

fn about(scenario: Scenario) -> String {
    let place = match scenario.endpoint() {
        Endpoint::Receiver(path) => path,
        Endpoint::Elsewhere(url) => url,
    };
    let wants = match scenario.event_types() {
        [] => "everything".to_owned(),
        wanted => wanted.iter().map(|event_type| event_type.as_str()).collect::<Vec<_>>().join(", "),
    };
    let switch = if scenario.is_enabled() { "" } else { ", is off" };
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
