//! `sam local invoke`, with the files of `events/` and the file of variables that `make local` writes: the built
//! bootstraps under `aws-lambda-rie`, the emulator that it puts into its container, and README's command itself where a
//! Docker engine has the runtime's image.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use domain::delivery::Status;
use domain::ids::OrganizationId;
use domain::integration::Integration;
use harness::aws_json::{AwsJsonClient, Error};
use harness::containers::{DockerBridge, docker};
use harness::customer::NewIntegration;
use harness::leaks::{Secrets, VisibleText};
use harness::local_cloud::{REGION, ROOT_CREDENTIALS, free_port};
use harness::local_variables;
use harness::receiver::Receiver;
use serde_json::{Value, json};
use support::function::Function;
use support::project::{Project, architecture};
use support::readme::commands_with;
use support::template::Template;
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

use crate::shared;
use crate::shell;
use crate::testbed::{CANARY, CANARY_IN_BASE64, PATH, SOON, STANDARD_SECRET, Testbed, header};

/// A bootstrap under the emulator. Ends when dropped.
struct Emulated {
    _process: Child,
    client: AwsJsonClient,
    /// What the function and the emulator write.
    output: NamedTempFile,
}

impl Emulated {
    async fn start(project: &Project, function: Function, variables: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let output = NamedTempFile::new_in(project.scratch())?;
        // One file for both, so that neither overwrites the other's output.
        let writing = output.reopen()?;
        let process = Command::new(emulator(project)?)
            .args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")])
            .args(["--runtime-api-address", &format!("127.0.0.1:{}", free_port()?)])
            .arg(project.bootstrap(function.logical_id()))
            .env_clear()
            .env("AWS_ACCESS_KEY_ID", ROOT_CREDENTIALS)
            .env("AWS_SECRET_ACCESS_KEY", ROOT_CREDENTIALS)
            .env("AWS_REGION", REGION)
            .env("AWS_LAMBDA_FUNCTION_NAME", function.logical_id())
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "60")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .envs(read_variables(function, variables)?)
            // An empty variable counts as not set.
            .env("AWS_ENDPOINT_URL_DYNAMODB", "")
            .stdin(Stdio::null())
            .stdout(writing.try_clone()?)
            .stderr(writing)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { _process: process, client: AwsJsonClient::new(&format!("http://127.0.0.1:{port}"))?, output })
    }

    /// Everything it has written so far.
    fn output(&self) -> anyhow::Result<Vec<VisibleText>> {
        let text = std::fs::read(self.output.path())?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().map(|line| VisibleText::new("what an emulated function wrote", line)).collect())
    }

    /// Invokes it with a file of `events/`, as soon as it listens.
    async fn invoke(&self, project: &Project, event: &str) -> anyhow::Result<Value> {
        let event = std::fs::read(project.event(event))?;
        let started = Instant::now();
        loop {
            match self.client.invoke("function", event.clone()).await {
                Err(Error::NoAnswer(_)) if started.elapsed() < SOON => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                answer => return Ok(answer?.payload),
            }
        }
    }
}

/// The variables that `sam local invoke` takes from a file: those that the template declares for the function.
fn read_variables(function: Function, variables: &Path) -> anyhow::Result<HashMap<String, String>> {
    let given: HashMap<String, HashMap<String, String>> = serde_json::from_slice(&std::fs::read(variables)?)?;
    let mut given = given.get(function.logical_id()).cloned().unwrap_or_default();
    let template = Template::read();
    let declared = template.variables(function.logical_id()).into_keys();
    Ok(declared.map(|name| (name.to_owned(), given.remove(name).unwrap_or_default())).collect())
}

/// Where `aws-sam-cli` keeps the emulator: below the site-packages of whichever Python it was installed with.
fn emulator(project: &Project) -> anyhow::Result<PathBuf> {
    let name = format!("aws-lambda-rie-{}", architecture());
    let libraries = std::fs::read_dir(project.root().join(".tools/sam/lib"))?;
    let mut paths =
        libraries.flatten().map(|python| python.path().join("site-packages/samcli/local/rapid").join(&name));
    paths.find(|path| path.exists()).ok_or_else(|| anyhow!("{name} is not part of aws-sam-cli"))
}

