//! [`Next`]: the next plugin of a stack, as a process.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use buildhook_protocol::{FrameError, Hello, Message};

use super::lines::{Lines, Received, Sink};
use super::session::{Session, Whole};
use super::{ChildError, Depth, Refusal, check_hello, process};
use crate::{Deadline, StartError};

/// How long a child may take for its hello. The host's own limit covers the whole stack and
/// is shorter in practice; this one is for a filter that is run by hand.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// A running child and the session with it.
pub struct Next {
    session: Session,
    pub(super) hello: Hello,
    child: Mutex<Option<Child>>,
}

impl Next {
    /// Starts the plugin that `command` names, program first, and waits for its hello.
    ///
    /// # Errors
    /// [`StartError::Child`]: it cannot be started, says nothing, speaks another version, or
    /// says itself that it cannot work. [`StartError::Config`]: `command` is empty, or the
    /// child says that its configuration is wrong.
    pub fn start(command: &[OsString], depth: Depth) -> Result<Self, StartError> {
        Self::start_within(command, depth, HELLO_LIMIT)
    }

    /// [`start`](Self::start) with a time limit for the hello.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn start_within(
        command: &[OsString],
        depth: Depth,
        limit: Duration,
    ) -> Result<Self, StartError> {
        let mut child = process::spawn(command, depth)?;
        let program = command[0].display();
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both were asked to be pipes");
        };
        let mut lines = Lines::new(OwnedFd::from(stdout).into());
        let started = greet(&mut lines, limit).and_then(|hello| {
            let sink = Sink::new(OwnedFd::from(stdin).into())
                .map_err(|error| format!("cannot be written to: {error}"))?;
            Ok((hello, sink))
        });
        match started {
            Ok((hello, sink)) => Ok(Self {
                session: Session::new(sink, lines, hello.max_in_flight),
                hello,
                child: Mutex::new(Some(child)),
            }),
            Err(refusal) => {
                // Its standard input is closed by now.
                process::reap(&mut child, Duration::ZERO);
                let told = format!("the next plugin `{program}` {}", refusal.why);
                Err(if refusal.is_config {
                    StartError::Config(told)
                } else {
                    StartError::Child(told)
                })
            }
        }
    }

    /// The session, for one who shares it with nobody.
    pub(super) fn whole(&self) -> Whole<'_> {
        self.session.whole()
    }

    /// Sends `message` under an id of this hop and waits until `deadline`, which is what the
    /// child is told: for whoever asks on its own account.
    ///
    /// # Errors
    /// The child gave no answer: see [`ChildError`].
    pub fn exchange_by(&self, message: Message, deadline: Deadline) -> Result<Message, ChildError> {
        self.session.exchange(message, deadline)
    }

    /// Ends the session: closes the child's standard input, waits for it as long as its
    /// `drain-ms` says, then ends it by force; reaps it (BH-FILT-005). For
    /// [`Plugin::drain`](crate::Plugin::drain); later calls do nothing.
    pub fn close(&self) {
        let Some(mut child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take()
        else {
            return;
        };
        self.session.close();
        let limit = process::exit_limit(Duration::from_millis(self.hello.drain_ms));
        let left = self.session.discard_until_end(limit);
        process::reap(&mut child, left);
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        self.close();
    }
}

fn greet(lines: &mut Lines, limit: Duration) -> Result<Hello, Refusal> {
    let message = match lines.next(limit) {
        Ok(Received::Message(message)) => message,
        Ok(Received::End) => return Err("exited without a hello".to_owned().into()),
        Ok(Received::TimedOut) => {
            return Err(format!("said nothing for {} ms", limit.as_millis()).into());
        }
        Err(error @ FrameError::Io(_)) => return Err(format!("cannot be read: {error}").into()),
        Err(error) => {
            return Err(format!("does not speak the buildhook protocol: {error}").into());
        }
    };
    check_hello(&message)
}
