//! Uploads, in the background unless a person wants builds to wait: blobs first, the record
//! last.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use buildhook_protocol::Digest;
use buildhook_sdk::Deadline;
use buildhook_sdk::entry::Encoding;
use buildhook_sdk::remote::{Blob, Queue, Staged, Told, upload_deadline};

use crate::ahead::Ahead;
use crate::client::{Client, Fault};
use crate::layout::Layout;

/// Blobs up to this size are written without asking whether they are there: the question
/// takes as long as the bytes.
const MAX_UNASKED_BYTES: u64 = 16 * 1024;

/// The uploads of a session.
#[derive(Debug)]
pub(crate) struct Uploads {
    shared: Arc<Shared>,
    queue: Queue,
}

#[derive(Debug)]
struct Shared {
    client: Arc<Client>,
    ahead: Ahead,
    layout: Layout,
    zstd_level: i32,
    told: Arc<Told>,
    /// Blobs that are in the bucket for sure, and their size there.
    known: Mutex<HashMap<(Digest, Encoding), u64>>,
    forbidden: AtomicBool,
}

impl Uploads {
    pub(crate) fn new(
        client: Arc<Client>,
        ahead: Ahead,
        layout: Layout,
        zstd_level: Option<i32>,
        told: Arc<Told>,
    ) -> Self {
        let shared = Arc::new(Shared {
            client,
            ahead,
            layout,
            zstd_level: zstd_level.unwrap_or_default(),
            told: Arc::clone(&told),
            known: Mutex::default(),
            forbidden: AtomicBool::new(false),
        });
        let writer = Arc::clone(&shared);
        let write =
            move |entry| writer.upload(entry, None).inspect_err(|fault| writer.tell(fault)).is_ok();
        Self { shared, queue: Queue::new(told, write) }
    }

    /// What is uploaded in the background.
    pub(crate) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether the server has refused to store anything.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.shared.forbidden.load(Ordering::Relaxed)
    }

    /// Uploads `entry` before it returns, by the deadline.
    pub(crate) fn upload_now(&self, entry: Staged, deadline: Deadline) -> Result<(), Fault> {
        self.shared.upload(entry, Some(deadline)).inspect_err(|fault| {
            self.queue.count_not_stored();
            self.shared.tell(fault);
        })
    }
}

impl Shared {
    fn upload(&self, mut entry: Staged, until: Option<Deadline>) -> Result<(), Fault> {
        let replace = entry.replace;
        let mut stored = Vec::with_capacity(entry.blobs.len());
        for blob in &mut entry.blobs {
            stored.push(self.upload_blob(blob, replace, until)?);
        }
        let object = self.layout.record(&entry.record.key, entry.record.purpose);
        let record = entry.record.encode();
        let size = record.len() as u64;
        self.client.put(&object, size, upload_deadline(size, until), || Ok(record.as_slice()))?;
        // In the order in which they will be asked for.
        let blobs = stored.iter().map(|(blob, size)| (blob.as_str(), *size));
        self.ahead.note(std::iter::once((object.as_str(), size)).chain(blobs));
        Ok(())
    }

    /// Makes sure that the bucket has the content, without sending it twice. Returns the object
    /// and its size.
    fn upload_blob(
        &self,
        blob: &mut Blob,
        replace: bool,
        until: Option<Deadline>,
    ) -> Result<(String, u64), Fault> {
        let encoding = if blob.packed.is_some() { Encoding::Zstd } else { Encoding::Plain };
        let object = self.layout.blob(&blob.digest, encoding);
        let name = (blob.digest, encoding);
        if !replace {
            if let Some(size) = self.known().get(&name).copied() {
                return Ok((object, size));
            }
            if blob.size > MAX_UNASKED_BYTES
                && let Some(size) = self.size_there(&object, blob, encoding, until)?
            {
                self.known().insert(name, size);
                return Ok((object, size));
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
        self.client.put(&object, size, upload_deadline(size, until), || from_start(content))?;
        self.known().insert(name, size);
        Ok((object, size))
    }

    /// How long the blob's object is, when it is in the bucket.
    fn size_there(
        &self,
        object: &str,
        blob: &Blob,
        encoding: Encoding,
        until: Option<Deadline>,
    ) -> Result<Option<u64>, Fault> {
        match self.client.head(object, upload_deadline(0, until)) {
            // One of another length was cut short by whoever wrote it.
            Ok(size) if encoding == Encoding::Plain => Ok(size.filter(|size| *size == blob.size)),
            // A server that does not say how long it is has it nevertheless.
            Ok(size) => Ok(Some(size.unwrap_or(blob.size))),
            // Who may write need not be allowed to look.
            Err(Fault::NotFound | Fault::Denied(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Tells why an entry is not stored.
    fn tell(&self, fault: &Fault) {
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

    fn known(&self) -> MutexGuard<'_, HashMap<(Digest, Encoding), u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
