//! What stops a store from being written, remembered for the session and said once.

use std::io;
use std::sync::OnceLock;

use buildhook_sdk::Done;
use buildhook_sdk::protocol::ReasonCode;

/// Why nothing more is written in this session.
#[derive(Debug, Default)]
pub(crate) struct Trouble(OnceLock<String>);

/// What an input or output error means for the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// No space or quota left: evicting may help.
    Full,
    /// The store may not be written by us.
    ReadOnly,
    /// A passing fault.
    Other,
}

pub(crate) fn meaning(error: &io::Error) -> Meaning {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Meaning::Full,
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => Meaning::ReadOnly,
        _ => Meaning::Other,
    }
}

impl Trouble {
    /// Stops writing for this session, and says so the first time.
    pub(crate) fn stop_writing(&self, why: String) {
        if self.0.set(why).is_ok() {
            eprintln!("buildhook-local-dir: nothing more is stored: {}", self.why().unwrap_or(""));
        }
    }

    pub(crate) fn why(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// The answer to `built-a-thing` when nothing is written any more.
    pub(crate) fn declined(&self) -> Option<Done> {
        self.why().map(|why| Done::declined(ReasonCode::UNAVAILABLE, why))
    }
}
