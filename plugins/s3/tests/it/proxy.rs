//! A link that fails on demand, between the plugin and the server.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is passed on at once.
const PIECE_BYTES: usize = 16 * 1024;

/// What becomes of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Link {
    /// It works.
    Works,
    /// Its first request is answered with this status and code, and no other.
    Answers(u16, &'static str),
    /// It breaks off after this many bytes from the server.
    BreaksAfter(usize),
    /// It breaks at once.
    Resets,
    /// Its first request is told that the bucket is in this region.
    Elsewhere(&'static str),
    /// A byte comes back every 20 ms.
    Trickles,
    /// Nothing comes back.
    Silent,
    /// After this many bytes the server has gone for good.
    VanishesAfter(usize),
}

/// Listens as long as the test runs; each connection gets the next of the planned links, and
/// then the usual one.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Where it listens.
    address: SocketAddr,
    server: SocketAddr,
    planned: Mutex<VecDeque<Link>>,
    usual: Mutex<Option<Link>>,
    connections: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(crate) fn start(server: SocketAddr, usual: Link, planned: &[Link]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            address,
            server,
            planned: Mutex::new(planned.iter().copied().collect()),
            usual: Mutex::new(Some(usual)),
            connections: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let Some(link) = accepting.next() else { return };
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.serve(&socket, link));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// From now on nobody listens, and what is open breaks.
    pub(crate) fn vanish(&self) {
        self.shared.vanish();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.vanish();
    }
}

impl Shared {
    fn next(&self) -> Option<Link> {
        let usual = *self.usual.lock().unwrap();
        usual.map(|usual| {
            self.connections.fetch_add(1, Ordering::SeqCst);
            self.planned.lock().unwrap().pop_front().unwrap_or(usual)
        })
    }

    fn serve(&self, client: &TcpStream, link: Link) {
        self.open.lock().unwrap().push(client.try_clone().unwrap());
        match link {
            Link::Works => self.relay(client, usize::MAX, PIECE_BYTES),
            Link::BreaksAfter(bytes) => self.relay(client, bytes, PIECE_BYTES),
            Link::Trickles => self.relay(client, usize::MAX, 1),
            Link::Answers(status, code) => answer(client, status, code, ""),
            Link::Elsewhere(region) => {
                answer(client, 400, "AuthorizationHeaderMalformed", region);
            }
            Link::VanishesAfter(bytes) => {
                self.relay(client, bytes, PIECE_BYTES);
                self.vanish();
            }
            Link::Resets => {}
            Link::Silent => {
                // Until the client gives up.
                let _ = std::io::copy(&mut &*client, &mut std::io::sink());
            }
        }
        let _ = client.shutdown(Shutdown::Both);
    }

    fn vanish(&self) {
        self.usual.lock().unwrap().take();
        self.planned.lock().unwrap().clear();
        // Wakes the listener, which goes.
        let _ = TcpStream::connect(self.address);
        for socket in self.open.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn relay(&self, client: &TcpStream, limit: usize, piece: usize) {
        let Ok(server) = TcpStream::connect(self.server) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let up = std::thread::spawn(move || {
            let _ = std::io::copy(&mut &from, &mut &to);
            let _ = to.shutdown(Shutdown::Both);
        });
        let mut left = limit;
        let mut buffer = vec![0; piece];
        while left > 0 {
            let want = left.min(buffer.len());
            let Ok(read @ 1..) = (&server).read(&mut buffer[..want]) else { break };
            if (&*client).write_all(&buffer[..read]).is_err() {
                break;
            }
            left -= read;
            if piece == 1 {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
        let _ = up.join();
    }
}

/// Reads one request with its body, so that the client sees the answer and no reset.
fn answer(client: &TcpStream, status: u16, code: &str, region: &str) {
    let mut reader = BufReader::new(client);
    let mut length = 0;
    loop {
        let mut line = String::new();
        let Ok(1..) = reader.read_line(&mut line) else { return };
        let line = line.to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.starts_with("expect:") {
            // The client waits to be told whether its body is wanted: it is not.
            length = 0;
            break;
        }
        if line == "\r\n" {
            break;
        }
    }
    let _ = std::io::copy(&mut reader.take(length), &mut std::io::sink());
    let document = format!("<Error><Code>{code}</Code><Region>{region}</Region></Error>");
    let head = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        document.len()
    );
    let _ = (&*client).write_all(format!("{head}{document}").as_bytes());
}
