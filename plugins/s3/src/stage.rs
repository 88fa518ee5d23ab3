//! Takes the content of an entry while its request is in flight, so that it can be uploaded
//! afterwards.
//!
//! Small files are read into the record. Of the others, `shared` and `owned` ones are kept
//! open, which holds their content whatever becomes of their names; `borrowed` ones are
//! copied into files without a name on the file system of the scratch folder: the system
//! removes them with the process. All are verified here: a blob is never given the name of
//! other content.

use std::fs::File;
use std::io;

use buildhook_protocol::{Digest, FileRecord, Key, Lease, Purpose};
use buildhook_sdk::files::{CopyError, open, read_verified, read_verified_from};
use buildhook_sdk::{Built, Call};

use crate::record::{Encoding, MAX_INLINE_BYTES, Record, StoredFile};

/// An entry to be uploaded.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) record: Record,
    pub(crate) blobs: Vec<Blob>,
    /// What is in the bucket is not to be relied on.
    pub(crate) replace: bool,
}

/// Verified content that is not in the record.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) content: File,
    /// An empty file without a name, for the content in compressed form.
    pub(crate) packed: Option<File>,
}

impl Staged {
    /// Takes the content of all files of `built`.
    pub(crate) fn take(
        call: &Call,
        built: &Built,
        encoding: Encoding,
        replace: bool,
    ) -> Result<Self, CopyError> {
        let inline = fit_inline(&built.files);
        let mut files = Vec::with_capacity(built.files.len());
        let mut blobs: Vec<Blob> = Vec::new();
        for (file, inline) in built.files.iter().zip(inline) {
            if inline {
                let mut content = Vec::new();
                read_verified(file, &mut content)?;
                files.push(StoredFile::inline(file, &content));
                continue;
            }
            let content = hold(call, file)?;
            if !blobs.iter().any(|blob| blob.digest == file.digest) {
                let packed = match encoding {
                    Encoding::Plain => None,
                    Encoding::Zstd => Some(tempfile::tempfile_in(&call.scratch)?),
                };
                blobs.push(Blob { digest: file.digest, size: file.size, content, packed });
            }
            files.push(StoredFile::new(file, encoding));
        }
        let record = Record {
            key: call.key,
            purpose: call.purpose,
            seal: built.seal.clone(),
            cost_ms: built.cost_ms,
            files,
        };
        Ok(Self { record, blobs, replace })
    }

    /// What the entry is stored under.
    pub(crate) fn id(&self) -> (Key, Purpose) {
        (self.record.key, self.record.purpose)
    }

    /// Bytes of content that wait with it outside the record.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }
}

/// For each file whether it is to stand in the record: as many of the smallest as fit.
fn fit_inline(files: &[FileRecord]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|index| files[*index].size);
    let mut inline = vec![false; files.len()];
    let mut left = MAX_INLINE_BYTES;
    for index in order {
        let Some(rest) = left.checked_sub(files[index].size) else { break };
        left = rest;
        inline[index] = true;
    }
    inline
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

    #[test]
    fn the_smallest_files_stand_in_the_record() {
        let file = |size| FileRecord {
            name: EntryName::new("out/x").unwrap(),
            path: "/x".into(),
            size,
            digest: Digest::of(b""),
            executable: false,
            lease: Lease::Borrowed,
        };
        let half = MAX_INLINE_BYTES / 2;
        let files = [file(half + 1), file(0), file(half), file(MAX_INLINE_BYTES)];
        assert_eq!(fit_inline(&files), [false, true, true, false]);
        assert_eq!(fit_inline(&files[3..]), [true]);
    }
}
