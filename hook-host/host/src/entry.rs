//! A hit: claims checked at once, contents when they are used.
//!
//! The seal over the claims was right when an [`Entry`] comes into being; each file is then
//! checked against its claim while it is copied. So nothing is ever restored that is not,
//! byte for byte, what some host has sealed under this key (BH-WANT-006).
//!
//! Restored files are always inodes of their own, with a fresh time: a tool that later writes
//! in place must not reach a store, and another target folder must not see times change.
//!
//! A host that is killed while it restores leaves files `.bh-*.tmp` beside the destinations;
//! the next one that restores to that folder removes them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use buildhook_protocol::name::check_unique;
use buildhook_protocol::{Digest, EntryName, FileRecord, Key, Lease, Seal, seal};

use crate::copy::{self, Copier, CopyError};
use crate::identity::Identity;
use crate::scratch::Scratch;
use crate::temporary::Temporary;

/// Called when a file of a hit turns out not to be what was claimed.
pub(crate) type OnDamage = Box<dyn Fn(&RestoreError) + Send + Sync>;

/// A hit whose claims hold: names, places, sizes, seal.
pub struct Entry {
    /// Sorted by name.
    files: Vec<FileRecord>,
    cost_ms: Option<u64>,
    copier: Arc<Copier>,
    on_damage: OnDamage,
    /// Some of the files can be here, whatever their lease.
    scratch: Arc<Scratch>,
}

/// A file that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its name within the entry.
    pub name: EntryName,
    /// Where it is now.
    pub path: PathBuf,
    /// Its verified digest.
    pub digest: Digest,
    /// Its stat, to remember the digest by.
    pub identity: Identity,
}

