//! Under which names entries lie on any server.
//!
//! ```text
//! <prefix>/v2/outputs/<ab>/<key>        an entry's record and content, by purpose
//! <prefix>/v2/inputs/<ab>/<key>
//! <prefix>/v2/packs/<ab>/<digest>       content that is too long to stand behind a record
//! <prefix>/v2/<folder>/<ab>/<digest>    what a store keeps beside them
//! ```
//!
//! `<ab>` are the first two digits: servers that keep objects in folders stay quick. The
//! digest of a pack is that of the object's bytes, so no two writers can disagree on them.
//!
//! In `v1` each file was an object of its own.

use buildhook_protocol::{Digest, Key, Purpose};

/// The format of what lies there; another one lives beside it.
const FORMAT: &str = "v2";

/// The names of objects below one prefix.
#[derive(Debug, Clone)]
pub struct Names {
    root: String,
}

impl Names {
    /// Below `prefix`, which is empty or has neither a leading nor a trailing slash.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let root = if prefix.is_empty() { FORMAT.to_owned() } else { format!("{prefix}/{FORMAT}") };
        Self { root }
    }

    /// The beginning that all names have in common, without a slash behind it.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The record of an entry.
    pub(super) fn record(&self, key: &Key, purpose: Purpose) -> String {
        let folder = match purpose {
            Purpose::Inputs => "inputs",
            _ => "outputs",
        };
        self.object(folder, &key.0)
    }

    /// Content of an entry with this digest.
    pub(super) fn pack(&self, digest: &Digest) -> String {
        self.object("packs", digest)
    }

    /// What is known by `digest` in one of the store's own folders.
    #[must_use]
    pub fn object(&self, folder: &str, digest: &Digest) -> String {
        let hex = digest.to_hex();
        format!("{}/{folder}/{}/{hex}", self.root, &hex[..2])
    }
}
