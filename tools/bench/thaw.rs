//! A sandbox that was frozen: whatever became of its connections to AWS meanwhile, the next alert does not notice.
//!
//! The process is stopped, as Lambda freezes it, but for its clocks: both go on here. That they may drift apart is a unit
//! test's, in `shared/sender/src/connections.rs`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bench::alerts::FULL_BATCH;
use bench::ground::{Ground, Taste, handled};
use bench::trouble::Trouble;
use bench::worker::Worker;
use futures_util::future::try_join_all;
use support::function::Function;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// For longer than any connection may be idle and be used again.
const FROZEN_FOR: Duration = Duration::from_secs(6);

/// How long an alert may take that finds no open connection. A dead one costs 2 s, or the alert is given back.
const AT_ONCE: Duration = Duration::from_millis(300);

/// How many sandboxes are frozen at the same time. Half of them may be slow, by the machine's mood.
const SANDBOXES: usize = 3;

/// What becomes of the connections that are open when the sandbox is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The far end resets them.
    Reset,
    /// Something on the way has forgotten them, and drops what is sent.
    Swallowed,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_died_while_frozen_cost_no_alert() -> Result<(), Trouble> {
    let ground = Ground::prepare().await?;
    ground.integrations([Taste::Matches]);
    // Long enough for all messages of a batch to be written at once, over a connection each.
    ground.aws.answer_after(Duration::from_millis(50));
    let cases = [Fate::Reset, Fate::Swallowed].into_iter().flat_map(|fate| [fate; SANDBOXES]);
    let ground = Arc::new(tokio::sync::Mutex::new(ground));
    let took = try_join_all(cases.map(|fate| thawed(Arc::clone(&ground), fate))).await?;
    for (fate, took) in [Fate::Reset, Fate::Swallowed].into_iter().zip(took.chunks(SANDBOXES)) {
        let mut sorted = took.to_vec();
        sorted.sort_unstable();
        assert!(sorted[SANDBOXES / 2] < AT_ONCE, "after its connections were {fate:?}: {took:?}");
    }
    Ok(())
}

/// How long the first alert takes after a sandbox was frozen, its ten connections meeting that fate meanwhile. No alert is given
/// back.
async fn thawed(ground: Arc<tokio::sync::Mutex<Ground>>, fate: Fate) -> Result<Duration, Trouble> {
    let (mut program, batch, single, aws) = {
        let mut ground = ground.lock().await;
        let (batch, _) = ground.batch(FULL_BATCH, 0);
        let (single, _) = ground.batch(1, 0);
        (ground.function(Function::Deliver)?, batch, single, ground.aws.address())
    };
    let wire = Wire::to(aws).await?;
    program.environment.insert("AWS_ENDPOINT_URL".to_owned(), format!("http://{}", wire.address));
    let sandbox = Worker::start(&program).await?;
    handled(&sandbox, batch).await?;
    let open = *wire.opened.borrow();
    assert!(open >= FULL_BATCH, "a connection each, not {open}");

    sandbox.process().freeze()?;
    wire.fate.send_replace(Some(fate));
    tokio::time::sleep(FROZEN_FOR).await;
    wire.fate.send_replace(None);
    sandbox.process().thaw()?;
    let answer = handled(&sandbox, single).await?;
    Ok(answer.ended - answer.started)
}

/// A wire to AWS that can be cut: connections that are open when a fate is set meet it, later ones work.
struct Wire {
    address: SocketAddr,
    fate: watch::Sender<Option<Fate>>,
    /// How many connections were opened over it.
    opened: watch::Receiver<usize>,
    relay: JoinHandle<io::Result<()>>,
}

impl Wire {
    async fn to(aws: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (fate, fates) = watch::channel(None);
        let (opened, count) = watch::channel(0);
        let relay = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await?;
                opened.send_modify(|opened| *opened += 1);
                let far = TcpStream::connect(aws).await?;
                tokio::spawn(carry(near, far, fates.clone()));
            }
        });
        Ok(Self { address, fate, opened: count, relay })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

async fn carry(mut near: TcpStream, mut far: TcpStream, mut fates: watch::Receiver<Option<Fate>>) -> io::Result<()> {
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let fate = tokio::select! {
        ended = tokio::io::copy_bidirectional(&mut near, &mut far) => return ended.map(drop),
        fate = fates.wait_for(Option::is_some) => fate.ok().and_then(|fate| *fate),
    };
    match fate {
        Some(Fate::Reset) => near.set_zero_linger(),
        // It stays open, and nobody reads it.
        Some(Fate::Swallowed) => std::future::pending().await,
        None => Ok(()),
    }
}
