//! A file that several processes append to and that is bounded.
//!
//! Each line is one write to a file opened for appending, so lines do not mix. To rename the
//! file away, a process holds a lock on it and makes sure that it still has its name; one that
//! does not get the lock appends and leaves that to the other. Nobody ever waits.

use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use fs_err::{File, OpenOptions};

/// See the module.
pub(crate) struct WantsFile {
    path: PathBuf,
    max_bytes: u64,
    file: File,
}

impl WantsFile {
    pub(crate) fn open(path: PathBuf, max_bytes: u64) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self { path, max_bytes, file })
    }

    /// Appends `line`, which holds no line feed.
    pub(crate) fn append(&mut self, line: &str) -> io::Result<()> {
        if !self.has_its_name() {
            self.file = open(&self.path)?;
        }
        let size = self.file.metadata()?.len();
        if size > 0 && size + line.len() as u64 >= self.max_bytes {
            self.begin_anew()?;
        }
        self.file.write_all(format!("{line}\n").as_bytes())
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        // Let go when the file is closed below.
        if self.file.file().try_lock().is_err() {
            return Ok(());
        }
        if self.has_its_name() {
            let mut old = self.path.clone().into_os_string();
            old.push(".1");
            fs_err::rename(&self.path, old)?;
        }
        self.file = open(&self.path)?;
        Ok(())
    }

    /// Whether nobody has renamed or removed the file since it was opened.
    fn has_its_name(&self) -> bool {
        let (Ok(named), Ok(open)) = (fs_err::metadata(&self.path), self.file.metadata()) else {
            return false;
        };
        (named.dev(), named.ino()) == (open.dev(), open.ino())
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many writers at once: the files stay bounded, and every line in them is whole.
    #[test]
    fn writers_share_a_bounded_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wants.jsonl");
        let (max_bytes, line) = (4_000, "x".repeat(99));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut file = WantsFile::open(path.clone(), max_bytes).unwrap();
                    (0..200).for_each(|_| file.append(&line).unwrap());
                });
            }
        });
        let mut total = 0;
        for name in ["wants.jsonl", "wants.jsonl.1"] {
            let text = fs_err::read_to_string(dir.path().join(name)).unwrap();
            assert!(text.lines().all(|found| found == line), "{name}");
            total += text.len() as u64;
        }
        // Each of the others may add a line while one renames.
        assert!(total <= 2 * (max_bytes + 3 * 100), "{total} bytes");
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_was_taken_away_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wants.jsonl");
        let mut file = WantsFile::open(path.clone(), 4_000).unwrap();
        file.append("one").unwrap();
        fs_err::remove_file(&path).unwrap();
        file.append("two").unwrap();
        assert_eq!(fs_err::read_to_string(&path).unwrap(), "two\n");
    }
}
