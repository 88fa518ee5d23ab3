//! Durable copies: files that must outlive the request they came with, until they have been
//! written in the background.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use buildhook_sdk::files::{copy_verified, unique_name};
use buildhook_sdk::protocol::{FileRecord, Lease};

/// A folder that is made when first needed and removed at the end.
///
/// Known gap: when this process is killed the folder stays.
pub(crate) struct Spool {
    parent: PathBuf,
    folder: OnceLock<PathBuf>,
}

impl Spool {
    pub(crate) fn new(parent: PathBuf) -> Self {
        Self { parent, folder: OnceLock::new() }
    }

    /// A fresh folder in the spool.
    pub(crate) fn folder(&self) -> io::Result<PathBuf> {
        let folder = self.root()?.join(unique_name());
        fs_err::create_dir(&folder)?;
        Ok(folder)
    }

    /// A record of the same file that stays valid: without a copy where the lease allows,
    /// otherwise a link or a verified copy. It is to be `borrowed` to whoever stores it.
    ///
    /// A `shared` file may vanish, and an `owned` one be written to by its new owner through
    /// the other link: whoever stores it verifies it, and then it counts as dropped.
    pub(crate) fn keep(&self, file: &FileRecord, is_answer: bool) -> io::Result<FileRecord> {
        let path = match file.lease {
            Lease::Shared => file.path.clone(),
            // Lent until the session's end, which is after the last background write.
            Lease::Borrowed if is_answer => file.path.clone(),
            Lease::Borrowed => self.copy(file)?,
            Lease::Owned => {
                let path = self.root()?.join(unique_name());
                match std::fs::hard_link(&file.path, &path) {
                    Ok(()) => path,
                    Err(_) => self.copy(file)?,
                }
            }
        };
        Ok(FileRecord { path, lease: Lease::Borrowed, ..file.clone() })
    }

    /// Removes the copies that were made for an entry.
    pub(crate) fn forget(&self, files: &[FileRecord]) {
        let Some(root) = self.folder.get() else { return };
        for file in files.iter().filter(|file| file.path.starts_with(root)) {
            // What cannot be removed now goes with the folder.
            let _ = fs_err::remove_file(&file.path);
        }
    }

    fn copy(&self, file: &FileRecord) -> io::Result<PathBuf> {
        let path = self.root()?.join(unique_name());
        copy_verified(file, &path).map_err(io::Error::other)?;
        Ok(path)
    }

    fn root(&self) -> io::Result<&Path> {
        if let Some(folder) = self.folder.get() {
            return Ok(folder);
        }
        let folder = self.parent.join(format!("buildhook-tier-{}", unique_name()));
        fs_err::create_dir_all(&folder)?;
        if let Err(folder) = self.folder.set(folder) {
            // Another thread was first.
            fs_err::remove_dir(folder)?;
        }
        Ok(self.folder.get().expect("set by us or by another thread"))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.get() {
            // Temporary files that somebody else has removed are no fault.
            let _ = fs_err::remove_dir_all(folder);
        }
    }
}