pub async fn bootstraps_answer_the_sample_events(testbed: Testbed) -> anyhow::Result<()> {
    let stage = shared()?;
    let project = &stage.project;
    let cloud = stage.cloud.upgrade().context("the local cloud is gone")?.other_endpoint();
    let file = NamedTempFile::new_in(project.scratch())?;
    local_variables::write(&testbed.stack, &cloud, file.path()).await?;

    under_the_emulator(&testbed, project, file.path()).await?;
    match DockerBridge::detect().await {
        DockerBridge::At(address) if has_the_image().await => {
            in_a_container(&testbed, project, file.path(), address).await
        }
        found => {
            eprintln!("journeys: `sam local invoke` itself was not tried: no Docker engine with its image ({found:?})");
            Ok(())
        }
    }
}

/// A function's answer when no message has to come back.
fn no_failures() -> Value {
    json!({ "batchItemFailures": [] })
}

/// Creates an integration of the sample events' organization, with secrets that must not leak.
async fn create_integration_at(testbed: &Testbed, receiver: &Receiver) -> anyhow::Result<Integration> {
    let organization = OrganizationId::new(1).context("1 is positive")?;
    let new = NewIntegration {
        signing_secret: Some(STANDARD_SECRET.to_owned()),
        headers: vec![("x-api-key".to_owned(), format!("{CANARY}-key"))],
        ..NewIntegration::to(receiver.url(PATH))
    };
    testbed.stack.create(organization, new).await
}

async fn under_the_emulator(testbed: &Testbed, project: &Project, variables: &Path) -> anyhow::Result<()> {
    let no_failures = no_failures();
    let integration = create_integration_at(testbed, &testbed.receiver).await?;
    let deliver = Emulated::start(project, Function::Deliver, variables).await?;
    for name in ["triggered", "resolved", "acknowledged"] {
        assert_eq!(deliver.invoke(project, &format!("sqs-alert-{name}.json")).await?, no_failures, "{name}");
        let body = project.sample_alert(name)?;
        testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;
        let arrivals = testbed.arrivals();
        let arrival = arrivals.last().context("nothing arrived")?;
        assert_eq!(arrival.body, body.as_bytes());
        assert_eq!(header(arrival, "x-roboticks-event"), format!("alert.{name}"));
    }

    // Its delivery does not exist, so the message is dropped.
    let retry = Emulated::start(project, Function::Retry, variables).await?;
    assert_eq!(retry.invoke(project, "sqs-retry-message.json").await?, no_failures);
    assert_eq!(testbed.arrivals().len(), 3);

    let written = [deliver.output()?, retry.output()?].concat();
    assert!(written.iter().any(|line| line.text.contains("\"status\":\"delivered\"")), "{written:#?}");
    assert_nothing_leaks(written);
    // So that no later alert is sent there.
    testbed.stack.delete(&integration).await
}

#[track_caller]
fn assert_nothing_leaks(written: Vec<VisibleText>) {
    let leaks = Secrets::new([CANARY, CANARY_IN_BASE64, "warehouse-robot-01"]).find_in(written);
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// Whether the Docker engine has the image that `sam local invoke` uses.
async fn has_the_image() -> bool {
    let image = format!("public.ecr.aws/lambda/provided:al2023-rapid-{}", architecture());
    docker(&["image", "inspect", "--format", "{{.Id}}", &image]).await.is_some()
}

/// Runs README's command, changed only in the file's path and in not pulling the image.
async fn in_a_container(
    testbed: &Testbed,
    project: &Project,
    variables: &Path,
    address: Ipv4Addr,
) -> anyhow::Result<()> {
    let commands = commands_with("sam local invoke DeliverFunction");
    let commands =
        commands.replace(".aws-sam/local-variables.json", &format!("{} --skip-pull-image", variables.display()));
    let receiver = Receiver::start_at(address).await?;
    let integration = create_integration_at(testbed, &receiver).await?;
    for (function, event) in [("DeliverFunction", "sqs-alert-triggered"), ("RetryFunction", "sqs-retry-message")] {
        let commands = commands.replace("DeliverFunction", function).replace("sqs-alert-triggered", event);
        let output = shell::run(project, testbed.stack.endpoint(), &commands).await?;
        let [answered, logged] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{answered}{logged}");
        assert_eq!(serde_json::from_str::<Value>(&answered)?, no_failures(), "{logged}");
        assert_nothing_leaks(
            logged.lines().map(|line| VisibleText::new("what a function in a container wrote", line)).collect(),
        );
    }
    let body = project.sample_alert("triggered")?;
    let record = testbed.record(testbed.delivery(&integration, &body)?, Status::Delivered).await?;
    assert_eq!(record.attempts.len(), 1, "the endpoint was reached from inside the container");
    assert_eq!(receiver.arrivals().len(), 1);
    testbed.stack.delete(&integration).await
}
