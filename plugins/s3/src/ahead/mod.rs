//! Reads objects before they are asked for, as a file system reads ahead.
//!
//! A build asks for one unit after the other, and on a long link each question costs round
//! trips that nothing fills. But builds of one workspace want much the same: a [`list`] in
//! the bucket says what, in which order. When something that is listed is asked for, what
//! follows it is fetched too, the more the oftener that happens; so a session behind a local
//! store that has nearly everything fetches nearly nothing.
//!
//! What holds here:
//! - what was fetched ahead is compressed or not as it is in the bucket, in memory, and at
//!   most [`MAX_HELD_BYTES`]; it is verified when it is used, like everything else;
//! - what is asked for waits for at most [`MAX_FLYING_BYTES`] of what is not;
//! - nothing here fails: what cannot be had ahead is asked for when it is wanted.
//!
//! A session that wanted something new writes the list anew at its end. Nothing is read or
//! written for hosts that do not say which workspace they build.

mod list;

use std::collections::HashMap;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use buildhook_protocol::{Digest, Unit};
use buildhook_sdk::Deadline;
use buildhook_sdk::remote::{Fault, Names, Trouble};

use crate::client::Client;
use list::Listed;

/// Objects that are fetched after the first one that was listed and asked for; twice as many
/// after each further one.
const FIRST_WINDOW: usize = 8;
/// Requests ahead at once. At 50 ms a round trip, small objects then come 320 a second.
const MAX_WORKERS: usize = 16;
/// Bytes on the way at once: a third of a second at 100 Mbit/s, and six times what a link of
/// that kind with a round trip of 50 ms holds.
const MAX_FLYING_BYTES: u64 = 4 * 1024 * 1024;
/// Bytes that wait to be asked for.
const MAX_HELD_BYTES: u64 = 96 * 1024 * 1024;
/// Larger objects are not fetched ahead.
const MAX_OBJECT_BYTES: u64 = 32 * 1024 * 1024;
/// How long one object may take.
const OBJECT_LIMIT: Duration = Duration::from_secs(30);
/// Whoever asks for something this far behind what is being fetched is elsewhere in the list:
/// another kind of build, perhaps.
const FAR: usize = 256;

/// The bucket, read ahead.
#[derive(Debug, Clone)]
pub(crate) struct Ahead(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    client: Arc<Client>,
    names: Names,
    state: Mutex<State>,
    changed: Condvar,
    unused_bytes: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// What names this workspace's list; of the first request that says so.
    id: Option<Digest>,
    is_loaded: bool,
    /// What was asked for before the list was there: it is on its way.
    asked: Vec<String>,
    list: Vec<Listed>,
    places: HashMap<String, usize>,
    slots: Vec<Slot>,
    /// The next place to look at, and how many more objects may be fetched.
    cursor: usize,
    credit: usize,
    window: usize,
    workers: usize,
    flying_bytes: u64,
    held_bytes: u64,
    /// What this session wanted and the bucket has, in order.
    wanted: Vec<Listed>,
    wanted_places: HashMap<String, usize>,
}

/// What is known of a listed object.
#[derive(Debug, Clone, Default)]
enum Slot {
    #[default]
    Idle,
    Flying,
    Held(Arc<[u8]>),
    /// Was asked for, or cannot be had ahead.
    Over,
}

impl Ahead {
    /// Sends nothing yet.
    pub(crate) fn new(client: Arc<Client>, names: Names) -> Self {
        Self(Arc::new(Shared {
            client,
            names,
            state: Mutex::default(),
            changed: Condvar::new(),
            unused_bytes: AtomicU64::new(0),
        }))
    }

    /// Begins to read the list of the workspace that `unit` is part of.
    pub(crate) fn begin(&self, unit: &Unit) {
        let mut state = self.0.state();
        if state.id.is_some() {
            return;
        }
        let Some(id) = list::id(unit) else { return };
        state.id = Some(id);
        drop(state);
        let shared = Arc::clone(&self.0);
        // Without another thread there is no list.
        let _ = std::thread::Builder::new().spawn(move || shared.load(&id));
    }

