//! `RetryFunction`: reads the settings, creates the clients and starts the runtime.

use std::sync::Arc;

use aws::config;
use aws::environment::{Environment, process_environment};
use aws_lambda_events::event::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use mimalloc::MiMalloc;
use retry::{Retry, Settings, handle};

// A delivery makes a few hundred allocations, most of them inside the SDK.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

// One thread: an invocation mostly waits, and a function with this much memory has a fraction of one core.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::new(&process_environment);
    let settings = Settings::read(&environment)?;
    let retry = Arc::new(Retry::new(settings, &config::sdk_config(&environment)?)?);
    run(service_fn(|event: LambdaEvent<SqsEvent>| handle(Arc::clone(&retry), event))).await
}
