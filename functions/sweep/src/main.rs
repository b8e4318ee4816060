//! `SweepFunction`: reads the settings, creates the clients and starts the runtime.

use aws::config;
use aws::environment::{Environment, process_environment};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use sweep::{Settings, Sweep, handle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::new(&process_environment);
    let settings = Settings::read(&environment)?;
    let sweep = Sweep::new(settings, &config::sdk_config(&environment)?);
    let handler = async |event: LambdaEvent<serde_json::Value>| handle(&sweep, event).await.map_err(Error::from);
    run(service_fn(handler)).await
}
