//! Takes the content of an entry while its request is in flight, so that it can be uploaded
//! afterwards.
//!
//! The smallest files are read into memory. Of the others, `shared` and `owned` ones are kept
//! open, which holds their content whatever becomes of their names; `borrowed` ones are
//! copied into files without a name on the file system of the scratch folder: the system
//! removes them with the process. All are verified here: content is never stored as what it
//! is not.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use buildhook_protocol::{Digest, FileRecord, Key, Lease, Purpose};

use super::content::encode;
use crate::entry::{Encoding, Pack, Record, StoredFile};
use crate::files::{CopyError, Hashed, open, read_verified, read_verified_from};
use crate::{Built, Call};

/// Most content of small files that waits in memory with one entry, in bytes; it stands behind
/// the record whatever becomes of the others.
const MAX_SMALL_BYTES: u64 = 128 * 1024;
/// Longest content that stands behind the record, in bytes as it is kept. Of 104 units of a
/// service it is enough for 97 (1 MiB for 81: build scripts come to about as much). At
/// 100 Mbit/s it takes 168 ms; more is worth being stored once when several entries hold it.
const MAX_BEHIND_BYTES: u64 = 2 * 1024 * 1024;

/// What an entry is stored under.
pub(super) type EntryId = (Key, Purpose);

/// An entry to be uploaded.
#[derive(Debug)]
pub(super) struct Staged {
    record: Record,
    level: Option<i32>,
    /// What is in the store is not to be relied on.
    pub(super) replace: bool,
    /// The content of the first files, one after the other.
    small: Vec<u8>,
    /// That of the others.
    large: Option<Large>,
}

/// Content that is not in memory.
#[derive(Debug)]
struct Large {
    /// How many of the last files it is for.
    files: usize,
    /// In the order of the files, each content once; stays as it is while it is open.
    contents: Vec<File>,
    size: u64,
    /// An empty file without a name, for all of it in the form in which it is kept.
    packed: File,
}

/// An entry as objects of the store.
#[derive(Debug)]
pub(super) struct Packed {
    /// The record, and the content that stands behind it.
    pub(super) object: Vec<u8>,
    /// What stands elsewhere.
    pub(super) pack: Option<(Pack, File)>,
}

impl Staged {
    /// Takes the content of all files of `built`.
    ///
    /// # Errors
    /// A file cannot be read or is not what was promised, or there is no room for a copy.
    pub(super) fn take(
        call: &Call,
        built: &Built,
        level: Option<i32>,
        replace: bool,
    ) -> Result<Self, CopyError> {
        let mut files: Vec<&FileRecord> = built.files.iter().collect();
        // The same content side by side, and what another file begins with before it.
        files.sort_by_key(|file| (file.size, file.digest));
        let (small_files, large_files) = files.split_at(smallest(&files));
        let mut small = Vec::new();
        for file in unique(small_files) {
            read_verified(file, &mut small)?;
        }
        let large = match large_files {
            [] => None,
            files => Some(Large::take(call, files)?),
        };
        let stored = files.into_iter().map(StoredFile::from).collect();
        let encoding = level.map_or(Encoding::Plain, |_| Encoding::Zstd);
        let record = Record { encoding, ..Record::new(call, built, stored) };
        Ok(Self { record, level, replace, small, large })
    }

    /// What the entry is stored under.
    pub(super) fn id(&self) -> EntryId {
        (self.record.key, self.record.purpose)
    }

    /// Files that are open while it waits.
    pub(super) fn open_files(&self) -> usize {
        self.large.as_ref().map_or(0, |large| large.contents.len() + 1)
    }

    /// Bytes of content that wait with it outside of memory.
    pub(super) fn size_bytes(&self) -> u64 {
        self.large.as_ref().map_or(0, |large| large.size)
    }

    /// The longest that its record and what always stands behind it can be.
    pub(super) fn least_bytes(&self) -> u64 {
        let small = zstd::zstd_safe::compress_bound(self.small.len());
        (self.record.encode().len() + small) as u64
    }

