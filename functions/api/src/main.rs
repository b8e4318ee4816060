//! `ApiFunction`: wiring only.

use std::sync::Arc;

use api::{Api, Settings, router};
use aws::config;
use aws::environment::{Environment, process_environment};
use lambda_http::{Error, run};

// One thread: an invocation waits far more than it computes, and there is one request at a time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::new(&process_environment);
    let settings = Settings::read(&environment)?;
    let api = Arc::new(Api::new(settings, &config::sdk_config(&environment)?)?);
    run(router(api)).await
}
