//! Messages over pipes, with a deadline in both directions: a child that neither reads nor
//! answers costs what the host allows, not more.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd;
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
            if self.fill()? == 0 {
                return if self.pending.is_empty() {
                    Ok(Received::End)
                } else {
                    Err(FrameError::Truncated)
                };
            }
        }
    }

    fn take_line(&mut self) -> Result<Option<Message>, FrameError> {
        let feed = self.pending[self.scanned..].iter().position(|byte| *byte == b'\n');
        let Some(feed) = feed.map(|offset| self.scanned + offset) else {
            self.scanned = self.pending.len();
            if self.scanned >= MAX_LINE_BYTES {
                return Err(FrameError::TooLong);
            }
            return Ok(None);
        };
        if feed >= MAX_LINE_BYTES {
            return Err(FrameError::TooLong);
        }
        let message = frame::parse(&self.pending[..feed]);
        self.pending.drain(..=feed);
        self.scanned = 0;
        message.map(Some)
    }

    fn fill(&mut self) -> io::Result<usize> {
        let used = self.pending.len();
        self.pending.resize(used + READ_BYTES, 0);
        let outcome = loop {
            match self.file.read(&mut self.pending[used..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.pending.truncate(used + outcome.as_ref().copied().unwrap_or(0));
        outcome
    }
}

/// Writes messages to the writing end of a pipe.
pub(super) struct Sink {
    file: File,
}

impl Sink {
    /// Makes `file` non-blocking: a pipe's two ends do not share that flag.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let flags = rustix::fs::fcntl_getfl(&file)?;
        rustix::fs::fcntl_setfl(&file, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self { file })
    }

    /// Writes `message` by the deadline.
    ///
    /// `InvalidInput` when it is longer than a message may be: nothing was written then.
    /// After any other error the stream is out of step.
    pub(super) fn write(&mut self, message: &Message, deadline: Deadline) -> io::Result<()> {
        let mut line = Vec::new();
        Writer::new(&mut line).write(message)?;
        let mut rest = &line[..];
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !is_ready(&self.file, PollFlags::OUT, deadline.remaining())? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Waits until `file` is readable or writable, whichever `what` says; false: not in time.
pub(super) fn is_ready(file: &impl AsFd, what: PollFlags, limit: Duration) -> io::Result<bool> {
    let timeout = Timespec {
        // Deadlines are cut to days.
        tv_sec: limit.as_secs() as i64,
        tv_nsec: limit.subsec_nanos().into(),
    };
    let mut fds = [PollFd::new(file, what)];
    loop {
        match poll(&mut fds, Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
