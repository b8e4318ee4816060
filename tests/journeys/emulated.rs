//! `sam local invoke`, with the files of `events/` and the file of variables that `make local` writes: the built bootstraps
//! under `aws-lambda-rie`, the emulator that it puts into its container, and README's command itself where a Docker engine
//! has the runtime's image.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use aws_sdk_lambda::primitives::Blob;
use domain::delivery::Status;
use domain::ids::OrganizationId;
use domain::integration::Integration;
use harness::containers::{Containers, docker};
use harness::leaks::{Secrets, Shown};
use harness::local_cloud::{REGION, ROOT_CREDENTIALS, free_port, sdk_config};
use harness::local_variables;
use harness::receiver::Receiver;
use harness::stack::NewIntegration;
use libtest_mimic::Failed;
use serde_json::{Value, json};
use support::function::Function;
use support::project::{Project, architecture};
use support::readme::commands_with;
use support::template::Template;
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};

use crate::STAGE;
use crate::by_hand::shell;
use crate::scene::{CANARY, CANARY_IN_BASE64, PATH, SOON, STANDARD_SECRET, Scene, header};

/// A bootstrap under the emulator. Ends when dropped.
struct Emulated {
    _process: Child,
    client: aws_sdk_lambda::Client,
    /// What the function and the emulator write.
    output: NamedTempFile,
}

