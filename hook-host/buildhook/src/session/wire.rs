//! What a wrapper and its session say to each other: one question, one answer, in turn.
//!
//! Both are the same program, so the form (a length and postcard bytes) is nobody else's
//! affair and may change with any version.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use buildhook_cargo::diagnostics::Translation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest message in bytes: a compiler's output of this length is not worth caching.
const MAX_BYTES: u32 = 256 * 1024 * 1024;

/// From the wrapper.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Question {
    /// May this compile be skipped?
    Before {
        /// The compiler and its arguments.
        words: Vec<String>,
        /// Where it runs.
        cwd: PathBuf,
        /// Its variables.
        env: Vec<(OsString, OsString)>,
    },
    /// The compile that [`Reply::Run`] asked for has ended.
    After(Finished),
}

/// How a compile ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// Exit code 0.
    pub(crate) success: bool,
    /// All that it wrote.
    pub(crate) stdout: Vec<u8>,
    /// All that it said, as it said it.
    pub(crate) stderr: Vec<u8>,
    /// How long it took.
    pub(crate) duration_ms: u64,
}

/// From the session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// Nothing of ours: run it as it is.
    Untouched,
    /// The outputs are in place; say this.
    Hit {
        /// For standard output.
        stdout: Vec<u8>,
        /// For standard error.
        stderr: Vec<u8>,
    },
    /// Run it so, and come back.
    Run(RunReply),
    /// Taken note of.
    Done,
}

/// How to run the compiler.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunReply {
    /// Words between the launcher and its arguments.
    pub(crate) extra_arguments: Vec<String>,
    /// How many words are the launcher.
    pub(crate) launcher_words: usize,
    /// Variables to set.
    pub(crate) variables: Vec<(OsString, OsString)>,
    /// For the compiler's standard error.
    pub(crate) translation: Translation,
}

/// Writes one message.
pub(crate) fn write(mut stream: impl Write, message: &impl Serialize) -> io::Result<()> {
    let mut bytes = postcard::to_extend(message, vec![0; 4]).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    if length > MAX_BYTES {
        return Err(io::Error::other("a message that is too long"));
    }
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    stream.write_all(&bytes)
}

/// Reads one message; `None` when the other side has gone.
pub(crate) fn read<T: DeserializeOwned>(mut stream: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_BYTES {
        return Err(io::Error::other("a message that is too long"));
    }
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes)?;
    postcard::from_bytes(&bytes).map(Some).map_err(io::Error::other)
}
