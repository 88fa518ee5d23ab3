//! What can go wrong with a store at the other end of a network, told apart.

use std::io;

use buildhook_protocol::ErrorKind;

/// Why a request to the server has no result. What it says is shown to people: a server's own
/// words may hold parts of secrets and do not belong in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// There is no such object.
    NotFound,
    /// The credentials do not allow it. Some servers say so of what does not exist, too.
    Denied(String),
    /// The server has no room, or does not take an object of this size.
    Full(String),
    /// Nothing will work in this session until somebody changes what the message says.
    Final(ErrorKind, String),
    /// The server cannot be reached or fails, after all retries.
    Unavailable(String),
    /// The server is left alone after failures.
    Resting,
    /// The deadline has passed.
    Late,
    /// What is there is not what was stored.
    Corrupt(String),
    /// A part of an entry is no longer there.
    Gone(String),
    /// A fault on this side, such as a full disk.
    Local(String),
}

/// Why whoever reads an object stops.
#[derive(Debug)]
pub enum Trouble {
    /// What came cannot be used, or nothing came.
    Content(String),
    /// What came cannot be kept.
    Sink(io::Error),
    /// It takes longer than it may.
    Late,
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Content(why) => Self::Corrupt(why),
            Trouble::Sink(error) => Self::local(&error),
            Trouble::Late => Self::Late,
        }
    }
}

impl Fault {
    /// A fault of this machine.
    #[must_use]
    pub fn local(error: &io::Error) -> Self {
        Self::Local(error.to_string())
    }
}
