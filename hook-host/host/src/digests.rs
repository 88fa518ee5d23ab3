//! Digests remembered by what `stat` says, so that a file that has not changed is not read
//! again.
//!
//! What holds here:
//! - a digest is only given for the stat under which it was computed: size, both times,
//!   inode and device;
//! - a file that changed while it was read, or so shortly before that another change could
//!   leave the same times, is not remembered (the "racily clean" problem);
//! - the memory is a cache: a file of it that is damaged, of another version or missing is
//!   an empty memory, and two processes that save at once lose at most what one has learnt.
//!
//! The file: a line that names the format, the BLAKE3 of all that follows, then one record
//! after the other in little-endian numbers, newest use first.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use buildhook_protocol::Digest;

use crate::identity::Identity;
use crate::sync::lock;

const HEADER: &[u8] = b"buildhook-digests-v1\n";
/// Most records that are saved: 100,000 are a few large workspaces, and load in 10 ms.
pub const MAX_RECORDS: usize = 100_000;
/// Largest file that is loaded, in bytes: a full one with paths of 600 bytes.
pub const MAX_FILE_BYTES: u64 = 70_000_000;
/// Days after which a record that nobody asked for is dropped.
pub const KEEP_DAYS: u32 = 30;
/// Times a file that changes while it is read is read again.
const READ_ATTEMPTS: u32 = 3;
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;

/// Remembers digests; used from many threads at once.
#[derive(Debug, Default)]
pub struct DigestCache {
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    records: HashMap<PathBuf, Known>,
    /// Whether anything is worth saving.
    changed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    identity: Identity,
    digest: Digest,
    /// The day of the last use, counted from 1970.
    used_day: u32,
}

/// Two threads may save at once.
static NEXT_TEMPORARY: AtomicU64 = AtomicU64::new(0);

impl DigestCache {
    /// An empty memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The memory saved at `path`, or an empty one.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let records = read(path).unwrap_or_default();
        Self { memory: Mutex::new(Memory { records, changed: false }) }
    }

    /// The digest of the content of `path` and the stat that it belongs to; reads the file
    /// only if that is not known. Symbolic links are followed.
    ///
    /// # Errors
    /// Those of reading; a file that changes each time it is read gives `ResourceBusy`.
    pub fn digest(&self, path: &Path) -> io::Result<(Digest, Identity)> {
        let now = Identity::of_path(path)?;
        if let Some(digest) = self.known(path, &now) {
            return Ok((digest, now));
        }
        for _ in 0..READ_ATTEMPTS {
            // Judged by the time before reading: a write during it can leave the same times.
            let started = SystemTime::now();
            let file = File::open(path)?;
            let before = Identity::of(&file.metadata()?);
            let (digest, size) = Digest::of_reader(&file)?;
            let after = Identity::of(&file.metadata()?);
            if before == after && size == after.size {
                if !after.is_racy(started) {
                    self.remember(path, after, digest);
                }
                return Ok((digest, after));
            }
        }
        let message = format!("{} keeps changing while it is read", path.display());
        Err(io::Error::new(io::ErrorKind::ResourceBusy, message))
    }

    /// The digest remembered for `path` with exactly this stat.
    #[must_use]
    pub fn known(&self, path: &Path, identity: &Identity) -> Option<Digest> {
        let mut memory = lock(&self.memory);
        let today = today();
        let known = memory.records.get_mut(path).filter(|known| known.identity == *identity)?;
        let digest = known.digest;
        if known.used_day != today {
            known.used_day = today;
            memory.changed = true;
        }
        Some(digest)
    }

    /// Remembers that `path` with this stat has this digest.
    ///
    /// The caller vouches that nobody else has written to the file between the hashing and
    /// the stat, nor will within the same tick of the clock: it is for files that were just
    /// restored, which nobody else can know yet.
    pub fn remember(&self, path: &Path, identity: Identity, digest: Digest) {
        let mut memory = lock(&self.memory);
        let known = Known { identity, digest, used_day: today() };
        memory.records.insert(path.to_owned(), known);
        memory.changed = true;
    }

    /// Saves to `path`, by writing another file and renaming it, together with what another
    /// process has saved there meanwhile. Does nothing if nothing is new.
    ///
    /// # Errors
    /// Those of writing; what was saved before is then untouched.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let mine = {
            let mut memory = lock(&self.memory);
            if !std::mem::take(&mut memory.changed) {
                return Ok(());
            }
            memory.records.clone()
        };
        let result = write(path, merge(read(path).unwrap_or_default(), mine));
        if result.is_err() {
            lock(&self.memory).changed = true;
        }
        result
    }

    /// How many digests are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.memory).records.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn today() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs() / SECONDS_PER_DAY).unwrap_or(u32::MAX)
}

