//! Where sessions have their sockets and records, and what killed ones leave there.
//!
//! Names begin with the owner (`<process number>-<start time>`), so whoever looks can tell
//! whether the build that a file belongs to is still there.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::owner::Owner;
use crate::environment::Environment;

/// Memory that can hold files, where there is such a thing.
const MEMORY: &str = "/dev/shm";
/// Begins the name of a session's folder in [`MEMORY`], which others use too.
const RECORDS_PREFIX: &str = "buildhook-";

/// A folder that nobody else can write to, with a path short enough for a socket.
pub(super) fn folder(env: &Environment) -> io::Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let folder = place(env);
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Ok(()) => return Ok(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let metadata = fs_err::symlink_metadata(&folder)?;
    if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 {
        let what = format!("{} is not a folder of this user alone", folder.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
    }
    Ok(folder)
}

fn place(env: &Environment) -> PathBuf {
    match env.absolute("XDG_RUNTIME_DIR") {
        Some(folder) if folder.is_dir() => folder.join("buildhook"),
        _ => {
            let user = rustix::process::getuid().as_raw();
            Path::new("/tmp").join(format!("buildhook-{user}"))
        }
    }
}

/// Where the recorder writes: in memory where that can be had, since every process of every
/// compile makes a file there. Removed with the session.
pub(super) struct Records(PathBuf);

impl Records {
    /// Named after the session's socket. What killed sessions have left is removed.
    pub(super) fn new(socket: &Path) -> Self {
        let memory = Path::new(MEMORY);
        let beside = socket.parent().unwrap_or(memory);
        sweep(memory, RECORDS_PREFIX);
        sweep(beside, "");
        let folder = if memory.is_dir() { memory } else { beside };
        let name = socket.file_stem().unwrap_or_default().to_string_lossy();
        let folder = folder.join(format!("{RECORDS_PREFIX}{name}"));
        // Made anew: nobody else's folder of that name is ever used.
        let _ = fs_err::remove_dir_all(&folder);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
        let fallback = || socket.with_extension("records");
        Self(if made.is_ok() { folder } else { fallback() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        // What a killed session leaves behind is swept by the next one.
        let _ = fs_err::remove_dir_all(&self.0);
    }
}

/// Removes what sessions whose build is over have left in `folder`.
fn sweep(folder: &Path, prefix: &str) {
    for entry in fs_err::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_over = owner_of(&path, prefix).is_some_and(|owner| !owner.lives());
        // Not a socket that is answered: that session is about to end by itself.
        if is_over && UnixStream::connect(&path).is_err() {
            // Another user's cannot be removed.
            let _ = fs_err::remove_dir_all(&path).or_else(|_| fs_err::remove_file(&path));
        }
    }
}

/// The process that a file belongs to, by its name: `<prefix><number>-<start time>-…`.
struct Named {
    pid: Pid,
    owner: String,
}

fn owner_of(path: &Path, prefix: &str) -> Option<Named> {
    let session = path.file_stem()?.to_str()?.strip_prefix(prefix)?;
    let (owner, _start) = session.rsplit_once('-')?;
    let (number, _) = owner.split_once('-')?;
    Some(Named { pid: Pid::from_raw(number.parse().ok()?)?, owner: owner.to_owned() })
}

impl Named {
    fn lives(&self) -> bool {
        Owner::of(self.pid).is_ok_and(|lives| lives.to_string() == self.owner)
    }
}

/// Sessions of this person that answer: those of builds at work, and those of builds that
/// are over.
#[derive(Default)]
pub(crate) struct Running {
    pub(crate) at_work: usize,
    pub(crate) left_over: usize,
}

/// Looks which sessions run.
pub(crate) fn running(env: &Environment) -> Running {
    let mut running = Running::default();
    for entry in fs_err::read_dir(place(env)).into_iter().flatten().flatten() {
        let path = entry.path();
        let Some(owner) = owner_of(&path, "") else { continue };
        if UnixStream::connect(&path).is_err() {
            continue;
        }
        match owner.lives() {
            true => running.at_work += 1,
            false => running.left_over += 1,
        }
    }
    running
}
