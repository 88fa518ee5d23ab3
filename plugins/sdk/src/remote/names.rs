//! Under which names entries lie on any server.
//!
//! ```text
//! <prefix>/v1/outputs/<ab>/<key>        an entry record, by purpose
//! <prefix>/v1/inputs/<ab>/<key>
//! <prefix>/v1/<folder>/<ab>/<digest>    what a store keeps beside records
//! ```
//!
//! `<ab>` are the first two digits: servers that keep objects in folders stay quick.

use buildhook_protocol::{Digest, Key, Purpose};

/// The format of what lies there; another one lives beside it.
const FORMAT: &str = "v1";

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
    #[must_use]
    pub fn record(&self, key: &Key, purpose: Purpose) -> String {
        let folder = match purpose {
            Purpose::Inputs => "inputs",
            _ => "outputs",
        };
        self.object(folder, &key.0)
    }

    /// What is known by `digest` in one of the store's own folders.
    #[must_use]
    pub fn object(&self, folder: &str, digest: &Digest) -> String {
        let hex = digest.to_hex();
        format!("{}/{folder}/{}/{hex}", self.root, &hex[..2])
    }
}
