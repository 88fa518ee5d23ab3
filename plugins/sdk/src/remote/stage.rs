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

use super::inline::{fit, inline};
use crate::entry::{Encoding, Record, StoredFile};
use crate::files::{CopyError, open, read_verified, read_verified_from};
use crate::{Built, Call};

/// What an entry is stored under.
pub type EntryId = (Key, Purpose);

/// An entry to be uploaded.
#[derive(Debug)]
pub struct Staged {
    /// Its record, to be written last.
    pub record: Record,
    /// The content that is not in the record, each once.
    pub blobs: Vec<Blob>,
    /// What is in the store is not to be relied on.
    pub replace: bool,
}

/// Verified content that is not in the record.
#[derive(Debug)]
pub struct Blob {
    /// Of the content.
    pub digest: Digest,
    /// Of the content, in bytes.
    pub size: u64,
    /// Stays as it is while it is open.
    pub content: File,
    /// An empty file without a name, for the content in compressed form.
    pub packed: Option<File>,
}

impl Staged {
    /// Takes the content of all files of `built`.
    ///
    /// # Errors
    /// A file cannot be read or is not what was promised, or there is no room for a copy.
    pub fn take(
        call: &Call,
        built: &Built,
        encoding: Encoding,
        replace: bool,
    ) -> Result<Self, CopyError> {
        let mut files = Vec::with_capacity(built.files.len());
        let mut blobs: Vec<Blob> = Vec::new();
        for (file, small) in built.files.iter().zip(fit(&built.files)) {
            if small {
                let mut content = Vec::new();
                read_verified(file, &mut content)?;
                files.push(inline(file, &content));
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
            files.push(StoredFile { encoding, ..StoredFile::from(file) });
        }
        Ok(Self { record: Record::new(call, built, files), blobs, replace })
    }

    /// What the entry is stored under.
    #[must_use]
    pub fn id(&self) -> EntryId {
        (self.record.key, self.record.purpose)
    }

    /// Bytes of content that wait with it outside the record.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }
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