    /// Reads an object through `take`, as [`Client::get`] does.
    pub(crate) fn get<T>(
        &self,
        object: &str,
        deadline: Deadline,
        mut take: impl FnMut(&mut dyn Read) -> Result<T, Trouble>,
    ) -> Result<T, Fault> {
        if let Some(held) = self.0.held(object, deadline) {
            self.note(object, held.len() as u64);
            return Ok(take(&mut &*held)?);
        }
        let mut size = 0;
        let got = self.0.client.get(object, deadline, |body| {
            let mut counted = Counted { inner: body, bytes: 0 };
            let taken = take(&mut counted);
            size = counted.bytes;
            taken
        })?;
        self.note(object, size);
        Ok(got)
    }

    /// Notes an object that this session wanted, or stored because it had wanted it.
    pub(crate) fn note(&self, object: &str, size: u64) {
        let Some(name) = self.0.relative(object) else { return };
        let mut state = self.0.state();
        match state.wanted_places.get(name).copied() {
            Some(at) => state.wanted[at].size = size,
            None => {
                let at = state.wanted.len();
                state.wanted_places.insert(name.to_owned(), at);
                state.wanted.push(Listed::new(name.to_owned(), size));
            }
        }
    }

    /// Writes the list when this session knows more than it says.
    pub(crate) fn finish(&self, deadline: Deadline) {
        let mut state = self.0.state();
        state.credit = 0;
        let held = state.slots.iter().map(|slot| match slot {
            Slot::Held(content) => content.len() as u64,
            _ => 0,
        });
        self.0.unused_bytes.store(held.sum(), Ordering::Relaxed);
        let Some(id) = state.id else { return };
        while !state.is_loaded && !deadline.has_passed() {
            state = self.0.wait(state, deadline);
        }
        let Some(merged) = list::merge(&state.list, &state.wanted) else { return };
        drop(state);
        let content = list::encode(&merged);
        let object = self.0.list(&id);
        // Those who may not write need not be told: nothing is lost but speed.
        let size = content.len() as u64;
        let _ = self.0.client.put(&object, size, deadline, || Ok(content.as_slice()));
    }

