//! File records (SPEC.md §4).

use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::{MAX_FILES, MAX_INTEGER};
use crate::name::{NameError, check_unique};
use crate::{Digest, EntryName};

/// One file of an entry (SPEC.md §4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub struct FileRecord {
    /// Its name within the entry.
    pub name: EntryName,
    /// Where it is now; absolute.
    #[serde(deserialize_with = "absolute")]
    pub path: PathBuf,
    /// Bytes.
    #[cfg_attr(feature = "schema", schemars(range(max = MAX_INTEGER)))]
    pub size: u64,
    /// Of the content, as claimed by the sender.
    pub digest: Digest,
    /// Whether the owner may execute it.
    pub executable: bool,
    /// What the receiver may do with the file at `path`.
    pub lease: Lease,
}

/// What the receiver may do with a file (BH-FILE-006 to 009).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Lease {
    /// Read it, for a while.
    Borrowed,
    /// Read or hard-link it, as long as it is there; never write.
    Shared,
    /// It is yours; it lies in the request's scratch folder.
    Owned,
}

pub(super) fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.contains('\0') {
        return Err(D::Error::custom("a path holds U+0000"));
    }
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(D::Error::custom("a path is not absolute")) }
}

/// The rules for all records of one list: number, unique names, sizes.
pub(super) fn check_files(files: &[FileRecord]) -> Result<(), &'static str> {
    if files.len() > MAX_FILES {
        return Err("more than 16384 file records");
    }
    if files.iter().any(|file| file.size > MAX_INTEGER) {
        return Err("a size is above 2^53 - 1");
    }
    check_unique(files.iter().map(|file| &file.name)).map_err(|error| match error {
        NameError::Folder => "a name of an entry is a folder of another one",
        _ => "two names of one entry are the same, or differ in case only",
    })
}
