//! Messages over pipes, with a deadline in both directions: a child that neither reads nor
//! answers costs what the host allows, not more.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use buildhook_protocol::limits::MAX_LINE_BYTES;
use buildhook_protocol::{FrameError, Message, Writer, frame};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Deadline;

/// Room for the answers of most calls. It is zeroed before each read, so more would cost every
/// call; a longer message takes several reads.
const READ_BYTES: usize = 8 * 1024;

/// What came.
pub(super) enum Received {
    Message(Message),
    End,
    /// Nothing whole came in time; what has come is kept.
    TimedOut,
}

/// Reads messages from one end of a pipe or socket.
pub(super) struct Lines {
    file: File,
    /// Bytes read and not yet used; those before `scanned` hold no line feed.
    pending: Vec<u8>,
    scanned: usize,
}

impl Lines {
    pub(super) fn new(file: File) -> Self {
        Self { file, pending: Vec::new(), scanned: 0 }
    }

    /// The next message, within `limit` or as long as it takes.
    pub(super) fn next(&mut self, limit: Duration) -> Result<Received, FrameError> {
        let started = Instant::now();
        loop {
            if let Some(message) = self.take_line()? {
                return Ok(Received::Message(message));
            }
            let left = limit.saturating_sub(started.elapsed());
            if !is_ready(&self.file, PollFlags::IN, left)? {
                return Ok(Received::TimedOut);
            }
            if !self.fill()? {
                return Ok(Received::End);
            }
        }
    }

    /// Drops what comes until the end of the stream, or the deadline: a flood is there at once,
    /// whatever time is left.
    pub(super) fn discard(&mut self, deadline: Deadline) {
        while !deadline.has_passed()
            && let Ok(Received::Message(_)) = self.next(deadline.remaining())
        {}
    }

    /// The next message of what has been read already.
    pub(super) fn take_line(&mut self) -> Result<Option<Message>, FrameError> {
        let has_line = self.has_line();
        if self.scanned >= MAX_LINE_BYTES {
            return Err(FrameError::TooLong);
        }
        if !has_line {
            return Ok(None);
        }
        let feed = self.scanned;
        let message = frame::parse(&self.pending[..feed]);
        self.pending.drain(..=feed);
        self.scanned = 0;
        message.map(Some)
    }

    /// Whether a whole line has been read already.
    pub(super) fn has_line(&mut self) -> bool {
        let feed = self.pending[self.scanned..].iter().position(|byte| *byte == b'\n');
        self.scanned = feed.map_or(self.pending.len(), |offset| self.scanned + offset);
        feed.is_some()
    }

    /// Reads once; false at the end of the stream.
    pub(super) fn fill(&mut self) -> Result<bool, FrameError> {
        let used = self.pending.len();
        self.pending.resize(used + READ_BYTES, 0);
        let outcome = loop {
            match self.file.read(&mut self.pending[used..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.pending.truncate(used + outcome.as_ref().copied().unwrap_or(0));
        match outcome? {
            0 if !self.pending.is_empty() => Err(FrameError::Truncated),
            read => Ok(read > 0),
        }
    }
}

impl AsFd for Lines {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// What a pipe takes without blocking when it is ready at all (`PIPE_BUF`; 512 by POSIX, 4096
/// on Linux).
const CHUNK_BYTES: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// Writes messages to the writing end of a pipe.
pub(super) struct Sink {
    file: File,
    /// Others may write to the same pipe, so it stays as it is.
    is_blocking: bool,
    /// Lines that were begun, and how much of them the pipe has taken.
    lines: Vec<u8>,
    taken: usize,
}

impl Sink {
    /// Makes `file` non-blocking: a pipe's two ends do not share that flag.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&file)?;
        rustix::fs::fcntl_setfl(&file, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self { is_blocking: false, ..Self::blocking(file) })
    }

    /// Leaves `file` as it is: what others see of it, such as standard error, may be the same.
    pub(super) fn blocking(file: File) -> Self {
        Self { file, is_blocking: true, lines: Vec::new(), taken: 0 }
    }

    /// Writes `message` by the deadline.
    ///
    /// `InvalidInput` when it is longer than a message may be: nothing was written then.
    /// After any other error the stream is out of step.
    pub(super) fn write(&mut self, message: &Message, deadline: Deadline) -> io::Result<()> {
        self.begin(message)?;
        while !self.push()? {
            if !is_ready(&self.file, PollFlags::OUT, deadline.remaining())? {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Takes `message`, to be written by [`push`](Self::push).
    ///
    /// `InvalidInput`: as for [`write`](Self::write).
    pub(super) fn begin(&mut self, message: &Message) -> io::Result<()> {
        Writer::new(&mut self.lines).write(message)
    }

    /// Writes as much as the pipe takes; whether that is all.
    pub(super) fn push(&mut self) -> io::Result<bool> {
        while !self.is_empty() {
            let mut rest = &self.lines[self.taken..];
            if self.is_blocking {
                if !is_ready(&self.file, PollFlags::OUT, Duration::ZERO)? {
                    return Ok(false);
                }
                rest = &rest[..rest.len().min(CHUNK_BYTES)];
            }
            match self.file.write(rest) {
                Ok(written) => self.taken += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.lines.clear();
        self.taken = 0;
        Ok(true)
    }

    /// Whether all that was begun is written.
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.lines.len()
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Waits until `file` is readable or writable, whichever `what` says; false: not in time.
pub(super) fn is_ready(file: &impl AsFd, what: PollFlags, limit: Duration) -> io::Result<bool> {
    poll_within(&mut [PollFd::new(file, what)], Some(limit))
}

/// Waits until one of `fds` is ready; false: not in time.
pub(super) fn poll_within(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<bool> {
    let timeout = limit.map(|limit| Timespec {
        // Deadlines are cut to days.
        tv_sec: limit.as_secs() as i64,
        tv_nsec: limit.subsec_nanos().into(),
    });
    loop {
        match poll(fds, timeout.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
