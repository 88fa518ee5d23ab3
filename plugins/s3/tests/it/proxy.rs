//! A link that fails on demand, between the plugin and the server.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is passed on at once.
const PIECE_BYTES: usize = 16 * 1024;
const REQUEST_LINE_END: &[u8] = b" HTTP/1.1\r\n";

/// What becomes of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Link {
    /// It works.
    Works,
    /// Its first request is answered with this status and code, and no other.
    Answers(u16, &'static str),
    /// It ends after this many bytes from the server, as if that were all.
    BreaksAfter(usize),
    /// It is reset after this many bytes from the server; with 0, when a request has come.
    ResetsAfter(usize),
    /// It is reset after this many bytes from the client.
    ResetsUploadAfter(usize),
    /// Its first request is told that the bucket is in this region.
    Elsewhere(&'static str),
    /// A byte comes back every 20 ms.
    Trickles,
    /// What comes back does so this many milliseconds late.
    Late(u64),
    /// Nothing comes back.
    Silent,
    /// After this many bytes the server has gone for good.
    VanishesAfter(usize),
    /// After this many bytes nothing passes any more, on any connection; all stay open.
    HangsAfter(usize),
}

/// What passes a connection that works, for a while.
#[derive(Debug, Clone, Copy)]
struct Flow {
    /// Bytes from the client, and from the server.
    up: usize,
    down: usize,
    /// Bytes from the server at once, and how late they are.
    piece: usize,
    pause_ms: u64,
}

impl Default for Flow {
    fn default() -> Self {
        Self { up: usize::MAX, down: usize::MAX, piece: PIECE_BYTES, pause_ms: 0 }
    }
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
    open: Mutex<Vec<TcpStream>>,
    is_hung: AtomicBool,
    /// All that clients have sent.
    sent: Mutex<Vec<u8>>,
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
            open: Mutex::default(),
            is_hung: AtomicBool::new(false),
            sent: Mutex::default(),
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

    /// Requests that clients have sent, whatever became of them.
    pub(crate) fn requests(&self) -> usize {
        self.sent().windows(REQUEST_LINE_END.len()).filter(|end| *end == REQUEST_LINE_END).count()
    }

    /// All that clients have sent.
    pub(crate) fn sent(&self) -> Vec<u8> {
        self.shared.sent.lock().unwrap().clone()
    }

    /// From now on nothing passes, and what is open stays so.
    pub(crate) fn hang(&self) {
        self.shared.is_hung.store(true, Ordering::SeqCst);
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
        usual.map(|usual| self.planned.lock().unwrap().pop_front().unwrap_or(usual))
    }

    fn serve(self: &Arc<Self>, client: &TcpStream, link: Link) {
        self.open.lock().unwrap().push(client.try_clone().unwrap());
        let ends = || {
            let _ = client.shutdown(Shutdown::Both);
        };
        let resets = || reset(client);
        match link {
            Link::Works => self.relay(client, Flow::default(), ends),
            Link::BreaksAfter(down) => self.relay(client, Flow { down, ..Flow::default() }, ends),
            Link::ResetsAfter(0) => {
                let _ = self.tap(client).read(&mut [0; PIECE_BYTES]);
                resets();
            }
            Link::ResetsAfter(down) => self.relay(client, Flow { down, ..Flow::default() }, resets),
            Link::ResetsUploadAfter(up) => self.relay(client, Flow { up, ..Flow::default() }, ends),
            Link::Trickles => {
                self.relay(client, Flow { piece: 1, pause_ms: 20, ..Flow::default() }, ends);
            }
            Link::Late(pause_ms) => self.relay(client, Flow { pause_ms, ..Flow::default() }, ends),
            Link::VanishesAfter(down) => {
                self.relay(client, Flow { down, ..Flow::default() }, || self.vanish());
            }
            Link::HangsAfter(down) => {
                self.relay(client, Flow { down, ..Flow::default() }, || {
                    self.is_hung.store(true, Ordering::SeqCst);
                });
            }
            Link::Answers(status, code) => self.answer(client, status, code, ""),
            Link::Elsewhere(region) => {
                self.answer(client, 400, "AuthorizationHeaderMalformed", region);
            }
            Link::Silent => {
                // Until the client gives up.
                let _ = std::io::copy(&mut self.tap(client), &mut std::io::sink());
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

    /// Passes on what `flow` allows; `ends` says what becomes of the connection after that.
    fn relay(self: &Arc<Self>, client: &TcpStream, flow: Flow, ends: impl Fn()) {
        let Ok(server) = TcpStream::connect(self.server) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let shared = Arc::clone(self);
        let up = std::thread::spawn(move || {
            shared.pass_up(&from, &to, flow.up);
            let _ = to.shutdown(Shutdown::Both);
        });
        let mut left = flow.down;
        let mut buffer = vec![0; flow.piece];
        while let Ok(read @ 1..) = (&server).read(&mut buffer) {
            std::thread::sleep(Duration::from_millis(flow.pause_ms));
            if self.is_hung.load(Ordering::SeqCst) {
                continue;
            }
            let passes = read.min(left);
            left -= passes;
            if (&*client).write_all(&buffer[..passes]).is_err() {
                break;
            }
            if left == 0 {
                ends();
            }
        }
        let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
        let _ = up.join();
    }

    /// Passes on `limit` bytes of a client, and then resets its connection.
    fn pass_up(&self, client: &TcpStream, mut server: &TcpStream, limit: usize) {
        let (mut tap, mut buffer, mut left) = (self.tap(client), vec![0; PIECE_BYTES], limit);
        while let Ok(read @ 1..) = tap.read(&mut buffer) {
            let passes = read.min(left);
            left -= passes;
            let is_hung = self.is_hung.load(Ordering::SeqCst);
            if !is_hung && server.write_all(&buffer[..passes]).is_err() {
                return;
            }
            if left == 0 {
                return reset(client);
            }
        }
    }

    fn tap<'a>(&'a self, client: &'a TcpStream) -> Tap<'a> {
        Tap { client, sent: &self.sent }
    }

    /// Reads one request with its body, so that the client sees the answer and no reset. The
    /// answer repeats the request, as those of AWS repeat some of it.
    fn answer(&self, client: &TcpStream, status: u16, code: &str, region: &str) {
        let mut reader = BufReader::new(self.tap(client));
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let start = head.len();
            let Ok(1..) = reader.read_line(&mut head) else { return };
            let line = head[start..].to_ascii_lowercase();
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
        let document = format!(
            "<Error><Code>{code}</Code><Region>{region}</Region><Message>{head}</Message></Error>"
        );
        let head = format!(
            "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            document.len()
        );
        let _ = (&*client).write_all(format!("{head}{document}").as_bytes());
    }
}

/// Makes the system send a reset and forget the connection.
fn reset(socket: &TcpStream) {
    // It may be over already.
    let _ = rustix::net::connect_unspec(socket);
}

/// Writes down what a client sends.
struct Tap<'a> {
    client: &'a TcpStream,
    sent: &'a Mutex<Vec<u8>>,
}

impl Read for Tap<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.client.read(buffer)?;
        self.sent.lock().unwrap().extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}
