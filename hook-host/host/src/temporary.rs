//! Files on their way to a destination: made beside it under another name, then renamed.
//!
//! Whatever happens before the rename, the destination is as it was; a file that is not
//! renamed is removed. What a process that was killed has left is removed by the next one
//! that writes to the same folder.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use buildhook_protocol::FileRecord;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::copy::CopyError;
use crate::identity::Identity;
use crate::sync::lock;

/// Around the number of the process and that of the file in its names.
const PREFIX: &str = ".bh-";
const SUFFIX: &str = ".tmp";

/// A file that has no lasting name yet; removed unless published.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: Option<PathBuf>,
}

impl Temporary {
    /// A new empty file beside `destination`.
    pub(crate) fn create(destination: &Path, executable: bool) -> io::Result<(Self, File)> {
        let mode = if executable { 0o755 } else { 0o644 };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(mode);
        loop {
            let path = Self::name_beside(destination);
            match options.open(&path) {
                Ok(file) => return Ok((Self { path: Some(path) }, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The file of `record` itself, which is ours; `None` when it is on another file system.
    pub(crate) fn from_owned(
        record: &FileRecord,
        source: &File,
        destination: &Path,
    ) -> Result<Option<Self>, CopyError> {
        // The umask can only be read by changing it or by making a file: this one also keeps
        // the name free.
        let (temporary, placeholder) =
            Self::create(destination, record.executable).map_err(CopyError::Target)?;
        let permissions = placeholder.metadata().map_err(CopyError::Target)?.permissions();
        source.set_permissions(permissions).map_err(CopyError::Target)?;
        match fs::rename(&record.path, temporary.path()) {
            Ok(()) => {
                // The name may have changed hands since it was opened.
                let moved = fs::symlink_metadata(temporary.path()).map_err(CopyError::Target)?;
                let opened = source.metadata().map_err(CopyError::Source)?;
                if (moved.dev(), moved.ino()) != (opened.dev(), opened.ino()) {
                    return Err(CopyError::Differs("was replaced meanwhile"));
                }
                Ok(Some(temporary))
            }
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CopyError::Vanished),
            Err(error) => Err(CopyError::Target(error)),
        }
    }

    /// A hard link beside `destination` to the file at `source`.
    pub(crate) fn link(source: &Path, destination: &Path) -> io::Result<Self> {
        loop {
            let path = Self::name_beside(destination);
            match fs::hard_link(source, &path) {
                Ok(()) => return Ok(Self { path: Some(path) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or_else(|| Path::new(""))
    }

    /// Gives the file its lasting name and a fresh time.
    pub(crate) fn publish(self, destination: &Path) -> io::Result<Identity> {
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let times = Timestamps { last_access: now, last_modification: now };
        utimensat(CWD, self.path(), &times, AtFlags::SYMLINK_NOFOLLOW)?;
        self.rename(destination)?;
        fs::symlink_metadata(destination).map(|metadata| Identity::of(&metadata))
    }

    /// Gives the file its lasting name.
    pub(crate) fn rename(mut self, destination: &Path) -> io::Result<()> {
        fs::rename(self.path(), destination)?;
        self.path = None;
        Ok(())
    }

    /// A short name, so that any name that fits has room for it, new in this process.
    fn name_beside(destination: &Path) -> PathBuf {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        destination.with_file_name(format!("{PREFIX}{:x}-{number:x}{SUFFIX}", std::process::id()))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// The folders where what killed processes have left was looked for.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    swept: Mutex<HashSet<PathBuf>>,
}

impl Leftovers {
    /// Removes what is left beside `destination`, once for each folder. Never an error: it
    /// is only housekeeping.
    pub(crate) fn sweep_beside(&self, destination: &Path) {
        let Some(folder) = destination.parent() else { return };
        let mut swept = lock(&self.swept);
        if swept.contains(folder) {
            return;
        }
        swept.insert(folder.to_owned());
        drop(swept);
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let writer = entry.file_name().to_str().and_then(writer_of);
            if writer.is_some_and(|writer| test_kill_process(writer) == Err(Errno::SRCH)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The process that a temporary file of this name belongs to. In another process namespace
/// it can be a live one; its restore then fails, which is a miss.
fn writer_of(name: &str) -> Option<Pid> {
    let (writer, _number) = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.split_once('-')?;
    Pid::from_raw(i32::from_str_radix(writer, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_processes_have_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let name = |writer: u32| format!("{PREFIX}{writer:x}-7{SUFFIX}");
        let names = [name(dead), name(std::process::id()), ".bh-else.tmp".to_owned()];
        let [left, mine, foreign] = names.map(|name| dir.path().join(name));
        for path in [&left, &mine, &foreign] {
            fs::write(path, "x").unwrap();
        }
        let leftovers = Leftovers::default();
        let destination = dir.path().join("out");
        leftovers.sweep_beside(&destination);
        assert!(!left.exists() && mine.exists() && foreign.exists());
        // Only once: folders can be large.
        fs::write(&left, "x").unwrap();
        leftovers.sweep_beside(&destination);
        assert!(left.exists());
    }
}
