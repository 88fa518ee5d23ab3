//! The plugin: questions become requests to the server, faults become misses.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use buildhook_protocol::{ErrorKind, Purpose, ReasonCode, Stored};

use super::content::MAX_CONTENT_BYTES;
use super::stage::{EntryId, Staged};
use super::upload::Uploads;
use super::{Conduct, Fault, Remote, Told, fetch};
use crate::files::CopyError;
use crate::{About, Built, Call, Deadline, Done, Error, Patience, Plugin, Want};

/// A store on the server `R`.
#[derive(Debug)]
pub struct Store<R> {
    remote: Arc<R>,
    conduct: Conduct,
    uploads: Uploads<R>,
    patience: Patience,
    /// Entries that were found damaged: to be stored over what is there.
    broken: Mutex<HashSet<EntryId>>,
    told: Arc<Told>,
}

impl<R: Remote> Store<R> {
    /// Sends nothing yet.
    #[must_use]
    pub fn new(remote: R, conduct: Conduct) -> Self {
        let remote = Arc::new(remote);
        let told = Arc::new(Told::new(conduct.name));
        let uploads = Uploads::new(Arc::clone(&remote), conduct.names.clone(), Arc::clone(&told));
        let patience = Patience::new(conduct.patience);
        Self { remote, conduct, uploads, patience, broken: Mutex::default(), told }
    }

    fn missed(&self, call: &Call, fault: Fault) -> Result<Want, Error> {
        if matches!(fault, Fault::Corrupt(_) | Fault::Gone(_)) {
            self.broken().insert((call.key, call.purpose));
        }
        match fault {
            Fault::NotFound => Ok(Want::not_found()),
            Fault::Gone(why) => Ok(Want::miss(ReasonCode::NOT_FOUND, why)),
            Fault::Corrupt(why) => {
                self.remote.doubt();
                Ok(Want::miss(ReasonCode::CORRUPT, why))
            }
            Fault::Denied(why) | Fault::Full(why) => {
                self.told.once("read", &why);
                Ok(Want::miss(ReasonCode::UNAVAILABLE, why))
            }
            Fault::Unavailable(why) => {
                self.told.once("unavailable", &why);
                Ok(Want::miss(ReasonCode::UNAVAILABLE, why))
            }
            Fault::Resting => Ok(Want::miss(
                ReasonCode::UNAVAILABLE,
                "the server has failed several times and is left alone for a while",
            )),
            Fault::Late => {
                self.told
                    .once("late", "the server does not answer in time: it or the link is slow");
                Ok(Want::miss(ReasonCode::TIMEOUT, "the server did not answer by the deadline"))
            }
            Fault::Final(kind, why) => {
                self.told.once("final", &why);
                Err(Error::session(kind, why))
            }
            Fault::Local(why) => Err(Error::new(ErrorKind::Other, why)),
        }
    }

    /// Whether builds are better off with the server; that they are not is told once.
    fn is_worth_waiting(&self) -> bool {
        let is_left = self.patience.is_left();
        if !is_left {
            self.told.once(
                "patience",
                "the server is not asked any more, only written to: builds have waited for it in \
                 vain for longer than `patience-ms` and what its hits have spared",
            );
        }
        is_left
    }

    /// Takes the content of an entry that the server can hold.
    fn stage(&self, call: &Call, built: &Built, replace: bool) -> Result<Staged, Done> {
        let declined = |code: &str, why: &str| {
            self.uploads.queue().count_not_stored();
            Err(Done::declined(code, why))
        };
        if self.uploads.is_refused() {
            return declined(ReasonCode::POLICY, "the server refuses to store anything");
        }
        let size = built.files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size));
        if size > self.remote.max_pack_bytes().min(MAX_CONTENT_BYTES) {
            return declined(ReasonCode::POLICY, "the entry is larger than the server takes");
        }
        if !self.uploads.queue().has_room() {
            return declined(ReasonCode::UNAVAILABLE, "too much waits for its upload");
        }
        let staged = match Staged::take(call, built, self.conduct.zstd_level, replace) {
            Ok(staged) => staged,
            Err(error @ CopyError::Contradicts { .. }) => {
                return declined(ReasonCode::OTHER, &error.to_string());
            }
            Err(CopyError::Io(error)) => {
                return declined(ReasonCode::UNAVAILABLE, &error.to_string());
            }
        };
        if staged.least_bytes() > self.remote.max_record_bytes() {
            let why = "the entry has more files than fit into one value of the server";
            return declined(ReasonCode::POLICY, why);
        }
        Ok(staged)
    }

    fn broken(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Remote> Plugin for Store<R> {
    fn about(&self) -> About {
        About::new(self.conduct.name, self.conduct.version)
            .both_hooks()
            .max_in_flight(self.conduct.max_in_flight)
            .drain_ms(self.conduct.drain_ms)
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        if !self.is_worth_waiting() {
            let why = "the server has been waited for in vain and is not asked any more";
            return Ok(Want::miss(ReasonCode::UNAVAILABLE, why));
        }
        let started = Instant::now();
        let deadline = call.deadline.sooner();
        self.remote.begin(&call.unit);
        self.uploads.queue().wait_for(&(call.key, call.purpose), deadline);
        match fetch::entry(&*self.remote, &self.conduct.names, call, deadline) {
            Ok(hit) => {
                // What a record of inputs says is no build spared.
                let cost_ms = hit.cost_ms.filter(|_| call.purpose == Purpose::Outputs);
                self.patience.earn(Duration::from_millis(cost_ms.unwrap_or(0)));
                Ok(Want::Hit(hit))
            }
            Err(fault) => {
                self.patience.lose(started);
                self.missed(call, fault)
            }
        }
    }

    fn built_a_thing(&self, call: &Call, built: &Built) -> Result<Done, Error> {
        if let Some(Fault::Final(kind, why)) = self.remote.fatal() {
            return Err(Error::session(*kind, why.clone()));
        }
        let id = (call.key, call.purpose);
        let replace = built.replace || self.broken().contains(&id);
        let staged = match self.stage(call, built, replace) {
            Ok(staged) => staged,
            Err(declined) => return Ok(declined),
        };
        let stored = if self.conduct.wait && self.is_worth_waiting() {
            let started = Instant::now();
            match self.uploads.upload_now(staged, call.deadline.sooner()) {
                Ok(()) => Stored::Yes,
                Err(Fault::Final(kind, why)) => return Err(Error::session(kind, why)),
                Err(_) => {
                    self.patience.lose(started);
                    return Ok(Done::declined(ReasonCode::UNAVAILABLE, "the upload has failed"));
                }
            }
        } else {
            if !self.uploads.queue().submit(staged) {
                self.uploads.queue().count_not_stored();
                return Ok(Done::declined(ReasonCode::UNAVAILABLE, "no thread can be started"));
            }
            Stored::Later
        };
        self.broken().remove(&id);
        Ok(Done::stored(stored))
    }

    fn drain(&self) {
        let limit = Duration::from_millis(self.conduct.drain_ms);
        let deadline = Deadline::within(limit);
        self.uploads.queue().finish(limit);
        if let Some(summary) = self.remote.finish(deadline) {
            self.told.say(&summary);
        }
    }
}
