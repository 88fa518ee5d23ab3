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
use buildhook_sdk::remote::Names;

/// The names of objects below one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    names: Names,
}

impl Layout {
    /// Below `prefix`, which is empty or has neither a leading nor a trailing slash.
    pub(crate) fn new(prefix: &str) -> Self {
        Self { names: Names::new(prefix) }
    }

    /// The record of an entry.
    pub(crate) fn record(&self, key: &Key, purpose: Purpose) -> String {
        self.names.record(key, purpose)
    }

    /// One chunk of the content with this digest.
    pub(crate) fn chunk(&self, digest: &Digest, number: u64) -> String {
        format!("{}.{number}", self.names.object("blobs", digest))
    }
}
