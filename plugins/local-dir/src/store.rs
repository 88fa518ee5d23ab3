//! The store: looking entries up and writing them.

use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use buildhook_protocol::{FileRecord, Key, Lease, Purpose, ReasonCode, Stored};
use buildhook_sdk::entry::{Record, StoredFile};
use buildhook_sdk::{Built, Call, Done, Hit, Want};

use crate::Limits;
use crate::blobs::{Blobs, Kept, Refused, create, is_sound, publish};
use crate::layout::Layout;
use crate::platform;
use crate::trouble::{Meaning, Trouble, meaning};

/// Longest entry file that is read, in bytes. As long as the longest message: an entry that
/// came in one fits.
const MAX_RECORD_BYTES: u64 = 16 * 1024 * 1024;
/// Tells programs that back up or search that there is nothing here to keep:
/// <https://bford.info/cachedir/>. The signature is the one that page gives.
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This directory is a cache of the buildhook plugin local-dir.\n";

/// One open store.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) layout: Layout,
    pub(crate) limits: Limits,
    pub(crate) blobs: Blobs,
    pub(crate) trouble: Trouble,
    /// The store has to grow above this many bytes before this session collects again.
    pub(crate) collect_above_bytes: AtomicU64,
    /// Set at the end of the session: collecting stops then.
    pub(crate) collect_until: Mutex<Option<Instant>>,
}

/// What is known under a key.
enum Found {
    Whole(Record),
    Nothing,
    Damaged(String),
    /// It could not be looked at.
    Fault(io::Error),
}

