//! A thread for requests to one endpoint, with connections that are read there only.

use std::panic::resume_unwind;
use std::{io, thread};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::client::Client;
use super::connector::ConnectionRules;

/// A thread that runs what it is given, until this is dropped.
pub(super) struct Dedicated {
    client: Client,
    runtime: Handle,
    /// Ends the thread when it is dropped; nothing is ever sent.
    _stop: oneshot::Sender<()>,
}

impl Dedicated {
    /// # Errors
    ///
    /// When the system gives no thread, or no files for its runtime.
    pub(super) fn start(rules: &ConnectionRules) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("plain-http".to_owned()).spawn(move || runtime.block_on(stopped))?;
        Ok(Self { client: Client::pooled(rules), runtime: handle, _stop: stop })
    }

    /// The client to make requests over there with.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Runs it over there, and waits for it here. It is given up when this is.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        // A set, because that gives up its tasks when it is dropped.
        let mut tasks = JoinSet::new();
        tasks.spawn_on(work, &self.runtime);
        let ended = tasks.join_next().await.expect("one task was spawned");
        ended.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }
}
