//! The seal: binds an entry's files to its key (SPEC.md §11).

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::{Digest, FileRecord, Key};

/// Domain tag: no other text that buildhook hashes begins so.
const DOMAIN: &str = "buildhook-seal-v1\n";

/// What a seal looks like on the wire; opaque to plugins, so any text up to 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Seal(pub String);

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
