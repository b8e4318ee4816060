//! The API answers as its OpenAPI document says: schemathesis makes valid and invalid requests of every kind from the
//! served document, and checks the answers against it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use harness::api::Content;
use http::{Method, StatusCode};
use tokio::process::Command;
use tokio::time::timeout;

use crate::shared;
use crate::testbed::Testbed;

/// How many requests of each kind are made for each route.
const EXAMPLES: &str = "15";

/// The longest that it may take.
const OVER_WITHIN: Duration = Duration::from_secs(300);

/// The check that does not apply: a document cannot say which URLs are public, which texts are base64, or which
/// organization is full.
const LEFT_OUT: &str = "positive_data_acceptance";

pub async fn answers_match_the_document(testbed: Testbed) -> anyhow::Result<()> {
    let project = &shared()?.project;
    let api = testbed.stack.anonymous_api()?;
    let document = api.call(Method::GET, "/openapi.json", Content::none()).await?.expect(StatusCode::OK)?;
    assert_eq!(document.json()?["openapi"].as_str().map(|version| version.starts_with("3.1")), Some(true));

    let token = testbed.stack.sign_in(testbed.organization).await?;
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
    let output = timeout(OVER_WITHIN, run).await.context("schemathesis did not end in time")??;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
