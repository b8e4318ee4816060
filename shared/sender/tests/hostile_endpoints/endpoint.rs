//! A hostile endpoint: a listener with its own threads, so that it takes no time from the sender's thread.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What an endpoint does with a connection. It is closed when this returns.
pub(crate) type Behaviour = fn(&mut Wire) -> io::Result<()>;

/// How long a sender may take to close a connection that it no longer needs.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// A listening endpoint, and statistics of its connections.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    open: AtomicUsize,
    written: AtomicU64,
}

/// An endpoint's side of a connection.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    seen: Arc<Seen>,
}

impl Endpoint {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::start_at("127.0.0.1:0", behaviour)
    }

    pub(crate) fn start_at(
        address: &str,
        behaviour: impl Fn(&mut Wire) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (seen, behaviour) = (Arc::new(Seen::default()), Arc::new(behaviour));
        let endpoint = Self { address, seen: Arc::clone(&seen) };
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                seen.open.fetch_add(1, Ordering::SeqCst);
                let (mut wire, behaviour) = (Wire { stream, seen: Arc::clone(&seen) }, Arc::clone(&behaviour));
                thread::spawn(move || {
                    // Most end with an error because the sender closed the connection.
                    let _ = behaviour(&mut wire);
                    wire.seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        endpoint
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    pub(crate) fn named_url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}/hook", self.address.port())
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The bytes written to all connections, whether received or still in socket buffers.
    pub(crate) fn written(&self) -> u64 {
        self.seen.written.load(Ordering::SeqCst)
    }

    /// Whether all its connections close within [`CLOSE_TIMEOUT`].
    pub(crate) async fn closes(&self) -> bool {
        let started = Instant::now();
        while self.seen.open.load(Ordering::SeqCst) > 0 {
            if started.elapsed() > CLOSE_TIMEOUT {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

impl Wire {
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.write_all(bytes.as_ref())
    }

    /// Writes one byte at a time, twenty a second.
    pub(crate) fn drip(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        for byte in bytes.as_ref() {
            self.write([*byte])?;
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Writes the same again and again, until the sender closes.
    pub(crate) fn flood(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let many = bytes.as_ref().repeat((1 << 16) / bytes.as_ref().len() + 1);
        loop {
            self.write(&many)?;
        }
    }

    /// Waits for the sender to close.
    pub(crate) fn hold(&mut self) -> io::Result<()> {
        io::copy(&mut self.stream, &mut io::sink()).map(drop)
    }

    /// Reads a request's head and body.
    pub(crate) fn read_request(&mut self) -> io::Result<()> {
        read_request(self)
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(bytes)?;
        self.seen.written.fetch_add(count as u64, Ordering::SeqCst);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Reads a request's head and body.
pub(crate) fn read_request(stream: &mut impl Read) -> io::Result<()> {
    request(stream).map(drop)
}

/// The bytes of a request.
pub(crate) fn request(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut request = request_head(stream)?;
    let head = String::from_utf8_lossy(&request).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().expect("a length"));
    stream.take(length).read_to_end(&mut request)?;
    Ok(request)
}

/// The bytes of a request's head.
pub(crate) fn request_head(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

/// A healthy endpoint: 200 to every request.
pub(crate) fn healthy(wire: &mut Wire) -> io::Result<()> {
    loop {
        wire.read_request()?;
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}
