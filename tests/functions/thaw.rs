//! A sandbox that was frozen: whatever became of its connections to AWS meanwhile, the next alert does not notice.
//!
//! The process is stopped, as Lambda freezes it, but for its clocks: both go on here. That they may drift apart is a
//! unit test's, in `shared/sender/src/connections.rs`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use bench::alerts::FULL_BATCH;
use bench::testbed::{Subscription, Testbed, process_batch};
use bench::worker::Worker;
use futures_util::future::try_join_all;
use support::function::Function;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// For longer than any connection may be idle and be used again.
const FROZEN_FOR: Duration = Duration::from_secs(6);

/// How long an alert may take that finds no open connection. A dead one costs 2 s, or the alert is given back.
const QUICK: Duration = Duration::from_millis(300);

/// How many sandboxes are frozen at the same time. Half of them may be slow, as some are on a busy machine.
const SANDBOXES: usize = 3;

/// What becomes of the connections that are open when the sandbox is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// They are reset.
    Reset,
    /// Something on the way has forgotten them, and drops every packet.
    Dropped,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_died_while_frozen_cost_no_alert() -> Result<()> {
    let testbed = Testbed::prepare().await?;
    testbed.set_integrations([Subscription::Matching]);
    // Long enough for all messages of a batch to be written at once, over a connection each.
    testbed.aws.set_latency(Duration::from_millis(50));
    let cases = [Loss::Reset, Loss::Dropped].into_iter().flat_map(|loss| [loss; SANDBOXES]);
    let testbed = Arc::new(tokio::sync::Mutex::new(testbed));
    let took = try_join_all(cases.map(|loss| time_after_thaw(Arc::clone(&testbed), loss))).await?;
    for (loss, took) in [Loss::Reset, Loss::Dropped].into_iter().zip(took.chunks(SANDBOXES)) {
        let mut sorted = took.to_vec();
        sorted.sort_unstable();
        assert!(sorted[SANDBOXES / 2] < QUICK, "after its connections were {loss:?}: {took:?}");
    }
    Ok(())
}

/// How long the first alert takes after a sandbox was frozen, with its ten connections lost meanwhile. No alert is
/// given back.
async fn time_after_thaw(testbed: Arc<tokio::sync::Mutex<Testbed>>, loss: Loss) -> Result<Duration> {
    let (mut program, batch, single, aws) = {
        let mut testbed = testbed.lock().await;
        let (batch, _) = testbed.batch(FULL_BATCH, 0);
        let (single, _) = testbed.batch(1, 0);
        (testbed.function(Function::Deliver)?, batch, single, testbed.aws.address())
    };
    let relay = Relay::to(aws).await?;
    program.environment.insert("AWS_ENDPOINT_URL".to_owned(), format!("http://{}", relay.address));
    let sandbox = Worker::start(&program).await?;
    process_batch(&sandbox, batch).await?;
    let open = *relay.opened.borrow();
    assert!(open >= FULL_BATCH, "a connection each, not {open}");

    sandbox.process().freeze()?;
    relay.loss.send_replace(Some(loss));
    tokio::time::sleep(FROZEN_FOR).await;
    relay.loss.send_replace(None);
    sandbox.process().thaw()?;
    let answer = process_batch(&sandbox, single).await?;
    Ok(answer.ended - answer.started)
}

/// A relay to AWS whose connections can be lost: those that are open when a loss is set suffer it, later ones work.
struct Relay {
    address: SocketAddr,
    loss: watch::Sender<Option<Loss>>,
    /// How many connections were opened over it.
    opened: watch::Receiver<usize>,
    task: JoinHandle<io::Result<()>>,
}

impl Relay {
    async fn to(aws: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (loss, losses) = watch::channel(None);
        let (opened, count) = watch::channel(0);
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await?;
                opened.send_modify(|opened| *opened += 1);
                let far = TcpStream::connect(aws).await?;
                tokio::spawn(carry(near, far, losses.clone()));
            }
        });
        Ok(Self { address, loss, opened: count, task })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream, mut losses: watch::Receiver<Option<Loss>>) -> io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let loss = tokio::select! {
        ended = tokio::io::copy_bidirectional(&mut near, &mut far) => return ended.map(drop),
        loss = losses.wait_for(Option::is_some) => loss.ok().and_then(|loss| *loss),
    };
    match loss {
        Some(Loss::Reset) => near.set_zero_linger(),
        // It stays open, and nobody reads it.
        Some(Loss::Dropped) => std::future::pending().await,
        None => Ok(()),
    }
}