/// Both memories, newest use first, without what is too old or too much.
fn merge(theirs: HashMap<PathBuf, Known>, mine: HashMap<PathBuf, Known>) -> Vec<(PathBuf, Known)> {
    let mut all = theirs;
    for (path, known) in mine {
        let newer = all.get(&path).is_none_or(|other| {
            (known.used_day, known.identity.ctime_ns) >= (other.used_day, other.identity.ctime_ns)
        });
        if newer {
            all.insert(path, known);
        }
    }
    let oldest = today().saturating_sub(KEEP_DAYS);
    let mut records: Vec<_> = all.into_iter().filter(|(_, k)| k.used_day >= oldest).collect();
    records.sort_unstable_by(|a, b| (b.1.used_day, &a.0).cmp(&(a.1.used_day, &b.0)));
    records.truncate(MAX_RECORDS);
    records
}

fn write(path: &Path, records: Vec<(PathBuf, Known)>) -> io::Result<()> {
    let mut body = Vec::with_capacity(records.len() * 200);
    for (path, known) in records {
        let path = path.as_os_str().as_bytes();
        let Ok(path_bytes) = u32::try_from(path.len()) else { continue };
        body.extend(path_bytes.to_le_bytes());
        body.extend(path);
        body.extend(known.used_day.to_le_bytes());
        body.extend(known.identity.size.to_le_bytes());
        body.extend(known.identity.mtime_ns.to_le_bytes());
        body.extend(known.identity.ctime_ns.to_le_bytes());
        body.extend(known.identity.inode.to_le_bytes());
        body.extend(known.identity.device.to_le_bytes());
        body.extend(known.digest.as_bytes());
    }
    let number = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{:x}-{number:x}.tmp", std::process::id()));
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(HEADER)?;
        file.write_all(Digest::of(&body).as_bytes())?;
        file.write_all(&body)?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn read(path: &Path) -> Option<HashMap<PathBuf, Known>> {
    if path.metadata().ok()?.len() > MAX_FILE_BYTES {
        return None;
    }
    let content = fs::read(path).ok()?;
    let mut rest = Bytes(content.strip_prefix(HEADER)?);
    let digest = Digest::from_bytes(rest.array()?);
    if Digest::of(rest.0) != digest {
        return None;
    }
    let mut records = HashMap::with_capacity(rest.0.len() / 150);
    while !rest.0.is_empty() {
        let (path, known) = rest.record()?;
        records.insert(path, known);
    }
    Some(records)
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn record(&mut self) -> Option<(PathBuf, Known)> {
        let path_bytes = usize::try_from(self.u32()?).ok()?;
        let (path, rest) = self.0.split_at_checked(path_bytes)?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
        self.0 = rest;
        let used_day = self.u32()?;
        let identity = Identity {
            size: self.u64()?,
            mtime_ns: self.u64()?.cast_signed(),
            ctime_ns: self.u64()?.cast_signed(),
            inode: self.u64()?,
            device: self.u64()?,
        };
        let digest = Digest::from_bytes(self.array()?);
        Some((path, Known { identity, digest, used_day }))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
