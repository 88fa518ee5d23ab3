//! The plugin: questions become requests to the bucket, faults become misses.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use buildhook_protocol::{ErrorKind, ReasonCode, Stored};
use buildhook_sdk::entry::Encoding;
use buildhook_sdk::files::CopyError;
use buildhook_sdk::remote::{EntryId, Staged, Told};
use buildhook_sdk::{About, Built, Call, Deadline, Done, Error, Plugin, Want};

use crate::ahead::Ahead;
use crate::client::{Client, Fault, Traffic};
use crate::fetch::fetch;
use crate::layout::Layout;
use crate::settings::Settings;
use crate::upload::Uploads;
use crate::{NAME, VERSION};

/// Largest object that one PUT may bring, by S3's limits: 5 GiB.
const MAX_FILE_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// A store in a bucket.
#[derive(Debug)]
pub struct Store {
    client: Arc<Client>,
    ahead: Ahead,
    layout: Layout,
    uploads: Uploads,
    encoding: Encoding,
    wait: bool,
    max_in_flight: u32,
    drain_ms: u64,
    summary: bool,
    /// Entries that were found damaged: to be stored over what is there.
    broken: Mutex<HashSet<EntryId>>,
    told: Arc<Told>,
}

impl Store {
    /// Sends nothing yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let client = Arc::new(Client::new(&settings));
        let layout = Layout::new(&settings.prefix);
        let told = Arc::new(Told::new(NAME));
        let ahead = Ahead::new(Arc::clone(&client), layout.clone());
        Self {
            uploads: Uploads::new(
                Arc::clone(&client),
                ahead.clone(),
                layout.clone(),
                settings.zstd_level,
                Arc::clone(&told),
            ),
            client,
            ahead,
            layout,
            encoding: settings.zstd_level.map_or(Encoding::Plain, |_| Encoding::Zstd),
            wait: settings.wait,
            max_in_flight: settings.max_in_flight,
            drain_ms: settings.drain_ms,
            summary: settings.summary,
            broken: Mutex::default(),
            told,
        }
    }

    fn missed(&self, call: &Call, fault: Fault) -> Result<Want, Error> {
        match fault {
            Fault::NotFound => Ok(Want::not_found()),
            Fault::Corrupt(why) => {
                self.broken().insert((call.key, call.purpose));
                Ok(Want::miss(ReasonCode::CORRUPT, why))
            }
            Fault::Denied(why) => {
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
                Ok(Want::miss(ReasonCode::TIMEOUT, "the bucket did not answer by the deadline"))
            }
            Fault::Final(kind, why) => {
                self.told.once("final", &why);
                Err(Error::session(kind, why))
            }
            Fault::Local(why) => Err(Error::new(ErrorKind::Other, why)),
        }
    }

    fn decline(&self, code: &str, why: impl Into<String>) -> Done {
        self.uploads.queue().count_not_stored();
        Done::declined(code, why)
    }

    fn broken(&self) -> MutexGuard<'_, HashSet<EntryId>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plugin for Store {
    fn about(&self) -> About {
        About::new(NAME, VERSION)
            .both_hooks()
            .max_in_flight(self.max_in_flight)
            .drain_ms(self.drain_ms)
    }

    fn want_to_build(&self, call: &Call) -> Result<Want, Error> {
        let deadline = call.deadline.sooner();
        self.ahead.begin(&call.unit);
        self.uploads.queue().wait_for(&(call.key, call.purpose), deadline);
        match fetch(&self.ahead, &self.layout, call, deadline) {
            Ok(hit) => Ok(Want::Hit(hit)),
            Err(fault) => self.missed(call, fault),
        }
    }

    fn built_a_thing(&self, call: &Call, built: &Built) -> Result<Done, Error> {
        if let Some(Fault::Final(kind, why)) = self.client.fatal() {
            return Err(Error::session(*kind, why.clone()));
        }
        if self.uploads.is_forbidden() {
            return Ok(self.decline(ReasonCode::POLICY, "the server refuses to store anything"));
        }
        if let Some(file) = built.files.iter().find(|file| file.size > MAX_FILE_BYTES) {
            return Ok(self.decline(
                ReasonCode::POLICY,
                format!("{} is larger than 5 GiB, the most that one upload may bring", file.name),
            ));
        }
        if !self.uploads.queue().has_room() {
            return Ok(self.decline(ReasonCode::UNAVAILABLE, "too much waits for its upload"));
        }
        let id = (call.key, call.purpose);
        let replace = built.replace || self.broken().contains(&id);
        let staged = match Staged::take(call, built, self.encoding, replace) {
            Ok(staged) => staged,
            Err(contradiction @ CopyError::Contradicts { .. }) => {
                return Ok(self.decline(ReasonCode::OTHER, contradiction.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        let stored = if self.wait {
            if let Err(fault) = self.uploads.upload_now(staged, call.deadline.sooner()) {
                return match fault {
                    Fault::Final(kind, why) => Err(Error::session(kind, why)),
                    _ => Ok(Done::declined(ReasonCode::UNAVAILABLE, "the upload has failed")),
                };
            }
            Stored::Yes
        } else {
            if !self.uploads.queue().submit(staged) {
                return Ok(self.decline(ReasonCode::UNAVAILABLE, "no thread can be started"));
            }
            Stored::Later
        };
        self.broken().remove(&id);
        Ok(Done::stored(stored))
    }

    fn drain(&self) {
        let limit = Duration::from_millis(self.drain_ms);
        let deadline = Deadline::within(limit);
        self.uploads.queue().finish(limit);
        self.ahead.finish(deadline);
        if self.summary {
            let Traffic { requests, received_bytes, sent_bytes } = self.client.traffic();
            self.told.say(&format!(
                "{requests} requests, {received_bytes} bytes received, {sent_bytes} bytes sent, \
                 {} bytes fetched ahead in vain",
                self.ahead.unused_bytes()
            ));
        }
    }
}
