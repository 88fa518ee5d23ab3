//! A link with a round trip and a width, between what is measured and a server: bytes leave
//! it no faster than the width of all its connections together, and half a round trip later.
//!
//! A new connection costs one more round trip, as the handshake does. What it does not do:
//! lose packets, or start slowly as TCP does.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What is passed on at once.
const PIECE_BYTES: usize = 16 * 1024;
/// Pieces on the way in one connection: 4 MiB, more than any link here holds.
const MAX_PIECES: usize = 256;

/// One direction of the link.
struct Direction {
    bytes_per_second: u64,
    delay: Duration,
    /// When the last byte that was accepted has left.
    free_at: Mutex<Instant>,
    bytes: AtomicU64,
}

/// Listens until it is dropped.
pub(crate) struct SlowLink {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    up: Direction,
    down: Direction,
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl SlowLink {
    pub(crate) fn start(server: SocketAddr, round_trip: Duration, bits_per_second: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let direction = || Direction {
            bytes_per_second: bits_per_second / 8,
            delay: round_trip / 2,
            free_at: Mutex::new(Instant::now()),
            bytes: AtomicU64::new(0),
        };
        let shared = Arc::new(Shared {
            server,
            up: direction(),
            down: direction(),
            closed: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.closed.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(client));
            }
        });
        Self { address, shared }
    }

    /// Bytes towards the server and from it, so far.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let load = |direction: &Direction| direction.bytes.load(Ordering::SeqCst);
        (load(&self.shared.up), load(&self.shared.down))
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the listener, which goes.
        let _ = TcpStream::connect(self.address);
        for socket in self.shared.open.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn serve(self: Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.server) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let clone = |socket: &TcpStream| socket.try_clone().unwrap();
        self.open.lock().unwrap().extend([clone(&client), clone(&server)]);
        let handshake = self.up.delay + self.down.delay;
        let (shared, from, to) = (Arc::clone(&self), clone(&client), clone(&server));
        std::thread::spawn(move || shared.up.carry(from, to, handshake));
        self.down.carry(server, client, Duration::ZERO);
    }
}

impl Direction {
    /// Passes on all that `from` says, the first of it later by `first`.
    fn carry(&self, mut from: TcpStream, to: TcpStream, first: Duration) {
        let (pieces, due) = sync_channel(MAX_PIECES);
        std::thread::scope(|scope| {
            scope.spawn(move || deliver(&due, to));
            self.accept(&mut from, &pieces, first);
            drop(pieces);
        });
    }

    fn accept(&self, from: &mut TcpStream, pieces: &SyncSender<Piece>, first: Duration) {
        let mut extra = first;
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            self.bytes.fetch_add(read as u64, Ordering::SeqCst);
            let takes = Duration::from_secs_f64(read as f64 / self.bytes_per_second as f64);
            let left_at = {
                let mut free_at = self.free_at.lock().unwrap();
                *free_at = (*free_at).max(Instant::now()) + takes;
                *free_at
            };
            let piece = (left_at + self.delay + extra, buffer[..read].to_vec());
            extra = Duration::ZERO;
            if pieces.send(piece).is_err() {
                return;
            }
        }
    }
}

/// When it arrives, and what.
type Piece = (Instant, Vec<u8>);

fn deliver(due: &Receiver<Piece>, mut to: TcpStream) {
    for (at, bytes) in due {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
