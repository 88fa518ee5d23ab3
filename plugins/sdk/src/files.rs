//! Copying with verification, and temporary names.
//!
//! Whoever puts other bytes in the place of a file, or keeps it for others, first makes sure
//! that it is the file that was promised (BH-FILT-008, BH-BUILT-007).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use buildhook_protocol::{Digest, FileRecord};
use fs_err::{File, OpenOptions};

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// It has another size or digest than its record says.
    #[error("{name}: {path} is not the file that was promised: {what}")]
    Contradicts {
        /// The file's name in the entry.
        name: String,
        /// Where it was read.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// It could not be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<CopyError> for crate::Error {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Io(error) => error.into(),
            contradiction @ CopyError::Contradicts { .. } => {
                Self::new(buildhook_protocol::ErrorKind::Other, contradiction.to_string())
            }
        }
    }
}

/// Opens the file of a record: a regular file, not a symbolic link, of the size it says.
///
/// # Errors
/// It is not there, not a regular file, or of another size.
pub fn open(record: &FileRecord) -> Result<File, CopyError> {
    let meta = fs_err::symlink_metadata(&record.path)?;
    if !meta.is_file() {
        return Err(contradicts(record, "it is not a regular file"));
    }
    let file = open_no_follow(&record.path)?;
    if file.metadata()?.len() != record.size {
        return Err(contradicts(record, "its size differs"));
    }
    Ok(file)
}

/// Reads the file of a record whole, through `sink`, and compares size and digest.
///
/// What `sink` did by the time of an error has to be thrown away by the caller.
///
/// # Errors
/// Those of [`open`], of `sink`, and [`CopyError::Contradicts`] for another digest.
pub fn read_verified(record: &FileRecord, sink: impl Write) -> Result<(), CopyError> {
    read_verified_from(open(record)?, record, sink)
}

/// [`read_verified`] for a file that is already open.
///
/// # Errors
/// Those of [`read_verified`].
pub fn read_verified_from(
    source: impl Read,
    record: &FileRecord,
    sink: impl Write,
) -> Result<(), CopyError> {
    let (digest, size) = copy_and_digest(source, sink)?;
    if size != record.size {
        return Err(contradicts(record, "its size changed while it was read"));
    }
    if digest != record.digest {
        return Err(contradicts(record, "its digest differs"));
    }
    Ok(())
}

/// Copies the file of a record to `target`, a new file, and verifies it in the same pass.
/// Nothing is left at `target` after an error.
///
/// # Errors
/// Those of [`read_verified`], and of making `target`.
pub fn copy_verified(record: &FileRecord, target: &Path) -> Result<(), CopyError> {
    let sink = create_new(target)?;
    read_verified(record, sink).inspect_err(|_| {
        // The error that counts is the first one.
        let _ = fs_err::remove_file(target);
    })
}

/// Compares the file of a record with its size and digest.
///
/// # Errors
/// Those of [`read_verified`].
pub fn verify(record: &FileRecord) -> Result<(), CopyError> {
    read_verified(record, io::sink())
}

/// The digest and size of what was copied from `source` to `sink`.
///
/// # Errors
/// Those of either.
pub fn copy_and_digest(source: impl Read, sink: impl Write) -> io::Result<(Digest, u64)> {
    Digest::of_reader(Tee { source, sink })
}

/// Creates the file `path`, which must not exist.
///
/// # Errors
/// It exists, or the folder cannot be written.
pub fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// A writer that also digests and counts what passes through it.
#[derive(Debug)]
pub struct Hashed<W> {
    inner: W,
    hasher: blake3::Hasher,
    size: u64,
}

impl<W: Write> Hashed<W> {
    /// Around `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: blake3::Hasher::new(), size: 0 }
    }

    /// The digest and size of what was written so far.
    #[must_use]
    pub fn finish(&self) -> (Digest, u64) {
        (Digest::from_bytes(*self.hasher.finalize().as_bytes()), self.size)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file name that no other process or thread chooses: 64 random bits and a counter.
#[must_use]
pub fn unique_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let random = RandomState::new().build_hasher().finish();
    format!("{random:016x}-{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

fn open_no_follow(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use fs_err::os::unix::fs::OpenOptionsExt as _;
        // A FIFO put in the file's place between the look and the opening must not hang us.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.custom_flags(flags.bits() as i32);
    }
    options.open(path)
}

fn contradicts(record: &FileRecord, what: &'static str) -> CopyError {
    CopyError::Contradicts {
        name: record.name.as_str().to_owned(),
        path: record.path.clone(),
        what,
    }
}

struct Tee<R, W> {
    source: R,
    sink: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.sink.write_all(&buffer[..read])?;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use buildhook_protocol::{EntryName, Lease};

    fn record(path: &Path, content: &[u8]) -> FileRecord {
        FileRecord {
            name: EntryName::new("out/x").unwrap(),
            path: path.to_owned(),
            size: content.len() as u64,
            digest: Digest::of(content),
            executable: false,
            lease: Lease::Borrowed,
        }
    }

    #[test]
    fn copies_what_was_promised_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        fs_err::write(&source, b"content").unwrap();

        copy_verified(&record(&source, b"content"), &target).unwrap();
        assert_eq!(fs_err::read(&target).unwrap(), b"content");
        fs_err::remove_file(&target).unwrap();

        for promised in [&b"other size"[..], b"CONTENT"] {
            let error = copy_verified(&record(&source, promised), &target).unwrap_err();
            assert!(matches!(error, CopyError::Contradicts { .. }), "{error}");
            assert!(!target.exists());
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_and_fifos_are_no_files() {
        let dir = tempfile::tempdir().unwrap();
        let (source, link) = (dir.path().join("source"), dir.path().join("link"));
        fs_err::write(&source, b"content").unwrap();
        fs_err::os::unix::fs::symlink(&source, &link).unwrap();
        assert!(verify(&record(&link, b"content")).is_err());

        let fifo = dir.path().join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(verify(&record(&fifo, b"")).is_err());
    }
}
