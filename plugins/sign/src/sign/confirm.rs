//! What was signed is looked at once more before the session ends.
//!
//! A store has no "replace only if it is still what I looked at". So of signers of one entry
//! at the same time one may write, with what it found before, over what another one has just
//! written, and see nothing wrong. The other one finds that out when it looks again after the
//! first is done, and puts itself back, with all that it finds.
//!
//! To be done, others are given twice the time that storing took here. So a signature is in
//! for good unless another signer takes longer than that between its look and its write: no
//! signer can tell, as long as stores have no such condition. With `--require` that is a miss,
//! never a wrong hit, and whoever builds the entry then signs it again.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use buildhook_sdk::Deadline;
use buildhook_sdk::files::unique_name;
use buildhook_sdk::filter::Next;
use buildhook_sdk::protocol::{Answer, Digest, FileRecord, Hook, Lease, Message, Purpose};
use buildhook_sign::{Statement, digest_of_files, signature_name};
use serde_json::{Value, json};

/// How long it may take, with all waiting.
pub(crate) const LIMIT: Duration = Duration::from_secs(3);
/// Entries that are looked at again: what a large build stores. Of more the oldest, which
/// others have had the longest time to write to, are not.
const MAX_ENTRIES: usize = 1024;
/// Looks at once: a store that is far away answers many as fast as one.
const MAX_THREADS: u32 = 8;
/// Looks at one entry: each finds at least one signer more than the one before.
const MAX_LOOKS: usize = 8;
/// Shortest and longest time that others are given to be done.
const MIN_PAUSE: Duration = Duration::from_millis(5);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Entries that this session has signed.
#[derive(Default)]
pub(crate) struct Signed(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    entries: VecDeque<Entry>,
    /// When the last of them was stored, and how long the slowest took.
    last: Option<Instant>,
    slowest: Duration,
}

/// One that should have a signature of this key.
pub(crate) struct Entry {
    /// The request that stored it, its files aside.
    pub(crate) request: Message,
    pub(crate) statement: Statement,
    pub(crate) signature: Vec<u8>,
}

impl Signed {
    /// Remembers an entry that was stored just now, which took so long.
    pub(crate) fn add(&self, entry: Entry, took: Duration) {
        let mut signed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if signed.entries.len() == MAX_ENTRIES {
            signed.entries.pop_front();
        }
        signed.entries.push_back(entry);
        signed.last = Some(Instant::now());
        signed.slowest = signed.slowest.max(took);
    }

    /// Looks at all of them, and puts back what is missing. `temporary` is where a folder for
    /// that is made.
    pub(crate) fn confirm(&self, next: &Next, temporary: &Path) {
        let signed = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(last) = signed.last else { return };
        let deadline = Deadline::within(LIMIT);
        let pause = (signed.slowest * 2).clamp(MIN_PAUSE, MAX_PAUSE);
        std::thread::sleep(pause.saturating_sub(last.elapsed()));
        let folder = temporary.join(format!("buildhook-sign-{}", unique_name()));
        if let Err(error) = fs_err::create_dir(&folder) {
            eprintln!("buildhook-sign: what was signed is not looked at again: {error}");
            return;
        }
        let entries = Mutex::new(signed.entries);
        let work = || {
            let pop = || entries.lock().unwrap_or_else(PoisonError::into_inner).pop_back();
            while let Some(entry) = pop().filter(|_| !deadline.has_passed()) {
                // A fault of the store is no worse than not to have looked.
                let _ = entry.confirm(next, &folder, pause, deadline);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..next.hello().max_in_flight.min(MAX_THREADS) {
                scope.spawn(work);
            }
            work();
        });
        // Files that the store was lent; nobody reads them any more.
        let _ = fs_err::remove_dir_all(&folder);
    }
}

impl Entry {
    /// `None`: somebody else has to see to it, or nobody can.
    fn confirm(
        &self,
        next: &Next,
        folder: &Path,
        pause: Duration,
        deadline: Deadline,
    ) -> Option<()> {
        let own = signature_name(&self.statement.name);
        for _ in 0..MAX_LOOKS {
            let place = folder.join(unique_name());
            fs_err::create_dir(&place).ok()?;
            let look = self.request(Hook::WantToBuild, &place)?;
            let answer = next.exchange_by(look, deadline).ok()?;
            let Ok(Answer::Hit { seal, files, .. }) = answer.parse() else { return None };
            let is_this =
                seal == self.statement.seal && digest_of_files(&files) == self.statement.files;
            // Records of inputs grow: an older one is not to be held against a newer.
            let has_own = files.iter().any(|file| file.name == own);
            if has_own || (!is_this && self.statement.purpose != Purpose::Outputs) {
                return Some(());
            }
            let place = folder.join(unique_name());
            fs_err::create_dir(&place).ok()?;
            let mut offer = self.request(Hook::BuiltAThing, &place)?;
            let path = folder.join(unique_name());
            fs_err::write(&path, &self.signature).ok()?;
            let signature = FileRecord {
                name: own.clone(),
                path,
                size: self.signature.len() as u64,
                digest: Digest::of(&self.signature),
                executable: false,
                lease: Lease::Borrowed,
            };
            let mut files = answer.members().get("files")?.as_array()?.clone();
            lend(&mut files);
            files.push(json!(signature));
            let members = offer.members_mut();
            members.insert("files".to_owned(), files.into());
            members.insert("seal".to_owned(), json!(seal));
            members.insert("replace".to_owned(), true.into());
            next.exchange_by(offer, deadline).ok()?;
            std::thread::sleep(pause.min(deadline.remaining()));
        }
        None
    }

    fn request(&self, hook: Hook, scratch: &Path) -> Option<Message> {
        let mut request = self.request.clone();
        let members = request.members_mut();
        members.insert("kind".to_owned(), hook.as_str().into());
        members.insert("scratch".to_owned(), scratch.to_str()?.into());
        Some(request)
    }
}

/// Files in a scratch folder stay there.
fn lend(files: &mut [Value]) {
    for file in files {
        if file["lease"] == "owned" {
            file["lease"] = "borrowed".into();
        }
    }
}
