//! The guest's standard streams.
//!
//! Reads and writes block: the guest is the only thing that this process does, and the
//! supervisor kills it when it takes too long. So no thread hands bytes over, which would
//! cost more than the call itself.
//!
//! **Guest and supervisor take turns.** A line that a guest writes is an answer, and ends its
//! turn: it does not get out of that write before a line has come that it has not answered yet,
//! or its input has ended. So whatever the supervisor does between two lines, a guest does not
//! look on, and what a guest has said ahead is an answer to no question.
//!
//! A line that is [`END_OF_INPUT`] is never seen by a guest: it is the end of its input, and from
//! there on nobody hears what it says. The next instance goes on behind it.

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

    /// How often it has begun to work: after a start, with each line that came, and once when there
    /// are no more.
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
    /// What is used next is the start of a line.
    at_start: bool,
    /// Lines for the instance at work of which something has come.
    lines: u64,
    /// The last of them has come whole.
    is_whole: bool,
    /// Lines that the instance at work has written.
    said: u64,
    /// Lines that are no questions: what the guest of a filter is told first.
    told: u64,
    /// The instance at work has got all that it gets.
    ended: bool,
    /// The pipe is closed.
    closed: bool,
}

/// Why an instance has no more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The supervisor wants another one.
    Instance,
    /// The supervisor wants none any more.
    Input,
    /// It has had enough by itself.
    Guest,
}

impl Input {
    pub(crate) fn new(file: File, busy: Arc<Busy>) -> Self {
        let source = Source {
            file,
            pending: Vec::new(),
            used: 0,
            at_start: true,
            lines: 0,
            is_whole: true,
            said: 0,
            told: 0,
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
                source.lines -= 1;
                return Ok(Some(line));
            }
            if !source.fill()? {
                return Ok(None);
            }
        }
    }

    /// How many lines each instance is told that it need not answer.
    pub(crate) fn is_told(&self, lines: u64) {
        self.source().told = lines;
    }

    /// Lets the next instance read, if there is to be one.
    pub(crate) fn next_instance(&self) -> End {
        let mut source = self.source();
        let end = match (source.ended, source.closed) {
            (true, _) => End::Instance,
            (false, true) => End::Input,
            (false, false) => End::Guest,
        };
        (source.ended, source.said, source.lines) = (false, 0, 0);
        end
    }

    /// Whether the instance at work is heard.
    fn is_heard(&self) -> bool {
        !self.source().ended
    }

    /// The guest has written a line: it goes on when it has been asked again.
    fn hold(&self) -> std::io::Result<()> {
        let mut source = self.source();
        source.said += 1;
        // Its first line is a hello, and answers nothing.
        let due = source.said + source.told;
        if source.lines < due && !source.closed {
            self.1.pause();
            while source.lines < due && source.fill()? {}
            self.1.begin();
            source.look_for_end();
        }
        Ok(())
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
        self.closed = read? == 0;
        let new = &self.pending[start..];
        if let Some(last) = new.last() {
            let feeds = new.iter().filter(|byte| **byte == b'\n').count() as u64;
            let is_whole = *last == b'\n';
            self.lines += u64::from(self.is_whole) + feeds - u64::from(is_whole);
            self.is_whole = is_whole;
        }
        Ok(!self.closed)
    }

    /// Ends the instance's input when that is what has come last. It is written by itself, in one
    /// piece that a pipe keeps together, when an answer has been read: nothing follows it.
    fn look_for_end(&mut self) {
        let rest = &self.pending[self.used..];
        let line = rest.strip_suffix(b"\n").unwrap_or_default();
        if let Some(before) = line.strip_suffix(END_OF_INPUT.as_bytes())
            && before.last().map_or(self.at_start, |byte| *byte == b'\n')
        {
            self.ended = true;
            self.at_start = true;
            self.used = self.pending.len();
        }
    }

    /// Up to `limit` bytes of what the instance may have; none at its end.
    fn take(&mut self, limit: usize, busy: &Busy) -> std::io::Result<Bytes> {
        if self.ended {
            return Ok(Bytes::new());
        }
        if self.used == self.pending.len() {
            if self.closed {
                return Ok(Bytes::new());
            }
            // The rest of a line, or what is told first: the clock goes on.
            if !self.fill()? {
                busy.begin();
                return Ok(Bytes::new());
            }
        }
        let rest = &self.pending[self.used..];
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

/// Standard output or error, by what becomes of what is written to it.
#[derive(Clone)]
pub(crate) struct Output<S>(pub(crate) S);

/// Takes what a guest writes.
pub(crate) trait Sink: Clone + Send + Sync + 'static {
    /// Returns when the guest may go on.
    fn put(&self, bytes: &[u8]) -> std::io::Result<()>;
}

#[wasmtime_wasi::async_trait]
impl<S: Sink> Pollable for Output<S> {
    async fn ready(&mut self) {}
}

impl<S: Sink> OutputStream for Output<S> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.put(&bytes).map_err(|error| StreamError::LastOperationFailed(error.into()))
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

impl<S: Sink> IsTerminal for Output<S> {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl<S: Sink> StdoutStream for Output<S> {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Preview 1 asks for the other form only.
        Box::new(tokio::io::sink())
    }
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

/// What the supervisor reads, and bounds.
#[derive(Clone)]
pub(crate) struct Answers {
    file: Arc<File>,
    input: Input,
}

impl Answers {
    pub(crate) fn new(file: File, input: Input) -> Self {
        Self { file: Arc::new(file), input }
    }

    /// Writes a line of the runner's own.
    pub(crate) fn say(&self, line: &str) -> std::io::Result<()> {
        (&*self.file).write_all(format!("{line}\n").as_bytes())
    }
}

impl Sink for Answers {
    fn put(&self, bytes: &[u8]) -> std::io::Result<()> {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.input.is_heard() {
                return Ok(());
            }
            (&*self.file).write_all(line)?;
            if line.ends_with(b"\n") {
                self.input.hold()?;
            }
        }
        Ok(())
    }
}

/// What people read, up to a bound.
#[derive(Clone)]
pub(crate) struct Complaints {
    file: Arc<File>,
    /// What may still be written before the rest is dropped.
    left: Arc<AtomicU64>,
}

impl Complaints {
    pub(crate) fn new(file: File) -> Self {
        Self { file: Arc::new(file), left: Arc::new(AtomicU64::new(MAX_STDERR_BYTES)) }
    }
}

impl Sink for Complaints {
    fn put(&self, bytes: &[u8]) -> std::io::Result<()> {
        let allowed = self.left.load(Ordering::Relaxed).min(bytes.len() as u64);
        self.left.fetch_sub(allowed, Ordering::Relaxed);
        (&*self.file).write_all(&bytes[..allowed as usize])
    }
}
