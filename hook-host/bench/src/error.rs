//! What can go wrong with a measurement.

use std::io;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file or process.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A tool that was asked for by name.
    #[error("{0} is not on PATH: install it, or leave it out of --tools")]
    NotFound(String),
    /// A command that had to work.
    #[error("{command} failed ({status}){}{said}", if said.is_empty() { "" } else { ":\n" })]
    Command {
        /// As one would type it.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        said: String,
    },
    /// An answer of the plugin that is no use.
    #[error("the plugin was to answer `{expected}` and said {said}")]
    Plugin {
        /// The kind of answer.
        expected: &'static str,
        /// Its line.
        said: String,
    },
    /// The person's Cargo home and compiler cannot be found.
    #[error("neither {0} nor HOME is set")]
    NoHome(&'static str),
}

impl Error {
    /// Whether the command line was wrong.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::NotFound(_) | Self::NoHome(_))
    }
}