/// Why an entry could not be used.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The plan or the caller names a file that the entry does not have.
    #[error("the entry has no file `{0}`")]
    NotInEntry(String),
    /// A file is not what the plugin claimed.
    #[error("`{name}` at {} {what}", path.display())]
    Corrupt {
        /// The file.
        name: EntryName,
        /// Where the plugin said that it is.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file is not, or no longer, there.
    #[error("`{name}` is not at {}", path.display())]
    Vanished {
        /// The file.
        name: EntryName,
        /// Where the plugin said that it is.
        path: PathBuf,
    },
    /// A file of the plugin cannot be read.
    #[error("`{name}` at {} cannot be read: {source}", path.display())]
    Source {
        /// The file.
        name: EntryName,
        /// Where the plugin said that it is.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A destination cannot be written: a full disk, a missing folder.
    #[error("{} cannot be written: {source}", path.display())]
    Destination {
        /// The destination.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than the caller is willing to hold in memory.
    #[error("`{name}` has {size} bytes, more than the {max_bytes} expected")]
    TooLarge {
        /// The file.
        name: EntryName,
        /// Its size.
        size: u64,
        /// The caller's limit.
        max_bytes: u64,
    },
}

impl RestoreError {
    /// Whether the entry is damaged: after building, store it again with `replace`.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt { .. } | Self::Vanished { .. } | Self::Source { .. })
    }

    fn of(record: &FileRecord, destination: &Path, error: CopyError) -> Self {
        let (name, path) = (record.name.clone(), record.path.clone());
        match error {
            CopyError::Vanished => Self::Vanished { name, path },
            CopyError::Differs(what) => Self::Corrupt { name, path, what },
            CopyError::Source(source) => Self::Source { name, path, source },
            CopyError::Target(source) => Self::Destination { path: destination.to_owned(), source },
        }
    }
}

impl Entry {
    /// Checks the claims of a hit; what is wrong, in words.
    pub(crate) fn check(
        key: &Key,
        claimed: &Seal,
        mut files: Vec<FileRecord>,
        cost_ms: Option<u64>,
        scratch: Arc<Scratch>,
        copier: Arc<Copier>,
        on_damage: OnDamage,
    ) -> Result<Self, String> {
        check_unique(files.iter().map(|file| &file.name)).map_err(|error| error.to_string())?;
        if seal(key, &files) != *claimed {
            return Err("its seal does not fit its files and key: another key's entry, or files \
                        missing, added or changed"
                .to_owned());
        }
        if !files.iter().any(|file| file.name.is_host_owned()) {
            return Err("it has none of the host's files".to_owned());
        }
        for file in &files {
            check_place(file, scratch.path())?;
        }
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { files, cost_ms, copier, on_damage, scratch })
    }

    /// Its files, sorted by name; digests are claims until a file is read or restored.
    #[must_use]
    pub fn files(&self) -> &[FileRecord] {
        &self.files
    }

    /// What building it took, in milliseconds of wall time, if whoever stored it said so.
    #[must_use]
    pub fn cost_ms(&self) -> Option<u64> {
        self.cost_ms
    }

    /// The verified content of the file `name`, of at most `max_bytes`.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn read(&self, name: &str, max_bytes: u64) -> Result<Vec<u8>, RestoreError> {
        let record = self.record(name)?;
        if record.size > max_bytes {
            let (name, size) = (record.name.clone(), record.size);
            return Err(RestoreError::TooLarge { name, size, max_bytes });
        }
        self.tell(read_verified(record).map_err(|e| RestoreError::of(record, Path::new(""), e)))
    }

    /// Restores all files of `plan`, in its order, or none: each is copied, verified, to
    /// another name beside its destination, and when all are there they are renamed.
    ///
    /// What is at a destination is replaced, never written through, symbolic or hard link or
    /// not. Modes are 0644 or 0755 under the process's umask; times are those of the rename.
    ///
    /// # Errors
    /// See [`RestoreError`]. Destinations are then as they were, or, if it happened while
    /// renaming, some are missing.
    pub fn restore(&self, plan: &[(EntryName, PathBuf)]) -> Result<Vec<Restored>, RestoreError> {
        self.tell(self.try_restore(plan))
    }

    fn try_restore(&self, plan: &[(EntryName, PathBuf)]) -> Result<Vec<Restored>, RestoreError> {
        let mut staged = Vec::with_capacity(plan.len());
        for (name, destination) in plan {
            let record = self.record(name.as_str())?;
            self.copier.leftovers.sweep_beside(destination);
            let temporary = self
                .stage(record, destination)
                .map_err(|error| RestoreError::of(record, destination, error))?;
            staged.push((record, destination.as_path(), temporary));
        }
        let mut restored = Vec::with_capacity(plan.len());
        for (record, destination, temporary) in staged {
            match temporary.publish(destination) {
                Ok(identity) => restored.push(Restored {
                    name: record.name.clone(),
                    path: destination.to_owned(),
                    digest: record.digest,
                    identity,
                }),
                Err(source) => {
                    // A part of an entry must not be taken for the whole.
                    for file in &restored {
                        let _ = fs::remove_file(&file.path);
                    }
                    let path = destination.to_owned();
                    return Err(RestoreError::Destination { path, source });
                }
            }
        }
        Ok(restored)
    }

    /// A verified private copy of `record` beside `destination`.
    fn stage(&self, record: &FileRecord, destination: &Path) -> Result<Temporary, CopyError> {
        let (source, metadata) = copy::open(record)?;
        if record.lease == Lease::Owned && metadata.nlink() == 1 {
            copy::verify(&source, record)?;
            if let Some(moved) = Temporary::from_owned(record, &source, destination)? {
                return Ok(moved);
            }
            // Another file system: read it once more.
            let (source, _) = copy::open(record)?;
            return self.stage_copy(&source, record, destination);
        }
        self.stage_copy(&source, record, destination)
    }

    fn stage_copy(
        &self,
        source: &File,
        record: &FileRecord,
        destination: &Path,
    ) -> Result<Temporary, CopyError> {
        let (temporary, mut target) =
            Temporary::create(destination, record.executable).map_err(CopyError::Target)?;
        self.copier.copy(source, &mut target, record)?;
        Ok(temporary)
    }

    fn record(&self, name: &str) -> Result<&FileRecord, RestoreError> {
        match self.files.binary_search_by(|file| file.name.as_str().cmp(name)) {
            Ok(index) => Ok(&self.files[index]),
            Err(_) => Err(RestoreError::NotInEntry(name.to_owned())),
        }
    }

    fn tell<T>(&self, result: Result<T, RestoreError>) -> Result<T, RestoreError> {
        result.inspect_err(|error| {
            if error.is_damage() {
                (self.on_damage)(error);
            }
        })
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("files", &self.files)
            .field("cost_ms", &self.cost_ms)
            .field("scratch", &self.scratch)
            .finish_non_exhaustive()
    }
}

/// What can be told of a file without reading it.
fn check_place(file: &FileRecord, scratch: &Path) -> Result<(), String> {
    let named = |what: &str| format!("`{}` at {} {what}", file.name, file.path.display());
    let metadata = fs::symlink_metadata(&file.path).map_err(|e| named(&format!("fails: {e}")))?;
    if let Err(CopyError::Differs(what)) = copy::check(&metadata, file) {
        return Err(named(what));
    }
    if file.lease == Lease::Owned {
        // Resolved, since a plugin can make a symbolic link to a folder in there.
        let folder = file.path.parent().and_then(|folder| fs::canonicalize(folder).ok());
        if !folder.is_some_and(|folder| folder.starts_with(scratch)) {
            return Err(named("is leased as `owned` but not within the scratch folder"));
        }
    }
    Ok(())
}

fn read_verified(record: &FileRecord) -> Result<Vec<u8>, CopyError> {
    let (source, _) = copy::open(record)?;
    let mut content = Vec::with_capacity(usize::try_from(record.size).unwrap_or(0));
    // One byte more shows a file that has grown since it was opened.
    source.take(record.size + 1).read_to_end(&mut content).map_err(CopyError::Source)?;
    if content.len() as u64 != record.size {
        return Err(CopyError::Differs("has another size than claimed"));
    }
    if Digest::of(&content) != record.digest {
        return Err(CopyError::Differs("has another content than claimed"));
    }
    Ok(content)
}