impl Store {
    pub(crate) fn open(dir: &Path, limits: Limits) -> io::Result<Self> {
        let dir = std::path::absolute(dir)?;
        if dir.to_str().is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the path is not Unicode and cannot be written in JSON",
            ));
        }
        let layout = Layout::new(dir);
        let made = make_folders(&layout);
        if let Err(error) = made
            && !layout.root().is_dir()
        {
            return Err(error);
        }
        Ok(Self {
            layout,
            limits,
            blobs: Blobs::new(),
            trouble: Trouble::default(),
            collect_above_bytes: AtomicU64::new(limits.max_size_bytes),
            collect_until: Mutex::new(None),
        })
    }

    /// Answers `want-to-build`.
    pub(crate) fn want(&self, call: &Call) -> Want {
        match self.find(call.purpose, &call.key) {
            Found::Whole(record) => {
                self.note_use(call.purpose, &call.key);
                let files = record.files.iter().map(|file| self.shared(file)).collect();
                Want::Hit(Hit { seal: record.seal, files, cost_ms: record.cost_ms })
            }
            Found::Nothing => Want::not_found(),
            Found::Damaged(what) => Want::miss(ReasonCode::CORRUPT, what),
            // A file that another host of a network file system has just removed.
            Found::Fault(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => {
                Want::not_found()
            }
            Found::Fault(error) => Want::miss(ReasonCode::UNAVAILABLE, error.to_string()),
        }
    }

    /// Answers `built-a-thing`.
    pub(crate) fn built(&self, call: &Call, built: &Built) -> Done {
        if !built.replace
            && let Found::Whole(record) = self.find(call.purpose, &call.key)
        {
            return self.done(Stored::Already, built, |file| record.files.contains(file));
        }
        if let Some(declined) = self.trouble.declined() {
            return declined;
        }
        let mut outcome = self.write(call, built);
        if let Err(Refused::Store(error)) = &outcome
            && meaning(error) == Meaning::Full
        {
            self.collect_for_space();
            outcome = self.write(call, built);
        }
        match outcome {
            Ok(()) => self.done(Stored::Yes, built, |_| true),
            Err(Refused::Offer(why)) => Done::declined(ReasonCode::CORRUPT, why),
            Err(Refused::Store(error)) => {
                if meaning(&error) != Meaning::Other {
                    self.trouble.stop_writing(error.to_string());
                }
                Done::declined(ReasonCode::UNAVAILABLE, error.to_string())
            }
        }
    }

    fn find(&self, purpose: Purpose, key: &Key) -> Found {
        let path = self.layout.entry(purpose, key);
        let record = match read_record(&path) {
            Ok(Some(record)) if record.key == *key && record.purpose == purpose => record,
            Ok(_) => return Found::Damaged(format!("{} is damaged", path.display())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Found::Nothing,
            Err(error) => return Found::Fault(error),
        };
        for file in &record.files {
            let blob = self.layout.blob(&file.digest, file.executable);
            match is_sound(&blob, file) {
                Ok(true) => {}
                Ok(false) => return Found::Damaged(format!("{} is damaged", blob.display())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Found::Damaged(format!("{} is missing", blob.display()));
                }
                Err(error) => return Found::Fault(error),
            }
        }
        Found::Whole(record)
    }

    /// Blobs first, then the entry.
    fn write(&self, call: &Call, built: &Built) -> Result<(), Refused> {
        let mut kept = Vec::with_capacity(built.files.len());
        for file in &built.files {
            if call.deadline.has_passed() {
                return Err(Refused::Offer("there was no time left to store it".to_owned()));
            }
            kept.push(self.blobs.keep(&self.layout, file, built.replace)?);
        }
        let files = built.files.iter().map(StoredFile::from).collect();
        let record = Record::new(call, built, files);
        let content = record.encode();
        self.write_entry(&self.layout.entry(call.purpose, &call.key), &content)
            .map_err(Refused::Store)?;
        self.make_up_for_eviction(&built.files, &kept)?;
        let new = built.files.iter().zip(&kept).filter(|(_, kept)| !kept.reused);
        let added = new.map(|(file, _)| file.size).sum::<u64>() + content.len() as u64;
        self.note_growth(added);
        Ok(())
    }

    fn write_entry(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let temporary = self.layout.temporary();
        let written = create(&temporary)
            .and_then(|mut file| file.write_all(content))
            .and_then(|()| publish(&temporary, path));
        written.inspect_err(|_| {
            // The error that counts is the first one.
            let _ = fs_err::remove_file(&temporary);
        })
    }

    /// A blob that was reused may have been judged unused just before its grace started
    /// again, and be gone now: the file it came from is still here.
    fn make_up_for_eviction(&self, files: &[FileRecord], kept: &[Kept]) -> Result<(), Refused> {
        for (file, kept) in files.iter().zip(kept) {
            if kept.reused && platform::look(&kept.path).is_err() {
                self.blobs.keep(&self.layout, file, true)?;
            }
        }
        Ok(())
    }

    /// Moves the time of an entry that has not been used for a while: it is what eviction
    /// goes by.
    fn note_use(&self, purpose: Purpose, key: &Key) {
        let path = self.layout.entry(purpose, key);
        let is_old = |modified: SystemTime| {
            modified.elapsed().is_ok_and(|age| age > self.limits.touch_after)
        };
        if platform::look(&path).is_ok_and(|facts| is_old(facts.modified)) {
            // A store that cannot be written keeps its order; it is not evicted by us either.
            let _ = platform::open_no_follow(&path)
                .and_then(|file| file.file().set_modified(SystemTime::now()));
        }
    }

    /// The record under which a stored file is offered.
    fn shared(&self, file: &StoredFile) -> FileRecord {
        file.offer(self.layout.blob(&file.digest, file.executable), Lease::Shared)
    }

    /// The answer, with the blobs offered in place of the files that were given.
    fn done(&self, stored: Stored, built: &Built, has: impl Fn(&StoredFile) -> bool) -> Done {
        let files = built.files.iter().map(StoredFile::from);
        let relocated = files.filter(has).map(|file| self.shared(&file)).collect();
        Done::Own { stored, reason: None, relocated }
    }

    /// All that is stored is below this.
    pub(crate) fn collect_above(&self) -> u64 {
        self.collect_above_bytes.load(Ordering::Relaxed)
    }
}

/// The record in an entry file; `None` when it is damaged.
pub(crate) fn read_record(path: &Path) -> io::Result<Option<Record>> {
    let file = platform::open_no_follow(path)?;
    // Room for most: it is read in one piece.
    let mut content = Vec::with_capacity(4096);
    file.take(MAX_RECORD_BYTES).read_to_end(&mut content)?;
    Ok(Record::decode(&content))
}

fn make_folders(layout: &Layout) -> io::Result<()> {
    if layout.temporaries().is_dir() {
        return Ok(());
    }
    fs_err::create_dir_all(layout.temporaries())?;
    match create(&layout.dir().join("CACHEDIR.TAG")) {
        Ok(mut tag) => tag.write_all(CACHEDIR_TAG.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
