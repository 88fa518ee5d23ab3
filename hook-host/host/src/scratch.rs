//! Scratch folders: one for each request, removed with it, and nothing left for long by
//! a host that was killed.
//!
//! Layout under a scratch root: `h-<random>/` for each host, which holds a lock on that
//! folder for as long as it lives, and in it `r-<n>/` for each request. The first use of a
//! root removes the folders of hosts that are gone.
//!
//! Most requests leave their folder empty, and making one can take milliseconds where the
//! disk is busy, looking into one takes two microseconds: so an empty one serves again.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::sync::lock;

/// Folders younger than this are never swept: their host may not hold its lock yet.
const SWEEP_AGE: Duration = Duration::from_secs(600);
const HOST_PREFIX: &str = "h-";

/// The scratch folder of one request; emptied when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// Keeps the host's folder, and its lock, while a request is left.
    home: Arc<Home>,
}

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if is_empty(&self.path) {
            lock(&self.home.free).push(std::mem::take(&mut self.path));
        } else {
            // A plugin may have made folders that cannot be listed; the next host tries again.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Makes scratch folders under any number of roots.
#[derive(Debug, Default)]
pub(crate) struct ScratchRoots {
    homes: Mutex<HashMap<PathBuf, Arc<Home>>>,
}

impl ScratchRoots {
    /// An empty folder under `root`, which is made if need be.
    pub(crate) fn create(&self, root: &Path) -> io::Result<Scratch> {
        match self.home(root)?.scratch() {
            // Someone has removed the root, and perhaps all that is around it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                lock(&self.homes).remove(root);
                self.home(root)?.scratch()
            }
            result => result,
        }
    }

    fn home(&self, root: &Path) -> io::Result<Arc<Home>> {
        let mut homes = lock(&self.homes);
        if let Some(home) = homes.get(root) {
            return Ok(Arc::clone(home));
        }
        let home = Arc::new(Home::create(root)?);
        homes.insert(root.to_owned(), Arc::clone(&home));
        Ok(home)
    }
}

/// A host's own folder under one root.
#[derive(Debug)]
struct Home {
    path: PathBuf,
    /// Folders that are empty and of no request.
    free: Mutex<Vec<PathBuf>>,
    next: AtomicU64,
    _lock: File,
}

impl Home {
    fn create(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        // Absolute and without symbolic links: plugins get these paths, and what they call
        // `owned` is compared with them.
        let root = fs::canonicalize(root)?;
        sweep(&root);
        let path = loop {
            let path = root.join(format!("{HOST_PREFIX}{:016x}", random()));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        let lock = File::open(&path)?;
        // Fails only where the file system knows no locks; then age alone protects it.
        let _ = flock(&lock, FlockOperation::NonBlockingLockExclusive);
        Ok(Self { path, free: Mutex::default(), next: AtomicU64::new(0), _lock: lock })
    }

    fn scratch(self: Arc<Self>) -> io::Result<Scratch> {
        let free = lock(&self.free).pop();
        if let Some(path) = free.filter(|path| is_empty(path)) {
            return Ok(Scratch { path, home: self });
        }
        let path = self.path.join(format!("r-{}", self.next.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path)?;
        Ok(Scratch { path, home: self })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Whether there is a folder with nothing in it.
fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// Removes what hosts that are gone have left; never an error, it is only housekeeping.
fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        let is_host = entry.file_name().to_string_lossy().starts_with(HOST_PREFIX);
        let old = entry.metadata().and_then(|m| m.modified()).is_ok_and(|modified| {
            SystemTime::now().duration_since(modified).is_ok_and(|age| age > SWEEP_AGE)
        });
        if is_host && old && is_abandoned(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn is_abandoned(home: &Path) -> bool {
    File::open(home)
        .is_ok_and(|folder| flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok())
}

/// A number that no other process makes at the same time, from the standard library's
/// hash seeds.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one((std::process::id(), SystemTime::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_hosts_that_are_gone_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - SWEEP_AGE * 2;
        let make = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("left"), "x").unwrap();
            File::open(&path).unwrap().set_modified(old).unwrap();
            path
        };
        let (dead, alive, foreign) = (make("h-dead"), make("h-alive"), make("someone-elses"));
        let young = make("h-young");
        File::open(&young).unwrap().set_modified(SystemTime::now()).unwrap();
        let locked = File::open(&alive).unwrap();
        flock(&locked, FlockOperation::NonBlockingLockExclusive).unwrap();

        let roots = ScratchRoots::default();
        let scratch = roots.create(dir.path()).unwrap();
        assert!(!dead.exists());
        assert!(alive.exists() && foreign.exists() && young.exists());

        // In use for longer than the age, a host's own folder stays.
        let home = scratch.path().parent().unwrap().to_owned();
        File::open(&home).unwrap().set_modified(old).unwrap();
        let other = ScratchRoots::default();
        drop(other.create(dir.path()).unwrap());
        assert!(home.exists());
        drop((scratch, roots));
        assert!(!home.exists());
    }

    #[test]
    fn an_empty_folder_serves_again_and_a_used_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let roots = ScratchRoots::default();
        let first = roots.create(dir.path()).unwrap();
        let second = roots.create(dir.path()).unwrap();
        assert_ne!(first.path(), second.path());
        let (one, two) = (first.path().to_owned(), second.path().to_owned());
        fs::write(one.join("x"), "x").unwrap();
        drop((first, second));
        assert!(!one.exists());
        assert_eq!(roots.create(dir.path()).unwrap().path(), two);
        // Not if someone has put something there meanwhile.
        fs::write(two.join("x"), "x").unwrap();
        let third = roots.create(dir.path()).unwrap();
        assert!(is_empty(third.path()));
    }
}
