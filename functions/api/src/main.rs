//! `ApiFunction`: wiring only.

use std::sync::Arc;

use api::{Api, Settings, router};
use lambda_http::{Error, run};
use shared::io::aws;
use shared::io::environment::{Environment, of_this_process};

// One thread: an invocation waits far more than it computes, and there is one request at a time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::new(&of_this_process);
    let settings = Settings::read(&environment)?;
    let api = Arc::new(Api::new(settings, &aws::config(&environment)?)?);
    run(router(api)).await
}
