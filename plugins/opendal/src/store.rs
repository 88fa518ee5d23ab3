//! The plugin: questions become requests to the server, faults become misses.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use buildhook_protocol::{ErrorKind, ReasonCode, Stored};
use buildhook_sdk::entry::Encoding;
use buildhook_sdk::files::CopyError;
use buildhook_sdk::remote::{EntryId, Staged, Told};
use buildhook_sdk::{About, Built, Call, Done, Error, Plugin, StartError, Want};

use crate::client::Client;
use crate::fault::Fault;
use crate::fetch::Fetch;
use crate::layout::Layout;
use crate::service::Service;
use crate::settings::Settings;
use crate::upload::Uploads;
use crate::{NAME, VERSION};

/// A store in a service.
#[derive(Debug)]
pub struct Store {
    client: Arc<Client>,
    layout: Layout,
    service: Service,
    uploads: Uploads,
    wait: bool,
    max_in_flight: u32,
    drain_ms: u64,
    /// Entries that were found damaged: to be stored over what is there.
    broken: Mutex<HashSet<EntryId>>,
    told: Arc<Told>,
}

impl Store {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// [`StartError::Config`]: the service cannot be used with these settings.
    pub fn new(settings: Settings) -> Result<Self, StartError> {
        let client = Arc::new(Client::new(&settings)?);
        let layout = Layout::new(&settings.prefix);
        let told = Arc::new(Told::new(NAME));
        let service = settings.service;
        Ok(Self {
            uploads: Uploads::new(
                Arc::clone(&client),
                layout.clone(),
                service.clone(),
                Arc::clone(&told),
            ),
            client,
            layout,
            service,
            wait: settings.wait,
            max_in_flight: settings.max_in_flight,
            drain_ms: settings.drain_ms,
            broken: Mutex::default(),
            told,
        })
    }

    fn missed(&self, call: &Call, fault: Fault) -> Result<Want, Error> {
        match fault {
            Fault::NotFound => Ok(Want::not_found()),
            Fault::Corrupt(why) => {
                self.broken().insert((call.key, call.purpose));
                // It may have been the answer to another question.
                self.client.renew();
                Ok(Want::miss(ReasonCode::CORRUPT, why))
            }
            Fault::Gone(why) => {
                self.broken().insert((call.key, call.purpose));
                Ok(Want::miss(ReasonCode::NOT_FOUND, why))
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
                Ok(Want::miss(ReasonCode::TIMEOUT, "the server did not answer by the deadline"))
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

    /// Takes the content of an entry that the service can hold.
    fn stage(&self, call: &Call, built: &Built, replace: bool) -> Result<Staged, Done> {
        let staged = match Staged::take(call, built, Encoding::Plain, replace) {
            Ok(staged) => staged,
            Err(error @ CopyError::Contradicts { .. }) => {
                return Err(self.decline(ReasonCode::OTHER, error.to_string()));
            }
            Err(CopyError::Io(error)) => {
                return Err(self.decline(ReasonCode::UNAVAILABLE, error.to_string()));
            }
        };
        if staged.record.encode().len() as u64 > self.service.max_record_bytes() {
            let why = "the entry has more files than fit into one value of the server";
            return Err(self.decline(ReasonCode::POLICY, why));
        }
        Ok(staged)
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
        self.uploads.queue().wait_for(&(call.key, call.purpose), deadline);
        let fetch =
            Fetch { client: &self.client, layout: &self.layout, service: &self.service, deadline };
        match self.client.wait(fetch.entry(call)) {
            Ok(hit) => Ok(Want::Hit(hit)),
            Err(fault) => self.missed(call, fault),
        }
    }

    fn built_a_thing(&self, call: &Call, built: &Built) -> Result<Done, Error> {
        if let Some(Fault::Final(kind, why)) = self.client.fatal() {
            return Err(Error::session(*kind, why.clone()));
        }
        if self.uploads.is_refused() {
            return Ok(self.decline(ReasonCode::POLICY, "the server refuses to store anything"));
        }
        if !self.uploads.queue().has_room() {
            return Ok(self.decline(ReasonCode::UNAVAILABLE, "too much waits for its upload"));
        }
        let id = (call.key, call.purpose);
        let replace = built.replace || self.broken().contains(&id);
        let staged = match self.stage(call, built, replace) {
            Ok(staged) => staged,
            Err(declined) => return Ok(declined),
        };
        let stored = if self.wait {
            match self.uploads.upload_now(staged, call.deadline.sooner()) {
                Ok(()) => Stored::Yes,
                Err(Fault::Final(kind, why)) => return Err(Error::session(kind, why)),
                Err(_) => {
                    return Ok(Done::declined(ReasonCode::UNAVAILABLE, "the upload has failed"));
                }
            }
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
        self.uploads.queue().finish(Duration::from_millis(self.drain_ms));
    }
}
