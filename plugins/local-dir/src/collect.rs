//! Eviction: keeps the store below its bound, least recently used entries first.
//!
//! How large the store is stands in no index: the *length* of the file `size` is the number
//! of 4 KiB blocks, and whoever stores appends that many bytes. Appending is atomic across
//! processes; what a race with a collection loses, the next collection counts again.
//!
//! Eviction removes an entry before its blobs, and a blob only when no entry names it and
//! nothing has happened to it within the grace period: a process that is storing an entry
//! writes or touches every blob that the entry needs before it writes the entry.

use std::collections::HashMap;
use std::fs::TryLockError;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use buildhook_protocol::Purpose;
use fs_err::OpenOptions;

use crate::platform::{Facts, look};
use crate::store::{Store, read_record};

/// What one byte of the file `size` stands for.
const BLOCK_BYTES: u64 = 4096;
/// Eviction goes on to this part of the bound, so that it is not due again at once.
const LOW_WATER_PERCENT: u64 = 90;
/// A session collects again when the store has grown by this part of the bound since.
const AGAIN_PERCENT: u64 = 5;
/// Most that is appended to the file `size` at once, in bytes: 4 GiB stored.
const LONGEST_APPEND: u64 = 1 << 20;

/// What a collection did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Entries removed.
    pub entries: u64,
    /// Blobs removed, those of no entry included.
    pub blobs: u64,
    /// Left-over temporary files removed.
    pub temporaries: u64,
    /// What all that freed, in bytes.
    pub freed_bytes: u64,
    /// What is left, in bytes.
    pub size_bytes: u64,
}

struct Blob {
    size: u64,
    uses: u32,
}

struct Entry {
    path: PathBuf,
    used: SystemTime,
    size: u64,
    blobs: Vec<PathBuf>,
}

/// Everything in a store.
pub(crate) struct Inventory {
    entries: Vec<Entry>,
    blobs: HashMap<PathBuf, Blob>,
}

impl Inventory {
    fn size_bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum::<u64>()
            + self.blobs.values().map(|blob| blob.size).sum::<u64>()
    }
}

impl Store {
    pub(crate) fn is_collection_due(&self) -> bool {
        self.trouble.why().is_none() && self.noted_size() > self.collect_above()
    }

