//! Where things are.

use std::path::{Path, PathBuf};

use buildhook_protocol::{Digest, Key, Purpose};
use buildhook_sdk::files::unique_name;

/// Marks an executable blob: the mode is the inode's, so it cannot share one with the other.
pub(crate) const EXECUTABLE_SUFFIX: &str = ".x";

/// The paths of one store.
#[derive(Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
    root: PathBuf,
}

impl Layout {
    /// `dir` is absolute.
    pub(crate) fn new(dir: PathBuf) -> Self {
        let root = dir.join("v1");
        Self { dir, root }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Everything of this version.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn blob(&self, digest: &Digest, executable: bool) -> PathBuf {
        let hex = digest.to_hex();
        let suffix = if executable { EXECUTABLE_SUFFIX } else { "" };
        self.blobs().join(&hex[..2]).join(format!("{hex}{suffix}"))
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(crate) fn entry(&self, purpose: Purpose, key: &Key) -> PathBuf {
        let hex = key.0.to_hex();
        self.entries(purpose).join(&hex[..2]).join(&hex)
    }

    pub(crate) fn entries(&self, purpose: Purpose) -> PathBuf {
        let folder = match purpose {
            Purpose::Inputs => "inputs",
            // The SDK lets no other purpose through.
            Purpose::Outputs | Purpose::Other => "outputs",
        };
        self.root.join("entries").join(folder)
    }

    /// A new name for a file that is being written.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.temporaries().join(unique_name())
    }

    pub(crate) fn temporaries(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Its length is the store's size.
    pub(crate) fn size(&self) -> PathBuf {
        self.root.join("size")
    }

    /// Locked by whoever evicts.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("collecting")
    }
}
