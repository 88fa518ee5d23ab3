//! The folder of a session: what the guest reads of a call, and where it writes.
//!
//! ```text
//! CACHE/sessions/<name>/           locked as long as its supervisor lives; mode 0700
//! CACHE/sessions/<name>/request/   copies of the files that a call names: `/request`
//! CACHE/sessions/<name>/scratch/   the guest's own: `/scratch`
//! ```
//!
//! A staged file is a new inode, a reflink or a copy: no name of it leads to a file of the
//! host's, whatever the guest does to it. Sessions whose supervisor was killed are removed by
//! the next one. One that has ended leaves its empty folders to the next, as `spare`: some file
//! systems take long for a new one where files have just been removed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use buildhook_sdk::files;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::{FlockOperation, OFlags};

use crate::policy::REQUEST;

/// The folder of a session that has ended.
const SPARE: &str = "spare";

/// The folder, and what the files in it stand for.
#[derive(Debug)]
pub(super) struct Stage {
    dir: PathBuf,
    /// Holds the lock.
    _lock: File,
    contents: bool,
    last: u64,
    /// By guest path: the file's place, and the word for its lease.
    origins: HashMap<String, (String, String)>,
}

impl Stage {
    /// A new folder below `cache`; with `contents`, files are staged, else only their names.
    pub(super) fn new(cache: &Path, contents: bool) -> io::Result<Self> {
        let sessions = cache.join("sessions");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&sessions)?;
        sweep(&sessions)?;
        let (dir, lock) = loop {
            let dir = sessions.join(files::unique_name());
            if std::fs::rename(sessions.join(SPARE), &dir).is_err() {
                std::fs::DirBuilder::new().mode(0o700).create(&dir)?;
            }
            // Another supervisor may take it for one that was left, and remove it.
            if let Some(lock) = lock(&dir)
                && dir.is_dir()
            {
                break (dir, lock);
            }
        };
        let stage = Self { dir, _lock: lock, contents, last: 0, origins: HashMap::new() };
        make_empty(&stage.request())?;
        make_empty(&stage.scratch())?;
        Ok(stage)
    }

    pub(super) fn request(&self) -> PathBuf {
        self.dir.join("request")
    }

    pub(super) fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }

    /// Makes the file at `path` readable for the guest; returns the guest's name for it. A
    /// file that cannot be had has a name all the same: opening it fails, as it would for a
    /// native plugin.
    pub(super) fn add(&mut self, path: &str, size: u64, lease: &str) -> String {
        self.last += 1;
        let staged = self.request().join(self.last.to_string());
        if self.contents && copy(Path::new(path), size, &staged).is_err() {
            // Half a file is none.
            let _ = fs_err::remove_file(&staged);
        }
        let guest = format!("{REQUEST}/{}", self.last);
        self.origins.insert(guest.clone(), (path.to_owned(), lease.to_owned()));
        guest
    }

    /// The file that a guest's path stands for, and its lease.
    pub(super) fn origin(&self, guest: &str) -> Option<&(String, String)> {
        self.origins.get(guest)
    }

    /// After a call: removes what it left.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        if !self.origins.is_empty() {
            self.origins.clear();
            empty(&self.request())?;
        }
        empty(&self.scratch())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let spare = self.dir.with_file_name(SPARE);
        // There may be one.
        if self.clear().is_err() || std::fs::rename(&self.dir, spare).is_err() {
            // What cannot be removed is swept by a later session.
            let _ = remove(&self.dir);
        }
    }
}

/// Copies up to `size` bytes of a regular file into a new inode.
fn copy(from: &Path, size: u64, to: &Path) -> io::Result<()> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let source = fs_err::OpenOptions::new().read(true).custom_flags(flags).open(from)?;
    if !source.metadata()?.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    copy_open(source.file(), size, to, 0o400)
}

/// Copies up to `size` bytes of `source` into a new file at `to`.
pub(super) fn copy_open(source: &File, size: u64, to: &Path, mode: u32) -> io::Result<()> {
    let mut target =
        std::fs::OpenOptions::new().write(true).create_new(true).mode_of(mode).open(to)?;
    if reflink(source, &target) {
        // A source that has grown since it was looked at.
        return if target.metadata()?.len() > size { target.set_len(size) } else { Ok(()) };
    }
    io::copy(&mut source.take(size), &mut target)?;
    Ok(())
}

/// `OpenOptions::mode` under a name that `fs_err`'s trait does not hide.
trait ModeOf {
    fn mode_of(&mut self, mode: u32) -> &mut Self;
}

impl ModeOf for std::fs::OpenOptions {
    fn mode_of(&mut self, mode: u32) -> &mut Self {
        std::os::unix::fs::OpenOptionsExt::mode(self, mode)
    }
}

