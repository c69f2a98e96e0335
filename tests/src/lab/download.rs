//! A file on its way from one machine to another.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use super::{Host, eventually};

/// A download over one TCP connection. Both ends take a checksum of what passes; [`Self::finish`] compares them.
pub struct Download {
    state: Arc<State>,
    begun: Instant,
    sending: Option<JoinHandle<io::Result<blake3::Hash>>>,
    receiving: Option<JoinHandle<io::Result<blake3::Hash>>>,
}

#[derive(Default)]
struct State {
    /// The sender is to end the file here.
    end: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
}

/// What a download that is whole came to.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    /// How long the file is, in bytes.
    pub bytes: u64,
    /// From the connection to the last byte.
    pub took: Duration,
}

impl Download {
    /// `client` begins to download, from port `at` of `server`, a file of so many bytes.
    ///
    /// # Panics
    /// When there is no connection within `limit`.
    #[must_use]
    #[track_caller]
    pub fn of(bytes: u64, client: &Host, server: &Host, at: SocketAddr, limit: Duration) -> Self {
        Self::start(bytes, Duration::ZERO, client, server, at, limit)
    }

    /// As [`Self::of`], but at about a megabyte a second, and as long as [`Self::finish`] makes it.
    ///
    /// # Panics
    /// When there is no connection within `limit`.
    #[must_use]
    #[track_caller]
    pub fn endless(client: &Host, server: &Host, at: SocketAddr, limit: Duration) -> Self {
        let pause = Duration::from_millis(16);
        let download = Self::start(u64::MAX, pause, client, server, at, limit);
        download.goes_on(limit);
        download
    }

    #[track_caller]
    fn start(
        bytes: u64,
        pause: Duration,
        client: &Host,
        server: &Host,
        at: SocketAddr,
        limit: Duration,
    ) -> Self {
        let listener = server.within(|| TcpListener::bind(("::", at.port())).unwrap());
        let incoming = client.connect(at, limit).unwrap();
        let (outgoing, _) = listener.accept().unwrap();
        incoming.set_read_timeout(Some(SILENCE)).unwrap();
        outgoing.set_write_timeout(Some(SILENCE)).unwrap();
        outgoing.set_nodelay(true).unwrap();
        // A download that stood still is not to have much on its way when it goes on.
        setsockopt(&outgoing, sockopt::SndBuf, &BUFFER).unwrap();
        let state = Arc::<State>::default();
        let (sender, receiver) = (state.clone(), state.clone());
        Self {
            state,
            begun: Instant::now(),
            sending: Some(thread::spawn(move || send(outgoing, bytes, pause, &sender))),
            receiving: Some(thread::spawn(move || receive(incoming, &receiver))),
        }
    }

    /// How long it takes until something that is sent from now on has arrived.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    #[track_caller]
    pub fn goes_on(&self, limit: Duration) -> Duration {
        self.brings(0, limit)
    }

    /// How long it takes until so many bytes more have arrived, of what is sent from now on.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    #[track_caller]
    pub fn brings(&self, bytes: u64, limit: Duration) -> Duration {
        let from = self.state.sent.load(Ordering::SeqCst) + ON_THE_WAY;
        eventually(limit, "the download goes on", || {
            self.state.received.load(Ordering::SeqCst) > from + bytes
        })
    }

    /// Ends an endless file where it is, and waits until it is [`Self::whole`].
    ///
    /// # Panics
    /// As [`Self::whole`].
    #[track_caller]
    pub fn finish(self, limit: Duration) -> Whole {
        self.state.end.store(true, Ordering::SeqCst);
        self.whole(limit)
    }

    /// Waits for the last byte, and compares the checksums.
    ///
    /// # Panics
    /// When it is not whole within `limit`: late, cut off, or other bytes than were sent.
    #[track_caller]
    #[must_use]
    pub fn whole(mut self, limit: Duration) -> Whole {
        let (sending, receiving) = (self.sending.take().unwrap(), self.receiving.take().unwrap());
        let bytes = || self.state.received.load(Ordering::SeqCst);
        let start = Instant::now();
        while !(sending.is_finished() && receiving.is_finished()) {
            let came = bytes();
            assert!(start.elapsed() < limit, "{came} bytes came in {limit:?}");
            thread::sleep(Duration::from_millis(20));
        }
        let took = self.begun.elapsed();
        let sent = sending.join().unwrap();
        let received = receiving.join().unwrap();
        let sent = sent.unwrap_or_else(|error| panic!("sending: {error}, {} bytes came", bytes()));
        let received =
            received.unwrap_or_else(|error| panic!("receiving: {error}, after {} bytes", bytes()));
        assert_eq!(received, sent, "the checksum of what came");
        assert_eq!(bytes(), self.state.sent.load(Ordering::SeqCst));
        Whole {
            bytes: bytes(),
            took,
        }
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.state.end.store(true, Ordering::SeqCst);
    }
}

const CHUNK: usize = 16 << 10;
const BUFFER: usize = 64 << 10;
/// What may have been sent or be sent without a word from who receives: Linux makes the buffer twice as large.
const ON_THE_WAY: u64 = (2 * BUFFER + CHUNK) as u64;
/// Either end gives up when it was kept waiting for so long.
const SILENCE: Duration = Duration::from_secs(90);

fn send(
    mut stream: TcpStream,
    bytes: u64,
    pause: Duration,
    state: &State,
) -> io::Result<blake3::Hash> {
    // No two chunks are alike, so none can stand in another's place.
    let mut content = blake3::Hasher::new().finalize_xof();
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 && !state.end.load(Ordering::SeqCst) {
        let length = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
        let part = &mut chunk[..length];
        content.fill(part);
        stream.write_all(part)?;
        hasher.update(part);
        left -= length as u64;
        state.sent.fetch_add(length as u64, Ordering::SeqCst);
        // The pace of a load that leaves the machine idle.
        thread::sleep(pause);
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(hasher.finalize())
}

fn receive(mut stream: TcpStream, state: &State) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(hasher.finalize());
        }
        hasher.update(&buffer[..length]);
        state.received.fetch_add(length as u64, Ordering::SeqCst);
    }
}
