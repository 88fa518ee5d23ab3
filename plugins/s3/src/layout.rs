//! Where things lie in the bucket.
//!
//! ```text
//! <prefix>/v1/outputs/<ab>/<key>         an entry record, by purpose
//! <prefix>/v1/inputs/<ab>/<key>
//! <prefix>/v1/blobs/<ab>/<digest>        content as it is
//! <prefix>/v1/blobs/<ab>/<digest>.zst    content compressed with zstd
//! <prefix>/v1/lists/<ab>/<digest>        what the builds of a workspace want
//! ```
//!
//! `<ab>` are the first two digits: servers that keep objects in folders stay quick. The
//! digest is always that of the content before compression.

use buildhook_protocol::{Digest, Key, Purpose};
use buildhook_sdk::entry::Encoding;
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

    /// The content with this digest.
    pub(crate) fn blob(&self, digest: &Digest, encoding: Encoding) -> String {
        let mut name = self.names.object("blobs", digest);
        if encoding == Encoding::Zstd {
            name.push_str(".zst");
        }
        name
    }

    /// The list that is called `id`.
    pub(crate) fn list(&self, id: &Digest) -> String {
        self.names.object("lists", id)
    }

    /// The name of an object without what all have in common.
    pub(crate) fn relative<'a>(&self, object: &'a str) -> Option<&'a str> {
        object.strip_prefix(self.names.root())?.strip_prefix('/')
    }

    /// The opposite of [`relative`](Self::relative).
    pub(crate) fn absolute(&self, name: &str) -> String {
        format!("{}/{name}", self.names.root())
    }
}
