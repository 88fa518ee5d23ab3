//! Uploads, in the background unless a person wants builds to wait: blobs first, the record
//! last.
//!
//! What waits is bounded in entries, open files and bytes; what comes on top is not stored,
//! and counted: a slow link must not slow a build. Entries of one key go up one after the
//! other, so the last one stays. Threads exist only while there is something to upload.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use buildhook_protocol::{Digest, Key, Purpose};
use buildhook_sdk::Deadline;

use crate::client::{Client, Fault};
use crate::layout::Layout;
use crate::record::Encoding;
use crate::stage::{Blob, Staged};
use crate::told::Told;

/// Uploads at once.
const MAX_WORKERS: usize = 8;
/// Blobs that may wait: each holds up to two files open, and 1,024 is a common limit.
const MAX_WAITING_BLOBS: usize = 256;
/// Entries that may wait, with up to 170 kB of record each.
const MAX_WAITING_ENTRIES: usize = 512;
/// Content that may wait, in bytes: what is copied takes room on the disk.
const MAX_WAITING_BYTES: u64 = 4_000_000_000;
/// Blobs up to this size are written without asking whether they are there: the question
/// takes as long as the bytes.
const MAX_UNASKED_BYTES: u64 = 16 * 1024;
/// What any upload may take, and for each byte the time at 64 KiB a second.
const BASE_TIME: Duration = Duration::from_secs(30);
const SLOWEST_BYTES_PER_SECOND: u64 = 64 * 1024;

type Id = (Key, Purpose);

/// The uploads of a session.
#[derive(Debug)]
pub(crate) struct Uploads(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Arc<Client>,
    layout: Layout,
    zstd_level: i32,
    told: Arc<Told>,
    state: Mutex<State>,
    changed: Condvar,
    /// Blobs that are in the bucket for sure.
    known: Mutex<HashSet<(Digest, Encoding)>>,
    forbidden: AtomicBool,
    not_stored: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Staged>,
    running: HashSet<Id>,
    /// Waiting or running, by entry.
    pending: HashMap<Id, u32>,
    blobs: usize,
    bytes: u64,
    workers: usize,
}

impl Uploads {
    pub(crate) fn new(
        client: Arc<Client>,
        layout: Layout,
        zstd_level: Option<i32>,
        told: Arc<Told>,
    ) -> Self {
        Self(Arc::new(Shared {
            client,
            layout,
            zstd_level: zstd_level.unwrap_or_default(),
            told,
            state: Mutex::default(),
            changed: Condvar::new(),
            known: Mutex::default(),
            forbidden: AtomicBool::new(false),
            not_stored: AtomicU64::new(0),
        }))
    }

