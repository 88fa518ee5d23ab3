//! [`Next`]: the next plugin of a stack.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use buildhook_protocol::{ErrorKind, FEATURE_MANIFEST, FrameError, Hello, Hook, Message, VERSION};

use super::lines::{Lines, Received, Sink};
use super::session::{ChildError, Session};
use super::{Depth, process};
use crate::{About, Call, Deadline, Done, Error, StartError, Want};

/// How long a child may take for its hello. The host's own limit covers the whole stack and
/// is shorter in practice; this one is for a filter that is run by hand.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// What each filter adds to its child's `drain-ms`: time to end a child that overran it.
const DRAIN_MARGIN_MS: u64 = 500;

/// A running child and the session with it.
pub struct Next {
    session: Session,
    hello: Hello,
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

    /// What the child said of itself.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// What a filter announces (BH-FILT-001): those of `hooks` that the child has too, the
    /// child's `manifest` feature, its `max-in-flight` and its `drain-ms` with a margin.
    ///
    /// A filter that wants the manifest for itself adds the feature; one that takes fewer
    /// requests at once, or drains longer, says so.
    #[must_use]
    pub fn about(&self, name: &str, version: &str, hooks: &[Hook]) -> About {
        let mut about = About::new(name, version)
            .max_in_flight(self.hello.max_in_flight)
            .drain_ms(self.hello.drain_ms.saturating_add(DRAIN_MARGIN_MS));
        about.hooks = hooks.iter().copied().filter(|hook| self.hello.has_hook(*hook)).collect();
        if self.hello.has_feature(FEATURE_MANIFEST) {
            about = about.feature(FEATURE_MANIFEST);
        }
        about
    }

    /// Passes a request on as it is, with the time that is left (BH-FILT-004).
    ///
    /// # Errors
    /// The child gave no answer: see [`ChildError`].
    pub fn forward(&self, call: &Call) -> Result<Message, Error> {
        self.exchange(call, call.message.clone())
    }

    /// Passes on `message`, a changed form of `call.message`.
    ///
    /// # Errors
    /// Those of [`forward`](Self::forward).
    pub fn exchange(&self, call: &Call, message: Message) -> Result<Message, Error> {
        Ok(self.session.exchange(message, call.deadline.sooner())?)
    }

    /// Sends `message` under an id of this hop and waits until `deadline`, which is what the
    /// child is told: for whoever asks on its own account.
    ///
    /// # Errors
    /// Those of [`forward`](Self::forward).
    pub fn exchange_by(&self, message: Message, deadline: Deadline) -> Result<Message, ChildError> {
        self.session.exchange(message, deadline)
    }

    /// [`forward`](Self::forward) as the answer to `want-to-build`.
    ///
    /// # Errors
    /// Those of [`forward`](Self::forward).
    pub fn want(&self, call: &Call) -> Result<Want, Error> {
        self.forward(call).map(Want::Forwarded)
    }

    /// [`forward`](Self::forward) as the answer to `built-a-thing`.
    ///
    /// # Errors
    /// Those of [`forward`](Self::forward).
    pub fn done(&self, call: &Call) -> Result<Done, Error> {
        self.forward(call).map(Done::Forwarded)
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

/// A folder inside the scratch folder for the child, when the filter uses the rest itself.
/// To be sent on as `scratch`.
///
/// # Errors
/// Those of making it.
pub fn folder_for_next(call: &Call) -> std::io::Result<PathBuf> {
    let folder = call.scratch.join("next");
    fs_err::create_dir(&folder)?;
    Ok(folder)
}

/// Why there is no session with a child.
struct Refusal {
    /// The rest of a sentence that begins with its name.
    why: String,
    /// It was told wrongly what to do; otherwise it is no good itself.
    is_config: bool,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why, is_config: false }
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
    let hello: Hello =
        message.parse().map_err(|error| format!("sent a hello that is none: {error}"))?;
    if !hello.v.contains(&VERSION) {
        let spoken = &hello.v;
        return Err(format!("speaks the protocol versions {spoken:?}, not {VERSION}").into());
    }
    match hello.error {
        Some(error) => Err(Refusal {
            why: format!("cannot work: {}", error.message),
            is_config: error.kind == ErrorKind::Config,
        }),
        None => Ok(hello),
    }
}
