//! Entries that are written in the background.
//!
//! What waits is bounded in entries, open files and bytes; what comes on top is not stored,
//! and counted: a slow link must not slow a build. Entries of one key are written one after
//! the other, so the last one stays. Threads exist only while there is something to write.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Told;
use super::stage::{EntryId, Staged};
use crate::Deadline;

/// Entries written at once.
const MAX_WORKERS: usize = 8;
/// Files that are open for what waits: 1,024 is a common limit.
const MAX_OPEN_FILES: usize = 512;
/// Entries that may wait, with up to 130 kB of record and small files each.
const MAX_WAITING_ENTRIES: usize = 512;
/// Content that may wait, in bytes: what is copied takes room on the disk.
const MAX_WAITING_BYTES: u64 = 4_000_000_000;

/// The background of a session.
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    write: Box<dyn Fn(Staged) -> bool + Send + Sync>,
    told: Arc<Told>,
    state: Mutex<State>,
    changed: Condvar,
    not_stored: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Staged>,
    running: HashSet<EntryId>,
    /// Waiting or running, by entry.
    pending: HashMap<EntryId, u32>,
    open_files: usize,
    bytes: u64,
    workers: usize,
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Queue").field(&self.0.state).finish()
    }
}

impl Queue {
    /// `write` writes one entry, and says whether it is there; it tells why not itself.
    pub(super) fn new(
        told: Arc<Told>,
        write: impl Fn(Staged) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Shared {
            write: Box::new(write),
            told,
            state: Mutex::default(),
            changed: Condvar::new(),
            not_stored: AtomicU64::new(0),
        }))
    }

    /// Counts an entry that is not stored.
    pub(super) fn count_not_stored(&self) {
        self.0.not_stored.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more entry may wait.
    pub(super) fn has_room(&self) -> bool {
        let state = self.0.state();
        state.queue.len() < MAX_WAITING_ENTRIES
            && state.open_files < MAX_OPEN_FILES
            && state.bytes < MAX_WAITING_BYTES
    }

    /// Writes `entry` later; false when no thread can be started for it.
    pub(super) fn submit(&self, entry: Staged) -> bool {
        let mut state = self.0.state();
        if state.workers < MAX_WORKERS {
            let shared = Arc::clone(&self.0);
            let started = std::thread::Builder::new().spawn(move || shared.work());
            match started {
                Ok(_) => state.workers += 1,
                Err(_) if state.workers == 0 => return false,
                Err(_) => {}
            }
        }
        state.open_files += entry.open_files();
        state.bytes += entry.size_bytes();
        *state.pending.entry(entry.id()).or_default() += 1;
        state.queue.push_back(entry);
        true
    }

    /// Waits while the entry is on its way to the store, until the deadline.
    pub(super) fn wait_for(&self, id: &EntryId, deadline: Deadline) {
        self.wait_while(deadline, |state| state.pending.contains_key(id));
    }

    /// Waits until all is written, at most `limit`; tells what is not.
    pub(super) fn finish(&self, limit: Duration) {
        self.wait_while(Deadline::within(limit), |state| !state.pending.is_empty());
        let left: u32 = self.0.state().pending.values().sum();
        let lost = self.0.not_stored.load(Ordering::Relaxed);
        if left > 0 {
            self.0.told.say(&format!(
                "{left} entries were not uploaded in the time after the build: the link is slow, \
                 or `drain-ms` too short"
            ));
        }
        if lost > 0 {
            self.0.told.say(&format!("{lost} entries were not stored"));
        }
    }

    fn wait_while(&self, deadline: Deadline, goes_on: impl Fn(&State) -> bool) {
        let mut state = self.0.state();
        while goes_on(&state) && !deadline.has_passed() {
            let waited = self.0.changed.wait_timeout(state, deadline.remaining());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn work(&self) {
        while let Some(entry) = self.begin() {
            let id = entry.id();
            let (open_files, bytes) = (entry.open_files(), entry.size_bytes());
            if !(self.write)(entry) {
                self.not_stored.fetch_add(1, Ordering::Relaxed);
            }
            self.end(&id, open_files, bytes);
        }
    }

    /// The first entry whose key is not being written; `None` ends the worker.
    fn begin(&self) -> Option<Staged> {
        let mut state = self.state();
        let at = state.queue.iter().position(|entry| !state.running.contains(&entry.id()));
        let entry = at.and_then(|at| state.queue.remove(at));
        match &entry {
            Some(entry) => {
                state.running.insert(entry.id());
            }
            None => state.workers -= 1,
        }
        entry
    }

    fn end(&self, id: &EntryId, open_files: usize, bytes: u64) {
        let mut state = self.state();
        state.running.remove(id);
        state.open_files -= open_files;
        state.bytes -= bytes;
        if let Some(count) = state.pending.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                state.pending.remove(id);
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
