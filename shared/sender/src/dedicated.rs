//! A thread for the requests to one endpoint, whose connections are read on that thread only.

use std::panic::resume_unwind;
use std::{io, thread};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::client::Client;
use super::connector::ConnectionRules;

/// A thread that runs futures, until this is dropped.
pub(super) struct Dedicated {
    client: Client,
    runtime: Handle,
    /// Ends the thread when it is dropped; nothing is ever sent.
    _stop: oneshot::Sender<()>,
}

impl Dedicated {
    /// # Errors
    /// When the system has no thread, or no file descriptors for its runtime.
    pub(super) fn start(rules: &ConnectionRules) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("plain-http".to_owned()).spawn(move || runtime.block_on(stopped))?;
        Ok(Self { client: Client::pooled(rules), runtime: handle, _stop: stop })
    }

    /// The client for requests on the thread.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs a future on the thread and waits for it. Dropping the returned future cancels it.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        // A `JoinSet` cancels its tasks when it is dropped.
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work, &self.runtime);
        let ended = tasks.join_next().await.expect("one task was spawned");
        ended.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }
}
