//! Framing: one message per line, bounded (BH-WIRE-001, BH-WIRE-002).
//!
//! A reader never holds more than one line of at most
//! [`MAX_LINE_BYTES`](crate::limits::MAX_LINE_BYTES). After an error other than the end
//! of the stream the stream is out of step: the session is over.

use std::io::{self, BufRead, BufReader, Read, Write};

use crate::limits::{MAX_FILES, MAX_LINE_BYTES};
use crate::message::Checked;
use crate::{Message, strict};

/// Why no message could be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The stream failed.
    #[error("reading a message: {0}")]
    Io(#[from] io::Error),
    /// A line longer than the limit.
    #[error("a line longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// The stream ended in the middle of a line.
    #[error("the stream ended in the middle of a line")]
    Truncated,
    /// Not a JSON object as the protocol wants it.
    #[error("not a message: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A rule of the spec that a message to be written breaks.
    #[error("not a message: {0}")]
    Rule(&'static str),
    /// More file records than the limit.
    #[error("more than {MAX_FILES} file records")]
    TooManyFiles,
}

/// Reads messages.
#[derive(Debug)]
pub struct Reader<R> {
    inner: BufReader<R>,
    line: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// A reader over `inner`; buffers by itself.
    pub fn new(inner: R) -> Self {
        Self { inner: BufReader::new(inner), line: Vec::new() }
    }

    /// The next message, or `None` at a clean end of the stream.
    ///
    /// # Errors
    /// See [`FrameError`]; afterwards the stream is out of step.
    pub fn next_message(&mut self) -> Result<Option<Message>, FrameError> {
        self.line.clear();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = self.inner.by_ref().take(limit).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        if read > MAX_LINE_BYTES {
            return Err(FrameError::TooLong);
        }
        if self.line.pop() != Some(b'\n') {
            return Err(FrameError::Truncated);
        }
        parse(&self.line).map(Some)
    }
}

/// One message from one line without its line feed.
///
/// # Errors
/// [`FrameError::Malformed`] or [`FrameError::TooManyFiles`].
pub fn parse(line: &[u8]) -> Result<Message, FrameError> {
    let members = strict::parse_object(line)?;
    let message = Message::from_members(members);
    if message.longest_list() > MAX_FILES {
        return Err(FrameError::TooManyFiles);
    }
    Ok(message)
}

/// Writes messages, each flushed.
#[derive(Debug)]
pub struct Writer<W> {
    inner: W,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// A writer over `inner`, which need not be buffered.
    pub fn new(inner: W) -> Self {
        Self { inner, line: Vec::new() }
    }

    /// Writes `message`, a [`Message`] or a typed view, as one line in one `write` and
    /// flushes.
    ///
    /// # Errors
    /// Those of the stream; `InvalidInput` when the other side would refuse the line, in
    /// which case nothing was written.
    pub fn write<M: Checked>(&mut self, message: &M) -> io::Result<()> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        self.line.clear();
        message.check().map_err(|rule| invalid(FrameError::Rule(rule)))?;
        serde_json::to_writer(&mut self.line, message)
            .map_err(|error| invalid(FrameError::Malformed(error)))?;
        self.line.push(b'\n');
        if self.line.len() > MAX_LINE_BYTES {
            return Err(invalid(FrameError::TooLong));
        }
        self.inner.write_all(&self.line)?;
        self.inner.flush()
    }
}
