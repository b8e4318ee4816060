//! `sam local invoke` without Docker: the built bootstraps under `aws-lambda-rie`, the emulator that it puts into its
//! container, with the files of `events/`.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use aws_sdk_lambda::primitives::Blob;
use libtest_mimic::Failed;
use program::function::Function;
use program::project::{Project, architecture};
use serde_json::{Value, json};
use shared::delivery::Status;
use shared::ids::OrganizationId;
use tempfile::NamedTempFile;
use tests::leaks::{Secrets, Shown};
use tests::local_cloud::{REGION, ROOT_CREDENTIALS, free_port, sdk_config};
use tests::stack::NewIntegration;
use tokio::process::{Child, Command};

use crate::STAGE;
use crate::scene::{CANARY, CANARY_IN_BASE64, PATH, SOON, STANDARD_SECRET, Scene, header};

/// A bootstrap under the emulator. Ends when dropped.
struct Emulated {
    _process: Child,
    client: aws_sdk_lambda::Client,
    /// What the function and the emulator write.
    output: NamedTempFile,
}

impl Emulated {
    async fn start(scene: &Scene, project: &Project, function: Function) -> Result<Self, Failed> {
        let port = free_port()?;
        let output = NamedTempFile::new_in(project.scratch())?;
        // One for both, so that they write behind each other.
        let writing = output.reopen()?;
        let process = Command::new(emulator(project)?)
            .args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")])
            .args(["--runtime-api-address", &format!("127.0.0.1:{}", free_port()?)])
            .arg(project.bootstrap(function.logical_id()))
            .env_clear()
            .env("AWS_ENDPOINT_URL", scene.stack.endpoint())
            .env("AWS_ACCESS_KEY_ID", ROOT_CREDENTIALS)
            .env("AWS_SECRET_ACCESS_KEY", ROOT_CREDENTIALS)
            .env("AWS_REGION", REGION)
            .env("AWS_LAMBDA_FUNCTION_NAME", function.logical_id())
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "60")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .envs(scene.stack.environment(function).await?)
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

/// Where `aws-sam-cli` keeps the emulator: below the site-packages of whichever Python it was installed with.
fn emulator(project: &Project) -> Result<PathBuf, Failed> {
    let name = format!("aws-lambda-rie-{}", architecture());
    let libraries = std::fs::read_dir(project.root().join(".tools/sam/lib"))?;
    let mut paths =
        libraries.flatten().map(|python| python.path().join("site-packages/samcli/local/rapid").join(&name));
    paths.find(|path| path.exists()).ok_or_else(|| format!("{name} is not part of aws-sam-cli").into())
}

pub async fn bootstraps_answer_the_sample_events(scene: Scene) -> Result<(), Failed> {
    let project = &STAGE.get().ok_or("the stage is set")?.project;
    let all_done = json!({ "batchItemFailures": [] });

    // The sample events are of organization 1.
    let organization = OrganizationId::new(1).ok_or("1 is positive")?;
    let new = NewIntegration {
        signing_secret: Some(STANDARD_SECRET.to_owned()),
        headers: vec![("x-api-key".to_owned(), format!("{CANARY}-key"))],
        ..NewIntegration::to(scene.receiver.url(PATH))
    };
    let integration = scene.stack.create(organization, new).await?;
    let deliver = Emulated::start(&scene, project, Function::Deliver).await?;
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
    let retry = Emulated::start(&scene, project, Function::Retry).await?;
    assert_eq!(retry.answer_to(project, "sqs-retry-message.json").await?, all_done);
    assert_eq!(scene.arrivals().len(), 3);

    let written = [deliver.written()?, retry.written()?].concat();
    assert!(written.iter().any(|line| line.text.contains("\"status\":\"delivered\"")), "{written:#?}");
    // The names of the samples are their payloads' own.
    let leaks = Secrets::new([CANARY, CANARY_IN_BASE64, "warehouse-robot-01"]).leaks(written);
    assert!(leaks.is_empty(), "{leaks:#?}");
    Ok(())
}
