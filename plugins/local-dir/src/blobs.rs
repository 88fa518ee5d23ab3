//! Content: how it gets in, and whether what is there can be relied on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use buildhook_protocol::{Digest, FileRecord, Lease};
use buildhook_sdk::entry::StoredFile;
use buildhook_sdk::files::{self, CopyError};

use crate::layout::Layout;
use crate::platform::{self, Reflink, look};

/// The blobs of one store.
#[derive(Debug)]
pub(crate) struct Blobs {
    /// The file systems at hand cannot share content: not tried again.
    no_reflink: AtomicBool,
}

/// Why a file was not kept.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The file that was offered is not there, or not what was promised.
    Offer(String),
    /// The store cannot take it.
    Store(io::Error),
}

/// A blob that holds what was offered.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    /// It was there before: eviction may have had its eye on it.
    pub(crate) reused: bool,
}

impl Blobs {
    pub(crate) fn new() -> Self {
        Self { no_reflink: AtomicBool::new(false) }
    }

    /// Makes sure that a verified blob holds the content of `file`; with `anew` also when
    /// one seems to be there.
    pub(crate) fn keep(
        &self,
        layout: &Layout,
        file: &FileRecord,
        anew: bool,
    ) -> Result<Kept, Refused> {
        let path = layout.blob(&file.digest, file.executable);
        if !anew && reuse(&path, file.size) {
            return Ok(Kept { path, reused: true });
        }
        let temporary = layout.temporary();
        let outcome = self
            .bring_in(file, &temporary)
            .and_then(|()| publish(&temporary, &path).map_err(Refused::Store));
        if outcome.is_err() {
            // It may not be there; what counts is the first error.
            let _ = fs_err::remove_file(&temporary);
        }
        outcome.map(|()| Kept { path, reused: false })
    }

    /// Puts the verified content of `file` at `temporary`, in the cheapest way that its lease
    /// and the file systems allow.
    fn bring_in(&self, file: &FileRecord, temporary: &Path) -> Result<(), Refused> {
        let facts = look(&file.path).map_err(|error| Refused::Offer(told(file, &error)))?;
        let moved = match file.lease {
            // Another name of the file could still be written through.
            Lease::Owned if facts.is_file && facts.links == 1 => {
                std::fs::rename(&file.path, temporary).is_ok()
            }
            // The inode stays shared with others: taken only when it is what a blob is.
            Lease::Shared
                if facts.is_file
                    && !facts.writable
                    && facts.executable == Some(file.executable) =>
            {
                if std::fs::hard_link(&file.path, temporary).is_ok() {
                    return verify_at(file, temporary);
                }
                false
            }
            _ => false,
        };
        if moved {
            verify_at(file, temporary)?;
        } else {
            self.copy(file, temporary)?;
        }
        let done = platform::open_no_follow(temporary);
        done.and_then(|blob| platform::publishable(&blob, file.executable)).map_err(Refused::Store)
    }

    fn copy(&self, file: &FileRecord, temporary: &Path) -> Result<(), Refused> {
        // Not being able to read what is offered says nothing about the store.
        let source = files::open(file).map_err(|error| Refused::Offer(error.to_string()))?;
        let target = create(temporary).map_err(Refused::Store)?;
        if !self.no_reflink.load(Ordering::Relaxed) {
            match platform::reflink(&source, &target) {
                // The clone is what is kept, so the clone is what is verified.
                Reflink::Done => return verify_at(file, temporary),
                // The next file may come from the store's own file system.
                Reflink::Elsewhere => {}
                Reflink::Unsupported => self.no_reflink.store(true, Ordering::Relaxed),
            }
        }
        files::read_verified_from(source, file, target).map_err(refused)
    }
}

/// Whether the blob for `file` can be relied on; reads it only when a program may have
/// written to it.
///
/// # Errors
/// It is not there (`NotFound`), or cannot be looked at.
pub(crate) fn is_sound(path: &Path, file: &StoredFile) -> io::Result<bool> {
    let facts = look(path)?;
    if !facts.is_file || facts.size != file.size {
        return Ok(false);
    }
    if facts.is_pristine() {
        return Ok(true);
    }
    let (digest, size) = Digest::of_reader(platform::open_no_follow(path)?)?;
    Ok(digest == file.digest && size == file.size)
}

/// Whether a pristine blob is there; if so its grace starts again, so that eviction leaves it
/// until the entry that needs it is written.
fn reuse(path: &Path, size: u64) -> bool {
    let there = look(path).is_ok_and(|facts| {
        facts.is_file && facts.size == size && facts.is_pristine() && !facts.writable
    });
    there && platform::open_no_follow(path).and_then(|blob| platform::mark_published(&blob)).is_ok()
}

/// Gives a finished file its final name.
pub(crate) fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs_err::rename(temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(shard) = path.parent() {
                fs_err::create_dir_all(shard)?;
            }
            fs_err::rename(temporary, path)
        }
        other => other,
    }
}

/// Creates a file in `tmp`, and the folder when somebody has cleared the store meanwhile.
pub(crate) fn create(temporary: &Path) -> io::Result<fs_err::File> {
    match files::create_new(temporary) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = temporary.parent() {
                fs_err::create_dir_all(folder)?;
            }
            files::create_new(temporary)
        }
        other => other,
    }
}

fn verify_at(file: &FileRecord, path: &Path) -> Result<(), Refused> {
    files::verify(&FileRecord { path: path.to_owned(), ..file.clone() }).map_err(refused)
}

fn refused(error: CopyError) -> Refused {
    match error {
        CopyError::Contradicts { .. } => Refused::Offer(error.to_string()),
        CopyError::Io(error) => Refused::Store(error),
    }
}

fn told(file: &FileRecord, error: &io::Error) -> String {
    format!("{}: {}: {error}", file.name, file.path.display())
}
