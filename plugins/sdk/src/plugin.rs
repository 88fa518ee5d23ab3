//! What an author writes against: [`Plugin`], what it is asked and what it answers.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use buildhook_protocol::{
    ErrorBody, ErrorKind, FileRecord, Hello, Hook, Key, Message, PluginInfo, Purpose, Reason,
    ReasonCode, Seal, Stored, Unit, VERSION,
};

/// A plugin: answers requests, several at a time if [`About::max_in_flight`] says so.
pub trait Plugin: Send + Sync {
    /// Who it is and what it offers; asked once, before the hello.
    fn about(&self) -> About;

    /// "Do you have this?" Only called when [`About::hooks`] holds the hook.
    ///
    /// # Errors
    /// When the question could not be answered; to have nothing is [`Want::Miss`].
    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        let _ = call;
        Err(Error::not_offered(Hook::WantToBuild))
    }

    /// "I have built this." Only called when [`About::hooks`] holds the hook.
    ///
    /// The files stay as they are until this returns, not longer (BH-BUILT-002).
    ///
    /// # Errors
    /// When the entry could not be stored because of a fault; to decline it is
    /// [`Stored::No`].
    fn built_a_thing(&self, call: &Call, built: &Built) -> Result<Done, Error> {
        let _ = (call, built);
        Err(Error::not_offered(Hook::BuiltAThing))
    }

    /// Called once, after standard input has ended and everything is answered: the place to
    /// finish background work, within [`About::drain_ms`] plus one second (BH-END-001).
    fn drain(&self) {}
}

/// A box is as good as what is in it: for plugins chosen at run time.
impl<P: Plugin + ?Sized> Plugin for Box<P> {
    fn about(&self) -> About {
        (**self).about()
    }
    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        (**self).want_to_build(call)
    }
    fn built_a_thing(&self, call: &Call, built: &Built) -> Result<Done, Error> {
        (**self).built_a_thing(call, built)
    }
    fn drain(&self) {
        (**self).drain();
    }
}

/// What the hello says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The plugin's name, for people.
    pub name: String,
    /// Its own version, in any form.
    pub version: String,
    /// The kinds of request it answers.
    pub hooks: Vec<Hook>,
    /// What it wants beyond the basics, such as `manifest`.
    pub features: Vec<String>,
    /// How many requests it takes before it has answered, 1 to 256.
    pub max_in_flight: u32,
    /// How long [`Plugin::drain`] may take, in milliseconds.
    pub drain_ms: u64,
    /// Kinds of request that are usually answered sooner than another thread could take over
    /// reading (some 100 µs): meanwhile nothing else is read. Not said on the wire.
    pub at_once: Vec<Hook>,
}

impl About {
    /// A plugin with no hook yet, one request at a time and nothing to drain.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            hooks: Vec::new(),
            features: Vec::new(),
            max_in_flight: 1,
            drain_ms: 0,
            at_once: Vec::new(),
        }
    }

    /// Offers `hook`.
    #[must_use]
    pub fn hook(mut self, hook: Hook) -> Self {
        if !self.hooks.contains(&hook) {
            self.hooks.push(hook);
        }
        self
    }

    /// Offers both hooks.
    #[must_use]
    pub fn both_hooks(self) -> Self {
        self.hook(Hook::WantToBuild).hook(Hook::BuiltAThing)
    }

    /// No longer offers `hook`.
    #[must_use]
    pub fn without(mut self, hook: Hook) -> Self {
        self.hooks.retain(|offered| *offered != hook);
        self
    }

    /// Asks for `feature`.
    #[must_use]
    pub fn feature(mut self, feature: &str) -> Self {
        if !self.features.iter().any(|named| named == feature) {
            self.features.push(feature.to_owned());
        }
        self
    }

    /// Takes up to `limit` requests at once.
    #[must_use]
    pub fn max_in_flight(mut self, limit: u32) -> Self {
        self.max_in_flight = limit;
        self
    }

    /// Wants `limit_ms` milliseconds for [`Plugin::drain`], or as many as a message can say.
    #[must_use]
    pub fn drain_ms(mut self, limit_ms: u64) -> Self {
        self.drain_ms = limit_ms.min(buildhook_protocol::limits::MAX_INTEGER);
        self
    }

    /// Answers `hook` most often [at once](Self::at_once).
    #[must_use]
    pub fn at_once(mut self, hook: Hook) -> Self {
        self.at_once.push(hook);
        self
    }

    pub(crate) fn to_hello(&self) -> Hello {
        Hello {
            v: vec![VERSION],
            plugin: PluginInfo { name: self.name.clone(), version: self.version.clone() },
            hooks: Some(self.hooks.iter().map(|hook| hook.as_str().to_owned()).collect()),
            features: self.features.clone(),
            max_in_flight: self.max_in_flight,
            drain_ms: self.drain_ms,
            error: None,
        }
    }
}

