//! Relocated files: a plugin says that a file it was given now also lives elsewhere, and the
//! host may replace its own by a link to that one, which saves the disk a copy.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use buildhook_protocol::{FileRecord, Lease};

use crate::copy::{self, CopyError};
use crate::host::OfferedFile;
use crate::identity::Identity;
use crate::temporary::Temporary;

/// Owner may execute.
const OWNER_EXECUTES: u32 = 0o100;

/// Why a file was not replaced. All of these leave it as it was.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// The record is not of this file, or not `shared`.
    #[error("the relocated file is not a shared one of the same name, size and digest")]
    OtherFile,
    /// The relocated file is not what its record says.
    #[error("the relocated file {0}")]
    Differs(&'static str),
    /// One of them can be executed and the other cannot.
    #[error("the relocated file has a mode that does not fit")]
    Mode,
    /// The own file has changed since it was offered.
    #[error("the file has changed since it was offered")]
    Changed,
    /// A link cannot be made: another file system, too many links, no permission.
    #[error("linking failed: {0}")]
    Io(#[from] io::Error),
}

/// Replaces `mine` by a hard link to `relocated`, after reading and verifying the latter.
///
/// Only for files that no tool writes in place and whose times nobody compares: the inode,
/// its times and its mode included, is shared with the store and with whoever else links to
/// it, and a store's files are often read-only. The caller has to know; this function cannot.
///
/// # Errors
/// See [`SwapError`]; the file is then as it was.
pub fn swap(relocated: &FileRecord, mine: &OfferedFile) -> Result<Identity, SwapError> {
    if !is_copy_of(relocated, mine) {
        return Err(SwapError::OtherFile);
    }
    let own = fs::symlink_metadata(&mine.path)?;
    if !own.is_file() || own.len() != mine.size {
        return Err(SwapError::Changed);
    }
    let (source, metadata) = copy::open(relocated).map_err(SwapError::of)?;
    let mode = metadata.mode();
    if (mode & OWNER_EXECUTES != 0) != mine.executable {
        return Err(SwapError::Mode);
    }
    copy::verify(&source, relocated).map_err(SwapError::of)?;
    let temporary = Temporary::link(&relocated.path, &mine.path)?;
    // The name may have changed hands between opening and linking.
    let linked = fs::symlink_metadata(temporary.path())?;
    if !is_same(&metadata, &linked) {
        return Err(SwapError::Differs("was replaced meanwhile"));
    }
    temporary.rename(&mine.path)?;
    Ok(Identity::of_path(Path::new(&mine.path))?)
}

/// Whether `relocated` claims to be a lasting copy of `mine` (BH-BUILT-010).
pub(crate) fn is_copy_of(relocated: &FileRecord, mine: &OfferedFile) -> bool {
    relocated.lease == Lease::Shared
        && relocated.name == mine.name
        && relocated.size == mine.size
        && relocated.digest == mine.digest
        && relocated.executable == mine.executable
}

fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    (a.dev(), a.ino(), a.len(), a.mtime(), a.mtime_nsec())
        == (b.dev(), b.ino(), b.len(), b.mtime(), b.mtime_nsec())
}

impl SwapError {
    fn of(error: CopyError) -> Self {
        match error {
            CopyError::Vanished => Self::Differs("is not there"),
            CopyError::Differs(what) => Self::Differs(what),
            CopyError::Source(error) | CopyError::Target(error) => Self::Io(error),
        }
    }
}