#[cfg(target_os = "linux")]
fn reflink(source: &File, target: &File) -> bool {
    rustix::fs::ioctl_ficlone(target, source).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn reflink(_: &File, _: &File) -> bool {
    false
}

/// The lock on `dir`, if nobody has it.
fn lock(dir: &Path) -> Option<File> {
    let file = File::open(dir).ok()?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

/// Removes the folders of supervisors that are no more.
fn sweep(sessions: &Path) -> io::Result<()> {
    for item in fs_err::read_dir(sessions)? {
        let path = item?.path();
        if !path.ends_with(SPARE)
            && let Some(_lock) = lock(&path)
        {
            // It may be somebody else's, who is at it as well.
            let _ = remove(&path);
        }
    }
    Ok(())
}

fn remove(dir: &Path) -> io::Result<()> {
    for inner in ["request", "scratch"] {
        let inner = dir.join(inner);
        if inner.is_dir() {
            empty(&inner)?;
            fs_err::remove_dir(inner)?;
        }
    }
    fs_err::remove_dir(dir)
}

/// Makes the folder `dir`, or empties it.
fn make_empty(dir: &Path) -> io::Result<()> {
    match fs_err::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => empty(dir),
        other => other,
    }
}

/// Removes everything in `dir`, however deep a guest has nested it: folders are emptied into
/// `dir` itself, so no path gets longer and no descriptor stays open.
fn empty(dir: &Path) -> io::Result<()> {
    loop {
        let mut some = false;
        for item in fs_err::read_dir(dir)? {
            let item = item?;
            some = true;
            if !item.file_type()?.is_dir() {
                fs_err::remove_file(item.path())?;
                continue;
            }
            for inner in fs_err::read_dir(item.path())? {
                fs_err::rename(inner?.path(), dir.join(files::unique_name()))?;
            }
            fs_err::remove_dir(item.path())?;
        }
        if !some {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_staged_file_is_another_inode_and_goes_with_the_call() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs_err::write(&source, "content").unwrap();
        let mut stage = Stage::new(dir.path(), true).unwrap();
        let guest = stage.add(source.to_str().unwrap(), 7, "borrowed");
        let staged = stage.request().join(guest.rsplit('/').next().unwrap());
        assert_eq!(fs_err::read(&staged).unwrap(), b"content");
        let inode = |path: &Path| fs_err::metadata(path).unwrap().ino();
        assert_ne!(inode(&staged), inode(&source));
        assert_eq!(stage.origin(&guest).unwrap().0, source.to_str().unwrap());
        stage.clear().unwrap();
        assert!(!staged.exists() && stage.origin(&guest).is_none());
    }

    #[test]
    fn links_and_other_kinds_are_not_staged() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        let mut stage = Stage::new(dir.path(), true).unwrap();
        for path in [link.to_str().unwrap(), "/dev/zero", "/nowhere"] {
            let _ = stage.add(path, 1 << 20, "borrowed");
        }
        assert_eq!(fs_err::read_dir(stage.request()).unwrap().count(), 0);
    }

    #[test]
    fn a_deep_nest_is_removed_and_killed_sessions_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let mut stage = Stage::new(dir.path(), true).unwrap();
        let mut deep =
            cap_std::fs::Dir::open_ambient_dir(stage.scratch(), cap_std::ambient_authority())
                .unwrap();
        for _ in 0..3000 {
            deep.create_dir("d").unwrap();
            deep = deep.open_dir("d").unwrap();
        }
        deep.write("file", b"x").unwrap();
        stage.clear().unwrap();
        assert_eq!(fs_err::read_dir(stage.scratch()).unwrap().count(), 0);

        let left = dir.path().join("sessions/left");
        fs_err::create_dir_all(left.join("scratch/a/b")).unwrap();
        let other = Stage::new(dir.path(), true).unwrap();
        assert!(!left.exists() && stage.scratch().exists());
        drop((stage, other));
        let names = || {
            let items = fs_err::read_dir(dir.path().join("sessions")).unwrap();
            items.map(|item| item.unwrap().file_name()).collect::<Vec<_>>()
        };
        assert_eq!(names(), [SPARE]);
    }

    #[test]
    fn a_session_takes_over_the_folders_of_one_that_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let stage = Stage::new(dir.path(), true).unwrap();
        let inode = |stage: &Stage| fs_err::metadata(stage.scratch()).unwrap().ino();
        let first = inode(&stage);
        fs_err::write(stage.scratch().join("left"), "").unwrap();
        drop(stage);
        let spare = dir.path().join("sessions").join(SPARE);
        assert_eq!(fs_err::read_dir(spare.join("scratch")).unwrap().count(), 0);
        // Whatever has become of it.
        fs_err::write(spare.join("scratch/more"), "").unwrap();
        fs_err::remove_dir(spare.join("request")).unwrap();
        let stage = Stage::new(dir.path(), true).unwrap();
        assert_eq!(inode(&stage), first);
        assert_eq!(fs_err::read_dir(stage.scratch()).unwrap().count(), 0);
        assert!(stage.request().is_dir() && !spare.exists());
    }
}
