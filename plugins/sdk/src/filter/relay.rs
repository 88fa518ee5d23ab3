//! What [`Next`] is, however it is reached: the rules of a filter (BH-FILT-001 to 004).

use std::ffi::OsString;
use std::path::PathBuf;

use buildhook_protocol::{ErrorKind, FEATURE_MANIFEST, Hello, Hook, Message, VERSION};

use super::{Depth, Next};
use crate::{About, Call, Done, Error, StartError, Want, cli};

/// What each filter adds to its child's `drain-ms`: time to end a child that overran it.
const DRAIN_MARGIN_MS: u64 = 500;

impl Next {
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
        Ok(self.exchange_by(message, call.deadline.sooner())?)
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
}

/// What a filter begins with: its arguments, and the next plugin, whose command stands after
/// `--` in them. `depth` is the value of [`Depth::VARIABLE`].
///
/// # Errors
/// Those of [`cli::parse_filter`] and of [`Next::start`].
pub fn start<A: clap::Parser>(depth: Option<OsString>) -> Result<(A, Next), StartError> {
    let (arguments, command) = cli::parse_filter(std::env::args_os())?;
    Ok((arguments, Next::start(&command, Depth::new(depth)?)?))
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
pub(super) struct Refusal {
    /// The rest of a sentence that begins with its name.
    pub(super) why: String,
    /// It was told wrongly what to do; otherwise it is no good itself.
    pub(super) is_config: bool,
}

impl From<String> for Refusal {
    fn from(why: String) -> Self {
        Self { why, is_config: false }
    }
}

/// The hello in a child's first message, if it can be worked with.
pub(super) fn check_hello(message: &Message) -> Result<Hello, Refusal> {
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

/// Why the child gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChildError {
    /// It did not answer in time.
    #[error("the next plugin did not answer in time")]
    TimedOut,
    /// It is gone, or has said that it is of no more use, or broke the protocol.
    #[error("the next plugin is of no more use: {0}")]
    Gone(String),
    /// The request does not fit in a message.
    #[error("the request cannot be sent on: {0}")]
    Unsendable(String),
}

impl From<ChildError> for Error {
    fn from(error: ChildError) -> Self {
        let kind = match error {
            ChildError::TimedOut => ErrorKind::Timeout,
            ChildError::Gone(_) => ErrorKind::Child,
            ChildError::Unsendable(_) => ErrorKind::Other,
        };
        Self::new(kind, error.to_string())
    }
}