    pub(crate) fn stop_collecting_at(&self, until: Instant) {
        *self.collect_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// [`collect`](Self::collect) where a failure is only told: nothing depends on it.
    pub(crate) fn collect_quietly(&self, target_bytes: Option<u64>) {
        if let Err(error) = self.collect(target_bytes) {
            eprintln!("buildhook-local-dir: evicting old entries: {error}");
        }
    }

    /// Makes room when the disk is full: a tenth of what is stored.
    pub(crate) fn collect_for_space(&self) {
        let size = self.noted_size().min(self.limits.max_size_bytes);
        self.collect_quietly(Some(size / 100 * LOW_WATER_PERCENT));
    }

    /// Evicts when the store is larger than its bound, or than `target_bytes`. `None` when
    /// another process is at it.
    pub(crate) fn collect(&self, target_bytes: Option<u64>) -> io::Result<Option<Collected>> {
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(self.layout.lock())?;
        match lock.file().try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let max = self.limits.max_size_bytes;
        let mut inventory = self.inventory()?;
        let mut done = Collected { temporaries: self.sweep_temporaries(), ..Default::default() };
        let mut size = inventory.size_bytes();
        let target = match target_bytes {
            Some(target) => target,
            None if size > max => max / 100 * LOW_WATER_PERCENT,
            None => size,
        };
        size -= self.evict_unused(&mut inventory, &mut done);
        inventory.entries.sort_by_key(|entry| entry.used);
        for entry in std::mem::take(&mut inventory.entries) {
            if size <= target || self.must_stop() {
                break;
            }
            size -= self.evict(&entry, &mut inventory, &mut done);
        }
        done.size_bytes = size;
        self.note_size(size)?;
        let again = size.saturating_add(max / 100 * AGAIN_PERCENT).max(max);
        self.collect_above_bytes.store(again, Ordering::Relaxed);
        Ok(Some(done))
    }

    /// Adds to the store's size. What cannot be noted is counted by the next collection.
    pub(crate) fn note_growth(&self, bytes: u64) {
        let blocks = bytes.div_ceil(BLOCK_BYTES).min(LONGEST_APPEND);
        let append = || -> io::Result<()> {
            let mut file = OpenOptions::new().append(true).create(true).open(self.layout.size())?;
            file.write_all(&vec![0; blocks as usize])
        };
        let _ = append();
    }

    /// The store's size in bytes, as noted.
    pub(crate) fn noted_size(&self) -> u64 {
        look(&self.layout.size()).map_or(0, |facts| facts.size.saturating_mul(BLOCK_BYTES))
    }

    fn note_size(&self, bytes: u64) -> io::Result<()> {
        let temporary = self.layout.temporary();
        let file = crate::blobs::create(&temporary)?;
        file.set_len(bytes.div_ceil(BLOCK_BYTES))?;
        fs_err::rename(&temporary, self.layout.size())
    }

    fn inventory(&self) -> io::Result<Inventory> {
        let mut inventory = Inventory { entries: Vec::new(), blobs: HashMap::new() };
        for_each_file(&self.layout.blobs(), |path, facts| {
            inventory.blobs.insert(path, Blob { size: facts.size, uses: 0 });
        })?;
        for purpose in [Purpose::Outputs, Purpose::Inputs] {
            for_each_file(&self.layout.entries(purpose), |path, facts| {
                let files = read_record(&path).ok().flatten().map_or(Vec::new(), |r| r.files);
                let blobs: Vec<_> = files
                    .iter()
                    .map(|file| self.layout.blob(&file.digest, file.executable))
                    .collect();
                for blob in &blobs {
                    if let Some(blob) = inventory.blobs.get_mut(blob) {
                        blob.uses += 1;
                    }
                }
                let (used, size) = (facts.modified, facts.size);
                inventory.entries.push(Entry { path, used, size, blobs });
            })?;
        }
        Ok(inventory)
    }

    /// Removes blobs that no entry names; returns the bytes freed.
    fn evict_unused(&self, inventory: &mut Inventory, done: &mut Collected) -> u64 {
        let unused: Vec<_> = inventory.blobs.iter().filter(|(_, blob)| blob.uses == 0).collect();
        let mut freed = 0;
        for (path, blob) in unused {
            if self.must_stop() {
                break;
            }
            if self.remove_when_quiet(path) {
                freed += blob.size;
                done.blobs += 1;
            }
        }
        done.freed_bytes += freed;
        freed
    }

    /// Removes an entry, then those of its blobs that no other one needs; returns the bytes
    /// freed.
    fn evict(&self, entry: &Entry, inventory: &mut Inventory, done: &mut Collected) -> u64 {
        // Used or written since it was listed, or within the grace.
        let unused = look(&entry.path).is_ok_and(|facts| facts.modified == entry.used);
        if !unused || !self.is_quiet(entry.used) || fs_err::remove_file(&entry.path).is_err() {
            return 0;
        }
        let mut freed = entry.size;
        done.entries += 1;
        for path in &entry.blobs {
            let Some(blob) = inventory.blobs.get_mut(path) else { continue };
            blob.uses -= 1;
            if blob.uses == 0 && self.remove_when_quiet(path) {
                freed += blob.size;
                done.blobs += 1;
            }
        }
        done.freed_bytes += freed;
        freed
    }

    fn remove_when_quiet(&self, blob: &Path) -> bool {
        // Looked at just before: it may be used again since the inventory.
        let quiet = look(blob).is_ok_and(|f| f.changed.is_some_and(|time| self.is_quiet(time)));
        quiet && fs_err::remove_file(blob).is_ok()
    }

    /// Removes what killed processes have left in `tmp`.
    fn sweep_temporaries(&self) -> u64 {
        let Ok(folder) = fs_err::read_dir(self.layout.temporaries()) else { return 0 };
        folder.flatten().filter(|item| self.remove_when_quiet(&item.path())).count() as u64
    }

    /// Longer ago than the grace. A time in the future (a clock set back) is not.
    fn is_quiet(&self, time: SystemTime) -> bool {
        time.elapsed().is_ok_and(|age| age >= self.limits.grace)
    }

    fn must_stop(&self) -> bool {
        let until = *self.collect_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() >= until)
    }
}

/// Calls `each` for the regular files in the shards of `folder`.
pub(crate) fn for_each_file(
    folder: &Path,
    mut each: impl FnMut(PathBuf, &Facts),
) -> io::Result<()> {
    let shards = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for shard in shards {
        let shard = shard?;
        if !shard.file_type()?.is_dir() {
            continue;
        }
        for item in fs_err::read_dir(shard.path())? {
            let path = item?.path();
            // What has gone since it was listed is no error.
            if let Ok(facts) = look(&path)
                && facts.is_file
            {
                each(path, &facts);
            }
        }
    }
    Ok(())
}