    /// Bytes that were fetched ahead in vain, known when the session has ended.
    pub(crate) fn unused_bytes(&self) -> u64 {
        self.0.unused_bytes.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn load(self: Arc<Self>, id: &Digest) {
        let object = self.list(id);
        let found = self
            .client
            .get(&object, Deadline::within(OBJECT_LIMIT), |body| read_all(body, list::MAX_BYTES));
        let list = found.ok().and_then(|content| list::decode(&content)).unwrap_or_default();
        let mut state = self.state();
        state.places =
            list.iter().enumerate().map(|(at, listed)| (listed.name.clone(), at)).collect();
        state.slots = vec![Slot::Idle; list.len()];
        state.list = list;
        state.is_loaded = true;
        for name in std::mem::take(&mut state.asked) {
            if let Some(at) = state.places.get(&name).copied() {
                state.slots[at] = Slot::Over;
                state.grant(at);
            }
        }
        self.hire(&mut state);
        drop(state);
        self.changed.notify_all();
    }

    /// The content of `object` when it was fetched ahead or is on its way; what follows it in
    /// the list is fetched from now on.
    fn held(self: &Arc<Self>, object: &str, deadline: Deadline) -> Option<Arc<[u8]>> {
        let name = self.relative(object)?;
        let mut state = self.state();
        if state.id.is_some() && !state.is_loaded {
            state.asked.push(name.to_owned());
        }
        let at = state.places.get(name).copied()?;
        state.grant(at);
        self.hire(&mut state);
        while matches!(state.slots[at], Slot::Flying) && !deadline.has_passed() {
            state = self.wait(state, deadline);
        }
        let slot = match &state.slots[at] {
            // Somebody asks who cannot wait: the worker's answer finds its place taken.
            Slot::Flying => Slot::Over,
            _ => std::mem::replace(&mut state.slots[at], Slot::Over),
        };
        let Slot::Held(content) = slot else { return None };
        state.held_bytes -= content.len() as u64;
        self.hire(&mut state);
        drop(state);
        self.changed.notify_all();
        Some(content)
    }

    /// Starts workers for what may be fetched.
    fn hire(self: &Arc<Self>, state: &mut State) {
        let wanted = state.credit.min(MAX_WORKERS);
        while state.workers < wanted {
            let shared = Arc::clone(self);
            if std::thread::Builder::new().spawn(move || shared.work()).is_err() {
                return;
            }
            state.workers += 1;
        }
    }

    fn work(&self) {
        let mut state = self.state();
        loop {
            while state.is_congested() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let Some(at) = state.next() else { break };
            let Listed { name, size, .. } = &state.list[at];
            let (object, size) = (format!("{}/{name}", self.names.root()), *size);
            state.flying_bytes += size;
            drop(state);
            let got = self.client.get(&object, Deadline::within(OBJECT_LIMIT), |body| {
                read_all(body, MAX_OBJECT_BYTES)
            });
            state = self.state();
            state.flying_bytes -= size;
            let is_awaited = matches!(state.slots[at], Slot::Flying);
            state.slots[at] = match got {
                Ok(content) if is_awaited => {
                    state.held_bytes += content.len() as u64;
                    Slot::Held(content.into())
                }
                _ => Slot::Over,
            };
            self.changed.notify_all();
        }
        state.workers -= 1;
    }

    /// The list that is called `id`.
    fn list(&self, id: &Digest) -> String {
        self.names.object("lists", id)
    }

    /// The name of an object without what all have in common.
    fn relative<'a>(&self, object: &'a str) -> Option<&'a str> {
        object.strip_prefix(self.names.root())?.strip_prefix('/')
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Deadline) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, until.remaining());
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What stands at `at` was asked for: more of what follows may be fetched.
    fn grant(&mut self, at: usize) {
        let is_first = self.window == 0;
        if is_first || at > self.cursor + FAR {
            self.cursor = at.saturating_sub(FIRST_WINDOW);
        }
        self.window = (self.window * 2).clamp(FIRST_WINDOW, self.list.len().max(FIRST_WINDOW));
        self.credit = self.credit.saturating_add(self.window).min(self.list.len());
    }

    /// Takes the next object that is to be fetched.
    fn next(&mut self) -> Option<usize> {
        while self.credit > 0 && self.cursor < self.slots.len() {
            let at = self.cursor;
            let size = self.list[at].size;
            // What is too large is passed over, or nothing behind it would ever be fetched.
            if !matches!(self.slots[at], Slot::Idle) || size > MAX_OBJECT_BYTES {
                self.cursor += 1;
            } else if self.held_bytes + self.flying_bytes + size > MAX_HELD_BYTES {
                return None;
            } else {
                self.cursor += 1;
                self.credit -= 1;
                self.slots[at] = Slot::Flying;
                return Some(at);
            }
        }
        None
    }

    /// Whether what is on the way is enough for now.
    fn is_congested(&self) -> bool {
        let size = self.list.get(self.cursor).map_or(0, |listed| listed.size);
        self.flying_bytes > 0 && self.flying_bytes.saturating_add(size) > MAX_FLYING_BYTES
    }
}

/// All of `body`, unless it is longer than `limit`.
pub(crate) fn read_all(body: &mut dyn Read, limit: u64) -> Result<Vec<u8>, Trouble> {
    let mut content = Vec::new();
    let read = body.take(limit + 1).read_to_end(&mut content);
    match read.map_err(|error| Trouble::Content(error.to_string()))? as u64 {
        read if read > limit => Err(Trouble::Content("it is longer than it should be".to_owned())),
        _ => Ok(content),
    }
}

/// Counts what is read.
struct Counted<'a> {
    inner: &'a mut dyn Read,
    bytes: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_passed_over() {
        let sizes = [1, MAX_OBJECT_BYTES + 1, u64::MAX, 2];
        let list: Vec<_> = sizes.map(|size| Listed::new(size.to_string(), size)).into();
        let slots = vec![Slot::Idle; list.len()];
        let mut state = State { list, slots, credit: 4, ..State::default() };
        assert_eq!([state.next(), state.next(), state.next()], [Some(0), Some(3), None]);
    }

    #[test]
    fn what_finds_no_room_is_waited_for() {
        let list = vec![Listed::new("a".to_owned(), 1)];
        let slots = vec![Slot::Idle];
        let held_bytes = MAX_HELD_BYTES;
        let mut state = State { list, slots, credit: 1, held_bytes, ..State::default() };
        assert_eq!(state.next(), None);
        state.held_bytes = 0;
        assert_eq!(state.next(), Some(0));
    }
}
