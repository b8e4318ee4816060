//! `DeliverFunction`: wiring only.

use std::sync::Arc;

use aws_lambda_events::event::sqs::SqsEvent;
use deliver::{Deliver, Settings, handle};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use shared::io::aws;
use shared::io::environment::{Environment, of_this_process};

// One thread: an invocation waits far more than it computes, and a Lambda of this size has a fraction of one core.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let settings = Settings::read(&Environment::new(&of_this_process))?;
    let deliver = Arc::new(Deliver::new(settings, &aws::config().await)?);
    run(service_fn(|event: LambdaEvent<SqsEvent>| handle(Arc::clone(&deliver), event))).await
}
