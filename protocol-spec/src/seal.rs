//! The seal: binds an entry's files to its key (SPEC.md §11).

use std::fmt::Write as _;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::limits::MAX_SEAL_BYTES;
use crate::{Digest, FileRecord, Key};

/// Domain tag: no other text that buildhook hashes begins so.
const DOMAIN: &str = "buildhook-seal-v1\n";

/// What a seal looks like on the wire; opaque to plugins, so any text of 1 to 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Seal(
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_SEAL_BYTES)))] pub String,
);

impl<'de> Deserialize<'de> for Seal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() || text.len() > MAX_SEAL_BYTES {
            return Err(D::Error::custom("a seal has 1 to 256 bytes"));
        }
        Ok(Self(text))
    }
}

/// The seal of the host's files (`out/…`, `log/…`) among `files` under `key`.
#[must_use]
pub fn seal(key: &Key, files: &[FileRecord]) -> Seal {
    let mut own: Vec<_> = files.iter().filter(|file| file.name.is_host_owned()).collect();
    own.sort_by(|a, b| a.name.cmp(&b.name));
    let mut text = format!("{DOMAIN}{key}\n");
    for file in own {
        let executable = if file.executable { 'x' } else { '-' };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} {} {executable} {}", file.size, file.digest, file.name);
    }
    Seal(Digest::of(text.as_bytes()).to_string())
}