    /// Whether the server has refused to store anything.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.0.forbidden.load(Ordering::Relaxed)
    }

    /// Counts an entry that is not stored.
    pub(crate) fn count_not_stored(&self) {
        self.0.not_stored.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether one more entry may wait.
    pub(crate) fn has_room(&self) -> bool {
        let state = self.0.state();
        state.queue.len() < MAX_WAITING_ENTRIES
            && state.blobs < MAX_WAITING_BLOBS
            && state.bytes < MAX_WAITING_BYTES
    }

    /// Uploads `entry` later; false when no thread can be started for it.
    pub(crate) fn submit(&self, entry: Staged) -> bool {
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
        state.blobs += entry.blobs.len();
        state.bytes += entry.size_bytes();
        *state.pending.entry(entry.id()).or_default() += 1;
        state.queue.push_back(entry);
        true
    }

    /// Uploads `entry` before it returns, by the deadline.
    pub(crate) fn upload_now(&self, entry: Staged, deadline: Deadline) -> Result<(), Fault> {
        self.0.upload(entry, Some(deadline)).inspect_err(|fault| self.0.lose(fault))
    }

    /// Waits while the entry is on its way to the bucket, until the deadline.
    pub(crate) fn wait_for(&self, id: &Id, deadline: Deadline) {
        self.wait_while(deadline, |state| state.pending.contains_key(id));
    }

    /// Waits until all is uploaded, at most `limit`; tells what is not.
    pub(crate) fn finish(&self, limit: Duration) {
        self.wait_while(Deadline::within(limit), |state| !state.pending.is_empty());
        let left: u32 = self.0.state().pending.values().sum();
        let lost = self.0.not_stored.load(Ordering::Relaxed);
        if left > 0 {
            eprintln!(
                "buildhook-s3: {left} entries were not uploaded in the time after the build: \
                 the link is slow, or `drain-ms` too short"
            );
        }
        if lost > 0 {
            eprintln!("buildhook-s3: {lost} entries were not stored");
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
            let (blobs, bytes) = (entry.blobs.len(), entry.size_bytes());
            if let Err(fault) = self.upload(entry, None) {
                self.lose(&fault);
            }
            self.end(&id, blobs, bytes);
        }
    }

    /// The first entry whose key is not being uploaded; `None` ends the worker.
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

    fn end(&self, id: &Id, blobs: usize, bytes: u64) {
        let mut state = self.state();
        state.running.remove(id);
        state.blobs -= blobs;
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

    fn upload(&self, mut entry: Staged, until: Option<Deadline>) -> Result<(), Fault> {
        let replace = entry.replace;
        for blob in &mut entry.blobs {
            self.upload_blob(blob, replace, until)?;
        }
        let object = self.layout.record(&entry.record.key, entry.record.purpose);
        let record = entry.record.encode();
        let size = record.len() as u64;
        self.client.put(&object, size, time_for(size, until), || Ok(record.as_slice()))
    }

    /// Makes sure that the bucket has the content, without sending it twice.
    fn upload_blob(
        &self,
        blob: &mut Blob,
        replace: bool,
        until: Option<Deadline>,
    ) -> Result<(), Fault> {
        let encoding = if blob.packed.is_some() { Encoding::Zstd } else { Encoding::Plain };
        let object = self.layout.blob(&blob.digest, encoding);
        let name = (blob.digest, encoding);
        if !replace {
            if self.known().contains(&name) {
                return Ok(());
            }
            if blob.size > MAX_UNASKED_BYTES && self.is_there(&object, blob, encoding, until)? {
                self.known().insert(name);
                return Ok(());
            }
        }
        let (content, size) = match &mut blob.packed {
            None => (&blob.content, blob.size),
            Some(packed) => {
                let size = pack(&blob.content, packed, self.zstd_level)
                    .map_err(|error| Fault::Local(error.to_string()))?;
                (&*packed, size)
            }
        };
        self.client.put(&object, size, time_for(size, until), || from_start(content))?;
        self.known().insert(name);
        Ok(())
    }

    fn is_there(
        &self,
        object: &str,
        blob: &Blob,
        encoding: Encoding,
        until: Option<Deadline>,
    ) -> Result<bool, Fault> {
        match self.client.head(object, time_for(0, until)) {
            // One of another length was cut short by whoever wrote it.
            Ok(size) => Ok(encoding == Encoding::Zstd || size == Some(blob.size)),
            // Who may write need not be allowed to look.
            Err(Fault::NotFound | Fault::Denied(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Counts an entry that is not stored, and tells why.
    fn lose(&self, fault: &Fault) {
        self.not_stored.fetch_add(1, Ordering::Relaxed);
        match fault {
            Fault::Denied(why) => {
                self.forbidden.store(true, Ordering::Relaxed);
                self.told.once("write", &format!("nothing is stored: {why}"));
            }
            Fault::Final(_, why) => self.told.once("final", why),
            Fault::Unavailable(why) => self.told.once("unavailable", why),
            Fault::NotFound => {
                self.told.once("write", "nothing is stored: the server knows no such bucket");
            }
            Fault::Corrupt(why) | Fault::Local(why) => self.told.once("local", why),
            Fault::Late => self.told.once("late", "uploads take too long: the link is slow"),
            Fault::Resting => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashSet<(Digest, Encoding)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When an upload of `size` bytes has to be done, at the latest `until`.
fn time_for(size: u64, until: Option<Deadline>) -> Deadline {
    let time = BASE_TIME + Duration::from_secs(size / SLOWEST_BYTES_PER_SECOND);
    let own = Deadline::after(Instant::now(), time);
    until.map_or(own, |until| own.min(until))
}

/// Compresses `content` into `packed`, an empty file; returns the size.
fn pack(content: &File, packed: &mut File, level: i32) -> io::Result<u64> {
    zstd::stream::copy_encode(from_start(content)?, &mut *packed, level)?;
    packed.stream_position()
}

/// Only one thread at a time reads a file that waits here.
fn from_start(mut file: &File) -> io::Result<impl Read + use<'_>> {
    file.rewind()?;
    Ok(file)
}
