//! Uploads, in the background unless a person wants builds to wait: chunks first, the record
//! last.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use buildhook_protocol::Digest;
use buildhook_sdk::Deadline;
use buildhook_sdk::remote::{Blob, Queue, Staged, Told, upload_deadline};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::client::Client;
use crate::fault::Fault;
use crate::layout::Layout;
use crate::service::Service;

/// Chunks of one file that go up at once.
const MAX_AHEAD: usize = 4;

/// The uploads of a session.
#[derive(Debug)]
pub(crate) struct Uploads {
    shared: Arc<Shared>,
    queue: Queue,
}

#[derive(Debug)]
struct Shared {
    client: Arc<Client>,
    layout: Layout,
    service: Service,
    told: Arc<Told>,
    /// Content that this session has stored.
    known: Mutex<HashSet<Digest>>,
    /// The server takes nothing.
    refused: AtomicBool,
}

impl Uploads {
    pub(crate) fn new(
        client: Arc<Client>,
        layout: Layout,
        service: Service,
        told: Arc<Told>,
    ) -> Self {
        let shared = Arc::new(Shared {
            client,
            layout,
            service,
            told: Arc::clone(&told),
            known: Mutex::default(),
            refused: AtomicBool::new(false),
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
    pub(crate) fn is_refused(&self) -> bool {
        self.shared.refused.load(Ordering::Relaxed)
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
        self.client.wait(async {
            let replace = entry.replace;
            for blob in &mut entry.blobs {
                self.upload_blob(blob, replace, until).await?;
            }
            let object = self.layout.record(&entry.record.key, entry.record.purpose);
            let record = entry.record.encode();
            let deadline = upload_deadline(record.len() as u64, until);
            self.client.put(&object, record, deadline).await
        })
    }

    async fn upload_blob(
        &self,
        blob: &mut Blob,
        replace: bool,
        until: Option<Deadline>,
    ) -> Result<(), Fault> {
        if !replace && self.known().contains(&blob.digest) {
            return Ok(());
        }
        let (digest, content) = (blob.digest, &blob.content);
        let deadline = upload_deadline(blob.size, until);
        let ask = !replace && self.service.is_quick_to_ask();
        stream::iter(chunks(blob.size, self.service.chunk_bytes()))
            .map(|(number, start, length)| async move {
                let object = self.layout.chunk(&digest, number);
                if ask && self.is_there(&object, length, deadline).await? {
                    return Ok(());
                }
                let _room = self.client.room().await;
                let chunk = read_at(content, start, length)
                    .map_err(|error| Fault::Local(error.to_string()))?;
                self.client.put(&object, chunk, deadline).await
            })
            .buffer_unordered(MAX_AHEAD)
            .try_collect::<()>()
            .await?;
        self.known().insert(digest);
        Ok(())
    }

    /// Whether there is a chunk of this length: one of another was cut short by whoever wrote
    /// it.
    async fn is_there(&self, object: &str, length: u64, until: Deadline) -> Result<bool, Fault> {
        match self.client.size(object, until).await {
            Ok(size) => Ok(size == length),
            // Who may write need not be allowed to look.
            Err(Fault::NotFound | Fault::Denied(_)) => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Tells why an entry is not stored.
    fn tell(&self, fault: &Fault) {
        match fault {
            Fault::Denied(why) | Fault::Full(why) => {
                self.refused.store(true, Ordering::Relaxed);
                self.told.once("write", &format!("nothing more is stored: {why}"));
            }
            Fault::Final(_, why) => self.told.once("final", why),
            Fault::Unavailable(why) => self.told.once("unavailable", why),
            Fault::NotFound => self.told.once("write", "the folder in the URL does not exist"),
            Fault::Corrupt(why) | Fault::Gone(why) | Fault::Local(why) => {
                self.told.once("local", why);
            }
            Fault::Late => self.told.once("late", "uploads take too long: the link is slow"),
            Fault::Resting => {}
        }
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Digest>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Number, start and length of each chunk of `size` bytes.
fn chunks(size: u64, chunk_bytes: u64) -> impl Iterator<Item = (u64, u64, u64)> {
    (0..size.div_ceil(chunk_bytes)).map(move |number| {
        let start = number * chunk_bytes;
        (number, start, chunk_bytes.min(size - start))
    })
}

/// Only one thread reads a file that waits here, and between two waits of its own.
fn read_at(mut file: &File, start: u64, length: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(start))?;
    let mut chunk = vec![0; length as usize];
    file.read_exact(&mut chunk)?;
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_all_bytes_once() {
        let cut = |size, chunk_bytes| chunks(size, chunk_bytes).collect::<Vec<_>>();
        assert_eq!(cut(0, 10), []);
        assert_eq!(cut(10, 10), [(0, 0, 10)]);
        assert_eq!(cut(21, 10), [(0, 0, 10), (1, 10, 10), (2, 20, 1)]);
    }
}
