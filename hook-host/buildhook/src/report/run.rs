//! How the sessions below one `buildhook run` hand it their reports.
//!
//! `run` makes a folder and names it in the variable [`FOLDER_VARIABLE`]. Each session
//! that finds the variable holds a lock on a file of that folder for as long as it lives
//! ([`Membership`]) and leaves its report there. When the command has ended, `run` waits
//! until no lock is held, for a bounded time: a session that was killed lets go of its
//! lock, too, so nothing is waited for in vain.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fs_err as fs;

use super::{SessionReport, store};

/// Names the folder to the sessions; set by `buildhook run` only.
pub(crate) const FOLDER_VARIABLE: &str = "BUILDHOOK_RUN_FOLDER";
const LOCK_EXTENSION: &str = "lock";

/// A session's part in a `run`, to be held from before its first answer until it ends.
#[derive(Debug)]
pub(crate) struct Membership {
    folder: PathBuf,
    pid: u32,
    _lock: fs::File,
}

impl Membership {
    /// Joins the run whose folder this is.
    ///
    /// # Errors
    /// Those of the file system: the run has ended and its folder is gone, for example.
    pub(crate) fn join(folder: &Path, pid: u32) -> io::Result<Self> {
        let lock = fs::File::create(folder.join(format!("{pid}.{LOCK_EXTENSION}")))?;
        lock.file().lock()?;
        Ok(Self { folder: folder.to_path_buf(), pid, _lock: lock })
    }

    /// Leaves the report for `run` and lets go. A run that has waited long enough is gone, with its
    /// folder, which is not made anew.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn leave(self, report: &SessionReport) -> io::Result<()> {
        if self.folder.is_dir() { report.write_into(&self.folder, self.pid) } else { Ok(()) }
    }
}

/// Waits until all sessions of `folder` have ended, at most `limit`, and gives their
/// reports, oldest first, and how many sessions were still at work.
pub(crate) fn collect(folder: &Path, limit: Duration) -> io::Result<(Vec<SessionReport>, usize)> {
    let mut held = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == LOCK_EXTENSION) {
            let lock = fs::File::open(path)?;
            if lock.file().try_lock_shared().is_err() {
                held.push(lock);
            }
        }
    }
    let total = held.len();
    let (sender, released) = mpsc::channel();
    // One thread for each: the wait for a lock has no time limit of its own. A thread that
    // still waits when the limit has passed ends with the process.
    for lock in held {
        let sender = sender.clone();
        std::thread::spawn(move || {
            let outcome = lock.file().lock_shared();
            // The receiver is gone only when the limit has passed.
            let _ = sender.send(outcome);
        });
    }
    let deadline = Instant::now() + limit;
    let mut ended = 0;
    while ended < total {
        match released.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(outcome) => {
                outcome?;
                ended += 1;
            }
            Err(_) => break,
        }
    }
    Ok((store::read_all(folder), total - ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_each_session_and_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let early = Membership::join(folder.path(), 1).unwrap();
        let late = Membership::join(folder.path(), 2).unwrap();
        let report = |started_unix_ms| SessionReport { started_unix_ms, ..Default::default() };
        early.leave(&report(1)).unwrap();
        let (reports, at_work) = collect(folder.path(), Duration::from_millis(1)).unwrap();
        assert_eq!((reports.len(), at_work), (1, 1));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| collect(folder.path(), Duration::from_secs(60)).unwrap());
            late.leave(&report(2)).unwrap();
            let (reports, at_work) = waiter.join().unwrap();
            assert_eq!((reports, at_work), (vec![report(1), report(2)], 0));
        });
    }

    #[test]
    fn a_session_that_ends_after_its_run_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        let late = Membership::join(&run, 1).unwrap();
        fs::remove_dir_all(&run).unwrap();
        late.leave(&SessionReport::default()).unwrap();
        assert!(!run.exists());
    }

    #[test]
    fn a_session_that_died_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        drop(Membership::join(folder.path(), 1).unwrap());
        let (reports, at_work) = collect(folder.path(), Duration::from_secs(60)).unwrap();
        assert_eq!((reports.len(), at_work), (0, 0));
    }
}
