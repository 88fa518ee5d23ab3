//! Verified reading and copying: what is written is what was hashed.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use buildhook_protocol::{Digest, FileRecord};
use rustix::fs::OFlags;

use crate::reflink::Reflinks;
use crate::temporary::Leftovers;

/// One read and write of this size; 64 KiB to 1 MiB make no difference that can be measured.
const BUFFER_BYTES: usize = 256 * 1024;
/// Smaller files are copied: a clone shares whole blocks and costs a change of metadata on
/// both sides. Not measured: no file system at hand could clone.
const CLONE_MIN_BYTES: u64 = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Why a source does not give what its record claims, or a copy of it cannot be made.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// There is no such file.
    Vanished,
    /// It is not what the record says.
    Differs(&'static str),
    /// It cannot be read.
    Source(io::Error),
    /// The copy cannot be written.
    Target(io::Error),
}

/// Copies files, and knows what it has found out about folders.
#[derive(Debug, Default)]
pub(crate) struct Copier {
    reflinks: Reflinks,
    pub(crate) leftovers: Leftovers,
}

/// Opens what `record` names: a regular file of the size claimed, not through a symbolic
/// link, and without waiting for the other end of a FIFO.
pub(crate) fn open(record: &FileRecord) -> Result<(File, std::fs::Metadata), CopyError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(&record.path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CopyError::Vanished,
            _ if is_symlink(&record.path) => CopyError::Differs("is a symbolic link"),
            _ => CopyError::Source(error),
        })?;
    let metadata = file.metadata().map_err(CopyError::Source)?;
    check(&metadata, record)?;
    Ok((file, metadata))
}

/// Whether metadata is that of a regular file of the size claimed.
pub(crate) fn check(metadata: &std::fs::Metadata, record: &FileRecord) -> Result<(), CopyError> {
    if !metadata.is_file() {
        return Err(CopyError::Differs("is not a regular file"));
    }
    if metadata.len() != record.size {
        return Err(CopyError::Differs("has another size than claimed"));
    }
    Ok(())
}

fn is_symlink(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink())
}

/// Reads `source` to its end and checks it against `record`.
pub(crate) fn verify(source: &File, record: &FileRecord) -> Result<(), CopyError> {
    pump(source, record, |_| Ok(()))
}

impl Copier {
    /// Copies `source` into the new, empty `target`, in one pass where the file system
    /// cannot share blocks, and checks it against `record`. On an error `target` holds
    /// anything.
    pub(crate) fn copy(
        &self,
        source: &File,
        target: &mut File,
        record: &FileRecord,
    ) -> Result<(), CopyError> {
        let clone = || self.reflinks.clone_into(source, target).map_err(CopyError::Target);
        if record.size >= CLONE_MIN_BYTES && clone()? {
            // The clone is hashed, not the source, which could change meanwhile.
            return verify(target, record);
        }
        pump(source, record, |chunk| target.write_all(chunk))
    }
}

/// Reads `source` to its end, hands each piece on, and checks size and digest.
fn pump(
    mut source: &File,
    record: &FileRecord,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), CopyError> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(BUFFER_BYTES, 0);
        let mut hasher = blake3::Hasher::new();
        let mut total = 0u64;
        loop {
            let read = match source.read(buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(CopyError::Source(error)),
            };
            total += read as u64;
            if total > record.size {
                return Err(CopyError::Differs("has another size than claimed"));
            }
            hasher.update(&buffer[..read]);
            sink(&buffer[..read]).map_err(CopyError::Target)?;
        }
        if total != record.size {
            return Err(CopyError::Differs("has another size than claimed"));
        }
        if Digest::from_bytes(*hasher.finalize().as_bytes()) != record.digest {
            return Err(CopyError::Differs("has another content than claimed"));
        }
        Ok(())
    })
}