    /// Puts all content into the form in which it is kept, and behind the record what does not
    /// make an object of more than `max_bytes`.
    pub(super) fn pack(mut self, max_bytes: u64) -> io::Result<Packed> {
        let mut behind = Vec::new();
        let size = self.small.len() as u64;
        encode(&mut behind, size, self.level, |sink| sink.write_all(&self.small))?;
        let mut pack = None;
        if let Some(large) = self.large {
            let files = large.files;
            let (mut content, digest, size) = large.pack(self.level)?;
            let room = max_bytes.saturating_sub((self.record.encode().len() + behind.len()) as u64);
            if size <= MAX_BEHIND_BYTES.min(room) {
                content.read_to_end(&mut behind)?;
            } else {
                self.record.pack = Some(Pack { digest, size, files });
                pack = self.record.pack.map(|pack| (pack, content));
            }
        }
        let mut object = self.record.encode();
        object.append(&mut behind);
        Ok(Packed { object, pack })
    }
}

impl Large {
    fn take(call: &Call, files: &[&FileRecord]) -> Result<Self, CopyError> {
        let mut large = Self {
            files: files.len(),
            contents: Vec::new(),
            size: 0,
            packed: tempfile::tempfile_in(&call.scratch)?,
        };
        for file in unique(files) {
            large.contents.push(hold(call, file)?);
            large.size += file.size;
        }
        Ok(large)
    }

    /// Its content as it is kept, from the start, with digest and size.
    fn pack(self, level: Option<i32>) -> io::Result<(File, Digest, u64)> {
        let mut sink = Hashed::new(&self.packed);
        encode(&mut sink, self.size, level, |sink| {
            for mut content in &self.contents {
                content.rewind()?;
                io::copy(&mut content, sink)?;
            }
            Ok(())
        })?;
        let (digest, size) = sink.finish();
        let mut packed = self.packed;
        packed.rewind()?;
        Ok((packed, digest, size))
    }
}

/// How many of `files`, which are in the order of their sizes, are kept in memory.
fn smallest(files: &[&FileRecord]) -> usize {
    let mut left = MAX_SMALL_BYTES;
    let fits = |file: &&&FileRecord| {
        let rest = left.checked_sub(file.size);
        left = rest.unwrap_or(0);
        rest.is_some()
    };
    files.iter().take_while(fits).count()
}

/// Each content once, where the same stands side by side.
fn unique<'a>(files: &'a [&FileRecord]) -> impl Iterator<Item = &'a FileRecord> {
    let is_first = |at: usize| at == 0 || files[at - 1].digest != files[at].digest;
    (0..files.len()).filter(move |at| is_first(*at)).map(|at| files[at])
}

/// The verified content of `file`, for as long as the handle is open.
fn hold(call: &Call, file: &FileRecord) -> Result<File, CopyError> {
    if file.lease == Lease::Borrowed {
        let copy = tempfile::tempfile_in(&call.scratch)?;
        read_verified(file, &copy)?;
        return Ok(copy);
    }
    let (content, _) = open(file)?.into_parts();
    read_verified_from(&content, file, io::sink())?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use buildhook_protocol::EntryName;

    fn file(size: u64, content: &[u8]) -> FileRecord {
        FileRecord {
            name: EntryName::new("out/x").unwrap(),
            path: "/x".into(),
            size,
            digest: Digest::of(content),
            executable: false,
            lease: Lease::Borrowed,
        }
    }

    #[test]
    fn the_smallest_files_wait_in_memory() {
        let half = MAX_SMALL_BYTES / 2;
        let files = [0, half, half, half + 1, 1].map(|size| file(size, b"abc"));
        let files: Vec<_> = files.iter().collect();
        // The last one comes too late: files are in the order of their sizes.
        assert_eq!(smallest(&files), 3);
        assert_eq!(smallest(&files[2..]), 1);
        assert_eq!(smallest(&[]), 0);
    }

    #[test]
    fn content_that_stands_side_by_side_is_taken_once() {
        let files = [file(1, b"a"), file(1, b"b"), file(1, b"b"), file(2, b"c")];
        let files: Vec<_> = files.iter().collect();
        let taken: Vec<_> = unique(&files).map(|file| file.digest).collect();
        assert_eq!(taken, [b"a", b"b", b"c"].map(|content| Digest::of(content)));
    }
}