/// What every request says.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which hook.
    pub kind: Hook,
    /// The entry: opaque, and compared whole.
    pub key: Key,
    /// Which entry of that key; never [`Purpose::Other`].
    pub purpose: Purpose,
    /// What is built, for people and policies; never identity.
    pub unit: Unit,
    /// A folder for this request, which the host sweeps.
    pub scratch: PathBuf,
    /// When it was read.
    pub received: Instant,
    /// When the answer is due.
    pub deadline: Deadline,
    /// What the key stands for, when the plugin asked for the feature.
    pub manifest: Option<FileRecord>,
    /// The request as it came, members included that this crate does not know: what a filter
    /// forwards.
    pub message: Message,
}

/// What `built-a-thing` says beyond [`Call`].
#[derive(Debug, Clone)]
pub struct Built {
    /// Opaque text that belongs to the entry.
    pub seal: Seal,
    /// The files of the entry; their names are unique. Sizes and digests are claims.
    pub files: Vec<FileRecord>,
    /// What building took, in milliseconds of wall time.
    pub cost_ms: Option<u64>,
    /// An entry that exists is wrong: this one must take its place.
    pub replace: bool,
}

/// The moment by which an answer is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

/// Deadlines beyond this are cut to it, so that adding to a clock never overflows.
const FARTHEST: Duration = Duration::from_secs(30 * 24 * 3600);

impl Deadline {
    /// The moment `limit` after `start`.
    #[must_use]
    pub fn after(start: Instant, limit: Duration) -> Self {
        Self(start + limit.min(FARTHEST))
    }

    /// The moment `limit` from now.
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        Self::after(Instant::now(), limit)
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// What is left, in whole milliseconds.
    #[must_use]
    pub fn remaining_ms(self) -> u64 {
        // Cut to 30 days by construction.
        self.remaining().as_millis() as u64
    }

    /// A somewhat earlier moment, for whoever has to answer by this one and waits for another
    /// meanwhile: a quarter of what is left, at most 5 ms, which the way back takes on a
    /// machine under load.
    #[must_use]
    pub fn sooner(self) -> Self {
        const WAY_BACK: Duration = Duration::from_millis(5);
        let remaining = self.remaining();
        Self::within(remaining.saturating_sub(WAY_BACK.min(remaining / 4)))
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }
}

/// An answer to `want-to-build`.
#[derive(Debug, Clone, PartialEq)]
pub enum Want {
    /// The entry, whole.
    Hit(Hit),
    /// No entry, and why.
    Miss(Reason),
    /// What another plugin answered, to be passed on as it is but for its id.
    Forwarded(Message),
}

impl Want {
    /// The plain miss.
    #[must_use]
    pub fn not_found() -> Self {
        Self::Miss(Reason::code(ReasonCode::NOT_FOUND))
    }

    /// A miss with a sentence for people.
    #[must_use]
    pub fn miss(code: &str, message: impl Into<String>) -> Self {
        Self::Miss(Reason::new(code, message))
    }
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// As it was stored.
    pub seal: Seal,
    /// All files, each with the lease under which the host may use it.
    pub files: Vec<FileRecord>,
    /// What building took, in milliseconds, when it was said.
    pub cost_ms: Option<u64>,
}

/// An answer to `built-a-thing`.
#[derive(Debug, Clone, PartialEq)]
pub enum Done {
    /// This plugin's own answer.
    Own {
        /// What became of the entry.
        stored: Stored,
        /// Why not, for [`Stored::No`].
        reason: Option<Reason>,
        /// Files that now also live elsewhere; all `shared` (BH-BUILT-010).
        relocated: Vec<FileRecord>,
    },
    /// What another plugin answered, to be passed on as it is but for its id.
    Forwarded(Message),
}

impl Done {
    /// Stored, already there, or to be stored later.
    #[must_use]
    pub fn stored(stored: Stored) -> Self {
        Self::Own { stored, reason: None, relocated: Vec::new() }
    }

    /// Not stored, and why.
    #[must_use]
    pub fn declined(code: &str, message: impl Into<String>) -> Self {
        Self::refused(Reason::new(code, message))
    }

    /// [`declined`](Self::declined) for a reason that is there.
    #[must_use]
    pub fn refused(reason: Reason) -> Self {
        Self::Own { stored: Stored::No, reason: Some(reason), relocated: Vec::new() }
    }
}

/// A fault while answering: goes to the host as an `error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(pub ErrorBody);

impl Error {
    /// A fault that concerns one request. The message says what to do and holds no secret.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(ErrorBody::request(kind, message))
    }

    /// A fault after which the plugin is of no more use in this session.
    #[must_use]
    pub fn session(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(ErrorBody::session(kind, message))
    }

    fn not_offered(hook: Hook) -> Self {
        Self::new(
            ErrorKind::UnknownKind,
            format!("this plugin does not answer `{}`", hook.as_str()),
        )
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            io::ErrorKind::TimedOut => ErrorKind::Timeout,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                ErrorKind::Unavailable
            }
            _ => ErrorKind::Other,
        };
        let mut body = ErrorBody::request(kind, error.to_string());
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            body.caused_by.push(inner.to_string());
            cause = inner.source();
        }
        Self(body)
    }
}
