//! Uploads, in the background unless a person wants builds to wait: a pack first, the record
//! that names it last.

use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use buildhook_protocol::Digest;

use super::stage::Staged;
use super::{Fault, Names, Queue, Remote, Told, upload_deadline};
use crate::Deadline;
use crate::entry::Pack;

/// The uploads of a session.
#[derive(Debug)]
pub(super) struct Uploads<R> {
    shared: Arc<Shared<R>>,
    queue: Queue,
}

#[derive(Debug)]
struct Shared<R> {
    remote: Arc<R>,
    names: Names,
    told: Arc<Told>,
    /// Packs that are there for sure.
    known: Mutex<HashSet<Digest>>,
    /// The server takes nothing.
    refused: AtomicBool,
}

impl<R: Remote> Uploads<R> {
    pub(super) fn new(remote: Arc<R>, names: Names, told: Arc<Told>) -> Self {
        let shared = Arc::new(Shared {
            remote,
            names,
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
    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether the server has refused to store anything.
    pub(super) fn is_refused(&self) -> bool {
        self.shared.refused.load(Ordering::Relaxed)
    }

    /// Uploads `entry` before it returns, by the deadline.
    pub(super) fn upload_now(&self, entry: Staged, deadline: Deadline) -> Result<(), Fault> {
        self.shared.upload(entry, Some(deadline)).inspect_err(|fault| {
            self.queue.count_not_stored();
            self.shared.tell(fault);
        })
    }
}

impl<R: Remote> Shared<R> {
    fn upload(&self, entry: Staged, until: Option<Deadline>) -> Result<(), Fault> {
        let ((key, purpose), replace) = (entry.id(), entry.replace);
        let packed = entry.pack(self.remote.max_record_bytes());
        let packed = packed.map_err(|error| Fault::local(&error))?;
        if let Some((pack, content)) = &packed.pack {
            self.upload_pack(pack, content, replace, until)?;
        }
        let deadline = upload_deadline(packed.object.len() as u64, until);
        self.remote.put(&self.names.record(&key, purpose), &packed.object, deadline)
    }

    /// Makes sure that the server has the content, without sending it twice.
    fn upload_pack(
        &self,
        pack: &Pack,
        content: &File,
        replace: bool,
        until: Option<Deadline>,
    ) -> Result<(), Fault> {
        let object = self.names.pack(&pack.digest);
        let is_there = !replace
            && (self.known().contains(&pack.digest)
                || match self.remote.has_pack(&object, pack.size, upload_deadline(0, until)) {
                    // Who may write need not be allowed to look.
                    Err(Fault::NotFound | Fault::Denied(_)) => false,
                    found => found?,
                });
        if !is_there {
            let deadline = upload_deadline(pack.size, until);
            self.remote.put_pack(&object, content, pack.size, deadline)?;
        }
        self.known().insert(pack.digest);
        Ok(())
    }

    /// Tells why an entry is not stored.
    fn tell(&self, fault: &Fault) {
        match fault {
            Fault::Denied(why) | Fault::Full(why) => {
                self.refused.store(true, Ordering::Relaxed);
                self.told.once("write", &format!("nothing is stored: {why}"));
            }
            Fault::NotFound => self
                .told
                .once("write", "nothing is stored: the server knows no such bucket or folder"),
            Fault::Final(_, why) => self.told.once("final", why),
            Fault::Unavailable(why) => self.told.once("unavailable", why),
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
