//! What the API's own description says of it, tried out: schemathesis makes requests of every kind from the served
//! document, valid and invalid ones, and looks whether the answers are what the document promises.

use std::process::Stdio;
use std::time::Duration;

use harness::api::Content;
use http::{Method, StatusCode};
use libtest_mimic::Failed;
use tokio::process::Command;
use tokio::time::timeout;

use crate::STAGE;
use crate::scene::Scene;

/// How many requests of each kind are made for each route.
const EXAMPLES: &str = "15";

/// The longest that it may take.
const OVER_WITHIN: Duration = Duration::from_secs(300);

/// The check that does not apply: a document cannot say which URLs are public, which texts are base64, or which
/// organization is full.
const LEFT_OUT: &str = "positive_data_acceptance";

pub async fn by_its_own_document(scene: Scene) -> Result<(), Failed> {
    let project = &STAGE.get().ok_or("the stage is set")?.project;
    let api = scene.stack.anonymous_api()?;
    let document = api.call(Method::GET, "/openapi.json", Content::none()).await?.expect(StatusCode::OK)?;
    assert_eq!(document.json()?["openapi"].as_str().map(|version| version.starts_with("3.1")), Some(true));

    let token = scene.stack.sign_in(scene.organization).await?;
    let folder = tempfile::tempdir()?;
    let run = Command::new(project.cloud_python().with_file_name("schemathesis"))
        .arg("run")
        .arg(api.url("/openapi.json"))
        .args(["--url", &api.url("")])
        .args(["--header", &format!("Authorization: Bearer {}", token.as_str())])
        .args(["--max-examples", EXAMPLES, "--exclude-checks", LEFT_OUT])
        .args(["--generation-deterministic", "--continue-on-failure", "--no-color", "--workers", "2"])
        .args(["--request-timeout", "60", "--suppress-health-check", "all", "--warnings", "off"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(OVER_WITHIN, run).await.map_err(|_| "schemathesis did not end in time")??;
    let told = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{told}\n{}", String::from_utf8_lossy(&output.stderr)).into())
    }
}
