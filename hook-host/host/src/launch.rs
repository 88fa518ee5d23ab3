//! How a plugin is reached, apart from what it answers.
//!
//! [`Connect`] is the seam: a session speaks over any reader and writer. Here are the two
//! ways that there are, a process and something within this one; one-shot use is a session
//! with one request, the same bytes.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use crate::fault::{Fault, FaultKind};
use crate::process::Process;

/// A program, its arguments and its whole environment.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PluginCommand {
    /// A path, or a name that is looked for on the host's PATH.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Every variable that it gets. The host adds none of its own, so who starts a host
    /// decides what a plugin sees.
    pub env: Vec<(OsString, OsString)>,
}

impl PluginCommand {
    /// `program` with `args` and exactly the variables `env`.
    pub fn new<A: Into<OsString>>(
        program: impl Into<OsString>,
        args: impl IntoIterator<Item = A>,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(Into::into).collect(),
            env: env.into_iter().collect(),
        }
    }
}

/// Without the environment, whose values can be secret.
impl fmt::Debug for PluginCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for PluginCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.to_string_lossy())?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", arg.to_string_lossy()))
    }
}

/// What an in-memory plugin hands out: its output to read, its input to write.
pub type Streams = (Box<dyn Read + Send>, Box<dyn Write + Send>);

/// Starts an in-memory plugin.
pub type Open = dyn Fn() -> io::Result<Streams> + Send + Sync;

/// How to reach a plugin.
#[derive(Clone)]
pub enum Launch {
    /// A process of its own.
    Command(PluginCommand),
    /// Something in this process that reads requests and writes answers, in a thread of its
    /// own: the embedded store, a test.
    ///
    /// It cannot be killed. One that hangs is left alone, its threads with it.
    InMemory(Arc<Open>),
}

impl Launch {
    /// Whether both reach the same plugin, so that one session can serve two hooks.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Command(a), Self::Command(b)) => a == b,
            (Self::InMemory(a), Self::InMemory(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

/// A plugin that has been reached.
pub(crate) struct Connection {
    /// Its standard output.
    pub(crate) output: Box<dyn Read + Send>,
    /// Its standard input; dropping it is the only way to say goodbye.
    pub(crate) input: Box<dyn Write + Send>,
    /// The process to end and reap, if it is one.
    pub(crate) process: Option<Process>,
}

/// The seam between what a plugin answers and how it is reached.
pub(crate) trait Connect: Send + Sync {
    /// Starts the plugin; does not wait for its hello.
    fn connect(&self, stderr_bytes: usize) -> Result<Connection, Fault>;
    /// What it is called in reports.
    fn describe(&self) -> String;
}

impl Connect for Launch {
    fn connect(&self, stderr_bytes: usize) -> Result<Connection, Fault> {
        match self {
            Self::Command(command) => Process::start(command, stderr_bytes),
            Self::InMemory(open) => {
                let (output, input) = open()
                    .map_err(|e| Fault::new(FaultKind::Start, format!("cannot be opened: {e}")))?;
                Ok(Connection { output, input, process: None })
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Command(command) => command.to_string(),
            Self::InMemory(_) => "(embedded)".to_owned(),
        }
    }
}