impl Emulated {
    async fn start(project: &Project, function: Function, variables: &Path) -> Result<Self, Failed> {
        let port = free_port()?;
        let output = NamedTempFile::new_in(project.scratch())?;
        // One for both, so that they write behind each other.
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
            .envs(passed_on(function, variables)?)
            // Empty is as good as not set.
            .env("AWS_ENDPOINT_URL_DYNAMODB", "")
            .stdin(Stdio::null())
            .stdout(writing.try_clone()?)
            .stderr(writing)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self {
            _process: process,
            client: aws_sdk_lambda::Client::new(&sdk_config(&format!("http://127.0.0.1:{port}"))),
            output,
        })
    }

    /// What it has written so far.
    fn written(&self) -> Result<Vec<Shown>, Failed> {
        let text = std::fs::read(self.output.path())?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.lines().map(|line| Shown::new("what an emulated function wrote", line)).collect())
    }

    /// Invokes it with a file of `events/`, as soon as it listens.
    async fn answer_to(&self, project: &Project, event: &str) -> Result<Value, Failed> {
        let event = std::fs::read(project.event(event))?;
        let started = Instant::now();
        loop {
            let invoke = self.client.invoke().function_name("function").payload(Blob::new(event.clone()));
            match invoke.send().await {
                Ok(answer) => {
                    let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
                    return serde_json::from_slice(&payload)
                        .map_err(|_| format!("not JSON: {}", String::from_utf8_lossy(&payload)).into());
                }
                Err(error) if started.elapsed() > SOON => return Err(format!("no answer: {error:?}").into()),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// What `sam local invoke` makes of a file of variables: those that the template declares for the function, and no others.
fn passed_on(function: Function, variables: &Path) -> Result<HashMap<String, String>, Failed> {
    let given: HashMap<String, HashMap<String, String>> = serde_json::from_slice(&std::fs::read(variables)?)?;
    let mut given = given.get(function.logical_id()).cloned().unwrap_or_default();
    let template = Template::read();
    let declared = template.variables(function.logical_id()).into_keys();
    Ok(declared.map(|name| (name.to_owned(), given.remove(name).unwrap_or_default())).collect())
}

/// Where `aws-sam-cli` keeps the emulator: below the site-packages of whichever Python it was installed with.
fn emulator(project: &Project) -> Result<PathBuf, Failed> {
    let name = format!("aws-lambda-rie-{}", architecture());
    let libraries = std::fs::read_dir(project.root().join(".tools/sam/lib"))?;
    let mut paths =
        libraries.flatten().map(|python| python.path().join("site-packages/samcli/local/rapid").join(&name));
    paths.find(|path| path.exists()).ok_or_else(|| format!("{name} is not part of aws-sam-cli").into())
}

pub async fn bootstraps_answer_the_sample_events(scene: Scene) -> Result<(), Failed> {
    let stage = STAGE.get().ok_or("the stage is set")?;
    let project = &stage.project;
    let cloud = stage.cloud.upgrade().ok_or("the local cloud is gone")?.other_endpoint();
    let file = NamedTempFile::new_in(project.scratch())?;
    local_variables::write(&scene.stack, &cloud, file.path()).await?;

    under_the_emulator(&scene, project, file.path()).await?;
    match Containers::look().await {
        Containers::FindItAt(address) if has_the_image().await => {
            in_a_container(&scene, project, file.path(), address).await
        }
        found => {
            eprintln!(
                "journeys: `sam local invoke` itself was not tried, for want of an engine with the image ({found:?})"
            );
            Ok(())
        }
    }
}

/// What a function answers when nothing has to come again.
fn all_done() -> Value {
    json!({ "batchItemFailures": [] })
}

/// An integration of the organization that the sample events are of, with what must not be shown.
async fn integration_at(scene: &Scene, receiver: &Receiver) -> Result<Integration, Failed> {
    let organization = OrganizationId::new(1).ok_or("1 is positive")?;
    let new = NewIntegration {
        signing_secret: Some(STANDARD_SECRET.to_owned()),
        headers: vec![("x-api-key".to_owned(), format!("{CANARY}-key"))],
        ..NewIntegration::to(receiver.url(PATH))
    };
    Ok(scene.stack.create(organization, new).await?)
}

async fn under_the_emulator(scene: &Scene, project: &Project, variables: &Path) -> Result<(), Failed> {
    let all_done = all_done();
    let integration = integration_at(scene, &scene.receiver).await?;
    let deliver = Emulated::start(project, Function::Deliver, variables).await?;
    for name in ["triggered", "resolved", "acknowledged"] {
        assert_eq!(deliver.answer_to(project, &format!("sqs-alert-{name}.json")).await?, all_done, "{name}");
        let body = project.sample_alert(name)?;
        scene.record(scene.delivery(&integration, &body)?, Status::Delivered).await?;
        let arrivals = scene.arrivals();
        let arrival = arrivals.last().ok_or("nothing arrived")?;
        assert_eq!(arrival.body, body.as_bytes());
        assert_eq!(header(arrival, "x-roboticks-event"), format!("alert.{name}"));
    }

    // Its delivery does not exist: dropped, which is all done too.
    let retry = Emulated::start(project, Function::Retry, variables).await?;
    assert_eq!(retry.answer_to(project, "sqs-retry-message.json").await?, all_done);
    assert_eq!(scene.arrivals().len(), 3);

    let written = [deliver.written()?, retry.written()?].concat();
    assert!(written.iter().any(|line| line.text.contains("\"status\":\"delivered\"")), "{written:#?}");
    assert_nothing_leaks(written);
    // So that what follows is not sent here.
    Ok(scene.stack.delete(&integration).await?)
}

/// The names of the samples are their payloads' own.
#[track_caller]
fn assert_nothing_leaks(written: Vec<Shown>) {
    let leaks = Secrets::new([CANARY, CANARY_IN_BASE64, "warehouse-robot-01"]).leaks(written);
    assert!(leaks.is_empty(), "{leaks:#?}");
}

/// Whether the engine has the image that `sam` puts its emulator into.
async fn has_the_image() -> bool {
    let image = format!("public.ecr.aws/lambda/provided:al2023-rapid-{}", architecture());
    docker(&["image", "inspect", "--format", "{{.Id}}", &image]).await.is_some()
}

/// README's command, as it stands but for the place of the file and for asking no registry about the image.
async fn in_a_container(scene: &Scene, project: &Project, variables: &Path, address: Ipv4Addr) -> Result<(), Failed> {
    let commands = commands_with("sam local invoke DeliverFunction");
    let commands =
        commands.replace(".aws-sam/local-variables.json", &format!("{} --skip-pull-image", variables.display()));
    let receiver = Receiver::start_at(address).await?;
    let integration = integration_at(scene, &receiver).await?;
    for (function, event) in [("DeliverFunction", "sqs-alert-triggered"), ("RetryFunction", "sqs-retry-message")] {
        let commands = commands.replace("DeliverFunction", function).replace("sqs-alert-triggered", event);
        let output = shell(project, scene.stack.endpoint(), &commands).await?;
        let [answered, logged] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{answered}{logged}");
        assert_eq!(serde_json::from_str::<Value>(&answered)?, all_done(), "{logged}");
        assert_nothing_leaks(
            logged.lines().map(|line| Shown::new("what a function in a container wrote", line)).collect(),
        );
    }
    let body = project.sample_alert("triggered")?;
    let record = scene.record(scene.delivery(&integration, &body)?, Status::Delivered).await?;
    assert_eq!(record.attempts.len(), 1, "the endpoint was reached from inside the container");
    assert_eq!(receiver.arrivals().len(), 1);
    Ok(scene.stack.delete(&integration).await?)
}
