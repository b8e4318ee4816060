//! `ApiFunction`: wiring only.

use std::sync::Arc;

use api::{Api, Settings, router};
use lambda_http::{Error, run};
use shared::io::aws;
use shared::io::environment::{Environment, of_this_process};

// One thread: an invocation waits far more than it computes, and there is one request at a time.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let settings = Settings::read(&Environment::new(&of_this_process))?;
    let api = Arc::new(Api::new(settings, &aws::config().await)?);
    run(router(api)).await
}
