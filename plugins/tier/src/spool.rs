//! Durable copies: files that must outlive the request they came with, until they have been
//! written in the background.
//!
//! Each spool is a folder that only its owner's user can enter. Its owner holds a lock on a
//! file in it, and removes it at the end. Of a folder whose owner was killed, the next process
//! with the same parent folder and user writes what it finds noted in it ([`Note`]), and
//! removes it.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use buildhook_sdk::files::{copy_verified, unique_name};
use buildhook_sdk::protocol::{FileRecord, Lease};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::Tier;

/// How the folder of each spool begins.
const PREFIX: &str = "buildhook-tier-";
/// The same, before its owner has its lock.
const NEW_PREFIX: &str = ".buildhook-tier-new-";
/// Held by the owner for as long as it lives.
const OWNER: &str = "owner";
/// How the name of a note ends.
const NOTE_EXTENSION: &str = "json";
/// Longest note that is read, in bytes: that of the longest message, and its paths.
const MAX_NOTE_BYTES: u64 = 32 * 1024 * 1024;

/// A folder that is made when first needed and removed at the end.
pub(crate) struct Spool {
    parent: PathBuf,
    root: OnceLock<Root>,
}

struct Root {
    folder: PathBuf,
    _owner: fs_err::File,
}

/// An entry that is to be written to a tier, as a file: it stays when this process is killed.
#[derive(Serialize, Deserialize)]
pub(crate) struct Note {
    tier: String,
    /// The tier's command. Another cache of the same name is not given the entry.
    plugin: Vec<String>,
    /// The `built-a-thing`.
    pub(crate) request: Map<String, Value>,
    /// Durable copies.
    pub(crate) files: Vec<FileRecord>,
}

impl Note {
    pub(crate) fn new(tier: &Tier, request: &Map<String, Value>, files: &[FileRecord]) -> Self {
        let Tier { name, plugin, .. } = tier;
        let (tier, plugin) = (name.clone(), plugin.clone());
        Self { tier, plugin, request: request.clone(), files: files.to_vec() }
    }

    pub(crate) fn is_for(&self, tier: &Tier) -> bool {
        self.tier == tier.name && self.plugin == tier.plugin
    }
}

impl Spool {
    pub(crate) fn new(parent: PathBuf) -> Self {
        Self { parent, root: OnceLock::new() }
    }

    /// The spools in `parent` whose owners were killed; this process owns them now.
    pub(crate) fn left_over(parent: &Path) -> Vec<Self> {
        let user = rustix::process::geteuid().as_raw();
        let entries = fs_err::read_dir(parent).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| {
            let name = entry.file_name();
            let is_spool = name.to_str().is_some_and(|name| name.starts_with(PREFIX));
            // Others can make folders beside ours, but none that is ours.
            is_spool && entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == user)
        });
        ours.filter_map(|entry| {
            let owner = fs_err::File::open(entry.path().join(OWNER)).ok()?;
            owner.file().try_lock().ok()?;
            let root = OnceLock::from(Root { folder: entry.path(), _owner: owner });
            Some(Self { parent: parent.to_owned(), root })
        })
        .collect()
    }

    /// Writes a note; gives its place.
    pub(crate) fn write_note(&self, note: &Note) -> io::Result<PathBuf> {
        let name = unique_name();
        let path = self.root()?.join(&name).with_extension(NOTE_EXTENSION);
        let temporary = self.root()?.join(name);
        fs_err::write(&temporary, serde_json::to_vec(note)?)?;
        fs_err::rename(&temporary, &path)?;
        Ok(path)
    }

    /// All notes with their places. One that cannot be read is as good as none.
    pub(crate) fn notes(&self) -> Vec<(PathBuf, Note)> {
        let Some(root) = self.root.get() else { return Vec::new() };
        let entries = fs_err::read_dir(&root.folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let notes = paths.filter(|path| path.extension().is_some_and(|e| e == NOTE_EXTENSION));
        notes
            .filter_map(|path| {
                let small = fs_err::metadata(&path).ok()?.len() <= MAX_NOTE_BYTES;
                let text = small.then(|| fs_err::read(&path).ok()).flatten()?;
                Some((path, serde_json::from_slice(&text).ok()?))
            })
            .collect()
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
        let Some(root) = self.root.get() else { return };
        for file in files.iter().filter(|file| file.path.starts_with(&root.folder)) {
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
        if let Some(root) = self.root.get() {
            return Ok(&root.folder);
        }
        let root = self.make()?;
        if let Err(root) = self.root.set(root) {
            // Another thread was first.
            fs_err::remove_dir_all(root.folder)?;
        }
        Ok(&self.root.get().expect("set by us or by another thread").folder)
    }

    fn make(&self) -> io::Result<Root> {
        fs_err::create_dir_all(&self.parent)?;
        let name = unique_name();
        let new = self.parent.join(format!("{NEW_PREFIX}{name}"));
        std::fs::DirBuilder::new().mode(0o700).create(&new)?;
        let owner = fs_err::File::create(new.join(OWNER))?;
        owner.file().lock()?;
        // Under its lasting name it is locked, so it is never taken for a left over one.
        let folder = self.parent.join(format!("{PREFIX}{name}"));
        fs_err::rename(new, &folder)?;
        Ok(Root { folder, _owner: owner })
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(root) = self.root.get() {
            // Temporary files that somebody else has removed are no fault.
            let _ = fs_err::remove_dir_all(&root.folder);
        }
    }
}
