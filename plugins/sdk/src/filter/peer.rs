//! [`Peer`]: a process that speaks in messages, without the rules of a session.
//!
//! For whoever has to see every message that such a process writes, or has to end it at
//! once: a sandbox around a plugin. Filters use [`Next`](super::Next).

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use buildhook_protocol::Message;

use super::lines::{Lines, Received, Sink};
use super::{ChildError, process};
use crate::Deadline;

/// A running process and the two pipes to it. Killed and reaped when dropped.
pub struct Peer {
    child: Child,
    sink: Option<Sink>,
    lines: Lines,
}

impl Peer {
    /// Starts `command` with pipes as its standard input and output.
    ///
    /// # Errors
    /// Those of starting it.
    pub fn start(mut command: Command) -> std::io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both were asked to be pipes");
        };
        let lines = Lines::new(OwnedFd::from(stdout).into());
        match Sink::new(OwnedFd::from(stdin).into()) {
            Ok(sink) => Ok(Self { child, sink: Some(sink), lines }),
            Err(error) => {
                process::reap(&mut child, Duration::ZERO);
                Err(error)
            }
        }
    }

    /// Writes `message` as it is.
    ///
    /// # Errors
    /// [`ChildError::Unsendable`]: nothing was written. After any other one it is of no use.
    pub fn send(&mut self, message: &Message, deadline: Deadline) -> Result<(), ChildError> {
        let Some(sink) = &mut self.sink else {
            return Err(ChildError::Gone("it has been closed".to_owned()));
        };
        sink.write(message, deadline).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidInput => ChildError::Unsendable(error.to_string()),
            std::io::ErrorKind::TimedOut => ChildError::TimedOut,
            _ => ChildError::Gone(format!("it no longer reads: {error}")),
        })
    }

    /// The next message that it writes.
    ///
    /// # Errors
    /// None came in time, or none can come any more.
    pub fn receive(&mut self, deadline: Deadline) -> Result<Message, ChildError> {
        match self.lines.next(deadline.remaining()) {
            Ok(Received::Message(message)) => Ok(message),
            Ok(Received::TimedOut) => Err(ChildError::TimedOut),
            Ok(Received::End) => Err(ChildError::Gone("it has exited".to_owned())),
            Err(error) => Err(ChildError::Gone(error.to_string())),
        }
    }

    /// Closes its standard input and waits up to `limit` for it to end by itself; what it
    /// still writes is dropped. Then it is ended by force.
    pub fn close(mut self, limit: Duration) {
        drop(self.sink.take());
        let deadline = Deadline::within(limit);
        self.lines.discard(deadline);
        process::reap(&mut self.child, deadline.remaining());
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Both fail only for a process that is already reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
