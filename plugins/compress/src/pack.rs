//! Compressing the files of an entry, and undoing it.

use std::io::{self, Write as _};
use std::path::Path;

use buildhook_sdk::Error;
use buildhook_sdk::files::{CopyError, Hashed, create_new, read_verified, unique_name};
use buildhook_sdk::protocol::{Digest, EntryName, FileRecord, Lease, Message};
use serde_json::Value;
use zstd::zstd_safe::get_frame_content_size;

/// The folder of this filter's names (BH-FILE-004).
const FOLDER: &str = "@zstd";
/// Smaller files are not compressed: a frame's header and the second name take as much.
const MIN_BYTES: u64 = 256;
/// Longest header of a zstd frame.
const HEADER_BYTES: u64 = 18;
/// The widest window that is read, as a power of two: level 19 needs 8 MiB (23).
const WINDOW_LOG_MAX: u32 = 24;

pub(crate) struct Packer {
    pub(crate) level: i32,
    pub(crate) max_size_bytes: u64,
}

/// What takes the place of one file; `None`: it stays.
pub(crate) type Change = Option<FileRecord>;

/// The files of a hit.
pub(crate) enum Unpacked {
    Whole(Vec<Change>),
    /// What is stored is not what was stored.
    Corrupt(String),
}

impl Packer {
    /// Compresses into `scratch`. `None`: one of the files cannot be marked as compressed and
    /// must be.
    pub(crate) fn pack(
        &self,
        scratch: &Path,
        files: &[FileRecord],
    ) -> Result<Option<Vec<Change>>, Error> {
        let total = files.iter().map(|file| file.size).fold(0, u64::saturating_add);
        let mut changes = Vec::with_capacity(files.len());
        for (number, file) in files.iter().enumerate() {
            // A name that looks as if we had made it would be taken for one on the way up.
            let must = file.name.strip_folder(FOLDER).is_some();
            let worth = file.size >= MIN_BYTES && total <= self.max_size_bytes;
            if !must && !worth {
                changes.push(None);
                continue;
            }
            let Ok(name) = EntryName::new(format!("{FOLDER}/{}", file.name)) else {
                if must {
                    return Ok(None);
                }
                changes.push(None);
                continue;
            };
            let path = scratch.join(format!("zstd-{number}"));
            let (digest, size) = self.compress(file, &path)?;
            if must || size < file.size {
                let lease = Lease::Borrowed;
                changes.push(Some(FileRecord { name, path, size, digest, lease, ..file.clone() }));
            } else {
                fs_err::remove_file(&path)?;
                changes.push(None);
            }
        }
        Ok(Some(changes))
    }

    /// Decompresses into `scratch` what was compressed.
    pub(crate) fn unpack(&self, scratch: &Path, files: &[FileRecord]) -> Result<Unpacked, Error> {
        let mut left = self.max_size_bytes;
        let mut changes = Vec::with_capacity(files.len());
        for file in files {
            let Some(name) = file.name.strip_folder(FOLDER) else {
                changes.push(None);
                continue;
            };
            let name = match EntryName::new(name) {
                Ok(name) => name,
                Err(error) => return Ok(Unpacked::Corrupt(format!("{}: {error}", file.name))),
            };
            let path = scratch.join(unique_name());
            let (digest, size) = match decompress(file, &path, left) {
                Ok(done) => done,
                Err(CopyError::Contradicts { what, .. }) => {
                    return Ok(Unpacked::Corrupt(format!("{}: {what}", file.name)));
                }
                Err(CopyError::Io(error)) if is_about_content(&error) => {
                    return Ok(Unpacked::Corrupt(format!("{}: {error}", file.name)));
                }
                Err(error) => return Err(error.into()),
            };
            left -= size;
            let lease = Lease::Owned;
            changes.push(Some(FileRecord { name, path, size, digest, lease, ..file.clone() }));
        }
        Ok(Unpacked::Whole(changes))
    }

    fn compress(&self, file: &FileRecord, path: &Path) -> Result<(Digest, u64), CopyError> {
        let sink = Hashed::new(create_new(path)?);
        let mut encoder = zstd::stream::write::Encoder::new(sink, self.level)?;
        encoder.set_pledged_src_size(Some(file.size))?;
        encoder.include_contentsize(true)?;
        read_verified(file, &mut encoder)?;
        Ok(encoder.finish()?.finish())
    }
}

/// Puts the changed records in the place of the old ones; members that nobody here knows stay.
pub(crate) fn apply(message: &mut Message, changes: Vec<Change>) {
    let Some(Value::Array(files)) = message.members_mut().get_mut("files") else { return };
    for (file, change) in files.iter_mut().zip(changes) {
        let (Value::Object(members), Some(change)) = (file, change) else { continue };
        members.insert("name".to_owned(), change.name.as_str().into());
        // The scratch folder's path is Unicode, and so is what was joined to it.
        members.insert("path".to_owned(), change.path.to_string_lossy().into());
        members.insert("size".to_owned(), change.size.into());
        members.insert("digest".to_owned(), change.digest.to_string().into());
        let lease = if change.lease == Lease::Owned { "owned" } else { "borrowed" };
        members.insert("lease".to_owned(), lease.into());
    }
}

/// Decompresses one file, to at most `limit` bytes.
fn decompress(file: &FileRecord, path: &Path, limit: u64) -> Result<(Digest, u64), CopyError> {
    let expected = content_size(file)?.filter(|size| *size <= limit).ok_or_else(|| {
        invalid("it does not say how large its content is, or that is more than --max-size")
    })?;
    let mut sink = Bounded { inner: Hashed::new(create_new(path)?), left: expected };
    {
        let mut decoder = zstd::stream::write::Decoder::new(&mut sink)?;
        // Whoever wrote it does not say how much memory reading takes.
        decoder.window_log_max(WINDOW_LOG_MAX)?;
        read_verified(file, &mut decoder)?;
        decoder.flush()?;
    }
    if sink.left > 0 {
        return Err(invalid("it is cut short").into());
    }
    Ok(sink.inner.finish())
}

/// What the frame's header says its content's size is.
fn content_size(file: &FileRecord) -> Result<Option<u64>, CopyError> {
    use std::io::Read as _;
    let mut header = Vec::new();
    buildhook_sdk::files::open(file)?.take(HEADER_BYTES).read_to_end(&mut header)?;
    Ok(get_frame_content_size(&header).ok().flatten())
}

/// zstd tells of damage in an `Other`, we in an `InvalidData`; all else is about files.
fn is_about_content(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Takes so many bytes and no more.
struct Bounded<W> {
    inner: W,
    left: u64,
}

impl<W: io::Write> io::Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(invalid("its content is larger than it says"));
        }
        let written = self.inner.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
