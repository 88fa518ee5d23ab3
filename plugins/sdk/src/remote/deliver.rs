//! Files of a hit, as they are handed to the host.

use std::io;
use std::path::PathBuf;

use buildhook_protocol::{FileRecord, Lease};

use crate::entry::StoredFile;

/// The record of the file that was fetched to `path`, in the scratch folder: from here on the
/// host owns it. Makes a program of it where it is one.
///
/// # Errors
/// Its mode cannot be changed.
pub fn deliver(file: &StoredFile, path: PathBuf) -> io::Result<FileRecord> {
    #[cfg(unix)]
    if file.executable {
        use std::os::unix::fs::PermissionsExt as _;
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(file.offer(path, Lease::Owned))
}
