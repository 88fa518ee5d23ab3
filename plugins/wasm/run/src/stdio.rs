//! The guest's standard streams.
//!
//! Reads and writes block: the guest is the only thing that this process does, and the
//! supervisor kills it when it takes too long. So no thread hands bytes over, which would
//! cost more than the call itself.
//!
//! A line that is [`END_OF_INPUT`] is never seen by a guest: it is the end of its input. The
//! next instance goes on behind it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use buildhook_wasm_engine::END_OF_INPUT;
use bytes::Bytes;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// What one read asks of the pipe: as much as it holds on Linux.
const READ_BYTES: usize = 64 * 1024;
/// What a guest may put into one write.
const WRITE_BYTES: usize = 64 * 1024;
/// What a guest may say on standard error, in bytes, before the rest is dropped.
const MAX_STDERR_BYTES: u64 = 64 * 1024;
/// The guest waits for input.
const IDLE: u64 = u64::MAX;

/// Since when the guest has been at work.
#[derive(Debug)]
pub(crate) struct Busy {
    origin: Instant,
    since_ms: AtomicU64,
    turn: AtomicU64,
}

impl Busy {
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now(), since_ms: AtomicU64::new(0), turn: AtomicU64::new(0) }
    }

    /// For how long it has been at work, in milliseconds; 0 while it waits.
    pub(crate) fn for_ms(&self) -> u64 {
        match self.since_ms.load(Ordering::Relaxed) {
            IDLE => 0,
            since => self.now_ms().saturating_sub(since),
        }
    }

    /// How often it has begun to work: after a start and after each wait for input.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
        self.since_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn pause(&self) {
        self.since_ms.store(IDLE, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        // Half a billion years fit.
        self.origin.elapsed().as_millis() as u64
    }
}

/// Standard input, shared by all instances of this process.
#[derive(Clone)]
pub(crate) struct Input(Arc<Mutex<Source>>, Arc<Busy>);

struct Source {
    file: File,
    pending: Vec<u8>,
    /// Bytes of `pending` that have been used.
    used: usize,
    /// What comes next is the start of a line.
    at_start: bool,
    /// The instance at work has got all that it gets.
    ended: bool,
    /// The pipe is closed.
    closed: bool,
}

impl Input {
    pub(crate) fn new(file: File, busy: Arc<Busy>) -> Self {
        let source = Source {
            file,
            pending: Vec::new(),
            used: 0,
            at_start: true,
            ended: false,
            closed: false,
        };
        Self(Arc::new(Mutex::new(source)), busy)
    }

    /// The next line, without its line feed; `None` at the end.
    pub(crate) fn line(&self) -> std::io::Result<Option<Vec<u8>>> {
        let mut source = self.source();
        loop {
            let rest = &source.pending[source.used..];
            if let Some(feed) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest[..feed].to_vec();
                source.used += feed + 1;
                return Ok(Some(line));
            }
            if !source.fill()? {
                return Ok(None);
            }
        }
    }

    /// Lets the next instance read; false when there is nothing more to come.
    pub(crate) fn next_instance(&self) -> bool {
        let mut source = self.source();
        source.ended = false;
        !source.closed
    }

    fn source(&self) -> std::sync::MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    /// Reads more; false at the end.
    fn fill(&mut self) -> std::io::Result<bool> {
        if self.closed {
            return Ok(false);
        }
        self.pending.drain(..self.used);
        self.used = 0;
        let start = self.pending.len();
        self.pending.resize(start + READ_BYTES, 0);
        let read = loop {
            match self.file.read(&mut self.pending[start..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.pending.truncate(start + read.as_ref().copied().unwrap_or(0));
        let read = read?;
        self.closed = read == 0;
        Ok(read > 0)
    }

    /// Up to `limit` bytes of what the instance may have; none at its end.
    fn take(&mut self, limit: usize, busy: &Busy) -> std::io::Result<Bytes> {
        if self.ended {
            return Ok(Bytes::new());
        }
        if self.used == self.pending.len() {
            busy.pause();
            let more = self.fill();
            busy.begin();
            if !more? {
                return Ok(Bytes::new());
            }
        }
        let rest = &self.pending[self.used..];
        // Written in one piece, which a pipe keeps together; what follows it is for the next.
        let marker = END_OF_INPUT.as_bytes();
        if self.at_start && rest.starts_with(marker) && rest.get(marker.len()) == Some(&b'\n') {
            self.used += marker.len() + 1;
            self.ended = true;
            return Ok(Bytes::new());
        }
        // A line at most, so that each start of one is looked at.
        let line = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |feed| feed + 1);
        let taken = Bytes::copy_from_slice(&rest[..line.min(limit)]);
        self.used += taken.len();
        self.at_start = taken.ends_with(b"\n");
        Ok(taken)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {}
}

impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let taken = self.source().take(size, &self.1);
        match taken {
            Ok(bytes) if bytes.is_empty() => Err(StreamError::Closed),
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(StreamError::LastOperationFailed(error.into())),
        }
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Input {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncRead + Send + Sync> {
        // Preview 1 asks for the other form only.
        Box::new(tokio::io::empty())
    }
    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

/// Standard output or error.
#[derive(Clone)]
pub(crate) struct Output {
    file: Arc<File>,
    /// What may still be written before the rest is dropped; `None`: all.
    left: Option<Arc<AtomicU64>>,
}

impl Output {
    /// What the supervisor reads, and bounds.
    pub(crate) fn unbounded(file: File) -> Self {
        Self { file: Arc::new(file), left: None }
    }

    /// What people read.
    pub(crate) fn bounded(file: File) -> Self {
        let left = Some(Arc::new(AtomicU64::new(MAX_STDERR_BYTES)));
        Self { file: Arc::new(file), left }
    }

    pub(crate) fn write_all(&self, bytes: &[u8]) -> std::io::Result<()> {
        (&*self.file).write_all(bytes)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let allowed = match &self.left {
            None => bytes.len(),
            Some(left) => {
                let allowed = left.load(Ordering::Relaxed).min(bytes.len() as u64);
                left.fetch_sub(allowed, Ordering::Relaxed);
                allowed as usize
            }
        };
        self.write_all(&bytes[..allowed])
            .map_err(|error| StreamError::LastOperationFailed(error.into()))
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Preview 1 asks for the other form only.
        Box::new(tokio::io::sink())
    }
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}
