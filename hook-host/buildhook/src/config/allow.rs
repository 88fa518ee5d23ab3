//! Which workspace files the person has allowed, by path and content.
//!
//! One small file for each allowed path, named by the digest of the path, so that two
//! `allow` at once never lose one. A file that changed since is not allowed.

use std::io;
use std::path::{Path, PathBuf};

use buildhook_cargo::atomic;
use buildhook_protocol::Digest;
use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::folders::Folders;

/// What the person said of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    /// They allowed this very content.
    Allowed,
    /// They allowed another content of this path.
    Changed,
    /// They never allowed it.
    Unknown,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Record {
    path: PathBuf,
    digest: Digest,
}

/// What the person said of the file at `path` (absolute) with this content.
pub(crate) fn permission(folders: &Folders, path: &Path, content: &[u8]) -> Permission {
    let record = fs::read(record_path(folders, path)).ok();
    let record = record.and_then(|json| serde_json::from_slice::<Record>(&json).ok());
    match record.filter(|record| record.path == path) {
        None => Permission::Unknown,
        Some(record) if record.digest == Digest::of(content) => Permission::Allowed,
        Some(_) => Permission::Changed,
    }
}

/// Remembers that the person allowed this content of the file at `path`.
///
/// # Errors
/// Those of the file system.
pub(crate) fn allow(folders: &Folders, path: &Path, content: &[u8]) -> io::Result<()> {
    let record = Record { path: path.to_path_buf(), digest: Digest::of(content) };
    let to = record_path(folders, path);
    fs::create_dir_all(allowed_dir(folders))?;
    atomic::write(&to, &serde_json::to_vec(&record)?)
}

/// Forgets what the person said of the file at `path`; says whether there was anything.
///
/// # Errors
/// Those of the file system.
pub(crate) fn deny(folders: &Folders, path: &Path) -> io::Result<bool> {
    match fs::remove_file(record_path(folders, path)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn allowed_dir(folders: &Folders) -> PathBuf {
    folders.state.join("allowed")
}

fn record_path(folders: &Folders, path: &Path) -> PathBuf {
    let name = Digest::of(path.as_os_str().as_encoded_bytes()).to_hex();
    allowed_dir(folders).join(name).with_extension("json")
}
