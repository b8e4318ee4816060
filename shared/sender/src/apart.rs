//! A thread of their own for requests over plain HTTP.
//!
//! hyper reads a row of `100 Continue` without end, 408 KiB at a time and as often as tokio lets a task go on, 128 times,
//! before anything else on the thread has its turn: a third of a second on a developer's machine, and several on a small
//! function. reqwest offers nothing to bound that by. TLS does, with its records of 16 KiB, so only plain HTTP needs it: an
//! endpoint that does this holds up others without TLS, but no time limit, no endpoint with TLS and none of our own calls.

use std::panic::resume_unwind;
use std::{io, thread};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// A thread that runs what it is given, until this is dropped.
pub(super) struct Apart {
    runtime: Handle,
    /// Ends the thread when it is dropped; nothing is ever sent.
    _stop: oneshot::Sender<()>,
}

impl Apart {
    /// # Errors
    ///
    /// When the system gives no thread, or no files for its runtime.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("plain-http".to_owned()).spawn(move || runtime.block_on(stopped))?;
        Ok(Self { runtime: handle, _stop: stop })
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
