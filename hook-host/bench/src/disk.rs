//! What builds leave on the disk.
//!
//! Known gap: files that share blocks by reflink count as often as they have names of
//! their own inode; no file system tells cheaply which blocks are shared.

use std::collections::HashSet;
use std::io;
use std::path::Path;

/// Bytes allocated below folders; a file with several names counts once.
#[derive(Default)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    seen: HashSet<(u64, u64)>,
}

impl Usage {
    /// Adds what is in `folder`, which may be a link or not there.
    pub(crate) fn add(&mut self, folder: &Path) -> io::Result<()> {
        let Ok(folder) = std::fs::canonicalize(folder) else {
            return Ok(());
        };
        let mut next = vec![folder];
        while let Some(folder) = next.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    next.push(entry.path());
                }
                self.count(&metadata);
            }
        }
        Ok(())
    }

    #[cfg(unix)]
    fn count(&mut self, metadata: &std::fs::Metadata) {
        use std::os::unix::fs::MetadataExt as _;
        /// What `st_blocks` counts in, whatever the file system's blocks are.
        const BLOCK_BYTES: u64 = 512;
        if self.seen.insert((metadata.dev(), metadata.ino())) {
            self.bytes += metadata.blocks() * BLOCK_BYTES;
        }
    }

    #[cfg(not(unix))]
    fn count(&mut self, metadata: &std::fs::Metadata) {
        self.bytes += metadata.len();
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("a/b");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("one"), vec![1; 100_000]).unwrap();
        let usage = |paths: &[&Path]| {
            let mut usage = Usage::default();
            for path in paths {
                usage.add(path).unwrap();
            }
            usage.bytes
        };
        let before = usage(&[temp.path()]);
        assert!(before >= 100_000);
        std::fs::hard_link(folder.join("one"), folder.join("two")).unwrap();
        std::os::unix::fs::symlink(&folder, temp.path().join("link")).unwrap();
        let link = temp.path().join("link");
        let after = usage(&[temp.path(), &folder, &link, &temp.path().join("none")]);
        assert!(after < before + 100_000, "{before} {after}");
    }
}
