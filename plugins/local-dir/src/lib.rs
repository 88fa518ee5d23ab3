//! A buildhook store in a local directory: content-addressed, for many processes at once.
//!
//! ```text
//! DIR/CACHEDIR.TAG                         tells back-up programs to leave it out
//! DIR/v1/blobs/ab/ab12…                    content, named by its BLAKE3 digest, mode 0444
//! DIR/v1/blobs/ab/ab12….x                  the same content as an executable, mode 0555
//! DIR/v1/entries/outputs/cd/cd34…          one entry: seal, names, sizes, digests; by key
//! DIR/v1/entries/inputs/…                  the same for the other purpose
//! DIR/v1/tmp/…                             files that are being written
//! DIR/v1/size                              its *length* is the store's size in 4 KiB blocks
//! DIR/v1/collecting                        locked by the process that evicts
//! ```
//!
//! Invariants:
//! - a file appears under its final name by one rename, whole; blobs first, their entry last.
//!   A process killed at any moment leaves at most files in `tmp`, which eviction removes;
//! - a blob is never written to: another content, or a healed one, is a new inode. So blobs
//!   are offered as `shared`;
//! - a read changes nothing but the time of an entry file, and that at most once an hour;
//! - nothing is an index: every process sees what every other one has stored.
//!
//! What is verified when. An entry file carries a checksum of itself. A blob's content is
//! verified when it enters, while it is copied. Then its modification time is set to
//! one fixed moment: any program that writes to the file moves that
//! time. A hit looks at size and time of each blob, one system call, and reads the content
//! only when they are not as they were left. The host digests what it restores anyway
//! (BH-WANT-006), so reading twice on every hit would double the cost to find only what
//! changed without any program writing it (a failing disk, a power cut); the host's check
//! finds that, and its `replace` makes the store write the content anew.
//!
//! No fsync: after a power cut a file may be short or empty. That is found as above.
//!
//! Known gaps: between eviction's look at an unused blob and its removal, milliseconds, a
//! process that was suspended for longer than the grace period may rely on that blob; its
//! entry then is incomplete and counts as a miss. Outside Unix nothing is evicted and the
//! executable bit is known from names only.

mod blobs;
mod collect;
mod layout;
mod platform;
mod report;
mod store;
mod trouble;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use buildhook_sdk::protocol::Hook;
use buildhook_sdk::{About, Built, Call, Done, Error, Plugin, Want};

pub use collect::Collected;
pub use report::{Stats, Verified};
use store::Store;

/// The default bound of a store, in bytes: room for several large projects in both profiles.
pub const DEFAULT_MAX_SIZE_BYTES: u64 = 20_000_000_000;

/// Requests served at once. Storing waits for the disk, so more than there are cores is
/// useful, up to what a parallel Cargo has units in flight on common machines.
const MAX_IN_FLIGHT: u32 = 32;
/// How long eviction may go on after the session's end. A scan of 70,000 entries takes about
/// a second; what is left over is for a later session.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// The bounds of a store.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Eviction starts above this many bytes.
    pub max_size_bytes: u64,
    /// What has been written or used within this time is not evicted: a store in progress
    /// may rely on it.
    pub grace: Duration,
    /// An entry's time of last use is noted when the noted one is older than this.
    pub touch_after: Duration,
}

impl Limits {
    /// The usual bounds, with this size.
    #[must_use]
    pub fn with_max_size(max_size_bytes: u64) -> Self {
        Self {
            max_size_bytes,
            grace: Duration::from_secs(5 * 60),
            touch_after: Duration::from_secs(3600),
        }
    }
}

/// A store in a directory.
#[derive(Debug)]
pub struct LocalDir {
    store: Arc<Store>,
    collector: Mutex<Option<JoinHandle<()>>>,
}

impl LocalDir {
    /// Opens the store in `dir`, which is made when it does not exist, bounded to
    /// `max_size_bytes`.
    ///
    /// # Errors
    /// The folder cannot be made, or its path is not Unicode. An existing store that cannot
    /// be written is no error: it is read.
    pub fn open(dir: &Path, max_size_bytes: u64) -> io::Result<Self> {
        Self::open_with(dir, Limits::with_max_size(max_size_bytes))
    }

    /// [`open`](Self::open) with other bounds.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn open_with(dir: &Path, limits: Limits) -> io::Result<Self> {
        let store = Arc::new(Store::open(dir, limits)?);
        Ok(Self { store, collector: Mutex::new(None) })
    }

    /// What is in the store; reads every folder of it.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn stats(&self) -> io::Result<Stats> {
        report::stats(&self.store)
    }

    /// Removes everything; returns the number of bytes that were stored. Other processes may
    /// go on using the store.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn clear(&self) -> io::Result<u64> {
        report::clear(&self.store)
    }

    /// Reads everything and removes what is damaged or incomplete.
    ///
    /// # Errors
    /// A folder cannot be read or a damaged file not removed.
    pub fn verify(&self) -> io::Result<Verified> {
        report::verify(&self.store)
    }

    /// Evicts down to the bound now, least recently used first. `None`: another process is
    /// at it.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn collect(&self) -> io::Result<Option<Collected>> {
        self.store.collect(None)
    }

    /// Evicts in the background when the store has outgrown its bound.
    fn collect_when_due(&self) {
        if !self.store.is_collection_due() {
            return;
        }
        let mut collector = self.collector.lock().unwrap_or_else(PoisonError::into_inner);
        if collector.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        let store = Arc::clone(&self.store);
        let collecting = move || store.collect_quietly(None);
        // Where there are no threads `drain` does it.
        *collector = std::thread::Builder::new().spawn(collecting).ok();
    }
}

impl Plugin for LocalDir {
    fn about(&self) -> About {
        About::new("local-dir", env!("CARGO_PKG_VERSION"))
            .both_hooks()
            .at_once(Hook::WantToBuild)
            .max_in_flight(MAX_IN_FLIGHT)
            .drain_ms(DRAIN_LIMIT.as_millis() as u64)
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        Ok(self.store.want(call))
    }

    fn built_a_thing(&self, call: &Call, built: &Built) -> Result<Done, Error> {
        let done = self.store.built(call, built);
        self.collect_when_due();
        Ok(done)
    }

    fn drain(&self) {
        self.store.stop_collecting_at(Instant::now() + DRAIN_LIMIT);
        let running = self.collector.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            // A panic there has been told by the panic hook; the store is as good as after a kill.
            let _ = running.join();
        }
        if self.store.is_collection_due() {
            self.store.collect_quietly(None);
        }
    }
}
