//! Background writing: one thread and one bounded queue for each tier that needs it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use buildhook_sdk::Deadline;
use buildhook_sdk::protocol::{Answer, FileRecord, Hook, Message, Stored, frame};
use serde_json::Value;

use crate::config::Tier;
use crate::member::Member;
use crate::spool::{Note, Spool};

/// Entries that wait for one tier: more than a large build has units. Files are not held in
/// memory, only their records.
const LONGEST_QUEUE: usize = 4096;
/// How long one entry may take to be written when nobody waits for it.
const WRITE_LIMIT: Duration = Duration::from_secs(60);

/// An entry to be written.
pub(crate) struct Job {
    /// A `built-a-thing`, but for its files and scratch folder.
    pub(crate) request: Message,
    /// Durable copies; shared by the tiers that get them.
    pub(crate) files: Arc<Copies>,
    /// For whoever comes after this process, should it be killed; removed with the job.
    pub(crate) note: Option<PathBuf>,
}

impl Job {
    /// A job that was noted.
    pub(crate) fn of_note(spool: &Arc<Spool>, path: PathBuf, note: Note) -> Option<Self> {
        let request = frame::parse(&serde_json::to_vec(&note.request).ok()?).ok()?;
        let files = Arc::new(Copies { files: note.files, spool: Arc::clone(spool) });
        Some(Self { request, files, note: Some(path) })
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(note) = &self.note {
            // What cannot be removed now goes with the spool.
            let _ = fs_err::remove_file(note);
        }
    }
}

/// Files that are forgotten when the last tier has them.
pub(crate) struct Copies {
    pub(crate) files: Vec<FileRecord>,
    pub(crate) spool: Arc<Spool>,
}

impl Drop for Copies {
    fn drop(&mut self) {
        self.spool.forget(&self.files);
    }
}

/// The queue of one tier.
pub(crate) struct Queue {
    member: Arc<Member>,
    worker: Mutex<Option<Worker>>,
    given: AtomicU64,
    written: Arc<AtomicU64>,
}

struct Worker {
    jobs: SyncSender<Job>,
    closing: Closing,
}

/// A thread that is to end.
pub(crate) struct Closing {
    thread: JoinHandle<()>,
    /// Its other end is gone when the thread is at its end.
    ended: Receiver<()>,
}

impl Closing {
    /// Waits for the end, at most until `until`.
    pub(crate) fn wait(&self, until: Instant) {
        // Nothing is ever sent: this is a time-out or the end.
        let _ = self.ended.recv_timeout(until.saturating_duration_since(Instant::now()));
    }

    /// Waits for the end.
    pub(crate) fn join(self) {
        // A panic there has been told, and its entries count as not written.
        let _ = self.thread.join();
    }
}

impl Queue {
    pub(crate) fn new(member: Arc<Member>) -> Self {
        Self {
            member,
            worker: Mutex::new(None),
            given: AtomicU64::new(0),
            written: Arc::new(AtomicU64::new(0)),
        }
    }

    /// The tier that is written to.
    pub(crate) fn tier(&self) -> &Tier {
        &self.member.tier
    }

    /// Takes a job; whether it is full is known at the end, by the count.
    pub(crate) fn push(&self, job: Job) {
        self.given.fetch_add(1, Ordering::Relaxed);
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = worker.get_or_insert_with(|| self.start());
        // A queue that is full drops: it is the tier that cannot keep up.
        let _ = worker.jobs.try_send(job);
    }

    fn start(&self) -> Worker {
        let (jobs, receiver) = sync_channel(LONGEST_QUEUE);
        let (member, written) = (Arc::clone(&self.member), Arc::clone(&self.written));
        let (alive, ended) = channel();
        let thread = std::thread::spawn(move || {
            work(&member, &receiver, &written);
            drop(alive);
        });
        Worker { jobs, closing: Closing { thread, ended } }
    }

    /// Takes no more jobs; the thread ends when it has written what it has.
    pub(crate) fn close(&self) -> Option<Closing> {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        worker.map(|worker| worker.closing)
    }

    /// Says how many entries were not written.
    pub(crate) fn report(&self) {
        let given = self.given.load(Ordering::Relaxed);
        let dropped = given - self.written.load(Ordering::Relaxed);
        if dropped > 0 {
            eprintln!(
                "buildhook-tier: {dropped} of {given} entries were not written to `{}` in the \
                 background",
                self.member.tier.name
            );
        }
    }
}

fn work(member: &Member, jobs: &Receiver<Job>, written: &AtomicU64) {
    for job in jobs {
        if member.is_usable(Hook::BuiltAThing) && write(member, &job) {
            written.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(member: &Member, job: &Job) -> bool {
    let Ok(scratch) = job.files.spool.folder() else { return false };
    let mut request = job.request.clone();
    let members = request.members_mut();
    members.insert("scratch".to_owned(), scratch.to_string_lossy().into());
    members
        .insert("files".to_owned(), serde_json::to_value(&job.files.files).unwrap_or(Value::Null));
    let answer = member.write(request, Deadline::within(WRITE_LIMIT));
    // Whatever the plugin has left there goes.
    let _ = fs_err::remove_dir_all(&scratch);
    let Ok(answer) = answer else { return false };
    if let Ok(Answer::Done { stored, .. }) = answer.parse() {
        return stored != Stored::No;
    }
    member.blame("it answers what was built with something else than `done`");
    false
}
