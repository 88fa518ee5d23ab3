//! Under which names things lie.
//!
//! ```text
//! <prefix>/v1/outputs/<ab>/<key>          an entry record, by purpose
//! <prefix>/v1/inputs/<ab>/<key>
//! <prefix>/v1/blobs/<ab>/<digest>.<n>     chunk n of content, from 0
//! ```
//!
//! `<ab>` are the first two digits: servers that keep objects in folders stay quick. Chunks
//! have one size by service, which belongs to the format: whoever reads must know it.

use buildhook_protocol::{Digest, Key, Purpose};

/// The format of records and chunks; another one lives beside it.
const FORMAT: &str = "v1";

/// The names of objects below one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: String,
}

impl Layout {
    /// Below `prefix`, which is empty or has neither a leading nor a trailing slash.
    pub(crate) fn new(prefix: &str) -> Self {
        let root = if prefix.is_empty() { FORMAT.to_owned() } else { format!("{prefix}/{FORMAT}") };
        Self { root }
    }

    /// The record of an entry.
    pub(crate) fn record(&self, key: &Key, purpose: Purpose) -> String {
        let folder = match purpose {
            Purpose::Inputs => "inputs",
            _ => "outputs",
        };
        self.object(folder, &key.0)
    }

    /// One chunk of the content with this digest.
    pub(crate) fn chunk(&self, digest: &Digest, number: u64) -> String {
        format!("{}.{number}", self.object("blobs", digest))
    }

    fn object(&self, folder: &str, digest: &Digest) -> String {
        let hex = digest.to_hex();
        format!("{}/{folder}/{}/{hex}", self.root, &hex[..2])
    }
}
